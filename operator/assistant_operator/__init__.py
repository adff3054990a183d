"""The AI Assistant Operator: watches `AIAssistant` resources and reconciles the stack that serves each of them.

Read `reconcile.py` first: it is one pass over one resource, from what was asked to what is reported.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("ai-assistant-operator")
except PackageNotFoundError:  # run from a plain source tree
    __version__ = "0.0.0"
