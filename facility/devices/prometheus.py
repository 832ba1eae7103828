"""Placeholder."""

from __future__ import annotations

from collections.abc import Sequence

from facility.clock import Clock
from facility.devices.base import Absent, ProfileDevice
from facility.profile import Profile, ProfilePoint
from facility.site import Device


class PrometheusDevice(ProfileDevice):
    """Placeholder."""

    def __init__(self, device: Device, profile: Profile, clock: Clock) -> None:
        super().__init__(device.name, profile, clock, "prometheus")
        self._device = device

    async def _read_raw(self, wanted: Sequence[ProfilePoint]) -> Sequence[float | Absent | None]:
        raise NotImplementedError

    async def _write_raw(self, point: ProfilePoint, raw: float) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError
