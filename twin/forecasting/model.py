"""The learned model: trees and a ridge regression that correct two simple forecasts, and trees for how far they miss.

The first simple forecast repeats the same hour of past days, the second is the local relation of price and intensity.
The first day has a model of its own; the three days after it share one, with fewer and larger leaves, because what can
be said of them rests on a few hundred independent days.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facility.errors import DataError
from facility.records import FloatArray
from twin.forecasting.boost import Growth, grow
from twin.forecasting.features import Rows, rows_of
from twin.forecasting.inputs import LEADS_H, Inputs, Issues
from twin.forecasting.linear import Line, straight
from twin.forecasting.running import Index, at
from twin.learned import Trees

DAY_ONE = 24  # leads of the first part
LEAST_MISS = 0.01  # of the log intensity: smaller misses are not told apart
LEAST_ROWS = 800  # a month of issues
NEEDED_D = 90  # days of carbon, at least, before a model is fitted


@dataclass(frozen=True, slots=True)
class Settings:
    """Of one part: its leads [first, last), how its trees grow, and what share of the mean the straight line has."""

    first: int
    last: int
    centre: Growth
    width: Growth
    line_share: float


SETTINGS = (
    Settings(0, DAY_ONE, Growth(150, 0.08), Growth(60, 0.1), 1.0 / 3.0),
    Settings(DAY_ONE, LEADS_H, Growth(80, 0.05, 12, 200), Growth(40, 0.1, 12, 200), 0.5),
)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One day or three: ``centres`` correct one anchor each, ``line`` the last; ``width`` is the log of a miss."""

    first: int
    last: int
    centres: tuple[Trees, ...]
    line: Line
    line_share: float
    width: Trees

    def centre(self, columns: FloatArray, anchors: FloatArray) -> FloatArray:
        """Log intensity of each row: the mean of the corrected anchors."""
        grown = [anchors[:, k] + trees.predict(columns) for k, trees in enumerate(self.centres)]
        return _blend(grown, anchors[:, -1] + self.line.predict(columns), self.line_share)


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """Both parts, and the names of the columns that they were grown on."""

    names: tuple[str, ...]
    parts: tuple[Part, ...]

    def predict(self, rows: Rows) -> tuple[FloatArray, FloatArray]:
        """Log intensity, and the log-scale width by which its misses are measured, of each row."""
        if rows.names != self.names:
            raise DataError(
                f"inputs {', '.join(rows.names)} where the model was fitted on {', '.join(self.names)}",
                hint="give the same signals as at the fit, or fit again with those at hand",
            )
        centre, width = np.full((2, len(rows.lead)), np.nan)
        for part in self.parts:
            chosen = _within(rows.lead, part)
            if chosen.any():
                centre[chosen] = part.centre(rows.columns[chosen], rows.anchors[chosen])
                width[chosen] = np.exp(part.width.predict(rows.columns[chosen]))
        return centre, width


def _within(lead: Index, part: Part) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return (lead >= part.first) & ((lead < part.last) | (part.last >= LEADS_H))


class Trainer:
    """Training rows of all issues, built once; ``fit`` takes those whose truth was public by then."""

    def __init__(self, inputs: Inputs, first_day: Issues, later_days: Issues) -> None:
        leads = np.arange(LEADS_H)
        self._rows = (
            rows_of(inputs, first_day, leads[:DAY_ONE]),
            rows_of(inputs, later_days, leads[DAY_ONE:]),
        )
        self._truth = tuple(at(inputs.log_carbon, rows.target) for rows in self._rows)

    def fit(self, origin: int) -> Trained:
        """A model of nothing but carbon before the hour ``origin``; raises DataError where there is too little."""
        parts = []
        for rows, truth, settings in zip(self._rows, self._truth, SETTINGS, strict=True):
            usable = (rows.target < origin) & np.isfinite(truth) & np.isfinite(rows.anchors).all(axis=1)
            if usable.sum() < LEAST_ROWS:
                raise DataError(
                    f"{int(usable.sum())} rows to learn from before the test or the end of training",
                    hint=f"a model needs at least {NEEDED_D} days of carbon before it",
                )
            where = (rows.names.index("hour"), rows.names.index("lead"))
            parts.append(_grow(rows.columns[usable], rows.anchors[usable], truth[usable], where, settings))
        return Trained(self._rows[0].names, tuple(parts))


def _grow(
    columns: FloatArray, anchors: FloatArray, truth: FloatArray, where: tuple[int, int], settings: Settings
) -> Part:
    grown = [grow(columns, truth - anchor, settings.centre) for anchor in anchors.T]
    line = straight(columns, truth - anchors[:, -1], *where)
    corrected = [anchor + fitted for anchor, (_, fitted) in zip(anchors.T, grown, strict=True)]
    centre = _blend(corrected, anchors[:, -1] + line.predict(columns), settings.line_share)
    width, _ = grow(columns, np.log(np.abs(truth - centre) + LEAST_MISS), settings.width)
    trees = tuple(trees for trees, _ in grown)
    return Part(settings.first, settings.last, trees, line, settings.line_share, width)


def _blend(grown: list[FloatArray], line: FloatArray, line_share: float) -> FloatArray:
    return np.asarray((1.0 - line_share) * np.mean(grown, axis=0) + line_share * line)
