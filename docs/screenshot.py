"""Writes docs/live.png: the live page of a run on synthetic signals. Run it with `make screenshot`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.apps.running import eco_up, wait_for

TARGET = Path(__file__).with_name("live.png")
DECISIONS = 24  # six simulated hours


def main() -> None:
    """Start the embedded default, wait for some hours of history, take the picture."""
    with tempfile.TemporaryDirectory() as state, eco_up(Path(state), "--speed", "300") as running:
        running.wait_for_decisions(DECISIONS)
        with sync_playwright() as playwright:
            options = {"executable_path": "/usr/bin/chromium", "args": ["--no-sandbox", "--disable-gpu"]}
            browser = playwright.chromium.launch(**options)
            page = browser.new_page(viewport={"width": 1500, "height": 1500})
            wait_for(lambda: page.goto(running.read("page.json")["url"]) is not None, "the page")
            page.locator(".js-plotly-plot").nth(3).wait_for(timeout=60_000)
            page.wait_for_timeout(3000)
            page.screenshot(path=str(TARGET))
            browser.close()


if __name__ == "__main__":
    main()
