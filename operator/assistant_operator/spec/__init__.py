"""The blocks of an AIAssistant's spec: what they share, and one module for each backend."""
