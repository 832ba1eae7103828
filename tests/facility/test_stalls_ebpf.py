"""Stalls by eBPF: the real bpftrace on this machine's disks, where it may attach, and its refusals."""

from __future__ import annotations

import asyncio
import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facility.clock import WallClock
from facility.devices.stalls import StallDevice
from facility.devices.stalls.ebpf import BlockTrace, Tally, requests_in_flight
from facility.errors import DeviceError
from facility.site import Device
from tests.peers.require import require_program

DEADLINE_S = 60.0  # bpftrace compiles its program when it starts
BLOCK = 1 << 20
TRACEFS = "/sys/kernel/tracing"
PARENT = """
import asyncio, sys
from facility.devices.stalls.ebpf import BlockTrace
async def main():
    trace = BlockTrace("node-3", 60.0, sys.argv[1])
    await trace.busy_pct()
    print(trace._process.pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""

# The program's output ------------------------------------------------------------------------------------------------


def sample(issued: int, done: int) -> list[str]:
    return [
        f'{{"type": "map", "data": {{"@{name}": {count}}}}}' for name, count in (("issued", issued), ("done", done))
    ]


def test_the_share_of_samples_with_a_request_outstanding() -> None:
    tally = Tally()
    assert tally.take_pct() is None
    for line in ('{"type": "attached_probes", "data": {"probes": 3}}', *sample(4, 4), "", *sample(9, 7), *sample(9, 9)):
        tally.feed(line)
    assert tally.is_attached
    assert tally.take_pct() == pytest.approx(100 / 3)
    assert tally.take_pct() is None


def test_a_request_whose_end_was_dropped_is_no_longer_outstanding_once_the_disks_are_known_to_be_idle() -> None:
    tally = Tally()
    for line in sample(5, 4):
        tally.feed(line)
    tally.settle()
    assert tally.take_pct() == 100.0
    for line in (*sample(6, 5), *sample(8, 6), *sample(8, 7)):
        tally.feed(line)
    assert tally.take_pct() == pytest.approx(100 / 3)
    for line in (*sample(8, 8), *sample(9, 8)):  # it was no drop after all
        tally.feed(line)
    assert tally.take_pct() == 50.0


def test_the_kernel_counts_requests_in_flight(tmp_path: Path) -> None:
    file = tmp_path / "diskstats"
    assert requests_in_flight(file) is None
    file.write_text(
        " 254 0 vda 1190 22 61690 211 5150 2210 300 9300 3 2900 9600 0 0 0 0 90 88\n"
        "   7 0 loop0 0 0 0 0 0 0 0 0 1 0 0\n"
    )
    assert requests_in_flight(file) == 4
    file.write_text("7 0 loop0\n")
    assert requests_in_flight(file) is None


def test_what_is_no_sample_is_kept_as_words() -> None:
    tally = Tally()
    for line in ("ERROR: no", "7", '{"type": "map", "data": 3}', '{"type": "map", "data": {"@open": {"1,2": 1}}}'):
        tally.feed(line)
    assert tally.said == ["ERROR: no", "7", '{"type": "map", "data": 3}']
    assert tally.take_pct() is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3), lambda one: st.lists(one, max_size=2)
)


@given(st.text() | JSON.map(lambda data: f'{{"type": "map", "data": {{"@done": {data!r}}}}}'))
def test_any_line_is_a_sample_or_words(line: str) -> None:
    tally = Tally()
    tally.feed(line)
    assert tally.take_pct() in (None, 0.0, 100.0)


# The real bpftrace ---------------------------------------------------------------------------------------------------


def wrapper(folder: Path, before: str, command: str = "exec bpftrace") -> str:
    """bpftrace in a mount namespace of its own, so that what is mounted for it concerns nobody else."""
    require_program("bpftrace", "apt-get install bpftrace")
    if os.geteuid() != 0:
        pytest.skip("bpftrace needs root")
    path = folder / "bpftrace-here"
    path.write_text(f'#!/bin/sh\nexec unshare --mount sh -c \'{before}; {command} "$@"\' sh "$@"\n')
    path.chmod(0o755)
    return str(path)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A bpftrace that may attach; skips where this kernel does not let it."""
    mount = f"test -e {TRACEFS}/events || mount -t tracefs nodev {TRACEFS}"
    path = wrapper(tmp_path_factory.mktemp("bpftrace"), mount)
    probe = "tracepoint:block:block_rq_issue { @ = count(); } interval:ms:1 { exit(); }"
    done = subprocess.run([path, "-e", probe], capture_output=True, text=True, timeout=DEADLINE_S)
    if done.returncode != 0:
        pytest.skip(f"bpftrace may not attach here: {(done.stderr.splitlines() or ['no word'])[-1]}")
    return path


def write_for(seconds: float, file: Path) -> None:
    """Keep the disk writing: O_DIRECT is not answered from memory, so requests are issued at once."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_DIRECT)
    until = time.monotonic() + seconds
    try:
        with mmap.mmap(-1, BLOCK) as block:  # aligned to a page, as O_DIRECT wants it
            while time.monotonic() < until:
                os.pwrite(handle, block, 0)
    finally:
        os.close(handle)


async def test_a_disk_that_writes_is_outstanding_most_of_the_time(program: str, tmp_path: Path) -> None:
    device = Device(
        name="node-3", protocol="stalls", stall_source="ebpf", cgroup_root=str(tmp_path), deadline_s=DEADLINE_S
    )
    node = StallDevice(device, WallClock())
    node._trace = BlockTrace("node-3", DEADLINE_S, program)
    (first,) = await node.read()
    assert first.value is None
    try:
        await asyncio.to_thread(write_for, 1.5, tmp_path / "written")
    except OSError as error:
        pytest.skip(f"the folder for tests is on no disk: {error}")
    (busy,) = await node.read()
    await node.close()
    assert busy.value is not None
    assert 1.0 < busy.value <= 100.0


async def test_a_flush_is_seen_to_end(program: str, tmp_path: Path) -> None:
    trace = BlockTrace("node-3", DEADLINE_S, program)
    await trace.busy_pct()
    try:
        await asyncio.to_thread(write_for, 0.2, tmp_path / "written")
    except OSError as error:
        pytest.skip(f"the folder for tests is on no disk: {error}")
    await asyncio.to_thread(os.sync)
    await until(lambda: trace._tally._issued > 0 and trace._tally._outstanding == 0)
    await trace.close()


async def test_it_ends_when_it_is_closed_and_starts_again_when_it_is_read(program: str) -> None:
    trace = BlockTrace("node-3", DEADLINE_S, program)
    for _ in range(2):
        await trace.busy_pct()
        assert trace._process is not None
        pid = trace._process.pid
        assert is_alive(pid)
        await trace.close()
        assert not is_alive(pid)


async def test_one_that_was_killed_is_an_error_once(program: str) -> None:
    trace = BlockTrace("node-3", DEADLINE_S, program)
    await trace.busy_pct()
    assert trace._process is not None
    trace._process.kill()
    await trace._process.wait()
    await until(lambda: trace._reading is not None and trace._reading.done())
    with pytest.raises(DeviceError, match="bpftrace has ended"):
        await trace.busy_pct()
    await trace.busy_pct()
    await trace.close()


async def test_it_does_not_outlive_a_parent_that_was_killed(program: str) -> None:
    command = [sys.executable, "-c", PARENT, program]
    parent = await asyncio.to_thread(subprocess.Popen, command, stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        pid = int(await asyncio.to_thread(parent.stdout.readline))
        assert is_alive(pid)
        parent.send_signal(signal.SIGKILL)
    await until(lambda: not is_alive(pid))


# Refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "command", "said"),
    [
        ("true", "exec setpriv --reuid=65534 --clear-groups bpftrace", "bpftrace needs root"),
        (
            "umount /sys/kernel/tracing /sys/kernel/debug 2>/dev/null",
            "exec bpftrace",
            "shows no block tracepoints .*tracefs",
        ),
        ("echo ERROR: something new", "exit 1; :", "bpftrace has ended: ERROR: something new"),
    ],
)
async def test_each_refusal_is_one_plain_reason(tmp_path: Path, before: str, command: str, said: str) -> None:
    trace = BlockTrace("node-3", DEADLINE_S, wrapper(tmp_path, before, command))
    with pytest.raises(DeviceError, match=said):
        await trace.busy_pct()


async def test_a_machine_without_bpftrace_says_so() -> None:
    with pytest.raises(DeviceError, match="no-such-bpftrace is not installed"):
        await BlockTrace("node-3", DEADLINE_S, "no-such-bpftrace").busy_pct()


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not is_so():
            await asyncio.sleep(0.05)
