"""What a CSV file means, as TOML: its time column, and which column or tag is which point in which unit."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from facility.site.base import StrictModel, load_toml, validate

UNIX = {"unix_s": 1_000_000.0, "unix_ms": 1000.0, "unix_us": 1.0}  # in microseconds


class TimeColumn(StrictModel):
    """Where the time stands and how it is written."""

    column: str
    format: str = "iso"  # iso, unix_s, unix_ms, unix_us, or strptime codes
    zone: str = ""  # IANA name, for local times; times with an offset need none
    ambiguous: Literal["skip", "earlier", "later"] = "skip"  # of the hour that summer time's end repeats

    @field_validator("zone")
    @classmethod
    def _known(cls, zone: str) -> str:
        try:
            if zone:
                ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError("expected an IANA time zone, such as Europe/Berlin") from error
        return zone

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.format in UNIX and self.zone:
            raise ValueError("unix times are UTC: leave 'zone' out")
        if "%" in self.format and "%z" not in self.format and not self.zone:
            raise ValueError("local times need 'zone'; write UTC where they are UTC")
        return self


class LongForm(StrictModel):
    """Columns of a file with one reading a row."""

    tag: str
    value: str
    quality: str = ""  # no such column where empty
    good: tuple[str, ...] = ("good",)  # words in it, whatever their case; any other word is bad
    uncertain: tuple[str, ...] = ("uncertain",)


class MappedPoint(StrictModel):
    """One column (wide form) or tag (long form): value = number x scale + offset, in ``unit``."""

    name: str = Field(min_length=1)  # of the column, or the tag
    point: str = Field(pattern=r"^[^/\s]+(/[^/\s]+)+$")
    unit: str
    scale: float = 1.0
    offset: float = 0.0
    sentinels: tuple[float, ...] = ()  # numbers that mean "no value"


class Mapping(StrictModel):
    """A whole mapping; ``long`` is there for the long form alone."""

    source: str = ""  # what readings are said to be from; the file's name where empty
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    decimal: Literal[".", ","] = "."
    skip_lines: int = Field(default=0, ge=0)  # before the header
    time: TimeColumn
    long: LongForm | None = None
    point: tuple[MappedPoint, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for what, values in (
            ("name", [point.name for point in self.point]),
            ("point", [point.point for point in self.point]),
        ):
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise ValueError(f"{what} {', '.join(twice)} appears more than once")
        if self.decimal == self.delimiter:
            raise ValueError("'decimal' and 'delimiter' are the same")
        return self


def load_mapping(path: Path) -> Mapping:
    """The mapping file; raises ConfigError that names each key that is wrong."""
    return validate(Mapping, load_toml(path), path)
