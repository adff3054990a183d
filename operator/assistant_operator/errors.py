"""What can go wrong in a reconcile pass, split by what the engine does next.

    ReconcileError
    ├── StalledError     only a person can mend it: Stalled=True, no retry until something changes
    ├── WaitingError     something else must happen first: Reconciling=True, woken by that event, looked at again later
    │   └── BlindError   the operator can't see what it must: Ready=Unknown, since what runs goes on as it was
    ├── TransientError   the cluster did not answer as it should: Reconciling=True, retried with backoff
    └── GoneError        the AIAssistant was deleted meanwhile: forgotten, nothing is written

Anything else is a bug: it is logged with its traceback and retried with backoff.
"""


class ReconcileError(Exception):
    """A pass that could not finish. `reason` is a condition reason (UpperCamelCase), the message one sentence."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class StalledError(ReconcileError):
    """Only a person can mend it; the message names the field and the remedy."""


class WaitingError(ReconcileError):
    """Something else must happen first, and the operator will notice when it does."""


class BlindError(WaitingError):
    """The operator can't see a kind in the namespace, and would take what it misses for missing."""


class TransientError(ReconcileError):
    """The API server failed or refused for a reason that may pass."""


class GoneError(ReconcileError):
    """The AIAssistant does not exist any more, and what it made must not be made again."""
