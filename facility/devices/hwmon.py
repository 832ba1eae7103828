"""Linux hwmon: sensors of this machine's chips, PMBus supplies among them, as files in a folder a chip.

An address is ``CHIP/FILE`` or ``CHIP/KIND:LABEL`` (``dps650ab/power1_input``, ``*/power:pin``), with KIND as the files
begin: in, curr, power, temp, fan, energy, humidity, freq. CHIP is a chip's name, or the name of its device (``7-0058``,
``coretemp.0``), which is the same after every boot where ``hwmon3`` is not. With ``*`` in it the point stands for every
chip of such a name (``pmbus*|dps*`` is either) that has the file; ``{1}`` is then the name of the device.

Source: Documentation/hwmon/sysfs-interface.rst of the Linux kernel. A driver may take long over a file, or for ever
where its bus hangs: files are read in a thread, and no second one is begun while the first is stuck.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

from facility.clock import Clock
from facility.devices.base import ABSENT, Absent, ProfileDevice
from facility.devices.blocking import Blocking
from facility.errors import ConfigError, DeviceError
from facility.profile import Profile
from facility.profile_point import ProfilePoint
from facility.site import Device

# From the unit of the files to ours: mV, mA, uW, m degC, rpm, uJ, thousandths of %, Hz.
SCALES = {
    "in": 1e-3,
    "curr": 1e-3,
    "power": 1e-6,
    "temp": 1e-3,
    "fan": 1.0,
    "energy": 1 / 3.6e9,
    "humidity": 1e-3,
    "freq": 1.0,
}
VALUES = ("input", "average")  # which files of a labelled channel hold its value; a supply may have either

Raw = float | Absent | None
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Chip:
    """One chip: its driver's name, the name of its device, and its folder."""

    name: str
    device: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file of a chip: ``kind`` with ``label`` where it is found by that, else ``file``."""

    chip: str
    kind: str
    file: str = ""
    label: str = ""


class HwmonDevice(ProfileDevice):
    """The chips below one folder."""

    def __init__(self, device: Device, profile: Profile, clock: Clock) -> None:
        """Raises ConfigError where an address of the profile is none."""
        super().__init__(device.name, profile, clock, "hwmon")
        self._root = Path(device.root)
        for point in profile.point:
            parse(point.file)
        self._reads = Blocking(self._where(), device.deadline_s, "its bus may hang")

    async def _read_raw(self, wanted: Sequence[ProfilePoint]) -> list[Raw]:
        files = [parse(point.file) for point in wanted]
        return await self._in_thread(lambda: self._read_files(files))

    def _read_files(self, files: Sequence[Wanted]) -> list[Raw]:
        chips = find_chips(self._root)
        return [self._read_one(wanted, chips) for wanted in files]

    def _read_one(self, wanted: Wanted, chips: Sequence[Chip]) -> Raw:
        found = [chip for chip in chips if wanted.chip in (chip.device, chip.name)]
        if len(found) > 1:
            choices = ", ".join(chip.device for chip in found)
            said = f"several chips are named {wanted.chip!r}"
            raise DeviceError(said, where=self.name, hint=f"name the device instead ({choices}), or use '*'")
        return read_value(found[0], wanted) if found else ABSENT

    async def _expand(self, templates: Sequence[ProfilePoint]) -> list[ProfilePoint]:
        return await self._in_thread(lambda: self._instances(templates))

    def _instances(self, templates: Sequence[ProfilePoint]) -> list[ProfilePoint]:
        chips = find_chips(self._root)
        points = []
        for template in templates:
            wanted = parse(template.file)
            _, _, file = template.file.partition("/")
            for chip in chips:
                is_meant = any(fnmatchcase(chip.name, pattern) for pattern in wanted.chip.split("|"))
                if is_meant and locate(chip, wanted) is not None:
                    slug = re.sub(r"[^a-z0-9.]+", "-", chip.device.lower()).strip("-.")
                    points.append(template.instance([slug], file=f"{chip.device}/{file}"))
        return points

    async def _write_raw(self, point: ProfilePoint, raw: float) -> None:
        raise DeviceError("hwmon is only read", where=f"{self.name}/{point.name}")

    async def close(self) -> None:
        """Nothing is held open."""

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """``work`` in a thread of its own. Raises DeviceError."""
        try:
            return await self._reads.run(work)
        except OSError as error:
            hint = "is this Linux, and is a sensor driver loaded?"
            raise DeviceError(f"cannot be read: {error.strerror}", where=self._where(), hint=hint) from error

    def _where(self) -> str:
        return f"{self.name} (hwmon {self._root})"


def parse(address: str) -> Wanted:
    """The address in a profile; raises ConfigError where it is none."""
    chip, _, file = address.rpartition("/")
    kind, colon, label = file.partition(":")
    if not colon:
        kind = re.sub(r"\d.*", "", file)
    is_file = re.fullmatch(r"[a-z]+\d+_(input|average)", file) is not None
    if not chip or kind not in SCALES or not (label if colon else is_file):
        hint = "CHIP/power1_input or CHIP/power:pin, with one of " + ", ".join(SCALES)
        raise ConfigError(f"{address!r} is no address", where="file", hint=hint)
    return Wanted(chip, kind, label=label) if colon else Wanted(chip, kind, file=file)


def find_chips(root: Path) -> list[Chip]:
    """Every chip below ``root``, in the order of their devices. Raises OSError where there is no such folder."""
    chips = [chip for folder in root.iterdir() if (chip := _chip(folder)) is not None]
    devices = Counter(chip.device for chip in chips)  # chips of no device have their name instead, and may share it
    unique = [
        chip if devices[chip.device] == 1 else Chip(chip.name, f"{chip.device}-{chip.folder.name}", chip.folder)
        for chip in chips
    ]
    return sorted(unique, key=lambda chip: chip.device)


def _chip(folder: Path) -> Chip | None:
    name = _text(folder / "name")
    if name is None:
        return None
    link = folder / "device"
    return Chip(name, link.resolve().name if link.exists() else name, folder)


def locate(chip: Chip, wanted: Wanted) -> Path | None:
    """The file that is meant; None where the chip has none."""
    if wanted.file:
        path = chip.folder / wanted.file
        return path if path.exists() else None
    for path in sorted(chip.folder.glob(f"{wanted.kind}*_label")):
        if re.fullmatch(rf"{wanted.kind}\d+_label", path.name) and _text(path) == wanted.label:
            channel = path.name.removesuffix("label")
            return next((found for value in VALUES if (found := chip.folder / (channel + value)).exists()), None)
    return None


def read_value(chip: Chip, wanted: Wanted) -> Raw:
    """The number in our unit; None where the driver gives none (an I/O error, a fault), ABSENT where no file is."""
    path = locate(chip, wanted)
    if path is None:
        return ABSENT
    fault = chip.folder / re.sub(r"_.*", "_fault", path.name)
    text = None if _text(fault) == "1" else _text(path)
    try:
        return None if text is None else int(text) * SCALES[wanted.kind]
    except ValueError:
        return None


def _text(path: Path) -> str | None:
    """What a file says; None where it cannot be read: not there, not allowed, ENODATA or EIO of the driver."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None
