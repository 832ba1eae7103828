"""Forecasts of the learned model for the arena: at every hour the newest that had been issued by then.

``twin.forecasting.rolling.issue_over`` issues them over the past, each by a model fitted on what was public before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from facility.errors import DataError
from scheduler.arena.arrays import IntArray
from scheduler.arena.surroundings import ForecastTable
from twin.forecasting.rolling import Issued

HOUR_S = 3600.0
LEADS_H = 72


def learned_table(
    issued: Issued, series_start: datetime, starts: Sequence[datetime], hours: int, leads_h: int = LEADS_H
) -> ForecastTable:
    """The forecasts for windows that begin at ``starts`` (full hours) and last ``hours``.

    ``series_start`` is the start of the carbon series that ``issued`` was made from. Raises DataError where an hour has
    no forecast that was out by then, or one that does not reach ``leads_h`` ahead.
    """
    first = np.array([round((start - series_start).total_seconds() / HOUR_S) for start in starts], dtype=np.int64)
    wanted = np.unique((first[:, None] + np.arange(hours)).ravel())
    out = np.array([(when - series_start).total_seconds() / HOUR_S for when in issued.issues.at])
    issue = np.searchsorted(out, wanted, side="right") - 1
    begun: IntArray = wanted - issued.issues.origin[np.maximum(issue, 0)]
    short = (issue < 0) | (begun < 0) | (begun + leads_h > issued.value.shape[1])
    if not short.any():
        value = issued.value[issue[:, None], begun[:, None] + np.arange(leads_h)]
        short = ~np.isfinite(value).all(axis=1)
    if short.any():
        raise DataError(
            f"no learned forecast of {leads_h} h was out for {int(short.sum())} of {len(wanted)} hours",
            where=f"forecasts issued {issued.issues.at[0]:%Y-%m-%d} to {issued.issues.at[-1]:%Y-%m-%d}",
            hint="issue them over the whole of every window, or use the daily profile",
        )
    return ForecastTable(value.astype(np.float32), np.searchsorted(wanted, first))
