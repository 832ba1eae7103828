"""The learned forecast held beside the naive ones over the same issues."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from twin.forecasting.inputs import Inputs
from twin.forecasting.naive import PERIODS_H, naive
from twin.forecasting.rolling import REFIT_D, Issued, Progress, issue_over
from twin.forecasting.scores import Score, score

LEARNED = "learned"


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Scores of the learned forecast (the first) and of the naive ones, and the learned forecasts themselves."""

    scores: tuple[Score, ...]
    issued: Issued
    first: datetime
    last: datetime
    refit_d: int

    @property
    def issue_hours_utc(self) -> list[int]:
        """Hours of the day at which forecasts were issued."""
        return sorted({when.hour for when in self.issued.issues.at})

    @property
    def best_naive_mape_pct(self) -> list[float | None]:
        """The smallest MAPE of any naive forecast, by day ahead."""
        days = zip(*(score.mape_pct for score in self.scores[1:]), strict=True)
        return [min((value for value in day if value is not None), default=None) for day in days]

    @property
    def better_pct(self) -> list[float | None]:
        """By how much of the best naive's MAPE the learned one is smaller, by day ahead."""
        pairs = zip(self.scores[0].mape_pct, self.best_naive_mape_pct, strict=True)
        return [round(100.0 * (1.0 - ours / best), 1) if ours is not None and best else None for ours, best in pairs]


def compare(
    inputs: Inputs,
    first: datetime,
    last: datetime,
    *,
    refit_d: int = REFIT_D,
    progress: Progress = lambda _: None,
) -> Comparison:
    """Every forecaster over the issues of [first, last); raises DataError with too little carbon before the test."""
    issued = issue_over(inputs, first, last, refit_d=refit_d, progress=progress)
    rivals = [score(name, naive(inputs, issued, period_h)) for name, period_h in PERIODS_H.items()]
    return Comparison((score(LEARNED, issued), *rivals), issued, first, last, refit_d)
