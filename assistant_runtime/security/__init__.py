"""Who asks, and whether they may: API keys, client addresses, rate limits."""
