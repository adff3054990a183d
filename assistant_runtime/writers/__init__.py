"""Several writers at once: models draft, others score, and the best or a merged text is the result."""
