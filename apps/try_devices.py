"""Tries every device of a site once, all at the same time: what it reads, or why it cannot be read. Writes nothing."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from facility.clock import WallClock
from facility.devices import open_device
from facility.errors import DeviceError, DeviceTimeout, EcoError, Reason
from facility.records import Actuator, Quality, Reading
from facility.site import Device

WITHIN_S = 6.5  # for each device, saying goodbye included: with starting up, the whole check is over in ten
GOODBYE_S = 1.0  # of that: to log out and close
LEAST_S = 0.2  # for a further try
AT_ONCE = 100  # devices: more would take each other's time


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of one device. ``reason`` is a word of facility.errors.Reason where it is not ``ok``."""

    device: str
    protocol: str
    ok: bool
    points: int = 0
    good: int = 0
    uncertain: int = 0
    bad: int = 0
    took_s: float = 0.0
    error: str = ""
    reason: str = ""
    notes: tuple[str, ...] = ()  # what does not fail a device, and should be looked at

    def to_json(self) -> dict[str, Any]:
        """As a row of the command's answer."""
        return {**asdict(self), "took_s": round(self.took_s, 3), "notes": list(self.notes)}


async def try_all(devices: Sequence[Device], within_s: float = WITHIN_S) -> list[Tried]:
    """Every device side by side, in the order given; none takes longer than ``within_s`` (wall seconds)."""
    opened = [_open(device) for device in devices]  # first: it imports the protocols' libraries, which takes a while
    places = asyncio.Semaphore(AT_ONCE)

    async def in_turn(settings: Device, device: Actuator | Tried) -> Tried:
        async with places:
            return await _try(settings, device, within_s)

    return list(await asyncio.gather(*(in_turn(*pair) for pair in zip(devices, opened, strict=True))))


def _open(settings: Device) -> Actuator | Tried:
    try:
        return open_device(settings, WallClock())
    except Exception as error:
        return _failed(settings, error, 0.0)


async def _try(settings: Device, device: Actuator | Tried, within_s: float) -> Tried:
    """Read every point of one device once; whatever fails is said, never raised."""
    if isinstance(device, Tried):
        return device
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        readings = await _read(device, began + within_s - GOODBYE_S)
        if not readings:
            said = "it answers, and has nothing of what its profile reads"
            raise DeviceError(said, where=settings.name, reason=Reason.UNKNOWN_MODEL)
    except Exception as error:
        return _failed(settings, error, loop.time() - began)
    finally:
        await _close(device)
    return _done(settings, device, readings, loop.time() - began)


async def _read(device: Actuator, until: float) -> list[Reading]:
    """One reading, all done at ``until`` (loop time); where there was no answer and time is left, it is tried again.

    Once at least; and as long as a device goes on saying which points it has.
    """
    loop = asyncio.get_running_loop()
    silence: DeviceTimeout | None = None
    for number in itertools.count():
        try:
            async with asyncio.timeout_at(until):
                return await device.read()
        except TimeoutError:
            break
        except DeviceTimeout as error:
            silence = error
            may_help = error.reason is Reason.TIMEOUT and (number == 0 or getattr(device, "is_discovering", False))
            if not may_help or until - loop.time() < LEAST_S:
                break
    hint = "--within-s gives it more time"
    raise silence or DeviceTimeout("no answer within the time of this check", where=device.name, hint=hint)


async def _close(device: Actuator) -> None:
    """Close the device; one that is gone cannot be told goodbye, and what fails here was told before."""
    try:
        async with asyncio.timeout(GOODBYE_S):
            await device.close()
    except Exception:  # noqa: S110
        pass


def _done(settings: Device, device: Actuator, readings: Sequence[Reading], took_s: float) -> Tried:
    count = {quality: sum(reading.quality is quality for reading in readings) for quality in Quality}
    unit_errors: dict[str, str] = dict(getattr(device, "unit_errors", {}))
    notes = [f"{point}: {error}" for point, error in sorted(unit_errors.items())]
    if not count[Quality.GOOD]:
        notes.append("no point has a good value")
    return Tried(
        settings.name,
        settings.protocol,
        ok=True,
        points=len(readings),
        good=count[Quality.GOOD],
        uncertain=count[Quality.UNCERTAIN],
        bad=count[Quality.BAD],
        took_s=took_s,
        notes=tuple(notes),
    )


def _failed(settings: Device, error: Exception, took_s: float) -> Tried:
    """A failure of any kind is the device's own: a client library's untyped one, too, must not hide the others."""
    is_typed = isinstance(error, EcoError)
    return Tried(
        settings.name,
        settings.protocol,
        ok=False,
        took_s=took_s,
        error=str(error) if is_typed else f"{type(error).__name__}: {error}",
        reason=error.reason if isinstance(error, EcoError) else Reason.ERROR,
    )
