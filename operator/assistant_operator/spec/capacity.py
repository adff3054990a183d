"""How much one runtime pod takes on, in the spec."""

from typing import Annotated

from pydantic import Field

from assistant_operator.spec.base import Model
from assistant_operator.spec.values import Lag, Size


class Capacity(Model):
    """How much one runtime pod takes on."""

    max_concurrent_requests: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Requests that a pod answers at once; more get 503 with Retry-After, and the pod stays ready."""
    max_event_loop_lag: Lag = "2s"
    """Delay of the pod's event loop, seen twice in a row, from which its /ready reports it as saturated."""
    max_request_size: Size = "4Mi"
    """Size of the largest request body; a bigger one is answered with 413."""
