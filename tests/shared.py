"""The real recordings and traces beside the checkout: needed with CI=true, otherwise a reason to skip."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def shared(relative: str) -> Path:
    """Path of a file of the shared data; skips the test where it is absent, fails where CI=true."""
    path = SHARED / relative
    if not path.exists():
        missing(f"real data ../shared/data/{relative} is not beside the checkout")
    return path


def missing(reason: str) -> None:
    """Skip with one line, or fail where CI=true, because there everything must run."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
