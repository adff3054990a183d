"""The least that passes chats on with common parts: Starlette, and aiohttp's client, with nothing on."""

import sys

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route


def pass_through(upstream: str) -> Starlette:
    """Give the application."""
    sessions: list[aiohttp.ClientSession] = []

    async def chat(request: Request) -> Response:
        if not sessions:
            sessions.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        body = await request.body()
        headers = {"content-type": "application/json"}
        answer = await sessions[0].post(f"{upstream}/chat/completions", data=body, headers=headers)
        if answer.content_type == "text/event-stream":
            return StreamingResponse(answer.content.iter_any(), media_type="text/event-stream")
        return Response(await answer.read(), answer.status, media_type="application/json")

    async def ready(_: Request) -> Response:
        return Response()

    return Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"]), Route("/ready", ready)])


if __name__ == "__main__":
    port, upstream = sys.argv[1:]
    uvicorn.run(pass_through(upstream), host="127.0.0.1", port=int(port), access_log=False, log_level="warning")
