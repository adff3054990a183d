"""The HTTP API: routes, and the pure ASGI middleware around them."""
