"""Every error of the runtime, one tree.

AssistantError
├── SettingsError          stops the start
├── StoreUnavailableError  a store does not answer: go on without it
│   └── StoreRefusedError       it refuses this one statement: do not try it again
├── TakenError             a row with one of the keys exists (stores/sql.py)
├── ProviderError          a provider failed; carries what the client may be told
├── ToolError              a tool failed: the model is told, and goes on
└── ApiError               answered to the client in OpenAI's error shape
    └── ModelNotFoundError      no provider has the model

OpenAI clients switch on the HTTP status, and show `message`; `param` names the field at fault and `code` is stable.
"""

from collections.abc import Mapping
from typing import Any

import orjson


class AssistantError(Exception):
    """Base of the runtime's own errors."""


class SettingsError(AssistantError):
    """The environment can't be worked with; the text names each variable and its remedy."""


class StoreUnavailableError(AssistantError):
    """A store does not answer."""


class StoreRefusedError(StoreUnavailableError):
    """A store refuses one statement, and serves others: that request's error.

    Parameters
    ----------
    message
        What is refused and why; holds no secret.
    status
        HTTP status for the client: 400 or 413 for data that can't be kept, 503 for a reason of the server's own.
    lasting
        Whether other requests will meet it too, such as a full disk or a missing right: /ready reports it.
    """

    def __init__(self, message: str, *, status: int = 503, lasting: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.lasting = lasting

    @property
    def of_data(self) -> bool:
        """Whether the data is at fault, which no later attempt can keep."""
        return self.status < 500  # noqa: PLR2004 - HTTP's number


class ToolError(AssistantError):
    """A tool failed; the text is for the model and the client, and holds no secret."""


class ApiError(AssistantError):
    """An error for the client.

    Parameters
    ----------
    status
        HTTP status code.
    message
        One sentence that says what to do.
    error_type
        OpenAI's `type`, for example `invalid_request_error`.
    code
        Stable name of this error.
    param
        The request's field at fault.
    headers
        Further response headers, for example `Retry-After`.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        error_type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.error: dict[str, Any] = {"message": message, "type": error_type, "param": param, "code": code}

    @property
    def body(self) -> bytes:
        """The answer's JSON."""
        return error_body(self.error)


def not_allowed(model: str) -> ApiError:
    """Give the error for a model that a key may not ask, as OpenAI's API gives it for a project."""
    return ApiError(
        403, f"The API key does not have access to the model {model!r}.", code="model_not_found", param="model"
    )


class ModelNotFoundError(ApiError):
    """Nobody has the model that a client named."""

    def __init__(self, model: str) -> None:
        super().__init__(
            404,
            f"The model {model!r} does not exist. GET /v1/models lists those that there are.",
            code="model_not_found",
            param="model",
        )


class ProviderError(AssistantError):
    """A provider failed.

    Parameters
    ----------
    status
        HTTP status for the client: 502 unreachable or wrong, 503 overloaded, 504 silent, 429 limited, or the
        provider's own 4xx.
    message
        What happened, without any secret.
    code
        Stable name of this error.
    fallback
        Whether another provider may do better.
    retry_after
        The provider's `Retry-After`, unchanged.
    error
        The provider's own error, in OpenAI's shape.
    provider_status
        The provider's own HTTP status, of its answer or within it; 0: it gave none.
    at_fault
        Whether the failure says something against the provider, and not only of this request or of load.
        None: as `fallback` says.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        fallback: bool = True,
        retry_after: str | None = None,
        error: Mapping[str, Any] | None = None,
        provider_status: int = 0,
        at_fault: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.provider_status = provider_status
        self.at_fault = fallback if at_fault is None else at_fault
        self.code = code
        self.fallback = fallback
        self.retry_after = retry_after
        self.error = error

    def to_api_error(self) -> ApiError:
        """Give what the client is told."""
        headers = {"retry-after": self.retry_after} if self.retry_after else {}
        own = {} if self.status in {502, 503, 504} else self.error or {}
        default_type = "rate_limit_error" if self.status == 429 else "upstream_error"  # noqa: PLR2004 - HTTP's number
        code = own.get("code")
        answer = ApiError(
            self.status,
            self.message,
            error_type=str(own.get("type") or default_type),
            # Some providers repeat the status here, which names nothing.
            code=code if isinstance(code, str) and code else self.code,
            headers=headers,
        )
        answer.error["param"] = own.get("param")
        return answer


def error_body(error: Mapping[str, Any]) -> bytes:
    """Encode an error object in OpenAI's envelope."""
    return orjson.dumps({"error": error})
