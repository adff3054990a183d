"""Turns in which the runtime itself does something: tools that it runs, and agents.

`loop` is the flow and read first: ask the model, run what it asks for, ask again. `conversation` is what is sent in
each round, `runner` runs tools within their bounds, `answer` and `stream` make one answer of several rounds, `record`
is what the client is told of it, and `options` what it may ask for.
"""
