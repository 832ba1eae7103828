"""What is at a host? Asks one named host, reads only, and proposes a device for the site file.

Each protocol has a probe, which says what the device says of itself, which profile explains it best, and what that
profile reads there. Probes run one after the other, with PAUSE_S between two requests: a management card that is asked
more quickly may stall, and its alarms with it. A new protocol adds a probe to PROBES.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from facility.errors import ConfigError, DeviceError, EcoError
from facility.profile import Profile, load_profile, shipped_profiles
from facility.records import Quality, Reading
from facility.site import Login, SnmpAuth

PAUSE_S = 0.05  # at most 20 requests a second
READ_S = 120.0  # for the one reading of a proposed profile; a large table over a slow card takes its time

_HOST = re.compile(r"[A-Za-z0-9:]([A-Za-z0-9.:_-]*[A-Za-z0-9])?")
_RANGE = re.compile(r"[\d.]*-[\d.-]*")


@dataclass(frozen=True, slots=True)
class Target:
    """One host, and how it may be asked."""

    host: str
    snmp: SnmpAuth | None = None  # None: SNMP is left out
    ports: Mapping[str, int] = field(default_factory=dict)  # by protocol, where not the usual one
    ipmi: Login | None = None  # None: a BMC is only asked what it is
    unit_id: int = 1  # modbus
    deadline_s: float = 3.0  # for each request
    pause_s: float = PAUSE_S

    def __post_init__(self) -> None:
        if not _HOST.fullmatch(self.host) or _RANGE.fullmatch(self.host):
            raise ConfigError(
                f"{self.host!r} is not the name or address of one host",
                where="HOST",
                hint="ranges and lists are refused: ask one device at a time",
            )

    def port(self, protocol: str) -> int:
        """The port for a protocol."""
        return self.ports.get(protocol, USUAL_PORTS[protocol])


USUAL_PORTS = {"snmp": 161, "modbus": 502, "redfish": 443, "bacnet": 47808, "ipmi": 623}


@dataclass(frozen=True, slots=True)
class Match:
    """A profile that may explain the device, and what it reads there."""

    profile: str
    rank: float  # how closely what the device says of itself fits; the highest is proposed
    readings: tuple[Reading, ...] = ()
    error: str = ""

    @property
    def good(self) -> int:
        """How many points have a good value."""
        return sum(reading.quality is Quality.GOOD for reading in self.readings)


@dataclass(frozen=True, slots=True)
class Draft:
    """A profile made of what the device says of itself, for a person to complete: read only until then."""

    name: str
    toml: str
    points: int


@dataclass(frozen=True, slots=True)
class Finding:
    """What one protocol found: a device and the profiles that may explain it, best first, or why there is none."""

    protocol: str
    port: int
    says: Mapping[str, str] = field(default_factory=dict)  # what the device says of itself
    matches: tuple[Match, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)  # of the proposed [[device]], beside host, port, profile
    error: str = ""
    hint: str = ""
    draft: Draft | None = None  # where the device describes itself, and no profile explains it

    @property
    def best(self) -> Match | None:
        """The profile that is proposed: it has to read something."""
        return next((match for match in self.matches if match.good), None)


Probe = Callable[[Target], Awaitable[Finding]]
"""Asks over one protocol; raises DeviceError where nothing answers as the protocol demands."""


async def _snmp(target: Target) -> Finding:
    from facility.discovery.snmp import probe

    return await probe(target)


async def _modbus(target: Target) -> Finding:
    from facility.discovery.modbus import probe

    return await probe(target)


async def _redfish(target: Target) -> Finding:
    from facility.discovery.redfish import probe

    return await probe(target)


async def _bacnet(target: Target) -> Finding:
    from facility.discovery.bacnet import probe

    return await probe(target)


async def _ipmi(target: Target) -> Finding:
    from facility.discovery.ipmi import probe

    return await probe(target)


PROBES: dict[str, Probe] = {
    "snmp": _snmp,
    "modbus": _modbus,
    "redfish": _redfish,
    "bacnet": _bacnet,
    "ipmi": _ipmi,
}


async def discover(target: Target, protocols: Sequence[str] | None = None) -> list[Finding]:
    """Ask the host over each protocol in turn; one that fails says why. Raises ConfigError for an unknown protocol."""
    findings = []
    for name in protocols or PROBES:
        if name not in PROBES:
            raise ConfigError(f"no discovery over {name!r}", where="protocol", hint=f"one of: {', '.join(PROBES)}")
        try:
            findings.append(await PROBES[name](target))
        except DeviceError as error:
            findings.append(Finding(name, target.port(name), error=str(error)))
    return findings


def candidates(protocol: str) -> list[Profile]:
    """The shipped profiles of a protocol."""
    profiles = (load_profile(name) for name in shipped_profiles())
    return [profile for profile in profiles if profile.protocol == protocol]


def ordered(matches: Sequence[Match]) -> tuple[Match, ...]:
    """Best first: what the device says of itself counts before the number of points that have a value."""
    return tuple(sorted(matches, key=lambda match: (match.rank, match.good), reverse=True))


async def tried(profile: str, rank: float, read: Callable[[], Awaitable[list[Reading]]]) -> Match:
    """One reading of a profile; its error where it fails."""
    try:
        return Match(profile, rank, tuple(await read()))
    except (EcoError, TimeoutError) as error:
        return Match(profile, rank, error=str(error) or f"no answer within {READ_S:g} s")


def snippet(target: Target, finding: Finding) -> str:
    """The proposed [[device]] table, to be pasted into the site file."""
    if finding.best is not None:
        name = profile = finding.best.profile
    elif finding.draft is not None:
        name, profile = finding.draft.name, f"{finding.draft.name}.toml"
    else:
        return ""
    lines = [
        "[[device]]",
        f'name = "{name}-1"  # give it the name of the equipment',
        f'protocol = "{finding.protocol}"',
        f'profile = "{profile}"',
        f'host = "{target.host}"',
        f"port = {finding.port}",
        "poll_s = 60.0",
        f"deadline_s = {target.deadline_s:.1f}",
    ]
    return "\n".join(lines + [f"{key} = {_toml(value)}" for key, value in finding.settings.items()]) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
