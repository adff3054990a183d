"""Rooms that own a workload. Each module exposes one `COMPONENT`; rooms exchange nothing but bindings."""
