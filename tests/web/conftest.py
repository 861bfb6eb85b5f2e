"""A real browser for the pages.

Chromium is the one named by DAYSHEET_TEST_BROWSER, or the first of BROWSERS on PATH. Node's modules are looked for
where scripts/test puts them, or in the folder named by DAYSHEET_TEST_NODE_MODULES.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

BROWSERS: Final = ("chromium-headless-shell", "chromium", "google-chrome")
# Without a sandbox since it also runs as root, in containers; and quiet, so that what it asks for is the page's doing.
ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS: Final = 5_000
"""For what has to travel to the server and back, on a machine that does other things too."""


def cannot_run(reason: str) -> NoReturn:
    """A machine of CI has everything; elsewhere a test that lacks something is left out, and says why."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def program(name: str, *others: str) -> str:
    """Where the first of these programs is."""
    for each in (name, *others):
        if found := shutil.which(each):
            return found
    cannot_run(f"{name} is not on PATH")


@dataclass  # without slots: Playwright leaves something of its own on whoever listens to it
class Visit:
    """A page and what it did besides: what it wrote on the console, whom it asked for something."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def _watch_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def watch(self) -> None:
        self.page.on("console", self._watch_console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("websocket", lambda socket: self.requests.append(socket.url))


@pytest_asyncio.fixture
async def browser() -> AsyncIterator[Browser]:
    named = os.environ.get("DAYSHEET_TEST_BROWSER")
    executable = program(*([named] if named else BROWSERS))
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        yield chromium
        await chromium.close()


@pytest_asyncio.fixture
async def visit(browser: Browser) -> AsyncIterator[Visit]:
    """An empty page, of a visitor whose clock shows another date than the hospital's for half of the day."""
    context = await browser.new_context(timezone_id="Pacific/Honolulu", locale="en-GB")
    context.set_default_timeout(PATIENCE_MS)
    visit = Visit(await context.new_page())
    visit.watch()
    yield visit
    await context.close()


@pytest.fixture
def node_modules() -> Path:
    """A folder that holds the npm package `ws`."""
    root = Path(__file__).parents[2]
    folder = Path(os.environ.get("DAYSHEET_TEST_NODE_MODULES") or root / ".venv" / "node" / "node_modules")
    if not (folder / "ws").is_dir():
        cannot_run(f"the npm package ws is not in {folder}")
    return folder
