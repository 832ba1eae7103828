"""Carbon, prices, weather and job traces as formats of `eco ingest`: what the twin's readers take, into the store.

Series become readings of ``grid/...`` and ``weather/...``; only what the file holds is kept, nothing is interpolated.
A store is of one site, so one run takes one zone.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, get_args

import numpy as np
import pyarrow as pa

from facility.errors import DataError
from facility.ingest.batch import GOOD, UNCERTAIN, Account, Batch, Columns, Format, to_batches
from facility.ingest.source import Source
from facility.recording import EPOCH
from twin.signals import Series, WeatherRecord, canonical_zone, read_electricity_maps, read_epw, read_open_meteo
from twin.signals import price as prices
from twin.signals.carbon import ESTIMATED, INTENSITY, STAMP, Kind
from twin.signals.table import LINE, column, read_table, stamps
from twin.signals.zones import find_zone
from twin.trace_files import FORMS, read_trace

CARBON_POINTS: dict[Kind, str] = {
    "lifecycle": "grid/carbon_intensity_g_kwh",
    "direct": "grid/carbon_intensity_direct_g_kwh",
}
PRICE_POINT = "grid/price_usd_mwh"
DRYBULB_POINT, RH_POINT = "weather/drybulb_c", "weather/rh_pct"
SAME_PLACE_DEG = 1.0
# What a reader made for well-formed files may meet in others, besides its own DataError.
SURPRISES = (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError, csv.Error)


class OneZone:
    """The zone of a run: the one asked for, else that of the first file."""

    def __init__(self, zone: str | None) -> None:
        self.name = None if zone is None else canonical_zone(zone)

    def require(self, zone: str, where: str) -> None:
        """Raise DataError where ``zone`` is another one."""
        if self.name is None:
            self.name = zone
        if canonical_zone(zone) != self.name:
            hint = "a store is of one site: give each zone a store of its own, and say which with --zone"
            raise DataError(f"the file is of zone {zone}, and {self.name} was taken before", where=where, hint=hint)


class OnePlace:
    """The place of a run's weather: that of the first file."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None

    def require(self, record: WeatherRecord, where: str) -> None:
        """Raise DataError where the weather is of another place."""
        place = (record.latitude_deg, record.longitude_deg)
        first = self._first = self._first or place
        if max(abs(place[0] - first[0]), abs(place[1] - first[1])) > SAME_PLACE_DEG:
            hint = "a store is of one site: give each place a store of its own"
            raise DataError(f"weather of {place}, and that of {first} was taken before", where=where, hint=hint)


def signal_formats(zone: str | None, year: int | None) -> tuple[Format, ...]:
    """All of them; ``zone`` refuses files of another one, ``year`` is what a typical year is stamped as."""
    one, place = OneZone(zone), OnePlace()
    return (CarbonFiles(one), PriceFiles(one), OpenMeteoFiles(place), EpwFiles(place, year), JobTraces())


class CarbonFiles(Format):
    """Hourly carbon intensity; values that the source estimated are uncertain."""

    kind = "Electricity Maps CSV"

    def __init__(self, zone: OneZone) -> None:
        self._zone = zone

    def matches(self, source: Source) -> bool:
        """Whether the header has a zone, and a column that begins with "Carbon intensity"."""
        header = _header(source)
        return "zone id" in header and any(name.startswith("carbon intensity") for name in header)

    def read(self, source: Source, account: Account) -> Iterator[Batch]:
        """Life-cycle and direct intensity, whichever the file has."""
        header, path = _header(source), _on_disk(source)
        kinds = [kind for kind in get_args(Kind) if any(_key(name) in header for name in INTENSITY[kind])]
        for kind in kinds or ["lifecycle"]:
            with _Surprises(source):
                series = read_electricity_maps(path, zone=self._zone.name, kind=kind, fill_gaps=True)
                uncertain = _estimated(source)
            self._zone.require(series.zone, source.name)
            yield from _batches(series, CARBON_POINTS[kind], "g/kWh", account, uncertain)


class PriceFiles(Format):
    """Day-ahead prices; the file carries no zone, so its name or the option says it."""

    kind = "prices CSV"

    def __init__(self, zone: OneZone) -> None:
        self._zone = zone

    def matches(self, source: Source) -> bool:
        """Whether the header has a price column."""
        return bool({_key(name) for name in prices.VALUE} & set(_header(source)))

    def read(self, source: Source, account: Account) -> Iterator[Batch]:
        """Prices as they stand."""
        path = _on_disk(source)
        words = re.split(r"[_.\s]+", source.file_name)
        named = next((listed.name for listed in map(find_zone, words) if listed is not None), None)
        zone = named or self._zone.name
        if zone is None:
            raise DataError("prices of which zone?", where=source.name, hint="say it with --zone")
        self._zone.require(zone, source.name)
        with _Surprises(source):
            series = prices.read_prices(path, zone, fill_gaps=True)
        yield from _batches(series, PRICE_POINT, series.unit, account)


class OpenMeteoFiles(Format):
    """Hourly weather, moved to UTC by the offset of the file."""

    kind = "Open-Meteo JSON"

    def __init__(self, place: OnePlace) -> None:
        self._place = place

    def matches(self, source: Source) -> bool:
        """Whether it is a JSON object that says its offset from UTC, or has an object ``hourly``."""
        head = source.head.lstrip(b"\xef\xbb\xbf \t\r\n")
        return head.startswith(b"{") and (b'"hourly"' in head or b'"utc_offset_seconds"' in head)

    def read(self, source: Source, account: Account) -> Iterator[Batch]:
        """Dry bulb and relative humidity."""
        with _Surprises(source):
            record = read_open_meteo(_on_disk(source), fill_gaps=True)
        self._place.require(record, source.name)
        yield from _weather(record, account)


class EpwFiles(Format):
    """A typical year, which no year was: uncertain."""

    kind = "EPW"

    def __init__(self, place: OnePlace, year: int | None) -> None:
        self._place = place
        self._year = year

    def matches(self, source: Source) -> bool:
        """Whether the first line is the location."""
        return source.head.startswith(b"LOCATION,")

    def read(self, source: Source, account: Account) -> Iterator[Batch]:
        """Dry bulb and relative humidity; raises DataError where a typical year has no year to be stamped as."""
        try:
            with _Surprises(source):
                record = read_epw(_on_disk(source), self._year, fill_gaps=True)
        except DataError as error:
            if "typical year of months" not in error.what:
                raise
            raise DataError(error.what, where=error.where, hint="say onto which year to stamp it: --year") from error
        self._place.require(record, source.name)
        account.notes += record.drybulb.notes
        yield from _weather(record, account, typical=True)


class JobTraces(Format):
    """Job traces: their jobs go into the table trace_jobs, because they are no readings."""

    kind = "job trace"

    def matches(self, source: Source) -> bool:
        """Whether the header has the columns of a known form."""
        header = set(_header(source))
        return any({_key(name) for name in columns} <= header for columns, _ in FORMS.values())

    def read(self, source: Source, account: Account) -> Iterator[Batch]:
        """The jobs that ran on GPUs; what was left out is said in the notes."""
        with _Surprises(source):
            trace = read_trace(_on_disk(source))
        account.time_from = "none: seconds from the trace's beginning"
        account.notes += [f"{count} rows {reason}" for count, reason in trace.dropped]
        rows: dict[str, Any] = {
            "trace": pa.repeat(trace.source, len(trace)),
            "form": pa.repeat(trace.form, len(trace)),
            "submit_s": pa.array(trace.submit_s),
            "duration_s": pa.array(trace.duration_s),
            "gpus": pa.array(trace.gpus),
        }
        yield Batch("trace_jobs", pa.table(rows))


class _Surprises:
    """Turns what a reader did not expect of a file into a DataError."""

    def __init__(self, source: Source) -> None:
        self._where = source.name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, SURPRISES):
            what = f"the file is damaged: {str(error)[:200] or type(error).__name__}"
            raise DataError(what, where=self._where, hint="download it again") from error


def _weather(record: WeatherRecord, account: Account, *, typical: bool = False) -> Iterator[Batch]:
    place = f"{record.latitude_deg:g}, {record.longitude_deg:g}"
    account.notes.append(f"weather of {place} (degrees north, east), {record.altitude_m:g} m")
    for series, point in ((record.drybulb, DRYBULB_POINT), (record.rh, RH_POINT)):
        every = np.arange(len(series.value)) if typical else np.empty(0, np.int64)
        seconds = int(series.start.timestamp()) + every * int(series.step_s)
        yield from _batches(series, point, series.unit, account, seconds)


def _batches(
    series: Series, point: str, unit: str, account: Account, uncertain: Sequence[int] | np.ndarray = ()
) -> Iterator[Batch]:
    """The series without what was filled into its gaps; ``uncertain`` are stamps in seconds since 1970."""
    account.time_from = "content"
    start_us = (series.start - EPOCH) // timedelta(microseconds=1)
    ts_us = start_us + (np.arange(len(series.value)) * (series.step_s * 1e6)).astype(np.int64)
    keep = np.ones(len(ts_us), bool)
    for gap in series.gaps:
        first = round((gap.start - series.start).total_seconds() / series.step_s)
        keep[first : first + gap.missing] = False
    if series.gaps:
        account.notes.append(f"{point}: {int((~keep).sum())} values are missing in the file")
    doubtful = np.isin(ts_us // 1_000_000, uncertain)
    quality = np.where(doubtful, UNCERTAIN, GOOD).astype(np.int8)
    columns = Columns(
        ts_us[keep], np.zeros(int(keep.sum()), np.int32), series.value[keep], quality[keep], ((point, unit),)
    )
    yield from to_batches(columns, series.source)


def _estimated(source: Source) -> np.ndarray:
    """Stamps of the rows that Electricity Maps estimated, in seconds since 1970."""
    table = read_table(source.path)
    flags = [name for name in table.columns if _key(name) in map(_key, ESTIMATED)]
    if not flags:
        return np.empty(0, np.int64)
    rows = table[flags[0]].str.to_lowercase().is_in(["true", "1", "yes"])
    seconds = stamps(table, source.path, column(table, source.path, STAMP, "the time in UTC"))
    return np.asarray(seconds[rows.to_numpy()])


def _on_disk(source: Source) -> str:
    if source.is_member:
        raise DataError("within an archive only sensor dumps are read", where=source.name, hint="unpack it first")
    return str(source.path)


def _header(source: Source) -> list[str]:
    """Column names of a CSV file, lower case."""
    try:
        return [_key(name) for name in next(csv.reader(source.head_lines[:1]), []) if name != LINE]
    except csv.Error:
        return []


def _key(name: str) -> str:
    return " ".join(name.casefold().replace("₂", "2").replace("_", " ").split())
