"""What a browser may load for the chat page: only what the page itself serves.

An answer is Markdown, and may hold a picture's address that a web page or a document talked the model into. Loading it
would send whatever stands in that address to whoever owns it, so the browser is told not to.
"""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
    "frame-src 'none'; object-src 'none'; form-action 'self'"
)
"""Scripts and styles are left out: Gradio writes its own into the page."""


class OwnContentOnly:
    """Adds the policy to every answer.

    Parameters
    ----------
    app
        The page.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""

        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["content-security-policy"] = POLICY
            await send(message)

        await self._app(scope, receive, with_policy)
