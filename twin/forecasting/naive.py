"""The forecasts that any other must beat: the newest known day again, and the newest known week again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from twin.forecasting.inputs import LEADS_H, Inputs
from twin.forecasting.rolling import Issued
from twin.forecasting.running import at

PERIODS_H = {"persistence-24h": 24, "weekly-naive": 168}


def naive(inputs: Inputs, issued: Issued, period_h: int) -> Issued:
    """The same issues, each hour forecast as the newest known one a whole number of periods earlier; no band."""
    lead = np.arange(LEADS_H)
    hour = issued.issues.origin[:, None] + lead - period_h * (lead // period_h + 1)
    nothing = np.full(issued.value.shape, np.nan)
    return replace(issued, value=np.exp(at(inputs.log_carbon, hour)), low=nothing, high=nothing)
