"""One limit of one GPU as an actuator of its own.

The guard gives an actuator back whole. The GPUs of a node serve several pods, and a stall lowers clocks while a cap
stays: each limit is taken and given back for itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from facility.devices.nvml.device import NvmlDevice
from facility.errors import DeviceError
from facility.records import Command, Point, Reading, Verdict

SETTLE_S = 1.0  # wall seconds; a clock falls some milliseconds after it was locked
LOOK_S = 0.02
TOLERANCE = 0.02  # of the value; NVML rounds clocks to its own steps


class OneLimit:
    """The limit ``point`` of the GPUs ``gpus``; both were read before."""

    restores = NvmlDevice.restores

    def __init__(self, gpus: NvmlDevice, point: str) -> None:
        """Raises DeviceError where the node has no such point."""
        if point not in gpus.points:
            raise DeviceError("the node has no such point", where=point, hint="read the GPUs first")
        self.name = point
        self._gpus = gpus
        self._point = gpus.points[point]

    @property
    def points(self) -> Mapping[str, Point]:
        """The one point; as the driver has it, or as it was where the driver is away."""
        return {self.name: self._gpus.points.get(self.name, self._point)}

    async def read(self, points: Sequence[str] | None = None) -> list[Reading]:
        """The limit in force. Raises DeviceError."""
        return await self._gpus.read([self.name] if points is None else points)

    def check(self, command: Command) -> Verdict:
        """What the GPU takes."""
        return self._gpus.check(command)

    async def write(self, command: Command) -> None:
        """Set or lift the limit. Raises DeviceError."""
        await self._gpus.write(command)

    async def read_back(self, command: Command) -> Reading:
        """The value now in force; a clock is given a moment to fall."""
        until = asyncio.get_running_loop().time() + SETTLE_S
        while True:
            reading = await self._gpus.read_back(command)
            if _is_close(command.value, reading.value) or asyncio.get_running_loop().time() > until:
                return reading
            await asyncio.sleep(LOOK_S)

    async def release(self, points: Sequence[str] | None = None) -> None:
        """Back to the GPU's default. Raises DeviceError."""
        await self._gpus.release([self.name])

    async def close(self) -> None:
        """The GPUs stay open: other limits are theirs too."""


def _is_close(wanted: float | None, found: float | None) -> bool:
    return wanted is None or (found is not None and abs(found - wanted) <= TOLERANCE * max(abs(wanted), 1.0))
