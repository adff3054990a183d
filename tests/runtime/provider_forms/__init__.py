"""Forms in which providers refuse, fail, answer and list their models, each with the place where it was found."""
