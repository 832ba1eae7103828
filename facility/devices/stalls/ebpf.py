"""Block requests under way, by bpftrace on the kernel's block tracepoints.

bpftrace counts requests that were issued, and those of them that were done, with a counter a CPU: nothing is lost to a
race between CPUs, and a request that was issued before it started, issued again, or done in parts is counted once.
Every ``SAMPLE_MS`` it prints both; the share of samples with more issued than done is the share of time in which at
least one request was outstanding. The kernel drops an event that interrupts another eBPF program on the same CPU: once
/proc/diskstats says that nothing is under way, what still seems to be is known to have been dropped.

Write-back in the background counts too, though no task waits for it: this is how busy the disks are, where pressure
(psi.py) is how long tasks waited.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from facility.errors import DeviceError, Reason

SAMPLE_MS = 20
STOP_S = 2.0
DISKSTATS = Path("/proc/diskstats")
IN_FLIGHT_COLUMN = 11  # counted from 0, of 14 or more (Documentation/admin-guide/iostats.rst, field 9)
# The key is looked up again once stored: where the table of bpftrace is full, the request is not counted at all. A
# flush has no sector: it is issued with 0 and done with the highest number.
PROGRAM = """
tracepoint:block:block_rq_issue /@open[args->dev, args->sector] == 0/ {
  @open[args->dev, args->sector] = 1;
  if (@open[args->dev, args->sector] == 1) { @issued = count(); }
}
tracepoint:block:block_rq_complete {
  $sector = args->sector == 0xffffffffffffffff ? 0 : args->sector;
  if (@open[args->dev, $sector] == 1) { delete(@open[args->dev, $sector]); @done = count(); }
}
interval:ms:%d { print(@issued); print(@done); }
"""
# What bpftrace says where it cannot attach, and what that means: reason and hint.
REFUSALS = (
    ("running as the root user", "bpftrace needs root", "run as root, or read pressure instead"),
    (
        "tracepoint not found",
        "the kernel shows no block tracepoints",
        "mount -t tracefs nodev /sys/kernel/tracing; else the kernel has none",
    ),
    ("Operation not permitted", "the kernel does not allow eBPF here", "CAP_BPF and CAP_PERFMON are needed; lockdown?"),
)


class Tally:
    """Samples of requests issued and done; without a process, so that it can be fed by hand."""

    def __init__(self) -> None:
        self.is_attached = False
        self.said: list[str] = []  # what was no sample: the words of a failure
        self._issued = self._outstanding = 0
        self._dropped = 0  # requests whose end was not seen
        self._samples = self._busy = 0

    def feed(self, line: str) -> None:
        """One line of bpftrace's output."""
        try:
            message = json.loads(line)
            kind, data = message["type"], message["data"]
            if kind == "attached_probes":
                self.is_attached = True
            elif kind == "map":
                self._count(dict(data))
        except (ValueError, TypeError, KeyError):
            if line.strip():
                self.said = [*self.said[-9:], line.strip()]

    def _count(self, data: dict[str, object]) -> None:
        issued, done = data.get("@issued"), data.get("@done")
        if isinstance(issued, int):
            self._issued = issued
        elif isinstance(done, int):
            self._outstanding = self._issued - done
            self._dropped = min(self._dropped, self._outstanding)
            self._samples += 1
            self._busy += self._outstanding > self._dropped

    def settle(self) -> None:
        """Nothing is under way now: what seems to be was dropped. A mistake in this ends with the next idle sample."""
        self._dropped = self._outstanding

    def take_pct(self) -> float | None:
        """Share of the samples since the last call, in percent; None where there were none."""
        samples, busy = self._samples, self._busy
        self._samples = self._busy = 0
        return None if samples == 0 else busy / samples * 100.0


def requests_in_flight(path: Path = DISKSTATS) -> int | None:
    """Requests under way on all disks, by the kernel's own count; None where it does not tell."""
    try:
        rows = [line.split() for line in path.read_text(encoding="ascii", errors="replace").splitlines()]
        return sum(int(row[IN_FLIGHT_COLUMN]) for row in rows)
    except (OSError, ValueError, IndexError):
        return None


class BlockTrace:
    """bpftrace as a child process, from the first call on.

    It ends with its parent, however that ends: the next sample has no reader then, and kills it (SIGPIPE).
    """

    def __init__(self, name: str, deadline_s: float, program: str = "bpftrace") -> None:
        self._name, self._deadline_s, self._program = name, deadline_s, program
        self._tally = Tally()
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def busy_pct(self) -> float | None:
        """Share of the time since the last call with a request outstanding; None with the first call.

        Raises DeviceError with one plain reason where bpftrace cannot be started, cannot attach or has ended; the call
        after that starts it again.
        """
        if self._reading is None:
            await self._start()
            await self._until(lambda: self._tally.is_attached)
            self._tally.take_pct()
        if self._reading is not None and self._reading.done():
            error = self._why()
            await self.close()
            raise error
        if requests_in_flight() == 0:
            self._tally.settle()
        return self._tally.take_pct()

    async def _start(self) -> None:
        path = shutil.which(self._program)
        if path is None:
            hint = "apt-get install bpftrace, or read pressure instead"
            raise DeviceError(f"{self._program} is not installed", where=self._name, hint=hint, reason=Reason.CONFIG)
        self._tally = Tally()
        self._process = await asyncio.create_subprocess_exec(
            path,
            *("-B", "line", "-f", "json", "-e", PROGRAM % SAMPLE_MS),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self._reading = asyncio.create_task(self._read(self._process))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        with contextlib.suppress(ValueError):  # a line without end: not bpftrace
            while line := await process.stdout.readline():
                self._tally.feed(line.decode(errors="replace"))

    async def _until(self, is_so: Callable[[], bool]) -> None:
        """Wait for something that is read, for the deadline at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._deadline_s):
                while not is_so() and self._reading is not None and not self._reading.done():
                    await asyncio.sleep(0.02)

    def _why(self) -> DeviceError:
        said = " ".join(self._tally.said)
        for words, what, hint in REFUSALS:
            if words in said:
                return DeviceError(what, where=self._name, hint=hint, reason=Reason.CONFIG)
        last = next((line for line in reversed(self._tally.said) if "ERROR" in line), "it said nothing")
        return DeviceError(f"bpftrace has ended: {last}", where=self._name, hint="run it by hand to see why")

    async def close(self) -> None:
        """End bpftrace; a later call starts it again."""
        process, reading = self._process, self._reading
        self._process = self._reading = None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(STOP_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        if reading is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
