"""Agents: a prompt, a model and a choice of tools under one name.

`base` says what an agent is, `directory` finds one for a tenant.
"""
