from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from apps import supervise
from apps.supervise import Child
from facility.errors import ConfigError
from tests.apps.running import wait_for


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


def test_a_child_that_is_configured_wrongly_is_not_started_again(tmp_path: Path) -> None:
    child = _child(tmp_path, f"import sys; print('no such zone'); sys.exit({supervise.CONFIG_EXIT})")
    child.start()
    _until_dead(child)
    assert child.is_hopeless
    with pytest.raises(ConfigError, match="no such zone"):
        child.keep_running()


def test_deaths_in_a_row_rest_longer_up_to_a_limit(tmp_path: Path) -> None:
    child = _child(tmp_path, "")
    rests = []
    for deaths in (1, 2, 3, 20):
        child.deaths = deaths
        rests.append(child.rest_s())
    assert rests == [2.0, 4.0, 8.0, 30.0]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
def test_children_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    code = f"""
import time
from pathlib import Path
from apps.supervise import Child
from facility.errors import ConfigError
from tests.apps.running import wait_for
child = Child("child", ["sleep", "60"], Path({str(tmp_path / "child.log")!r}))
child.start()
print(child.process.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        pid = int(supervisor.stdout.readline())
        supervisor.kill()
    wait_for(lambda: not _is_alive(pid), "the child's end")


def _is_alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


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
