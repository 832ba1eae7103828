"""A forecast record for the loop, issued from a fitted model and whatever is public at the moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np

from facility.errors import DataError
from facility.records import FloatArray, Forecast
from twin.forecasting.bands import adaptive_edges
from twin.forecasting.features import rows_of
from twin.forecasting.inputs import HOUR_S, LATEST_H, LEADS_H, Inputs, Issues, issues_at
from twin.forecasting.kinds import CarbonKind, require_kind
from twin.forecasting.model import Trained
from twin.forecasting.rolling import ISSUE_EVERY_H, WARM_UP_D, moments, trainer_of
from twin.forecasting.running import at
from twin.signals.zones import canonical_zone

KEPT_D = 400  # of own issues, whose misses set the band


@dataclass(frozen=True, slots=True, eq=False)
class Bank:
    """Forecasts issued over a stretch that their model had not seen: log intensity and width, shape [issues, leads]."""

    at: tuple[datetime, ...]
    centre: FloatArray
    width: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class CarbonModel:
    """A model with what it was fitted on, and the bank from which its first bands are made."""

    trained: Trained
    bank: Bank
    kind: CarbonKind
    zone: str
    inputs: tuple[str, ...]
    since: datetime
    until: datetime

    @property
    def source(self) -> str:
        """What made a forecast, in words."""
        return f"learned {self.kind} intensity of {self.zone}, fitted to {self.until:%Y-%m-%d}, from " + ", ".join(
            self.inputs
        )


def fit(inputs: Inputs, until: datetime) -> CarbonModel:
    """A model of what was public at ``until``; raises DataError with too little before it.

    The bank comes from a model fitted twelve weeks earlier, so that its misses are honest.
    """
    known = inputs.until(until)
    trainer = trainer_of(known, until)
    split = until - timedelta(days=WARM_UP_D)
    early = trainer.fit(known.origin(split))
    past = moments(split, until, ISSUE_EVERY_H)
    bank = _issue_all(early, known, issues_at(known, past))
    return CarbonModel(
        trained=trainer.fit(known.origin(until)),
        bank=bank,
        kind=inputs.kind,
        zone=inputs.carbon.zone,
        inputs=inputs.names,
        since=inputs.carbon.start,
        until=until,
    )


def _issue_all(trained: Trained, inputs: Inputs, issues: Issues) -> Bank:
    centre, width = trained.predict(rows_of(inputs, issues, np.arange(LEADS_H)))
    return Bank(issues.at, centre.reshape(-1, LEADS_H), width.reshape(-1, LEADS_H))


@dataclass(slots=True)
class Forecaster:
    """Issues forecasts of one model; remembers those of the last weeks, by whose misses its bands are set."""

    model: CarbonModel
    _past: dict[datetime, tuple[FloatArray, FloatArray]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        bank = self.model.bank
        self._past.update(zip(bank.at, zip(bank.centre, bank.width, strict=True), strict=True))

    def issue(self, inputs: Inputs, now: datetime, horizon_h: float = LEADS_H, step_s: float = HOUR_S) -> Forecast:
        """The forecast for [now, now + horizon_h), element i at now + i * step_s; hours already public are as they are.

        Raises DataError where the inputs are not those of the fit, or where carbon is more than 48 h old.
        """
        inputs = inputs.only(self.model.inputs)
        self._require(inputs, now)
        issues = issues_at(inputs, [now])
        origin = int(issues.origin[0])
        hour = np.floor((now - inputs.carbon.start).total_seconds() / HOUR_S + 1e-9 + _steps(horizon_h, step_s))
        lead = hour.astype(np.int64) - origin
        leads = np.arange(max(int(lead.max()) + 1, LEADS_H))
        centre, width = self.model.trained.predict(rows_of(inputs, issues, leads))
        low, high = self._edges(inputs, now, origin)
        ahead, edge = np.maximum(lead, 0), np.clip(lead, 0, LEADS_H - 1)
        is_known = lead < 0
        known = inputs.carbon.value[np.clip(hour.astype(np.int64), 0, inputs.hours - 1)]

        def curve(shift: FloatArray) -> FloatArray:
            return np.where(is_known, known, np.exp(centre[ahead] + width[ahead] * shift[edge]))

        has_band = bool(np.isfinite(low).all())
        return Forecast(
            quantity=self.model.kind.quantity,
            unit=inputs.carbon.unit,
            issued_at=now,
            start=now,
            step_s=step_s,
            value=curve(np.zeros(LEADS_H)),
            low=curve(low) if has_band else None,
            high=curve(high) if has_band else None,
            source=self.model.source,
            synthetic=inputs.carbon.synthetic,
        )

    def _require(self, inputs: Inputs, now: datetime) -> None:
        model, carbon = self.model, inputs.carbon
        require_kind(carbon, model.kind)
        if canonical_zone(carbon.zone) != canonical_zone(model.zone):
            raise DataError(
                f"signals of {carbon.zone} where the model was fitted on those of {model.zone}",
                where=carbon.source,
                hint="give the signals of the model's zone, or fit a model of this one",
            )
        age = now - carbon.published(now)
        if inputs.origin(now) == 0 or age > timedelta(hours=LATEST_H):
            raise DataError(
                f"the newest carbon known at {now:%Y-%m-%d %H:%M} UTC is of {carbon.published(now):%Y-%m-%d %H:%M} UTC",
                where=carbon.source,
                hint=f"the learned forecast needs carbon no older than {LATEST_H} h",
            )
        if now < model.until:
            raise DataError(
                f"the model has seen carbon up to {model.until:%Y-%m-%d %H:%M} UTC, after {now:%Y-%m-%d %H:%M} UTC",
                hint="a forecast of the past needs a model fitted before it: eco forecast fit --until",
            )

    def _edges(self, inputs: Inputs, now: datetime, origin: int) -> tuple[FloatArray, FloatArray]:
        """Edges of the band in widths by lead, from the misses of the past; NaN with too few.

        Issues of the last twelve weeks are made up for where they are lacking.
        """
        since = now - timedelta(days=WARM_UP_D)
        wanted = [when for when in moments(max(since, self.model.until), now, ISSUE_EVERY_H) if when not in self._past]
        if wanted:
            new = _issue_all(self.model.trained, inputs, issues_at(inputs, wanted))
            self._past.update(zip(new.at, zip(new.centre, new.width, strict=True), strict=True))
        for when in [when for when in self._past if when < now - timedelta(days=KEPT_D)]:
            del self._past[when]
        past = sorted(when for when in self._past if when < now)
        if not past:
            return np.full(LEADS_H, np.nan), np.full(LEADS_H, np.nan)
        centre, width = (np.stack([self._past[when][part] for when in past]) for part in (0, 1))
        begun = issues_at(inputs, past).origin
        truth = at(inputs.log_carbon, begun[:, None] + np.arange(LEADS_H))
        scores = np.vstack([(truth - centre) / width, np.full((1, LEADS_H), np.nan)])
        edges = adaptive_edges(scores, np.append(begun, origin))
        return edges.low[-1], edges.high[-1]


def _steps(horizon_h: float, step_s: float) -> FloatArray:
    return np.arange(round(horizon_h * HOUR_S / step_s), dtype=np.float64) * (step_s / HOUR_S)
