"""The list of a BMC's sensors, kept: reading it takes a request or more for each, seconds to half a minute in all."""

from __future__ import annotations

import asyncio
import contextlib

from facility.devices.ipmi.link import Answer, IpmiLink
from facility.devices.ipmi.sdr import Sensor, read_repository, repository_version
from facility.errors import DeviceError


class SensorList:
    """Reads the sensor data repository in the background, and again where a new session finds it changed."""

    def __init__(self, link: IpmiLink) -> None:
        self._link = link
        self._sensors: list[Sensor] = []
        self._version = b""  # of the repository
        self._session = -1  # in which the version was last compared
        self._reading: asyncio.Task[None] | None = None

    async def get(self) -> list[Sensor]:
        """The sensors. Where the caller gives up, reading goes on and the next call finds more. Raises DeviceError."""
        if self._reading is None and self._session != self._link.sessions:
            self._reading = asyncio.create_task(self._read())
            self._reading.add_done_callback(_look)
        if self._reading is not None:
            reading = self._reading
            try:
                await asyncio.shield(reading)
            finally:
                if reading.done():
                    self._reading = None
        return self._sensors

    async def _read(self) -> None:
        version = await repository_version(self._ask)
        if version != self._version:
            self._sensors = await read_repository(self._ask)
            self._version = version
        self._session = self._link.sessions

    async def _ask(self, netfn: int, command: int, data: bytes) -> Answer:
        return await self._link.ask(netfn, command, data)

    async def close(self) -> None:
        """Stop reading."""
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError, DeviceError):
                await reading


def _look(task: asyncio.Task[None]) -> None:
    """A failure after everybody has given up is no news: the next call tries again."""
    if not task.cancelled():
        task.exception()
