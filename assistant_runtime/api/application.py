"""FastAPI with this project's middleware around it, not inside: what tokens go through is answered before it."""

from fastapi import FastAPI
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send


class Application(FastAPI):
    """A FastAPI whose own layers cost only the requests that reach its routes.

    Its outermost layer, which answers unhandled errors in its own words, is left out: ours does that.
    """

    def build_middleware_stack(self) -> ASGIApp:
        """Put the middleware that was added around FastAPI's own layers."""
        added, self.user_middleware = self.user_middleware, []
        try:
            stack = super().build_middleware_stack()
        finally:
            self.user_middleware = added
        if isinstance(stack, ServerErrorMiddleware):
            stack = stack.app
        for layer in reversed(added):
            stack = layer.cls(stack, *layer.args, **layer.kwargs)
        return stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        scope["app"] = self
        if self.middleware_stack is None:
            self.middleware_stack = self.build_middleware_stack()
        await self.middleware_stack(scope, receive, send)
