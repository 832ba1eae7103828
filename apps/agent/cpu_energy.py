"""Energy of processors and memory by pod, from the machine's own counters (RAPL, powercap).

As Kepler does it: of what a zone took, the share in which its processors were busy is given to the pods by their
processor time; the rest is idle and stays with the node. Root alone may read the counters; where they are not to be
had there are no values. Source of the files: Documentation/power/powercap/powercap.rst and admin-guide/cgroup-v2.rst of
the Linux kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from facility.devices.stalls.psi import find_pods

POWERCAP = Path("/sys/class/powercap")
PROC_STAT = Path("/proc/stat")
IDLE, IOWAIT = 3, 4  # columns of the line "cpu" after its name
Zone = tuple[str, str]  # name, folder


@dataclass(frozen=True, slots=True)
class PodJoules:
    """Energy since the agent's start: of each zone, and of each pod (UID) in each kind of zone."""

    zones: Mapping[Zone, float] = field(default_factory=dict)
    pods: Mapping[tuple[str, str], float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Counters:
    """What the kernel has counted: each zone in uJ with where it begins again, and processor time."""

    zones: Mapping[Zone, tuple[int, int]]
    busy_share_of: tuple[int, int]  # ticks busy, ticks in all
    pod_us: Mapping[str, int]  # by UID


@dataclass
class CpuEnergy:
    """Adds up from one look to the next; the folders are for tests."""

    cgroups: Path
    powercap: Path = POWERCAP
    proc_stat: Path = PROC_STAT
    joules: PodJoules = PodJoules()
    _last: Counters | None = None

    def look(self) -> PodJoules:
        """Count once more; blocking, some milliseconds."""
        now, last = self._count(), self._last
        self._last = now
        if last is not None:
            self.joules = _added(self.joules, last, now)
        return self.joules

    def _count(self) -> Counters:
        zones = {}
        for folder in _zones(self.powercap):
            name, used, most = (_text(folder / part) for part in ("name", "energy_uj", "max_energy_range_uj"))
            if name and used.isdigit() and most.isdigit():
                zones[name, str(folder)] = (int(used), int(most))
        return Counters(zones, _ticks(_text(self.proc_stat)), self._pod_us())

    def _pod_us(self) -> dict[str, int]:
        try:
            pods = find_pods(self.cgroups)
        except OSError:
            return {}
        found = {}
        for uid, folder in pods.items():
            rows = dict(line.split(" ", 1) for line in _text(folder / "cpu.stat").splitlines() if " " in line)
            if rows.get("usage_usec", "").isdigit():
                found[uid] = int(rows["usage_usec"])
        return found


def _added(joules: PodJoules, last: Counters, now: Counters) -> PodJoules:
    zones, pods = dict(joules.zones), dict(joules.pods)
    busy_share, shares = _busy_share(last, now), _shares(last, now)
    for zone, (used, most) in now.zones.items():
        if zone not in last.zones:
            continue
        grown_j = ((used - last.zones[zone][0]) % (most + 1)) / 1e6  # the counter begins again after ``most``
        zones[zone] = zones.get(zone, 0.0) + grown_j
        for uid, share in shares.items():
            key = (uid, zone[0])
            pods[key] = pods.get(key, 0.0) + grown_j * busy_share * share
    return PodJoules(zones, {key: value for key, value in pods.items() if key[0] in now.pod_us})


def _busy_share(last: Counters, now: Counters) -> float:
    busy, total = (now.busy_share_of[part] - last.busy_share_of[part] for part in (0, 1))
    return min(max(busy / total, 0.0), 1.0) if total > 0 else 0.0


def _shares(last: Counters, now: Counters) -> dict[str, float]:
    """Each pod's share of the busy processor time; together at most 1."""
    grown = {uid: max(used - last.pod_us[uid], 0) for uid, used in now.pod_us.items() if uid in last.pod_us}
    busy_us = (now.busy_share_of[0] - last.busy_share_of[0]) * 1e4  # a tick is 10 ms (USER_HZ is 100)
    whole = max(busy_us, sum(grown.values()))
    return {uid: used / whole for uid, used in grown.items()} if whole > 0 else {}


def _zones(root: Path) -> list[Path]:
    """Folders of the zones: side by side as in /sys/class/powercap, or below their control type as in /sys/devices."""
    found = {
        path.resolve(): path
        for pattern in ("intel-rapl:*", "intel-rapl/**/intel-rapl:*")
        for path in root.glob(pattern)
    }
    return sorted(found.values())


def _ticks(text: str) -> tuple[int, int]:
    columns = [int(word) for word in text.partition("\n")[0].split()[1:9] if word.isdigit()]
    total = sum(columns)
    return (total - columns[IDLE] - columns[IOWAIT], total) if len(columns) > IOWAIT else (0, 0)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
