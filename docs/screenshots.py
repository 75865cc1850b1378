"""Writes the pictures of the page: `make screenshots`, while `make run` runs. Three clicks in
Chromium: sign in as United Airlines, cancellations, by origin."""

import json
import os
import shutil
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, sync_playwright

FOLDER = Path(__file__).resolve().parent
HOME = Path(os.environ.get("PGTALLY_HOME", FOLDER.parent / ".pgtally"))


def cancellations_by_origin(page: Any, url: str, key: str) -> None:
    """From the sign-in form to the breakdown."""
    page.goto(url)
    page.get_by_label("A key with the scope").fill(key)
    for click in (
        page.get_by_role("button", name="Sign in"),
        page.locator(".groups").get_by_role("link", name="cancellation"),
        page.locator(".dimensions").get_by_role("link", name="origin"),
    ):
        with page.expect_navigation():
            click.click()


def _picture(
    browser: Browser, published: dict[str, Any], name: str, width: int, height: int,
    scheme: Literal["light", "dark"],
) -> None:  # fmt: skip
    (united,) = (tenant for tenant in published["tenants"] if tenant["name"] == "UA")
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, locale="en-GB"
    )
    page = context.new_page()
    cancellations_by_origin(page, published["url"], united["apiKey"])
    page.screenshot(path=FOLDER / name)
    context.close()
    print(f"wrote docs/{name}")


def main() -> None:
    published = json.loads((HOME / "dev.json").read_text())
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        _picture(browser, published, "page.png", 1120, 980, "light")
        _picture(browser, published, "page-phone.png", 360, 740, "dark")
        browser.close()


if __name__ == "__main__":
    main()
