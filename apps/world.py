"""Where signals and jobs come from: the user's files, or documented synthetic ones that say so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib.resources import as_file, files
from pathlib import Path

from apps.run_config import Sources
from facility.records import Job
from facility.site import Site, load_site
from twin.signals import Signals, load_signals, read_electricity_maps, read_prices, read_weather, synthetic_signals
from twin.signals.zones import find_zone
from twin.trace_files import read_trace, synthetic_trace
from twin.traces import scale_trace

HISTORY_D = 60  # days of signal before the start that a synthetic world has, so that forecasts have a past and bands
FUTURE_D = 400
SEED = 2024
BACKLOG_H = 6.0


def signals_of(sources: Sources, site: Site, start: datetime, *, year: int | None = None) -> Signals:
    """Read what is given; the rest is synthetic and labelled so. Prices are never invented beside real signals.

    A real site takes only files of its own zone; an emulated building may stand in any. ``year`` stamps a typical
    year (EPW); without it that is the year in which recorded carbon begins, or that of ``start``.
    """
    place = site.site
    zone = None if place.emulated else place.zone
    if sources.carbon and sources.weather:
        return load_signals(
            sources.carbon,
            sources.weather,
            sources.price or None,
            zone=zone,
            timezone=_market_clock(sources, site) if sources.price else None,
            altitude_m=place.altitude_m,
            year=year,
        )
    first = (start - timedelta(days=HISTORY_D)).astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    made_up = synthetic_signals(place.zone, first, HISTORY_D + FUTURE_D, SEED)
    carbon, drybulb, rh, price = made_up.carbon, made_up.drybulb, made_up.rh, made_up.price
    if sources.carbon:
        carbon, price = read_electricity_maps(sources.carbon, zone=zone), None
    if sources.weather:
        weather = read_weather(sources.weather, year or start.year, zone=place.zone)
        drybulb, rh, price = weather.drybulb, weather.rh, None
    if sources.price:
        price = read_prices(sources.price, carbon.zone, _market_clock(sources, site))
    return Signals(carbon, drybulb, rh, price, place.altitude_m)


def reference_site() -> Site:
    """The 1 MW site that ships with the product."""
    with as_file(files("data") / "site-1mw.toml") as shipped:
        return load_site(shipped)


def _market_clock(sources: Sources, site: Site) -> str | None:
    """The clock by which day-ahead prices are published: that of a listed zone, else the site's.

    None lets the zone speak for itself: the site's clock is right only in its own zone.
    """
    zone = read_electricity_maps(sources.carbon).zone if sources.carbon else site.site.zone
    return None if find_zone(zone) is not None else site.site.timezone


def first_start(sources: Sources, site: Site, now: datetime) -> datetime:
    """When an emulated run begins: this hour in a synthetic world, three days into the files in a recorded one."""
    hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if not sources.carbon and not sources.weather:
        return hour
    signals = signals_of(sources, site, hour)
    recorded = [
        series for series in (signals.carbon, signals.drybulb, signals.price) if series and not series.synthetic
    ]
    begin = max(series.start for series in recorded) + timedelta(days=3)
    return begin.replace(minute=0, second=0, microsecond=0)


def jobs_of(sources: Sources, site: Site, start: datetime, days: float, utilisation: float) -> tuple[Job, ...]:
    """Jobs of an emulated run: the given trace or a synthetic one, scaled to the hall and to ``utilisation``.

    They begin to arrive ``BACKLOG_H`` before the run does, so that it does not begin with an empty hall.
    """
    trace = read_trace(Path(sources.jobs)) if sources.jobs else synthetic_trace(SEED)
    return scale_trace(
        trace,
        start=start - timedelta(hours=BACKLOG_H),
        days=days,
        gpus_total=site.hall.gpus,
        utilisation=utilisation,
        slack_h=24.0,
        flexible=0.7,
        seed=SEED,
    )
