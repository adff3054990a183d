"""Rooms that dress the components' output, each a value of one form (`rooms/policy.py`)."""
