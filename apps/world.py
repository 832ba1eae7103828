"""Where signals and jobs come from: the user's files, or documented synthetic ones that say so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from apps.run_config import RunConfig, Sources
from facility.records import Job
from facility.site import Site
from twin.signals import (
    Signals,
    read_electricity_maps,
    read_prices,
    read_weather,
    synthetic_carbon,
    synthetic_prices,
    synthetic_weather,
)
from twin.traces import read_trace, scale_trace, synthetic_trace

HISTORY_D = 8  # days of signal before the start that a synthetic world has, so that forecasts have a past
FUTURE_D = 400
SEED = 2024


def load_signals(config: RunConfig, site: Site) -> Signals:
    """Signals of a run; raises DataError where a given file cannot be used."""
    return signals_of(config.sources, site, config.start)


def signals_of(sources: Sources, site: Site, start: datetime) -> Signals:
    """Read what is given; what is not given is synthetic and labelled so. Prices are never invented beside real signals."""
    first = (start - timedelta(days=HISTORY_D)).astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    days = HISTORY_D + FUTURE_D
    place = site.site
    if sources.carbon:
        carbon = read_electricity_maps([Path(path) for path in sources.carbon], zone=place.zone)
    else:
        carbon = synthetic_carbon(place.zone, first, days, SEED)
    if sources.weather:
        weather = read_weather([Path(path) for path in sources.weather])
    else:
        weather = synthetic_weather(place.zone, first, days, SEED)
    price = None
    if sources.price:
        price = read_prices([Path(path) for path in sources.price], place.zone, place.timezone)
    elif not sources.carbon and not sources.weather:
        price = synthetic_prices(place.zone, first, days, SEED)
    return Signals(carbon, weather.drybulb, weather.rh, price, place.altitude_m)


def first_start(sources: Sources, site: Site, now: datetime) -> datetime:
    """When an emulated run begins: this hour in a synthetic world, three days into the files in a recorded one."""
    hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if not sources.carbon and not sources.weather:
        return hour
    signals = signals_of(sources, site, hour)
    recorded = [series for series in (signals.carbon, signals.drybulb, signals.price) if series and not series.synthetic]
    begin = max(series.start for series in recorded) + timedelta(days=3)
    return begin.replace(minute=0, second=0, microsecond=0)


def jobs_of(sources: Sources, site: Site, start: datetime, days: float, utilisation: float) -> tuple[Job, ...]:
    """Jobs of an emulated run: the given trace or a synthetic one, scaled to the hall and to ``utilisation``."""
    trace = read_trace(Path(sources.jobs)) if sources.jobs else synthetic_trace(SEED)
    jobs, _ = scale_trace(
        trace,
        start=start,
        days=days,
        gpus_total=site.hall.gpus_total,
        utilisation=utilisation,
        slack_h=24.0,
        flexible=0.7,
        seed=SEED,
    )
    return jobs
