"""A real browser, headless: Debian's Chromium, driven by Playwright. Screenshots are kept in artifacts/screenshots."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright, expect

from tests.support.server import debian_program

SCREENSHOTS = Path(__file__).parents[2] / "artifacts" / "screenshots"

ARGUMENTS = (
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""Without what a browser asks its maker for by itself."""

DESKTOP, PHONE = (1280, 800), (390, 844)
PATIENCE_MILLISECONDS = 60_000.0
"""Bounds every wait of a page; far more than a loaded machine needs."""


@asynccontextmanager
async def run_browser() -> AsyncIterator[Browser]:
    """Run Chromium, installing Debian's package where it is missing."""
    program = debian_program("chromium", "chromium", "BROWSER")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            await browser.close()


async def open_page(browser: Browser, url: str, size: tuple[int, int] = DESKTOP) -> tuple[Page, list[str]]:
    """Open a page; gives it, and the addresses that it asks for, which grow."""
    width, height = size
    page = await browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(PATIENCE_MILLISECONDS)
    # Expectations have a time of their own.
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.goto(url)
    return page, asked


async def screenshot(page: Page, name: str) -> None:
    """Keep what the page looks like."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=SCREENSHOTS / f"{name}.png")
