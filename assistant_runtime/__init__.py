"""The assistant runtime: an OpenAI-compatible API in front of any OpenAI-compatible provider.

Read `turn.py` first: it is the main flow. `app.py` is where the parts are put together.
"""
