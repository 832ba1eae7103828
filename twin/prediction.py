"""Forecasts of facility power, PUE and the hottest inlet: physics, plus what was learned, plus an adaptive band."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from facility.errors import DataError
from facility.records import FloatArray, Point
from twin.conformal import adaptive_band
from twin.features import Ahead, Outlook, Series, build_series, known_ahead, trailing_mean
from twin.identification.calibrated import CalibratedHall
from twin.learned import Domain, Trees
from twin.lumped import Linear, inlet_columns, overhead_columns
from twin.meters import Gain
from twin.telemetry.cleaning import Habits, clean
from twin.telemetry.clocks import Witness, clock_ahead_minutes
from twin.telemetry.grid import Clock, hold
from twin.telemetry.reading import MINUTE_US, BoolArray, IntArray, Telemetry
from twin.telemetry.topology import Topology

FACILITY, PUE, INLET = "facility_kw", "pue", "rack_inlet_max_c"
ISSUE_MINUTES = 5
_HOLD = 720  # minutes for which the newest measurement still starts a forecast
_WEATHER = ("drybulb", "wetbulb")
_INLET_STD_K = 0.2  # of the hottest of several sensors whose offsets are known in part
_Z90 = 1.645
_MOST_STALE = 3.0
_WIDER = 2.0  # bands are this much wider again where the residual has no weight


@dataclass(frozen=True, slots=True, eq=False)
class Physics:
    """The lumped model: of the overhead, and of every inlet."""

    tau_min: float
    overhead: Linear
    inlets: Mapping[str, Linear]


@dataclass(frozen=True, slots=True, eq=False)
class Residual:
    """Learned residual of one quantity at one horizon, and the errors that validation showed."""

    trees: Trees
    features: tuple[str, ...]
    domain: Domain
    past: Mapping[str, FloatArray]  # point -> errors (outcome minus mean) in the order of time


@dataclass(frozen=True, slots=True, eq=False)
class BuildingModel:
    """All that `predict` needs; `twin.model_file` writes and reads it."""

    topology: Topology
    points: Mapping[str, Point]
    habits: Mapping[str, Habits]
    gains: tuple[Gain, Gain]  # of facility and IT power
    offsets: Mapping[str, float]  # of inlet sensors, kelvin
    witness: Witness | None  # tells a jump of the IT meters' clock from an outage
    physics: Physics
    residuals: Mapping[tuple[str, int], Residual]  # (overhead | inlet, horizon)
    hall: CalibratedHall | None = None  # what environment, optimum and what-if are asked of

    @property
    def horizons(self) -> tuple[int, ...]:
        """Minutes ahead that were calibrated."""
        return tuple(sorted({horizon for _, horizon in self.residuals}))


@dataclass(frozen=True, slots=True, eq=False)
class Forecasts:
    """Forecasts of one point at one horizon, one for each time of issue."""

    point: str
    horizon_min: int
    issue_us: IntArray
    mean: FloatArray
    low: FloatArray
    high: FloatArray
    measured: FloatArray  # at the target, NaN where not yet or never


def building_series(model: BuildingModel, telemetry: Telemetry) -> tuple[Series, FloatArray]:
    """The telemetry as a model sees it, and for each minute by how much the clock of the IT meters is ahead."""
    check_points(model, telemetry)
    rows = clean(telemetry, model.habits)
    clock = Clock.over(telemetry.start_us, telemetry.end_us)
    ahead_min = clock_ahead_minutes(rows, clock, model.witness)
    series = build_series(clock, rows, model.habits, model.points, model.topology, model.gains, model.offsets)
    return series, ahead_min


def check_points(model: BuildingModel, telemetry: Telemetry) -> None:
    """Raises DataError where facility or IT power of the model is not in the telemetry."""
    missing = [n for n in (model.topology.facility, *model.topology.it) if n not in telemetry.rows]
    if missing:
        raise DataError(f"no rows of {', '.join(missing)}", where="telemetry", hint="calibrate on this building first")


def predict(
    model: BuildingModel, telemetry: Telemetry, from_us: int, horizons: Sequence[int], known: frozenset[str]
) -> Iterator[Forecasts]:
    """Forecasts each five minutes from ``from_us`` to the end of the telemetry, for each horizon and point."""
    missing = [horizon for horizon in horizons if horizon not in model.horizons]
    if missing:
        raise DataError(f"the model was not calibrated for {missing} minutes", hint=f"it has {model.horizons}")
    series, ahead_min = building_series(model, telemetry)
    issues = issue_minutes(series.clock, from_us, telemetry.end_us)
    if not len(issues):
        raise DataError("the telemetry ends before the first issue", hint="choose an earlier --from")
    for horizon in horizons:
        now = _Round.of(model, series, issues, horizon, known, ahead_min)
        yield from _power(now)
        if ("inlet", horizon) in model.residuals:
            yield _inlet(now)


def issue_minutes(clock: Clock, from_us: int, end_us: int) -> IntArray:
    """Minutes of the clock at which forecasts are issued: whole five minutes with at least an hour of history."""
    step = ISSUE_MINUTES * MINUTE_US
    first = max(-(-from_us // step) * step, clock.start_us + 60 * MINUTE_US)
    first = -(-first // step) * step
    return np.asarray((np.arange(first, end_us + 1, step) - clock.start_us) // MINUTE_US, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """What is known ahead under one belief about the clock of the IT meters."""

    holds: BoolArray  # the issues at which it is believed
    ahead: Ahead
    ahead_min: int  # by which the clock of the IT meters is believed to be ahead


@dataclass(frozen=True, slots=True, eq=False)
class _Round:
    """All issues at one horizon."""

    model: BuildingModel
    series: Series
    issues: IntArray
    horizon: int
    views: tuple[_View, ...]
    comparable: BoolArray  # issues whose outcome has a row with the right time

    @classmethod
    def of(
        cls,
        model: BuildingModel,
        series: Series,
        issues: IntArray,
        horizon: int,
        known: frozenset[str],
        ahead_min: FloatArray,
    ) -> _Round:
        believed = ahead_min[issues]
        views = [
            _View(believed == value, known_ahead(series, Outlook(issues, horizon, known, int(value))), int(value))
            for value in np.unique(believed)
        ]
        comparable = (believed == 0.0) & (issues + horizon < series.clock.count)
        return cls(model, series, issues, horizon, tuple(views), comparable)

    def choose(self, values: Sequence[FloatArray]) -> FloatArray:
        """Of the values under each belief those of the belief that holds."""
        chosen = np.full(len(self.issues), np.nan)
        for view, value in zip(self.views, values, strict=True):
            chosen[view.holds] = value[view.holds]
        return chosen

    def learned(self, residual: Residual, view: _View) -> tuple[FloatArray, FloatArray]:
        """The learned residual, faded outside its domain, and its weight."""
        names, table = feature_table(self.series, self.issues, view.ahead)
        where = {name: column for column, name in enumerate(names)}
        absent = np.full(len(table), np.nan)
        full = np.column_stack([table[:, where[name]] if name in where else absent for name in residual.features])
        weight = residual.domain.weight(domain_inputs(self.series, self.issues, view.ahead))
        return weight * residual.trees.predict(full), weight

    def staleness(self) -> FloatArray:
        """By how much bands grow where the newest meter rows are old because their clock is ahead: a random walk."""
        factors = [np.sqrt(1.0 + max(view.ahead_min, 0) / self.horizon) for view in self.views]
        return self.choose([np.full(len(self.issues), min(factor, _MOST_STALE)) for factor in factors])

    def measured(self, values: FloatArray) -> FloatArray:
        """What was measured at the target."""
        at = np.minimum(self.issues + self.horizon, self.series.clock.count - 1)
        return np.where(self.comparable, values[at], np.nan)


def feature_table(series: Series, issues: IntArray, ahead: Ahead) -> tuple[tuple[str, ...], FloatArray]:
    """Columns of the residual: newest state, known ahead, and how far that is from now."""
    columns = {name: values[issues] for name, values in series.states.items()}
    columns["overhead"] = overhead_now(series)[issues]
    columns |= {f"{name}@target": values for name, values in ahead.target.items()}
    columns |= {f"{name}@step": ahead.target[name] - values for name, values in ahead.now.items()}
    return tuple(columns), np.column_stack(list(columns.values()))


def domain_inputs(series: Series, issues: IntArray, ahead: Ahead) -> FloatArray:
    """The few inputs that say whether the building is where it was trained: IT, setpoints and weather."""
    columns = [ahead.target[f"{name}:0"] for name in domain_names(series) if name not in _WEATHER]
    columns += [series.states[name][issues] for name in domain_names(series) if name in _WEATHER]
    return np.column_stack(columns)


def domain_names(series: Series) -> list[str]:
    """What the domain is measured in: IT power, setpoints, weather."""
    return ["it", *series.setpoints, *(name for name in _WEATHER if name in series.states)]


def overhead_now(series: Series) -> FloatArray:
    """The newest overhead at each minute, kW."""
    return hold(trailing_mean(series.overhead_newest_kw, 3), _HOLD)


def overhead_base(series: Series, issues: IntArray, ahead: Ahead, physics: Physics) -> FloatArray:
    """Overhead at the target by physics: the newest one plus the modelled change."""
    it_now = hold(trailing_mean(series.it_newest_kw, 3), _HOLD)[issues]
    modes = {name: values[issues] for name, values in series.states.items() if name in overhead_modes(series)}
    heat_now, heat_then = _heat(ahead, physics.tau_min)
    now = overhead_columns(it_now, heat_now, setpoints_of(series, ahead.now), modes)
    then = overhead_columns(ahead.it_kw, heat_then, setpoints_of(series, ahead.target), modes)
    return overhead_now(series)[issues] + physics.overhead.change(now, then)


def overhead_modes(series: Series) -> list[str]:
    """States that the physics holds over the horizon."""
    return [name for name in series.states if name.endswith(":running") or name == "wetbulb"]


def setpoints_of(series: Series, columns: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """The setpoints, lagged as the plant follows them, by name."""
    return {name: columns[f"{name}:15"] for name in series.setpoints}


def _heat(ahead: Ahead, tau: float) -> tuple[FloatArray, FloatArray]:
    """Lagged heat now and at the target, from the lags that ``ahead`` has: the two nearest are interpolated."""
    taus = np.array([float(name.split(":")[1]) for name in ahead.now if name.startswith("it:")])
    order = np.argsort(taus)
    taus = taus[order]
    names = np.array([name for name in ahead.now if name.startswith("it:")])[order]
    upper = int(np.clip(np.searchsorted(taus, tau), 1, len(taus) - 1))
    share = float(np.clip((tau - taus[upper - 1]) / (taus[upper] - taus[upper - 1]), 0.0, 1.0))
    pair = (names[upper - 1], names[upper])
    now, then = ((1.0 - share) * part[pair[0]] + share * part[pair[1]] for part in (ahead.now, ahead.target))
    return now, then


def inlet_base(series: Series, issues: IntArray, ahead: Ahead, physics: Physics) -> FloatArray:
    """Hottest inlet at the target by physics."""
    best = np.full(len(issues), np.nan)
    for name, newest in series.inlets_newest_c.items():
        value = hold(trailing_mean(newest, 3), _HOLD)[issues]
        linear = physics.inlets.get(name)
        if linear is not None:
            now, then = inlet_inputs(series, name, ahead.now), inlet_inputs(series, name, ahead.target)
            value = value + linear.change(now, then)
        best = np.fmax(best, value)
    return best


def inlet_inputs(series: Series, name: str, columns: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Inputs of the physics of one inlet: heat of its zone, or of the building where its meter is not known."""
    meter = series.zone_meter.get(name)
    heat = columns[f"{meter}:8"] if f"{meter}:8" in columns else columns["it:5"]
    return inlet_columns(heat, setpoints_of(series, columns))


def _power(now: _Round) -> Iterator[Forecasts]:
    """Facility power, and PUE with the same IT power."""
    model, series = now.model, now.series
    residual = model.residuals["overhead", now.horizon]
    learned = [now.learned(residual, view) for view in now.views]
    bases = [overhead_base(series, now.issues, view.ahead, model.physics) for view in now.views]
    overhead = now.choose([base + part for base, (part, _) in zip(bases, learned, strict=True)])
    weight = now.choose([weight for _, weight in learned])
    it = now.choose([view.ahead.it_kw for view in now.views])
    facility = now.measured(series.overhead_kw + series.it_total_kw)
    pue = facility / now.measured(series.it_total_kw)
    relative = float(np.hypot(model.gains[0].std, model.gains[1].std))
    mean = it + overhead
    yield _banded(FACILITY, now, residual, mean, facility, weight, model.gains[0].std * mean)
    yield _banded(PUE, now, residual, mean / it, pue, weight, relative * mean / it)


def _inlet(now: _Round) -> Forecasts:
    """The hottest rack inlet."""
    residual = now.model.residuals["inlet", now.horizon]
    learned = [now.learned(residual, view) for view in now.views]
    bases = [inlet_base(now.series, now.issues, view.ahead, now.model.physics) for view in now.views]
    mean = now.choose([base + part for base, (part, _) in zip(bases, learned, strict=True)])
    weight = now.choose([weight for _, weight in learned])
    unsure = np.full(len(mean), _INLET_STD_K)
    return _banded(INLET, now, residual, mean, now.measured(now.series.inlet_max_c), weight, unsure)


def _banded(
    point: str,
    now: _Round,
    residual: Residual,
    mean: FloatArray,
    measured: FloatArray,
    weight: FloatArray,
    instrument_std: FloatArray,
) -> Forecasts:
    """A forecast with its band: adaptive quantiles of the errors, the instruments' own uncertainty, and the domain."""
    lag = -(-(now.horizon + 1) // ISSUE_MINUTES)
    low, high = adaptive_band(measured - mean, residual.past[point], lag)
    middle, half = 0.5 * (low + high), 0.5 * (high - low)
    half = now.staleness() * (1.0 + _WIDER * (1.0 - weight)) * np.hypot(half, _Z90 * instrument_std)
    issue_us = now.series.clock.start_us + now.issues * MINUTE_US
    return Forecasts(point, now.horizon, issue_us, mean, mean + middle - half, mean + middle + half, measured)
