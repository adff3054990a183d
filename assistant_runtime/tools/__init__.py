"""Tools that the runtime itself runs when a model asks for them.

`base` says what a tool is; each other module is one tool, or one server that offers some.
"""
