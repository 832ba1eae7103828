"""Register maps of the emulated Modbus units: what a request reads, and what it may write."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from apps.emulator.remote import LOCAL
from facility.profile import Profile
from facility.profile_point import ProfilePoint

Values = Callable[[], Mapping[str, float]]
Write = Callable[[str, float], None]
_FORMATS = {"float32": ">f", "uint16": ">H", "uint32": ">I"}


class WriteRefusedError(Exception):
    """A write that the unit does not take; ``illegal_value`` tells a bad value from a bad address."""

    def __init__(self, illegal_value: bool) -> None:
        super().__init__("illegal value" if illegal_value else "illegal address")
        self.illegal_value = illegal_value


class Unit(Protocol):
    """One Modbus unit, in registers."""

    @property
    def spans(self) -> Sequence[tuple[int, int]]:
        """(address, count) of every run of registers that exists."""
        ...

    def words(self) -> Mapping[int, int]:
        """The content of every register, by address."""
        ...

    def write(self, address: int, words: Sequence[int]) -> None:
        """Write registers; raises WriteRefusedError and then changes nothing."""
        ...


class ProfileUnit:
    """A unit whose map is a profile; operators may also write its local setpoints, which controllers leave alone."""

    def __init__(self, profile: Profile, values: Values, write: Write) -> None:
        self._points = sorted(profile.point, key=lambda point: point.address or 0)
        self._values, self._write = values, write

    @property
    def spans(self) -> Sequence[tuple[int, int]]:
        """(address, count) of every point."""
        return [(point.address or 0, point.width) for point in self._points]

    def words(self) -> Mapping[int, int]:
        """The content of every register, by address."""
        values, content = self._values(), {}
        for point in self._points:
            for i, word in enumerate(encode(point, values[point.name])):
                content[(point.address or 0) + i] = word
        return content

    def write(self, address: int, words: Sequence[int]) -> None:
        """Write whole points, all of them or none."""
        wanted, place = [], 0
        by_address = {point.address: point for point in self._points if is_writable(point)}
        while place < len(words):
            point = by_address.get(address + place)
            if point is None or place + point.width > len(words):
                raise WriteRefusedError(illegal_value=False)
            value = decode(point, words[place : place + point.width])
            if not _in_range(point, value):
                raise WriteRefusedError(illegal_value=True)
            wanted.append((point.name, value))
            place += point.width
        for name, value in wanted:
            self._write(name, value)


class MeterUnit:
    """The float32 map of a Janitza UMG power analyser, registers 19000 to 19077: a balanced three-phase supply."""

    FIRST, COUNT = 19_000, 78
    PHASE_V, POWER_FACTOR = 277.0, 0.95

    def __init__(self, values: Values) -> None:
        self._values = values

    @property
    def spans(self) -> Sequence[tuple[int, int]]:
        """One run without holes."""
        return [(self.FIRST, self.COUNT)]

    def words(self) -> Mapping[int, int]:
        """The content of every register, by address; quantities that are not emulated are zero."""
        content = dict.fromkeys(range(self.FIRST, self.FIRST + self.COUNT), 0)
        for address, value in self._quantities().items():
            high, low = struct.unpack(">HH", struct.pack(">f", value))
            content[address], content[address + 1] = high, low
        return content

    def write(self, address: int, words: Sequence[int]) -> None:
        """A meter takes no writes."""
        raise WriteRefusedError(illegal_value=False)

    def _quantities(self) -> dict[int, float]:
        values, three = self._values(), range(3)
        power_w, energy_wh = values["power_w"], values["energy_wh"]
        apparent_va = power_w / self.POWER_FACTOR
        reactive_var = math.sqrt(max(apparent_va**2 - power_w**2, 0.0))
        current_a = apparent_va / 3.0 / self.PHASE_V
        phases = {19_000: self.PHASE_V, 19_006: self.PHASE_V * math.sqrt(3.0), 19_012: current_a}
        phases |= {19_020: power_w / 3.0, 19_028: apparent_va / 3.0, 19_036: reactive_var / 3.0}
        phases |= {19_044: self.POWER_FACTOR, 19_054: energy_wh / 3.0, 19_062: energy_wh / 3.0}
        sums = {19_026: power_w, 19_034: apparent_va, 19_042: reactive_var, 19_050: 60.0}
        sums |= {19_052: 1.0, 19_060: energy_wh, 19_068: energy_wh}
        return sums | {address + 2 * phase: value for address, value in phases.items() for phase in three}


def is_writable(point: ProfilePoint) -> bool:
    """Whether the device takes a write there: what controllers may write, and local setpoints for operators."""
    return point.writable or point.name.startswith(LOCAL)


def encode(point: ProfilePoint, value: float) -> tuple[int, ...]:
    """Registers of a value in the point's unit, most significant first."""
    raw = point.encode(value)
    packed = struct.pack(_FORMATS[point.type], raw if point.type == "float32" else round(raw))
    return struct.unpack(f">{len(packed) // 2}H", packed)


def decode(point: ProfilePoint, words: Sequence[int]) -> float:
    """The value in the point's unit; not a number where the registers hold none."""
    (raw,) = struct.unpack(_FORMATS[point.type], struct.pack(f">{len(words)}H", *words))
    return float(raw) * point.scale + point.offset


def _in_range(point: ProfilePoint, value: float) -> bool:
    low = -math.inf if point.min is None else point.min
    high = math.inf if point.max is None else point.max
    return math.isfinite(value) and low <= value <= high
