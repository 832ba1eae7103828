"""The faults of a campaign: what each does when it begins and when it ends; times and targets come from a seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from apps.faults.device import FaultyDevice, Sensor


class Kind(StrEnum):
    """What can go wrong."""

    STUCK = "sensor stuck"
    DRIFT = "sensor drift"
    SPIKE = "sensor spike"
    GAP = "sensor gap"
    DEAD = "device dead"
    PANEL = "override at the device"
    PARTITION = "network partition"
    PROVIDER = "provider outage"
    CLOCK = "clock jump"
    DISK = "disk full"
    KILL = "process kill"
    HEAT = "hot aisle"


WEIGHTS = {  # how often each, of all
    Kind.STUCK: 12,
    Kind.DRIFT: 8,
    Kind.SPIKE: 16,
    Kind.GAP: 14,
    Kind.DEAD: 12,
    Kind.PANEL: 5,
    Kind.PARTITION: 6,
    Kind.PROVIDER: 8,
    Kind.CLOCK: 4,
    Kind.DISK: 5,
    Kind.KILL: 7,
    Kind.HEAT: 3,
}
LONGEST_MIN = {  # of a fault; they are drawn log-uniformly from one minute on
    Kind.STUCK: 360.0,
    Kind.DRIFT: 720.0,
    Kind.SPIKE: 1.0,
    Kind.GAP: 240.0,
    Kind.DEAD: 240.0,
    Kind.PARTITION: 120.0,
    Kind.PROVIDER: 360.0,
    Kind.DISK: 60.0,
    Kind.HEAT: 30.0,
}
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault; ``size`` is in 0..1, scaled by its kind."""

    kind: Kind
    at: datetime
    until: datetime
    device: int
    point: int
    size: float


def draw(start: datetime, days: float, per_day: float, devices: int, rng: random.Random) -> list[Fault]:
    """Faults in order of their beginning, as many as ``per_day`` asks, at independent random times."""
    kinds, weights = list(WEIGHTS), list(WEIGHTS.values())
    faults = []
    for _ in range(round(days * per_day)):
        kind = rng.choices(kinds, weights)[0]
        at = start + timedelta(seconds=rng.uniform(0.0, days * DAY_S))
        length_min = LONGEST_MIN.get(kind, 1.0) ** rng.random()
        until = at + timedelta(minutes=length_min)
        faults.append(Fault(kind, at, until, rng.randrange(devices), rng.randrange(1000), rng.random()))
    return sorted(faults, key=lambda fault: (fault.at, fault.kind))


def begin_at(fault: Fault, devices: Sequence[FaultyDevice], now: datetime) -> None:
    """Faults of sensors and devices; those of the service are the campaign's own."""
    device = devices[fault.device]
    sensed = sorted(device.true)
    name = sensed[fault.point % len(sensed)]
    match fault.kind:
        case Kind.STUCK:
            device.sensors[name] = Sensor(stuck_at=device.true[name])
        case Kind.DRIFT:
            device.sensors[name] = Sensor(drift_per_s=(fault.size - 0.5) * 8.0 / DAY_S, drift_since=now)
        case Kind.SPIKE:
            device.sensors[name] = Sensor(spike=(fault.size - 0.5) * 80.0)
        case Kind.GAP:
            device.sensors[name] = Sensor(is_gone=True)
        case Kind.DEAD:
            device.is_dead = True
        case Kind.PANEL:
            device.set_locally("supply_air_setpoint_c", 16.0 + 6.0 * fault.size)


def end_at(fault: Fault, devices: Sequence[FaultyDevice], open_faults: Sequence[Fault]) -> None:
    """What the fault did is over, unless another of the same kind still lasts."""
    device = devices[fault.device]
    sensed = sorted(device.true)
    if fault.kind in (Kind.STUCK, Kind.DRIFT, Kind.SPIKE, Kind.GAP):
        device.sensors.pop(sensed[fault.point % len(sensed)], None)
    if fault.kind is Kind.DEAD:
        device.is_dead = any(one.kind is Kind.DEAD and one.device == fault.device for one in open_faults)
