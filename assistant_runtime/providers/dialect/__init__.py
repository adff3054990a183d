"""What differs between providers that all speak OpenAI's API, in one room.

`refusal` reads errors in every shape, `adaptations` is the table of what a request may be changed into when a provider
refuses it, `memory` keeps what was learned, `asking` puts these together, and `reading` and `calls` read answers.
No other room knows a provider's words.
"""
