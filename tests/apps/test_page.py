"""The live page in a real browser against a running service."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.apps.running import eco_up, wait_for
from tests.peers.require import require_program

SECTIONS = ("Power: facility and IT", "PUE, category 3", "Carbon intensity", "Rack inlets", "Jobs", "Last decisions")


def test_the_page_shows_the_running_building(tmp_path: Path) -> None:
    chromium = require_program("chromium", "apt-get install chromium")
    with eco_up(tmp_path, "--speed", "240") as running, sync_playwright() as playwright:
        running.wait_for_decisions(2)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1400, "height": 1800})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        wait_for(lambda: page.goto(running.read("page.json")["url"]) is not None, "the page")
        page.get_by_text("Last decisions").first.wait_for(timeout=60_000)
        page.locator(".js-plotly-plot").nth(3).wait_for(timeout=60_000)
        text = page.locator("body").inner_text()
        missing = [section for section in SECTIONS if section not in text]
        browser.close()
    assert missing == []
    assert "Traceback" not in text
    assert errors == []
