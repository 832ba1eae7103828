"""How the page is started: loopback only, cross-site request protection on, no usage statistics."""

from __future__ import annotations

import sys
from pathlib import Path

PAGE = Path(__file__).with_name("main.py")


def page_command(port: int) -> list[str]:
    """The command that serves the page on ``port`` of the loopback interface."""
    options = {
        "server.address": "127.0.0.1",
        "server.port": str(port),
        "server.headless": "true",
        "server.enableXsrfProtection": "true",
        "server.enableCORS": "true",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "streamlit", "run", str(PAGE), *flags]
