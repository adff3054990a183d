"""The chat page: a client of the API for people, in a process of its own."""
