"""Chromium of the distribution. Every page that a test opens is watched: no request leaves the
service, and the console stays empty."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.conftest import Service


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for the tests of a file. It ends with them, since its event loop is in the way of
    tests that run one of their own."""
    path = shutil.which("chromium")
    assert path, "Chromium is not installed; as root, run: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Watched:
    """A browser without a past, and what its pages did."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.requests: list[str] = []
        self.console: list[str] = []
        context.on("request", lambda request: self.requests.append(request.url))
        context.on("console", self._said)
        context.on("weberror", lambda error: self.console.append(str(error.error)))

    def _said(self, message: ConsoleMessage) -> None:
        self.console.append(f"{message.type}: {message.text}")

    def open(self, address: str) -> Page:
        page = self.context.new_page()
        page.goto(address)
        return page

    def forget(self, text: str) -> None:
        """Takes back the one message that the test made happen, such as that of a status 401."""
        (said,) = self.console
        assert text in said
        self.console.clear()


NewBrowser = Callable[..., Watched]


@pytest.fixture
def new_browser(chromium: Browser, service: Service) -> Iterator[NewBrowser]:
    """Makes browsers: new_browser(viewport={"width": 360, "height": 740}, color_scheme="dark").
    `service` says which service their pages may ask."""
    made: list[tuple[Watched, str]] = []

    def make(of: Service = service, **options: Any) -> Watched:
        context = chromium.new_context(base_url=of.url, **options)
        context.set_default_timeout(10_000)
        watched = Watched(context)
        made.append((watched, of.url))
        return watched

    yield make
    for watched, _ in made:
        watched.context.close()
    for watched, url in made:
        foreign = [one for one in watched.requests if not one.startswith(url + "/")]
        assert foreign == [], "requests left the service"
        assert watched.console == []
