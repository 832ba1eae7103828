from __future__ import annotations

import sys
import time
from pathlib import Path

from apps import supervise
from apps.supervise import Child


def _child(tmp_path: Path, code: str) -> Child:
    return Child("child", [sys.executable, "-c", code], tmp_path / "child.log")


def _until_dead(child: Child) -> None:
    assert child.process is not None
    child.process.wait(30)


def test_a_dead_child_rests_and_is_started_again(tmp_path: Path) -> None:
    child = _child(tmp_path, "import sys; print('gone'); sys.exit(3)")
    child.start()
    _until_dead(child)
    assert "ended with code 3; starts again in 2 s" in (child.keep_running() or "")
    assert child.keep_running() is None
    child.died_at = time.monotonic() - supervise.RESTART_AFTER_S
    assert child.keep_running() == "child started again"
    _until_dead(child)
    assert child.last_words() == "gone\ngone"


def test_deaths_in_a_row_rest_longer_up_to_a_limit(tmp_path: Path) -> None:
    child = _child(tmp_path, "")
    rests = []
    for deaths in (1, 2, 3, 20):
        child.deaths = deaths
        rests.append(child.rest_s())
    assert rests == [2.0, 4.0, 8.0, 30.0]


def test_stop_ends_a_child_that_will_not_listen(tmp_path: Path) -> None:
    child = _child(
        tmp_path,
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)",
    )
    child.start()
    while "1" not in child.last_words():
        time.sleep(0.02)
    supervise_limit = supervise.STOP_WITHIN_S
    try:
        supervise.STOP_WITHIN_S = 0.2
        child.stop()
    finally:
        supervise.STOP_WITHIN_S = supervise_limit
    assert child.exit_code == -9
