"""Pressure stall information: how long tasks waited for I/O, as the kernel counts it for the node and for each cgroup.

``some`` counts the time in which at least one task waited. Its total, read twice, gives the share of any interval,
where the kernel's own averages are of 10, 60 and 300 s. Source: Documentation/accounting/psi.rst of the Linux kernel.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from facility.errors import DataError

NODE_PRESSURE = Path("/proc/pressure/io")
PRESSURE_FILE = "io.pressure"  # in the folder of a cgroup
# Folders on the way to the pods, for both of the kubelet's cgroup drivers, below its --cgroup-root too:
# kubepods/burstable/podUID, kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_I_D.slice.
_ON_THE_WAY = re.compile(r"(?:kubelet|kubelet\.slice|(?:kubelet-)?kubepods(?:-burstable|-besteffort)?(?:\.slice)?)")
_CLASSES = ("burstable", "besteffort")  # only directly in kubepods
_HEX = "[0-9a-f]"
# The API server's UUID, or the 32 digits that the kubelet gives a pod of its own manifests; '_' in a slice's name.
_UID = rf"{_HEX}{{32}}|{_HEX}{{8}}(?:[-_]{_HEX}{{4}}){{3}}[-_]{_HEX}{{12}}"
_POD = re.compile(rf"(?:(?:kubelet-)?kubepods(?:-burstable|-besteffort)?-)?pod(?P<uid>{_UID})(?:\.slice)?")
_TOTAL = re.compile(r"total=([0-9]{1,20})", re.ASCII)  # unsigned, 64 bits
# Pressure is not counted: booted with psi=0, or switched off for this cgroup (cgroup.pressure).
_NOT_COUNTED = (errno.EOPNOTSUPP, errno.ENODEV)


def parse_some_us(text: str, where: str) -> int | None:
    """Total of the line ``some``, in us; None where the text is empty. Raises DataError where it is no pressure."""
    if not text.strip():
        return None
    for line in text.splitlines():
        kind, *fields = line.split() or [""]
        if kind == "some":
            totals = [found for field in fields if (found := _TOTAL.fullmatch(field)) is not None]
            if len(totals) == 1:
                return int(totals[0][1])
            break
    raise DataError("there is no line 'some ... total=N'", where=where, hint="is this a file of pressure (PSI)?")


def read_some_us(path: Path) -> int | None:
    """Total of ``some`` in a file of pressure, in us; None where it does not exist, or pressure is not counted.

    Raises OSError where the file may not be read, DataError where it is no file of pressure.
    """
    try:
        return parse_some_us(path.read_text(encoding="ascii", errors="replace"), str(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno in _NOT_COUNTED:
            return None
        raise


@dataclass(slots=True)
class StallMeter:
    """Makes a share of time of a total that counts up."""

    total_us: int | None = None
    at_s: float = 0.0

    def update(self, total_us: int | None, at_s: float) -> float | None:
        """Percent of the time since the last call that was stalled; ``at_s`` is on a steady clock of wall seconds.

        None with the first total, after one was missing, and where the total began anew: the cgroup is another one.
        """
        before_us, elapsed_s = self.total_us, at_s - self.at_s
        if before_us is not None and elapsed_s <= 0.0 and total_us is not None:
            return None  # no time has gone by: the interval goes on
        self.total_us, self.at_s = total_us, at_s
        if before_us is None or total_us is None or total_us < before_us:
            return None
        return min((total_us - before_us) / (elapsed_s * 1e6) * 100.0, 100.0)  # the two clocks differ a little


def find_unified(configured: str) -> Path:
    """Root of cgroup v2: as configured, else where distributions mount it, alone or beside version 1."""
    if configured:
        return Path(configured)
    places = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
    return next((place for place in places if (place / "cgroup.controllers").exists()), places[0])


def find_pods(root: Path) -> dict[str, Path]:
    """The folder of each pod below ``root``, by the pod's UID; empty on a machine without Kubernetes.

    Raises OSError where ``root`` cannot be listed.
    """
    return dict(_pods(root)) | {uid: path for way in _ways(root) for uid, path in _below(way)}


def _ways(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if _ON_THE_WAY.fullmatch(path.name) and path.is_dir()]


def _below(folder: Path) -> Iterator[tuple[str, Path]]:
    """The pods of a folder and of those below it that lead to pods; one that vanishes meanwhile has none."""
    try:
        yield from _pods(folder)
        classes = [folder / name for name in _CLASSES if (folder / name).is_dir()]
        ways = _ways(folder)
    except OSError:
        return
    for way in (*ways, *classes):
        yield from _below(way)


def _pods(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in folder.iterdir():
        found = _POD.fullmatch(path.name)
        if found is not None and path.is_dir():
            yield found["uid"].replace("_", "-"), path
