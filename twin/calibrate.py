"""Fits a building's model to its telemetry: meters, physics, residual, errors. Chronological throughout.

The residual is grown on the first part of the training window and tried on the rest, whose errors start the bands and
fill the model card; then it is grown again on the whole window. No row at or after the end of training is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from facility.errors import DataError
from facility.records import FloatArray, Point
from facility.site import Hall
from facility.site.site import Roles
from twin.features import Ahead, Outlook, Series, build_series, known_ahead, smooth
from twin.identification import CalibratedHall, identify
from twin.identification.columns import Columns
from twin.instruments import read_instruments
from twin.learned import ROUNDS, Domain, grow
from twin.lumped import TAUS_MIN, Linear, fit_linear, overhead_columns
from twin.prediction import (
    FACILITY,
    INLET,
    ISSUE_MINUTES,
    PUE,
    BuildingModel,
    Physics,
    Residual,
    domain_inputs,
    domain_names,
    feature_table,
    inlet_base,
    inlet_inputs,
    overhead_base,
    overhead_modes,
    setpoints_of,
)
from twin.subsystems import Parameter, fit_subsystems
from twin.telemetry.cleaning import clean, learn_habits
from twin.telemetry.clocks import clock_ahead_minutes, find_loggers, find_witness
from twin.telemetry.grid import Clock
from twin.telemetry.reading import BoolArray, IntArray, Telemetry
from twin.telemetry.survey import WITNESS_KINDS
from twin.telemetry.topology import infer_topology, with_roles

HORIZONS = (5, 15, 30, 60)
KNOWN = frozenset({"it", "setpoints"})
_LEAST_DAYS = 7
_WARM_UP = 240  # minutes before the first training issue: lags must have settled
_EVERY = 2  # minutes between training issues
_TRIAL = 0.7  # of the training window; the rest of it gives the errors
_DAY = 1440
_POWER_LOSSES = ("squared_error", "absolute_error")  # starts of machines are rare and large: neither alone is best
_INLET_LOSSES = ("absolute_error",)


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """A model, and what fitting it showed; ``without_hall`` says why the model has no calibrated hall."""

    model: BuildingModel
    parameters: tuple[Parameter, ...]
    days: float
    without_hall: str = ""


@dataclass(frozen=True, slots=True)
class Design:
    """The hall whose figures are to be found: the configured one, or a reference of the same kind to be scaled."""

    hall: Hall
    is_configured: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Training:
    series: Series
    right: BoolArray  # minutes at which the clock of the IT meters was right
    least_widths: FloatArray
    rounds: int

    def trusted(self, issues: IntArray, horizon: int, values: FloatArray) -> FloatArray:
        """``values`` of issues whose stamps can be trusted, NaN for the others."""
        return np.where(self.right[issues] & self.right[issues + horizon], values, np.nan)


def calibrate(
    telemetry: Telemetry,
    until_us: int,
    horizons: Sequence[int] = HORIZONS,
    roles: Roles | None = None,
    rounds: int = ROUNDS,
    design: Design | None = None,
) -> Calibration:
    """The model of the rows before ``until_us``; raises DataError where they are too few.

    What points are for is inferred from their names and kinds, except where ``roles`` say it. ``rounds`` is how many
    trees each residual has for each loss. With a ``design`` the figures of its hall are identified too.
    """
    past = telemetry.until(until_us)
    if not past.rows:
        raise DataError("no rows before the end of training", hint="choose a later --train-until")
    topology, habits = infer_topology(past.points, past.rows), learn_habits(past)
    if roles is not None:
        topology = with_roles(topology, roles, past.rows)
    rows, clock = clean(past, habits), Clock.over(past.start_us, past.end_us)
    days = clock.count / _DAY
    if days < _LEAST_DAYS:
        raise DataError(f"{days:.1f} days of training, need {_LEAST_DAYS}", hint="choose a later --train-until")
    gains, offsets = read_instruments(clock, rows, habits, past.points, topology)
    series = build_series(clock, rows, habits, past.points, topology, gains, offsets)
    candidates = [name for name in rows if past.points[name].kind in WITNESS_KINDS]
    witness = find_witness(rows, clock, find_loggers(past), topology.it[0], candidates)
    right = clock_ahead_minutes(rows, clock, witness) == 0.0
    training = _Training(series, right, _least_widths(series, past.points), rounds)
    physics, tau_std = fit_physics(series, right)
    residuals: dict[tuple[str, int], Residual] = {}
    for horizon in horizons:
        residuals |= _fit_residuals(training, horizon, physics)
    hall, without = _hall(Columns(series, topology, past.points), design)
    model = BuildingModel(topology, past.points, habits, gains, offsets, witness, physics, residuals, hall)
    law = "heat = IT power / (1 + tau s)"
    parameters = [Parameter("building_tau_min", physics.tau_min, tau_std, law)]
    return Calibration(model, (*parameters, *fit_subsystems(series.states, series.it_total_kw)), days, without)


def _hall(columns: Columns, design: Design | None) -> tuple[CalibratedHall | None, str]:
    """The calibrated hall, or why there is none: prediction does without it."""
    if design is None:
        return None, "no hall was asked for"
    try:
        return identify(columns, design.hall, is_given=design.is_configured), ""
    except DataError as error:
        return None, str(error)


def fit_physics(series: Series, right: BoolArray) -> tuple[Physics, float]:
    """Least squares of the lumped model over all trusted minutes, and the spread of the time constant over weeks."""
    minutes = np.arange(_WARM_UP, series.clock.count - 1, 3)
    ahead = known_ahead(series, Outlook(minutes, 0, KNOWN))
    target = np.where(right[minutes], series.overhead_kw[minutes], np.nan)
    tau, overhead = _fit_overhead(series, minutes, ahead, target)
    if overhead is None:
        raise DataError("the overhead cannot be fitted", hint="facility and IT power overlap too little")
    weeks = [
        _fit_overhead(series, minutes, ahead, np.where(minutes // (7 * _DAY) == week, target, np.nan))
        for week in range(series.clock.count // (7 * _DAY))
    ]
    taus = [week_tau for week_tau, fitted in weeks if fitted is not None]
    spread = float(np.std(taus) / np.sqrt(max(len(taus) - 1, 1))) if len(taus) > 1 else tau
    inlets = {}
    for name, values in series.inlets_newest_c.items():
        fitted = fit_linear(inlet_inputs(series, name, ahead.target), values[minutes + 1])
        if fitted is not None:
            inlets[name] = fitted
    return Physics(tau, overhead, inlets), spread


def _fit_overhead(series: Series, minutes: IntArray, ahead: Ahead, target: FloatArray) -> tuple[float, Linear | None]:
    """The time constant of least residual, and the fit at it."""
    modes = {name: series.states[name][minutes] for name in overhead_modes(series)}
    setpoints = setpoints_of(series, ahead.target)
    best: tuple[float, Linear | None] = (TAUS_MIN[0], None)
    for tau in TAUS_MIN:
        heat = smooth(series.it_total_kw, tau)[minutes]
        fitted = fit_linear(overhead_columns(ahead.it_kw, heat, setpoints, modes), target)
        if fitted is not None and (best[1] is None or fitted.fit.residual < best[1].fit.residual):
            best = (tau, fitted)
    return best


def _fit_residuals(training: _Training, horizon: int, physics: Physics) -> dict[tuple[str, int], Residual]:
    """Residuals of the overhead and of the hottest inlet, where there are inlets, at one horizon."""
    series = training.series
    issues = np.arange(_WARM_UP, series.clock.count - horizon - 1, _EVERY)
    ahead = known_ahead(series, Outlook(issues, horizon, KNOWN))
    base = overhead_base(series, issues, ahead, physics)
    target = training.trusted(issues, horizon, series.overhead_kw[issues + horizon] - base)
    residuals = {("overhead", horizon): _fit(training, issues, ahead, horizon, target, _POWER_LOSSES)}
    if series.inlets_newest_c:
        inlet = series.inlet_max_c[issues + horizon] - inlet_base(series, issues, ahead, physics)
        target = training.trusted(issues, horizon, inlet)
        residuals["inlet", horizon] = _fit(training, issues, ahead, horizon, target, _INLET_LOSSES)
    return residuals


def _fit(
    training: _Training, issues: IntArray, ahead: Ahead, horizon: int, target: FloatArray, losses: tuple[str, ...]
) -> Residual:
    names, table = feature_table(training.series, issues, ahead)
    inputs = domain_inputs(training.series, issues, ahead)
    wild = np.abs(target) > 3.0 * np.nanquantile(np.abs(target), 0.999)  # what cleaning let pass
    wanted = np.where(wild, np.nan, target)
    split = int(_TRIAL * len(issues))
    grown = split - horizon // _EVERY - 1  # no target of the trial lies after its end
    trial = grow(table[:grown], wanted[:grown], losses, training.rounds)
    tested = np.arange(split, len(issues))
    tested = tested[issues[tested] % ISSUE_MINUTES == 0]
    errors = target[tested] - trial.predict(table[tested])
    past = {FACILITY: errors, PUE: errors / ahead.it_kw[tested]} if losses is _POWER_LOSSES else {INLET: errors}
    trees = grow(table, wanted, losses, training.rounds)
    return Residual(trees, names, Domain.of(inputs, training.least_widths), past)


def _least_widths(series: Series, points: Mapping[str, Point]) -> FloatArray:
    """Half of the declared range of a setpoint, a quarter of the usual IT power, ten kelvin of weather."""
    widths = []
    for name in domain_names(series):
        if name == "it":
            widths.append(0.25 * float(np.nanmedian(series.it_total_kw)))
        elif name in points:
            low, high = points[name].min, points[name].max
            usual = float(np.nanmedian(series.setpoints[name]))
            widths.append(0.25 * abs(usual) if low is None or high is None else 0.5 * (high - low))
        else:
            widths.append(10.0)
    return np.array(widths)
