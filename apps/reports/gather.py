"""From a source to the inputs of a report: the span, the meters of each quantity, the carbon intensity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import get_args

import numpy as np

from apps.reports.source import About, Source, track
from facility.errors import ConfigError, DataError
from facility.site.report import ChilledWaterMeter, Quantity
from twin.reports.inputs import Inputs
from twin.reports.intensity import Intensity, of_readings, of_series
from twin.reports.metered import Metered, from_rate, mean_of, nothing, sample, sum_of
from twin.reports.meters import CARBON_DIRECT_POINT, CARBON_POINT, Meters, choose
from twin.reports.units import flow_kg_s, metered
from twin.signals import Series, read_electricity_maps
from twin.signals.carbon import Kind

MEANS: tuple[Quantity, ...] = ("cpu_utilisation", "intake_setpoint", "waste_heat_temperature", "drybulb")
WATER: tuple[Quantity, ...] = ("water", "potable_water")
WATER_KJ_KG_K = 4.19  # specific heat of water between 5 and 25 C (IAPWS-97: 4.18 to 4.20)
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What the person asks for beside the source."""

    start: datetime | None = None
    end: datetime | None = None
    carbon: tuple[Path, ...] = ()
    gpu_hours: float | None = None
    jobs: float | None = None


def gather(source: Source, about: About, asked: Asked) -> Inputs:
    """All that a report needs; raises DataError where no meter is known or none was read in the span."""
    meters = choose({name: held.unit for name, held in source.points().items()}, about.roles, about.facts.meters)
    _require_a_meter(source, meters)
    start, end = _span(source, meters, asked)
    measured, reasons = _all_measured(source, meters, start, end)
    heat = _heat(source, meters.chilled_water, start, end)
    if heat is not None:
        measured.setdefault("heat_removed", heat)
    span_s = (end - start).total_seconds()
    for name in about.facts.none_of:
        if name != "instruments":
            measured.setdefault(name, nothing(span_s))
    location, direct = _carbon(source, meters, asked.carbon, about, start, end)
    return Inputs(
        site=about.name,
        timezone=about.timezone,
        start=start,
        end=end,
        meters=measured,
        reasons=reasons,
        location=location,
        direct=direct,
        facts=about.facts,
        installed=about.installed,
        gpu_hours=asked.gpu_hours,
        jobs=asked.jobs,
        source=source.name,
        points=meters.points,
    )


def _require_a_meter(source: Source, meters: Meters) -> None:
    if {"facility", "it", "pdu_output", "ups_output"} & set(meters.points):
        return
    named = "; ".join(meters.reasons.values())
    what = named or f"none of its {len(source.points())} points is known as a meter of the facility or of IT"
    hint = "name the meters in [roles] and [report.meters] of a site file, and give that with --site"
    raise DataError(what, where=source.name, hint=hint)


def _span(source: Source, meters: Meters, asked: Asked) -> tuple[datetime, datetime]:
    """What is asked for, else from the first to the last reading of the main meter, or of IT without one."""
    held = source.points()
    main = meters.points.get("facility") or next(iter(meters.points.values()))
    start = asked.start or min(held[name].first for name in main)
    end = asked.end or max(held[name].last for name in main)
    if end <= start:
        raise ConfigError(
            f"the span from {start} to {end} is empty", where="--from, --to", hint="give --from before --to"
        )
    first = min(held[name].first for name in meters.names)
    last = max(held[name].last for name in meters.names)
    if end <= first or start >= last:
        what = f"no readings from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
        hint = f"its meters have readings from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"
        raise DataError(what, where=source.name, hint=hint)
    return start, end


def _all_measured(
    source: Source, meters: Meters, start: datetime, end: datetime
) -> tuple[dict[Quantity, Metered], dict[Quantity, str]]:
    """Every quantity that was read in the span, and why the others were not."""
    measured: dict[Quantity, Metered] = {}
    reasons = dict(meters.reasons)
    for name, points in meters.points.items():
        meter = _measured(source, name, points, start, end)
        if meter.known.length_s > 0:
            measured[name] = meter
        else:
            more = f" and {len(points) - 1} more, together," if len(points) > 1 else ""
            reasons[name] = f"{points[0]}{more} had no two good readings in this span"
    return measured, reasons


def _measured(source: Source, quantity: Quantity, points: Sequence[str], start: datetime, end: datetime) -> Metered:
    """The sum of a quantity's meters, or their mean."""
    span_s = (end - start).total_seconds()
    tracks = [track(source, name, start, end) for name in points]
    if quantity in MEANS:
        return mean_of([from_rate(one.at_s, one.value, span_s) for one in tracks])
    return sum_of([metered(one, span_s, water=quantity in WATER) for one in tracks])


def _heat(source: Source, loops: Sequence[ChilledWaterMeter], start: datetime, end: datetime) -> Metered | None:
    """Heat of chilled water, flow x specific heat x (return - supply), at the moments of the flow's readings."""
    if not loops:
        return None
    span_s = (end - start).total_seconds()
    parts = []
    for loop in loops:
        flow = track(source, loop.flow, start, end)
        supply, back = (track(source, name, start, end) for name in (loop.supply_c, loop.return_c))
        rise_k = sample(back.at_s, back.value, flow.at_s) - sample(supply.at_s, supply.value, flow.at_s)
        parts.append(from_rate(flow.at_s, flow_kg_s(flow) * WATER_KJ_KG_K * rise_k, span_s, 1.0 / _HOUR_S))
    return sum_of(parts)


def _carbon(
    source: Source, meters: Meters, files: Sequence[Path], about: About, start: datetime, end: datetime
) -> tuple[Intensity | None, Intensity | None]:
    """Life-cycle and direct intensity: of the files given, else of the readings, else of the run."""
    found: Mapping[str, Intensity | None] = _of_files(files, about.zone, start, end)
    if not files:
        found = _of_points(source, meters.carbon, start, end)
    if not files and not any(found.values()):
        found = {series.kind or "lifecycle": of_series(series, start, end) for series in source.carbon()}
    location, direct = found.get("lifecycle"), found.get("direct")
    return location or direct, direct


def _of_files(files: Sequence[Path], zone: str, start: datetime, end: datetime) -> dict[str, Intensity | None]:
    """Both kinds where the files have both; raises DataError where they have neither."""
    found: dict[str, Intensity | None] = {}
    errors = []
    for kind in get_args(Kind) if files else ():
        try:
            series: Series = read_electricity_maps(list(files), zone=zone or None, kind=kind, fill_gaps=True)
        except DataError as error:
            errors.append(error)
            continue
        found[kind] = of_series(series, start, end)
    if files and not found:
        raise errors[0]
    return found


def _of_points(source: Source, point: str, start: datetime, end: datetime) -> dict[str, Intensity | None]:
    """Readings of the grid's intensity; those that the grid estimated are taken too."""
    found: dict[str, Intensity | None] = {}
    for kind, name in (("lifecycle", point), ("direct", CARBON_DIRECT_POINT)):
        if name not in source.points():
            continue
        readings = track(source, name, start, end, usable=True)
        said = kind if name in (CARBON_POINT, CARBON_DIRECT_POINT) else ""
        inside = readings.at_s < (end - start).total_seconds()
        value = np.where(readings.value >= 0, readings.value, np.nan)
        found[kind] = of_readings(readings.at_s[inside], value[inside], said, f"readings of {name}")
    return found
