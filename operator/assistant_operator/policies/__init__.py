"""Rooms that dress the components' output. Each module exposes one `objects` function."""
