"""Forecasts issued over the past, by models fitted to what was public before each: no row is seen before its time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from facility.errors import DataError
from facility.records import FloatArray
from twin.forecasting.bands import adaptive_edges
from twin.forecasting.features import rows_of
from twin.forecasting.inputs import HOUR_S, LEADS_H, Inputs, Issues, issues_at
from twin.forecasting.model import NEEDED_D, Trainer
from twin.forecasting.running import at

ISSUE_EVERY_H = 6  # 00, 06, 12 and 18 UTC
TRAIN_EVERY_H = (18, 6)  # of the first day and of the later ones, which need the more rows; hours of issue come round
REFIT_D = 28
WARM_UP_D = 84  # before the test: its misses are what the first bands are made of
HISTORY_D = 60  # of carbon before the first issue: the reach of the longest inputs

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Issued:
    """Forecasts of every issue, shape [issues, leads]: g/kWh, hour by hour from each issue's origin on."""

    issues: Issues
    value: FloatArray
    low: FloatArray
    high: FloatArray
    truth: FloatArray  # NaN beyond the file


def issue_over(
    inputs: Inputs, first: datetime, last: datetime, *, refit_d: int = REFIT_D, progress: Progress = lambda _: None
) -> Issued:
    """Forecasts issued every six hours in [first, last), the model fitted anew every ``refit_d`` days.

    Raises DataError where there are fewer than three months of carbon before the test.
    """
    warm = first - timedelta(days=WARM_UP_D)
    earliest = inputs.carbon.start + timedelta(days=NEEDED_D)
    if first < earliest + timedelta(days=WARM_UP_D):
        raise DataError(
            f"the test begins on {first:%Y-%m-%d}, too early after the first carbon",
            where=inputs.carbon.source,
            hint=f"begin it on {earliest + timedelta(days=WARM_UP_D):%Y-%m-%d} or later, or give an earlier file",
        )
    trainer = trainer_of(inputs, last)
    issues = issues_at(inputs, moments(warm, last, ISSUE_EVERY_H))
    centre, width = np.full((2, len(issues), LEADS_H), np.nan)
    begin = warm
    while begin < last:
        progress(f"fitting on what was public at {begin:%Y-%m-%d}")
        end = begin + timedelta(days=refit_d)
        chosen = np.array([begin <= when < end for when in issues.at])
        trained = trainer.fit(inputs.origin(begin))
        found = trained.predict(rows_of(inputs, issues.pick(chosen), np.arange(LEADS_H)))
        centre[chosen], width[chosen] = (part.reshape(-1, LEADS_H) for part in found)
        begin = end
    truth = at(inputs.log_carbon, issues.origin[:, None] + np.arange(LEADS_H))
    edges = adaptive_edges((truth - centre) / width, issues.origin)
    tested = np.array([when >= first for when in issues.at])
    return Issued(
        issues=issues.pick(tested),
        value=np.exp(centre[tested]),
        low=np.exp((centre + width * edges.low)[tested]),
        high=np.exp((centre + width * edges.high)[tested]),
        truth=np.exp(truth[tested]),
    )


def trainer_of(inputs: Inputs, until: datetime) -> Trainer:
    """Training rows from 60 days after the first carbon on, up to ``until``."""
    first = inputs.carbon.start + timedelta(days=HISTORY_D)
    day_one, later = (issues_at(inputs, moments(first, until, step)) for step in TRAIN_EVERY_H)
    return Trainer(inputs, day_one, later)


def moments(first: datetime, last: datetime, every_h: int) -> list[datetime]:
    """Moments in [first, last) whose hour UTC since 1970 is a multiple of ``every_h``."""
    step = every_h * int(HOUR_S)
    begin, end = -(-int(first.timestamp()) // step) * step, int(last.timestamp())
    return [datetime.fromtimestamp(second, UTC) for second in range(begin, end, step)]
