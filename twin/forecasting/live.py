"""The learned forecast as a service takes it: a model file, and never nothing to say while there is any past."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from facility.records import Forecast
from twin.forecasting.fallback import Footing, Outcome, issue_or_fall_back
from twin.forecasting.inputs import HOUR_S, LEADS_H, Inputs
from twin.forecasting.issue import Forecaster
from twin.forecasting.kinds import CarbonKind
from twin.forecasting.model_file import load_model


class LiveForecast:
    """Forecasts of one model file, with the last good one kept for when the next cannot be issued."""

    def __init__(self, model: Path) -> None:
        """Raises DataError where the file is no carbon model."""
        self._forecaster = Forecaster(load_model(model))
        self._last: Forecast | None = None

    @property
    def kind(self) -> CarbonKind:
        """The kind of intensity that the model forecasts."""
        return self._forecaster.model.kind

    def issue(self, inputs: Inputs, now: datetime, horizon_h: float = LEADS_H, step_s: float = HOUR_S) -> Outcome:
        """The forecast issued at ``now`` and what it stands on, in words where it is not a fresh one.

        Raises DataError where there is not even a fortnight of past to say what is usual.
        """
        outcome = issue_or_fall_back(
            lambda: self._forecaster.issue(inputs, now, horizon_h, step_s),
            self._last,
            inputs.carbon,
            now,
            horizon_h,
            step_s,
        )
        if outcome.footing is Footing.FRESH:
            self._last = outcome.forecast
        return outcome
