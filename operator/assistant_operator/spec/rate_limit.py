"""The block `rateLimit`: the limits on each client."""

from typing import Annotated

from pydantic import Field

from assistant_operator.spec.base import Model
from assistant_operator.spec.security import Tokens
from assistant_operator.spec.values import Window


class RateLimit(Model):
    """The limits on each client's requests and tokens, exact across the runtime's pods."""

    enabled: bool = True
    """Whether requests are limited."""
    requests: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Requests that one client may send within the window."""
    window: Window = "60s"
    """Length of the window."""
    tokens_per_minute: Tokens | None = None
    """Tokens that one client may spend in any 60 seconds. Default: without limit."""
    max_parallel_requests: Annotated[int, Field(ge=1, le=100_000)] = 500
    """Requests of one client that a pod answers at once; more get 429."""
