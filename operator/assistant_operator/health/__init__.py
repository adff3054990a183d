"""How a thing is, purely: from what was seen of it to what the status says."""
