"""Rooms with runs and results: each renders Jobs from facts, and is a value of one form (`rooms/operation.py`)."""
