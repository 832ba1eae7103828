"""Open-Meteo's JSON: hourly values in local time with the fixed ``utc_offset_seconds`` of the file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from facility.errors import DataError
from facility.records import FloatArray
from twin.signals.grid import Rows, on_grid
from twin.signals.record import DRYBULB_RANGE_C, RH_RANGE_PCT, WeatherRecord, make_record, require_range
from twin.signals.series import CLOUD_COVER, DRYBULB, IRRADIANCE, RH, Series
from twin.signals.table import Paths, as_paths, read_text

Field = tuple[str, str, tuple[float, float]]  # name, unit, what can be
Fields = Mapping[str, Field]
FIELDS: Fields = {
    DRYBULB: ("temperature_2m", "°C", DRYBULB_RANGE_C),
    RH: ("relative_humidity_2m", "%", RH_RANGE_PCT),
}
SKY_FIELDS: Fields = {
    IRRADIANCE: ("shortwave_radiation", "W/m²", (0.0, 1500.0)),
    CLOUD_COVER: ("cloud_cover", "%", (0.0, 100.0)),
}
# The API's spelling before 2023
OLD_NAMES = {"relative_humidity_2m": "relativehumidity_2m", "cloud_cover": "cloudcover"}
SAME_PLACE_DEG = 0.5


def read_open_meteo(paths: Paths, *, zone: str = "", fill_gaps: bool = False) -> WeatherRecord:
    """One or several files of one place, stamps moved to UTC by the offset that each file states.

    Raises DataError for a missing or contradictory offset, other units than degC and %, gaps, absurd values, another
    place in a second file, and a day that is warmest outside the local afternoon.
    """
    documents = [(path, _document(path)) for path in as_paths(paths)]
    place = _place(documents)
    files = [_rows(path, document) for path, document in documents]
    grid = on_grid(files, "weather", zone, fill_gaps=fill_gaps)
    return make_record(grid, ", ".join(path.name for path, _ in documents), place, zone)


def read_sky(paths: Paths, *, zone: str = "", fill_gaps: bool = False) -> Series | None:
    """Global horizontal irradiance where every file has it, else cloud cover; None where the files have neither.

    Irradiance is the mean of the hour before its stamp (Open-Meteo's definition), cloud cover is of the stamp.
    """
    documents = [(path, _document(path)) for path in as_paths(paths)]
    for quantity, field in SKY_FIELDS.items():
        names = {field[0], OLD_NAMES.get(field[0], field[0])}
        if not all(names & set(document["hourly"]) for _, document in documents):
            continue
        files = [_rows(path, document, {quantity: field}) for path, document in documents]
        grid = on_grid(files, quantity, zone, fill_gaps=fill_gaps)
        is_mean = quantity == IRRADIANCE
        return Series(
            quantity=quantity,
            unit=field[1],
            zone=zone,
            start=grid.start - timedelta(seconds=grid.step_s if is_mean else 0.0),
            step_s=grid.step_s,
            value=grid.values[quantity],
            known_lag_s=0.0,
            source=", ".join(path.name for path, _ in documents),
            instant=not is_mean,
            gaps=grid.gaps,
        )
    return None


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(
            f"not valid JSON: {error.msg}", where=f"{path}, line {error.lineno}", hint="download the file again"
        ) from error
    if not isinstance(document, dict) or not isinstance(document.get("hourly"), dict):
        raise DataError(
            "no object 'hourly'",
            where=str(path),
            hint="ask Open-Meteo for hourly temperature_2m and relative_humidity_2m",
        )
    return document


def _place(documents: list[tuple[Path, dict[str, Any]]]) -> tuple[float, float, float]:
    """Latitude, longitude and altitude, the same for every file."""
    places = []
    for path, document in documents:
        try:
            places.append(
                (float(document["latitude"]), float(document["longitude"]), float(document.get("elevation") or 0.0))
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                "no latitude and longitude", where=str(path), hint="keep the head of the file as downloaded"
            ) from error
        if max(abs(places[-1][0] - places[0][0]), abs(places[-1][1] - places[0][1])) > SAME_PLACE_DEG:
            raise DataError(
                f"the file is of {places[-1][:2]} and the first of {places[0][:2]}",
                where=str(path),
                hint="give files of one place",
            )
    return places[0]


def _rows(path: Path, document: dict[str, Any], fields: Fields = FIELDS) -> Rows:
    hourly, offset_s = document["hourly"], _offset_s(path, document)
    stamps = hourly.get("time")
    if not isinstance(stamps, list) or not stamps:
        raise DataError("no list 'hourly.time'", where=str(path), hint="download the file again")
    values = {quantity: _values(path, document, fields[quantity], stamps) for quantity in fields}
    seconds = np.array([_utc_s(path, stamp, offset_s) for stamp in stamps], dtype=np.int64)
    return Rows(path, seconds, np.arange(len(seconds), dtype=np.int64), values)


def _offset_s(path: Path, document: dict[str, Any]) -> float:
    """The file's offset from UTC, checked against the time zone that the file names."""
    offset = document.get("utc_offset_seconds")
    if not isinstance(offset, int | float) or abs(offset) > 14 * 3600:
        raise DataError(
            f"'utc_offset_seconds' is {offset!r}",
            where=str(path),
            hint="without it local stamps cannot be moved to UTC; keep the head of the file",
        )
    name = document.get("timezone")
    try:
        clock = ZoneInfo(str(name))
    except (KeyError, ValueError, OSError):
        return float(offset)  # "GMT" aside, some exports carry no IANA name; the warmest-hour check still stands
    possible = {datetime(2023, month, 15, tzinfo=clock).utcoffset() for month in (1, 7)}
    if timedelta(seconds=float(offset)) not in possible:
        raise DataError(
            f"'utc_offset_seconds' is {offset:g} and the time zone is {name}",
            where=str(path),
            hint="one of the two is wrong: the stamps may be local time labelled as UTC",
        )
    return float(offset)


def _values(path: Path, document: dict[str, Any], field: Field, stamps: list[Any]) -> FloatArray:
    name, unit, limits = field
    hourly, units = document["hourly"], document.get("hourly_units") or {}
    if name not in hourly and OLD_NAMES.get(name) in hourly:
        name = OLD_NAMES[name]
    if name not in hourly:
        found = ", ".join(key for key in hourly if key != "time")
        raise DataError(f"no hourly {name!r}, found {found}", where=str(path), hint=f"ask Open-Meteo for hourly={name}")
    if units.get(name, unit) != unit:
        raise DataError(
            f"{name} is in {units[name]!r}, expected {unit!r}", where=str(path), hint="download it in metric units"
        )
    try:
        value = np.array([np.nan if cell is None else float(cell) for cell in hourly[name]])
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{name} holds something that is not a number", where=str(path), hint="download the file again"
        ) from error
    if len(value) != len(stamps):
        raise DataError(
            f"{len(value)} values of {name} for {len(stamps)} stamps", where=str(path), hint="download the file again"
        )
    require_range(value, limits, unit, stamps, f"{path}, {name}")
    return value


def _utc_s(path: Path, stamp: object, offset_s: float) -> int:
    """Seconds since 1970 of a local stamp without offset."""
    try:
        local = datetime.fromisoformat(str(stamp))
    except ValueError as error:
        raise DataError(
            f"{stamp!r} is not a time", where=f"{path}, hourly.time", hint="download the file again"
        ) from error
    if local.tzinfo is not None:
        raise DataError(
            f"{stamp!r} carries its own offset",
            where=f"{path}, hourly.time",
            hint="stamps are local, utc_offset_seconds says how far",
        )
    return int(local.replace(tzinfo=UTC).timestamp() - offset_s)
