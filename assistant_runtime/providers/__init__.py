"""Providers: where answers come from.

`base` says what a provider is, `openai_compatible` talks to one, `routing` decides who is asked for a model, `health`
knows who answers, `sse` frames streams, and `embeddings` turns texts into vectors.
"""
