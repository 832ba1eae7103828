"""Maximum a posteriori figures of a hall from a recorded operation, and their posterior by Laplace's approximation.

Gauss-Newton on the logarithms of the figures: one replay of the operation through a batch of halls, each with one
figure moved, gives all derivatives. What meters and twin differ by counts as noise: its spread is that of the
residuals, it is inflated by their correlation in time, and rows far out weigh less (Huber). To Laplace's covariance is
added that of the pull of whole days (the sandwich of robust estimation, clustered by day: Huber 1967, White 1982), so
that a twin whose structure does not fit ends with wide bands, not with sure ones. What the recording does not tell
keeps its prior.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from facility.errors import DataError
from facility.records import FloatArray
from facility.site import Hall
from twin.identification.calibrated import CalibratedHall, Comparison, figures_of
from twin.identification.columns import Columns
from twin.identification.figures import PATHS, SPREADS, moved
from twin.identification.observed import observed
from twin.identification.operation import STEP_S, Operation, operation
from twin.identification.replay import replay
from twin.identification.structure import structure
from twin.identification.watch import usual

LEAST_STEPS = 192  # two days: below them nothing is fitted
MOST_STEPS = 96 * 120  # the newest 120 days are used
TRIAL = 0.7  # of the steps; the figures fitted to them are tried on the rest
METER_CLASS = 0.01  # an error of the meters that no averaging removes: class 1 of IEC 62053-21
_NUDGE = 0.04  # of each logarithm, for the derivative
_ROUNDS = 10
_ENOUGH = 2e-3  # largest step, in prior spreads, at which the search ends
_SHORTER = np.array([1.0, 0.5, 0.25, 0.1])
_HUBER = 2.0
_DAY = 96  # steps
LEAST_SHARE, LEAST_SPREAD_K = 0.01, 0.1  # of noise: share of the mean power, kelvin
_MOST_ALIKE = 400.0
_PARTS = ("air handlers' fans, W", "chillers, W", "chilled-water pumps, W", "condenser pumps, W", "tower fans, W")


@dataclass(frozen=True, slots=True, eq=False)
class _Noise:
    """Of one output: weight of each step, zero where nothing is known."""

    weight: FloatArray


@dataclass(slots=True, eq=False)
class _Search:
    hall: Hall
    run: Operation
    seen: Mapping[str, FloatArray]
    theta: FloatArray = field(default_factory=lambda: np.zeros(len(PATHS)))
    covariance: FloatArray = field(default_factory=lambda: np.diag(SPREADS**2))

    def converge(self) -> None:
        """Rounds of Gauss-Newton with a shortened step where the full one does not help."""
        for _ in range(_ROUNDS):
            step, noises = self._newton()
            tried = [self.theta + share * step for share in _SHORTER]
            costs = self._costs([self.theta, *tried], noises)
            best = int(np.argmin(costs))
            if best == 0:
                return
            self.theta = tried[best - 1]
            if np.max(np.abs(step) / SPREADS) < _ENOUGH:
                return

    def settle(self) -> None:
        """The covariance at the end of the search."""
        self._newton()

    def _newton(self) -> tuple[FloatArray, dict[str, _Noise]]:
        nudged = [self.theta, *(self.theta + _NUDGE * row for row in np.eye(len(PATHS)))]
        shown = replay([moved(self.hall, theta) for theta in nudged], self.run, list(self.seen))
        noises = {name: _noise(self._misses(name, values[:, 0]), self._floor(name)) for name, values in shown.items()}
        normal, slope = np.diag(SPREADS**-2.0), -self.theta / SPREADS**2
        days = np.zeros((len(self.run) // _DAY + 1, len(PATHS)))
        for name, values in shown.items():
            weight, miss = noises[name].weight, np.nan_to_num(self._misses(name, values[:, 0]))
            jacobian = (values[:, 1:] - values[:, :1]) / _NUDGE
            normal = normal + (jacobian * weight[:, None]).T @ jacobian
            pull = jacobian * (weight * miss)[:, None]
            slope = slope + pull.sum(axis=0)
            np.add.at(days, np.arange(len(pull)) // _DAY, pull)
        inverse = np.linalg.inv(normal)
        self.covariance = np.asarray(inverse + inverse @ days.T @ days @ inverse)
        return inverse @ slope, noises

    def _costs(self, thetas: list[FloatArray], noises: Mapping[str, _Noise]) -> FloatArray:
        shown = replay([moved(self.hall, theta) for theta in thetas], self.run, list(self.seen))
        cost = np.array([float(np.sum((theta / SPREADS) ** 2)) for theta in thetas])
        for name, values in shown.items():
            miss = np.nan_to_num(self.seen[name][:, None] - values)
            cost = cost + noises[name].weight @ miss**2
        return np.asarray(cost)

    def _floor(self, name: str) -> float:
        """The least spread of an output's noise."""
        if name.endswith("C"):
            return LEAST_SPREAD_K
        return LEAST_SHARE * max(float(np.nanmean(np.abs(self.seen[name]))), 1.0)

    def _misses(self, name: str, shown: FloatArray) -> FloatArray:
        return self.seen[name] - shown


def identify(columns: Columns, reference: Hall, *, is_given: bool) -> CalibratedHall:
    """The hall of a recording with a posterior of its figures.

    ``is_given``: ``reference`` is the configured hall itself; otherwise its counts and sizes are first made to fit.
    Raises DataError where load and weather are known for less than two days together.
    """
    hall, notes = (reference, ("counts and sizes of the site file",)) if is_given else structure(columns, reference)
    run, seen = operation(columns, hall), _told_apart(observed(columns))
    first = max(0, len(run) - MOST_STEPS)
    run, seen = run.part(first, len(run)), {name: values[first:] for name, values in seen.items()}
    if run.known.sum() < LEAST_STEPS:
        raise DataError(
            f"{run.known.sum() * STEP_S / 86400:.1f} days with load and weather, need {LEAST_STEPS * STEP_S / 86400:g}",
            hint="the physics needs IT power and outdoor temperature and humidity at the same time",
        )
    comparison = _tried(hall, run, seen)
    theta, covariance = posterior(hall, run, seen)
    computed = {name: values[:, 0] for name, values in replay([moved(hall, theta)], run, list(seen)).items()}
    return CalibratedHall(
        hall=hall,
        theta=theta,
        covariance=covariance,
        figures=figures_of(hall, theta, covariance),
        comparison=comparison,
        outputs=tuple(seen),
        notes=(*notes, *run.assumed),
        usually=usual(seen, computed, run, {row.output: abs(row.bias_after) for row in comparison}),
    )


def _told_apart(seen: dict[str, FloatArray]) -> dict[str, FloatArray]:
    """Without the sum of meters that are all there themselves: it would count twice."""
    if all(name in seen for name in _PARTS):
        seen.pop("mechanical plant, W", None)
    return seen


def posterior(hall: Hall, run: Operation, seen: Mapping[str, FloatArray]) -> tuple[FloatArray, FloatArray]:
    """Mean (n,) and covariance (n, n) of the logarithms of ``PATHS``, from outputs ``seen`` (T,) of ``run``.

    What is seen in steps that are not known counts for nothing.
    """
    search = _Search(hall, run, {name: np.where(run.known, values, np.nan) for name, values in seen.items()})
    search.converge()
    search.settle()
    return search.theta, search.covariance + METER_CLASS**2 * np.eye(len(PATHS))


def _tried(hall: Hall, run: Operation, seen: Mapping[str, FloatArray]) -> tuple[Comparison, ...]:
    """Figures fitted to the first part of the steps against those of before, on the steps after it."""
    split = int(TRIAL * len(run))
    early, _ = posterior(hall, run.part(0, split), {name: values[:split] for name, values in seen.items()})
    later = run.part(split, len(run))
    shown = replay([hall, moved(hall, early)], later, list(seen))
    found = []
    for name, values in shown.items():
        truth = np.where(later.known, seen[name][split:], np.nan)
        known = np.isfinite(truth)
        if known.any():
            before, after = (values[known, which] - truth[known] for which in (0, 1))
            found.append(Comparison(name, float(truth[known].mean()), _rmse(before), _rmse(after), float(after.mean())))
    return tuple(found)


def _rmse(miss: FloatArray) -> float:
    return float(np.sqrt(np.mean(miss**2)))


def _noise(miss: FloatArray, floor: float) -> _Noise:
    known = np.isfinite(miss)
    if known.sum() < LEAST_STEPS // 2:
        return _Noise(np.zeros(len(miss)))
    middle = float(np.nanmedian(miss))
    spread = max(1.4826 * float(np.nanmedian(np.abs(miss - middle))), abs(middle), floor)
    alike = _correlated(miss - middle)
    far = np.abs(np.nan_to_num(miss)) / spread
    weight = np.minimum(1.0, _HUBER / np.maximum(far, 1e-9)) / (spread**2 * alike)
    return _Noise(np.where(known, weight, 0.0))


def _correlated(miss: FloatArray) -> float:
    """How many steps say what one would if they were independent: (1 + r) / (1 - r) of a first-order process."""
    pairs = np.isfinite(miss[1:]) & np.isfinite(miss[:-1])
    now, before = miss[1:][pairs], miss[:-1][pairs]
    if len(now) < 3 or not now.std() or not before.std():
        return 1.0
    r = float(np.clip(np.corrcoef(now, before)[0, 1], 0.0, 0.999))
    return float(np.clip((1.0 + r) / (1.0 - r), 1.0, _MOST_ALIKE))
