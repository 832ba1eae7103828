"""Forecasts of a backtest as a Parquet table."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from facility.errors import DataError
from twin.forecasting.rolling import Issued

_STAMP = pl.Datetime("us", "UTC")


def write_issued(issued: Issued, start: datetime, path: Path) -> None:
    """One row for each issue and hour: issue_ts, target_ts, value, low, high (g/kWh; null where there is no band).

    ``start`` is the beginning of the carbon series. Raises DataError where the file cannot be written.
    """
    leads = issued.value.shape[1]
    hours = (issued.issues.origin[:, None] + np.arange(leads)).ravel()
    table = pl.DataFrame(
        {
            "issue_ts": [when for when in issued.issues.at for _ in range(leads)],
            "target_ts": [start + timedelta(hours=int(hour)) for hour in hours],
            "value": issued.value.ravel(),
            "low": issued.low.ravel(),
            "high": issued.high.ravel(),
        }
    )
    numbers = pl.col("value", "low", "high").fill_nan(None)
    try:
        table.with_columns(pl.col("issue_ts", "target_ts").cast(_STAMP), numbers).write_parquet(path)
    except OSError as error:
        raise DataError(f"cannot write: {error.strerror}", where=str(path), hint="check the folder") from error
