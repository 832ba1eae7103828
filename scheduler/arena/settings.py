"""Constants of the simulated cluster that no file of a site holds: parking, limits, stalls; each with its source."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from facility.errors import ConfigError

STEP_S = 900.0
FOREVER = 1 << 40  # a step that never comes


@dataclass(frozen=True, slots=True, kw_only=True)
class Parking:
    """How nodes sleep and wake. Powers are those of one node at its IT inlet, watts."""

    allowed: bool = True
    parked_w: float = 120.0  # deep idle of a node whose GPUs and fans rest; 10-20 W where only the BMC lives (off)
    boot_w: float = 1900.0  # assumed: host at full power, GPUs idle, fans and supplies as at that load
    boot_s: float = 900.0  # 10-20 minutes from the switch to a ready node
    shutdown_s: float = 300.0  # at idle power, before the node rests
    cycles_per_day: int = 4  # parkings of one node in any 24 h
    warm_floor: int = 1  # nodes that stay on

    def __post_init__(self) -> None:
        if not 0.0 <= self.shutdown_s <= STEP_S:
            raise ConfigError(
                f"a shutdown of {self.shutdown_s:g} s", where="parking.shutdown_s", hint=f"0 to {STEP_S:g} s"
            )
        if self.cycles_per_day < 1 or self.warm_floor < 1:
            raise ConfigError("at least one cycle a day and one warm node", where="parking")

    @property
    def boot_steps(self) -> int:
        """Whole steps from the command until the node can take a gang."""
        return math.ceil(self.boot_s / STEP_S)


MODES_W = {"deep-idle": 120.0, "standby": 45.0, "off": 15.0}  # assumed, of one 8-GPU node at its inlet, BMC included


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What no decision may exceed."""

    cap_min_w: float = 250.0  # floor of a power cap, watts of one GPU
    clock_max: float = 0.30  # deepest reduction of the clock, share
    min_run_s: float = 3600.0  # before a job may be suspended
    min_pause_s: float = 3600.0  # before a suspended job goes on
    it_w: float = math.inf  # feeder or contract: power at the IT inlets, watts
    rack_w: float = math.inf  # of each rack's PDU
    ramp_w: float = math.inf  # power of gangs started in one step; a single gang may exceed it
    inlet_c: float = 27.0  # ASHRAE TC 9.9 recommended


@dataclass(frozen=True, slots=True, kw_only=True)
class Stalls:
    """Times in which a GPU waits for data, by class (compute-, memory-bound); they are part of a job's run time.

    All assumed: shares of the order that studies of training input pipelines report (Mohan et al., VLDB 2021: 5-20 %
    for image models), a stalled GPU at 45 % of its dynamic power, and dynamic power with the 2.4th power of the clock.
    """

    share: tuple[float, float] = (0.04, 0.12)
    power_share: float = 0.45  # of the mean dynamic power, while stalled
    clock_exponent: float = 2.4
    clock_slowdown: float = 0.15  # memory-bound work slows by this share of the clock's reduction


@dataclass(frozen=True, slots=True, kw_only=True)
class ArenaSettings:
    """Everything that is not a hall, a job or a signal."""

    parking: Parking = field(default_factory=Parking)
    limits: Limits = field(default_factory=Limits)
    stalls: Stalls = field(default_factory=Stalls)
    cooling_leads: bool = True  # the plant answers to the load that is about to be, not to the last one
