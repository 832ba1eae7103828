"""Real programs that the tests talk to: found, or a reason to skip."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.shared import missing

SYSTEM_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))


def require_program(name: str, how: str) -> str:
    """Path of a program; skips the test where it is absent (fails where CI=true) and says how to get it."""
    found = shutil.which(name, path=SYSTEM_PATH)
    if found is None:
        missing(f"{name} is not installed: {how}")
    return str(found)


def require_library(name: str, how: str) -> str:
    """Path of a shared library in the system's folders; skips like require_program."""
    found = sorted(path for folder in ("/usr/lib", "/usr/local/lib") for path in Path(folder).glob(f"**/{name}"))
    if not found:
        missing(f"{name} is not installed: {how}")
    return str(found[0])
