"""Where anyone on this machine may ask, no web page may ask in their name.

A browser on the same machine reaches loopback for any page that it shows: by a request that needs no leave, or by a
name of the page's own that it lets lead to 127.0.0.1 (DNS rebinding). Either is told from a person's by what a page
can't choose, the headers Origin and Host.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from assistant_runtime.api.context import header
from assistant_runtime.api.middleware import API_PREFIX
from assistant_runtime.errors import ApiError
from assistant_runtime.settings.values import is_loopback

REMEDY = "Name its origin in CORS_ORIGINS, or set API_KEYS, which every client then sends."


class OwnMachine:
    """Refuse what pages of other machines ask.

    Parameters
    ----------
    origins
        Origins that may ask all the same.
    """

    def __init__(self, app: ASGIApp, origins: Iterable[str]) -> None:
        self._app = app
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request that may pass."""
        if scope["type"] == "http" and scope["path"].startswith(API_PREFIX):
            origin = (header(scope, b"origin") or b"").decode("latin-1")
            if origin and not is_loopback(_host(origin)) and not self._origins & {origin, "*"}:
                raise _refused(f"Pages of {origin!r} may not use this assistant, because it requires no key. {REMEDY}")
            host = (header(scope, b"host") or b"").decode("latin-1")
            if host and not is_loopback(_host(f"http://{host}")):
                raise _refused(
                    f"Without API_KEYS this assistant serves only its own machine, which {host!r} is not. Set API_KEYS."
                )
        await self._app(scope, receive, send)


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _refused(message: str) -> ApiError:
    return ApiError(403, message, error_type="permission_error", code="origin_not_allowed")
