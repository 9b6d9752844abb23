"""A headless browser that shows the page of the emulators.

Needs Chromium and the dependency group `browser` (Playwright, installed without a browser):

    apt-get install chromium
    uv run --group browser pytest tests/browser

`TRANSFERKIT_TEST_BROWSER` is the path of another Chromium. The tests are skipped without either.
"""

import os
import shutil
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from transferkit.provider.entry_points import EMULATORS, announced

NAMES = ("chromium", "chromium-browser", "google-chrome")


def found_browser():
    named = os.environ.get("TRANSFERKIT_TEST_BROWSER")
    return named or next((path for name in NAMES if (path := shutil.which(name))), None)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser():
    playwright = pytest.importorskip("playwright.async_api", reason="needs the dependency group browser")
    path = found_browser()
    if path is None:
        pytest.skip("no Chromium is installed, and TRANSFERKIT_TEST_BROWSER is not set")
    async with playwright.async_playwright() as running:
        # Chromium's sandbox does not start for root, which containers run as.
        browser = await running.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        await browser.close()


class Tab:
    """The page in a tab; `errors` contains every error of the browser."""

    def __init__(self, page):
        self.page, self.errors = page, []
        page.on("console", self._add_message)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("dialog", lambda dialog: self.errors.append(f"a dialog: {dialog.message}"))

    def _add_message(self, message):
        if message.type in {"error", "warning"}:
            self.errors.append(message.text)

    async def tab_to(self, element_id, *, most=80):
        """Move the focus with the Tab key."""
        for _ in range(most):
            if await self.page.evaluate("document.activeElement.id") == element_id:
                return
            await self.page.keyboard.press("Tab")
        raise AssertionError(f"the Tab key does not reach the element {element_id}")


@pytest_asyncio.fixture(loop_scope="session")
async def site():
    pytest.importorskip("uvicorn")
    pytest.importorskip("starlette")
    from transferkit.emulators import emulators
    from transferkit.emulators.page import Page
    from transferkit.testing import serve

    if not announced(EMULATORS):
        pytest.skip("no emulator is installed")
    async with emulators(pace=0.02) as emulated:
        addresses = {name: server.url for name, server in emulated.servers.items()}
        page = Page(emulated.running, addresses=addresses)
        async with serve(page.app) as server:
            yield emulated, server.url
            page.close()


@pytest.fixture
def opened(browser, site):
    """Opens the page: `async with opened(color_scheme="dark") as tab`."""

    @asynccontextmanager
    async def open_page(*, width=1200, **options):
        context = await browser.new_context(viewport={"width": width, "height": 900}, **options)
        tab = Tab(await context.new_page())
        await tab.page.goto(site[1])
        await tab.page.get_by_text("live", exact=True).wait_for()
        yield tab
        await context.close()
        assert tab.errors == []

    return open_page
