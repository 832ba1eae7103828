"""I/O stalls of a node and of each pod on it, as one signal: ``io_stall_pct``, percent of the time since the last read.

``node-3/io_stall_pct`` is the node's, ``node-3/pod-UID/io_stall_pct`` a pod's. Pods come and go, and their points with
them. A first read has no value: it begins the interval. Nothing is written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from facility.clock import Clock
from facility.devices.base import check_limits
from facility.devices.blocking import Blocking
from facility.devices.stalls.ebpf import BlockTrace
from facility.devices.stalls.psi import NODE_PRESSURE, PRESSURE_FILE, StallMeter, find_pods, find_unified, read_some_us
from facility.errors import DataError, DeviceError, Reason
from facility.records import Command, Point, Quality, Reading, Verdict
from facility.site import Device

QUANTITY = "io_stall_pct"
SOURCES = {
    "psi": "share of time in which at least one task waited for I/O (PSI some)",
    "ebpf": "share of time in which at least one block request was outstanding (eBPF)",
}


class StallDevice:
    """This machine; ``name`` is that of the node. Pods are always measured by pressure, the node by either source."""

    def __init__(
        self,
        device: Device,
        clock: Clock,
        *,
        node_file: Path = NODE_PRESSURE,
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """``steady_s``: seconds of a clock that is never set; the kernel counts stalls in wall time, whatever ours."""
        self.name = device.name
        self._clock, self._steady_s = clock, steady_s
        self._node_file = node_file
        self._root = find_unified(device.cgroup_root)
        self._blocking = Blocking(f"{device.name} (stalls)", device.deadline_s, "is the cgroup file system alive?")
        self._trace = BlockTrace(device.name, device.deadline_s) if device.stall_source == "ebpf" else None
        self._node = f"{device.name}/{QUANTITY}"
        self._meters: dict[str, StallMeter] = {}
        self._points: dict[str, Point] = {self._node: self._point(self._node)}

    @property
    def points(self) -> Mapping[str, Point]:
        """The node's stall, and those of the pods that the last read found."""
        return self._points

    async def read(self, points: Sequence[str] | None = None) -> list[Reading]:
        """Read some or all points; one that is read for the first time has no value, nor one of a pod that has ended.

        Raises DeviceError where the kernel does not tell, DeviceTimeout where it hangs.
        """
        known = set(self._points)
        shares = await self._blocking.run(lambda: self._measure(points))
        if self._trace is not None and self._node in shares:
            shares[self._node] = await self._trace.busy_pct()
        names = list(shares) if points is None else list(points)
        unknown = [name for name in names if name not in shares and name not in known]
        if unknown:
            raise DeviceError("the node has no such point", where=unknown[0], hint="has the pod ended?")
        at = self._clock.now()
        return [self._reading(name, shares.get(name), at) for name in names]

    def _reading(self, name: str, value: float | None, at: datetime) -> Reading:
        return Reading(name, value, "%", at, Quality.BAD if value is None else Quality.GOOD, self.name)

    def _measure(self, points: Sequence[str] | None) -> dict[str, float | None]:
        """The shares of those ``points`` that exist; all of them for None."""
        files = self._find()
        self._points = {name: self._point(name) for name in files}
        self._meters = {name: self._meters.get(name) or StallMeter() for name in files}
        return {name: self._share(name, path) for name, path in files.items() if points is None or name in points}

    def _find(self) -> dict[str, Path]:
        """The file of each point, the node's first."""
        try:
            pods = find_pods(self._root)
        except OSError as error:
            raise self._failure(error, "is this a cgroup v2 file system? see cgroup_root") from error
        found = {f"{self.name}/pod-{uid}/{QUANTITY}": path / PRESSURE_FILE for uid, path in sorted(pods.items())}
        return {self._node: self._node_file} | found

    def _share(self, name: str, path: Path) -> float | None:
        if name == self._node and self._trace is not None:
            return None  # asked for from the trace
        try:
            total_us = read_some_us(path)
        except OSError as error:
            if name != self._node:
                return self._meters[name].update(None, self._steady_s())  # one pod costs the others nothing
            raise self._failure(error, "may this user read it?") from error
        except DataError as error:
            raise DeviceError(error.what, where=error.where, hint=error.hint, reason=Reason.CONFIG) from error
        if name == self._node and total_us is None:
            hint = "boot with psi=1 (CONFIG_PSI, Linux 4.20 or later), or take stall_source 'ebpf'"
            raise DeviceError("the kernel does not count pressure", where=str(path), hint=hint, reason=Reason.CONFIG)
        return self._meters[name].update(total_us, self._steady_s())

    def _failure(self, error: OSError, hint: str) -> DeviceError:
        where = str(error.filename or self._root)
        return DeviceError(f"cannot be read: {error.strerror}", where=where, hint=hint, reason=Reason.CONFIG)

    def _point(self, name: str) -> Point:
        source = SOURCES["psi" if self._trace is None or name != self._node else "ebpf"]
        return Point(name, "stall", "%", name.rpartition("/")[0], source)

    def check(self, command: Command) -> Verdict:
        """Rejects every command: stalls are only measured."""
        return check_limits(self._points, command)

    async def write(self, command: Command) -> None:
        """Always raises DeviceError."""
        raise DeviceError("stalls are only measured", where=command.point)

    async def read_back(self, command: Command) -> Reading:
        """The value since the last read."""
        (reading,) = await self.read([command.point])
        return reading

    async def release(self, points: Sequence[str] | None = None) -> None:
        """Nothing was taken, so nothing is given back."""

    async def close(self) -> None:
        """End the trace, where there is one."""
        if self._trace is not None:
            await self._trace.close()
