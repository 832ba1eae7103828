"""Times as text into UTC: ISO, unix, or strptime codes; local times with the two hours a year that clocks spoil."""

from __future__ import annotations

import numpy as np
import polars as pl

from facility.errors import DataError
from facility.ingest.batch import Account
from facility.ingest.mapping import UNIX, TimeColumn
from facility.records import FloatArray

# An ISO time brought to one form: date, space, HH:MM:SS, optional fraction, optional offset.
_ISO = r"^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(:\d{2})?(?:[.,](\d{1,9}))?)?\s*(Z|z|[+-]\d{2}:?\d{2})?$"
_AMBIGUOUS = {"skip": "null", "earlier": "earliest", "later": "latest"}
LAST_US = 2**53  # year 2255: beyond it a time in microseconds is no exact float


class Stamps:
    """Reads the time column of one file, and counts what of it could not be used."""

    def __init__(self, column: TimeColumn, where: str) -> None:
        self._column = column
        self._where = where
        self._lost = 0
        self._example = ""
        self._ambiguous = 0
        self._nonexistent = 0

    def read(self, cells: pl.Series) -> FloatArray:
        """Microseconds since 1970 UTC, shape [n]; NaN where the cell is no time that can be used."""
        try:
            out = self._read(cells)
        except pl.exceptions.PolarsError as error:
            what = f"format {self._column.format!r} cannot be used: {str(error).splitlines()[0]}"
            raise DataError(what, where=self._where, hint="correct [time] in the mapping") from error
        out[~(np.abs(out) < LAST_US)] = np.nan
        self._note(cells, out)
        return out

    def _read(self, cells: pl.Series) -> FloatArray:
        if self._column.format in UNIX:
            us = cells.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy() * UNIX[self._column.format]
            return np.where(np.isfinite(us), np.round(us), np.nan)
        if self._column.format == "iso":
            return self._iso(cells)
        times = cells.str.to_datetime(self._column.format, strict=False, time_unit="us")
        return _epoch(times) if "%z" in self._column.format else self._local(times)

    def tell(self, account: Account, rows: int) -> None:
        """Put what was left out into the account; raises DataError where no row had a time."""
        lost = self._lost
        if rows and lost == rows:
            wanted = f"format {self._column.format!r}" + (f", zone {self._column.zone}" if self._column.zone else "")
            hint = f"the mapping says {wanted}"
            raise DataError(f"no row has a time that can be used, e.g. {self._example!r}", where=self._where, hint=hint)
        if not rows:
            raise DataError("a header and no rows", where=self._where, hint="export it again with data")
        account.count("rows without a time", lost - self._ambiguous - self._nonexistent)
        account.count("rows in an ambiguous hour", self._ambiguous)
        account.count("rows in an hour that did not exist", self._nonexistent)
        if lost:
            account.notes.append(f"{lost} of {rows} rows have no time that can be used, e.g. {self._example!r}")

    def _iso(self, cells: pl.Series) -> FloatArray:
        parts = cells.str.extract_groups(_ISO)
        day, minute, second, fraction, offset = (parts.struct.field(name) for name in parts.struct.fields)
        fraction = fraction.fill_null("").str.pad_end(6, "0").str.slice(0, 6)
        text = day + " " + minute.fill_null("00:00") + second.fill_null(":00") + "." + fraction
        naive = text.str.to_datetime("%Y-%m-%d %H:%M:%S%.6f", strict=False, time_unit="us")
        has_offset = offset.is_not_null()
        digits = offset.str.replace_all("[Zz]", "+0000").str.replace(":", "", literal=True)
        minutes = digits.str.slice(1, 2).cast(pl.Int64) * 60 + digits.str.slice(3, 2).cast(pl.Int64)
        sign = pl.select(pl.when(digits.str.slice(0, 1) == "-").then(-1).otherwise(1)).to_series()
        shifted = naive.dt.epoch("us") - (sign * minutes) * 60_000_000
        out: FloatArray = shifted.cast(pl.Float64).fill_null(float("nan")).to_numpy().copy()
        local = (~has_offset & naive.is_not_null()).to_numpy()
        if local.any():
            out[local] = self._local(naive.filter(pl.Series(local)))
        return out

    def _local(self, naive: pl.Series) -> FloatArray:
        zone = self._column.zone
        if not zone:
            hint = 'say the time zone in the mapping: zone = "Europe/Berlin", or "UTC"'
            raise DataError("times without an offset", where=self._where, hint=hint)
        how = _AMBIGUOUS[self._column.ambiguous]
        utc = naive.dt.replace_time_zone(zone, ambiguous=how, non_existent="null")  # type: ignore[arg-type]
        either = naive.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        self._nonexistent += int((either.is_null() & naive.is_not_null()).sum())
        self._ambiguous += int((utc.is_null() & either.is_not_null()).sum())
        return _epoch(utc)

    def _note(self, cells: pl.Series, out: FloatArray) -> None:
        lost = np.isnan(out)
        if lost.any() and not self._example:
            self._example = str(cells[int(np.argmax(lost))])[:40]
        self._lost += int(lost.sum())


def _epoch(times: pl.Series) -> FloatArray:
    values: FloatArray = times.dt.epoch("us").cast(pl.Float64).fill_null(float("nan")).to_numpy().copy()
    return values
