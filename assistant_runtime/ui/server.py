"""Serve the chat page until a signal ends it."""

import signal
import threading
from pathlib import Path

import gradio as gr
import structlog
from gradio.utils import get_upload_folder
from starlette.middleware import Middleware

from assistant_runtime.settings.ui import PageSettings
from assistant_runtime.settings.values import EVERY_ADDRESS
from assistant_runtime.ui.content import OwnContentOnly
from assistant_runtime.ui.guard import PageGuard
from assistant_runtime.ui.page import CSS_FILE, FONTS, SCRIPT_FILE, ChatPage

MAX_UPLOAD = "20mb"
CHATS_AT_ONCE = 200
"""Each is a coroutine that waits for the API; the API's own limits are the ones that count."""


def serve_page(settings: PageSettings) -> None:
    """Serve the page on GRADIO_HOST and GRADIO_PORT; returns after SIGTERM or SIGINT."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    page = launch(settings)
    structlog.get_logger(__name__).info("page_started", port=settings.gradio_port)
    ended.wait()
    page.close()


def launch(settings: PageSettings) -> gr.Blocks:
    """Start the page in the background and return it."""
    base_url = settings.assistant_url or f"http://127.0.0.1:{settings.port}/v1"
    uploads = Path(get_upload_folder())
    page = ChatPage(base_url).blocks
    host = settings.gradio_host
    if host == EVERY_ADDRESS:
        # Gradio's server takes one address, and with `::` no IPv4.
        host = "::" if ":" in settings.pod_ip else "0.0.0.0"  # noqa: S104 - what is asked for
    page.queue(default_concurrency_limit=CHATS_AT_ONCE, api_open=False)
    page.launch(
        server_name=f"[{host}]" if ":" in host else host,
        server_port=settings.gradio_port,
        root_path=settings.gradio_root_path or None,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        ssr_mode=False,
        mcp_server=False,
        footer_links=[],
        max_file_size=MAX_UPLOAD,
        enable_monitoring=False,
        # It would keep what was sent, the key too, in the browser as it is.
        run_history=False,
        theme=gr.themes.Soft(font=FONTS, font_mono=("ui-monospace", "monospace")),
        # Not as `css`: Gradio would put its own selectors before ours, and none of what is around the page would match.
        head=f"<style>{CSS_FILE.read_text()}</style><script>{SCRIPT_FILE.read_text()}</script>",
        app_kwargs={"middleware": [Middleware(OwnContentOnly), Middleware(PageGuard, base_url, uploads)]},
    )
    return page
