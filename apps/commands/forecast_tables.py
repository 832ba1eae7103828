"""The carbon forecast as tables in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.table import Table

from facility.records import Forecast
from twin.backtest import Score as PlainScore
from twin.forecasting.comparison import Comparison


def show_scores(scores: Sequence[PlainScore]) -> None:
    """The forecasts that need no training, side by side."""
    table = Table("forecaster", "zone", "issues", "MAPE, days 1-4 (%)", "truth inside the 90 % band, days 1-4 (%)")
    for score in scores:
        table.add_row(
            score.forecaster, score.zone, str(score.issues), _row(score.mape_pct), _row(score.inside_band_pct)
        )
    Console().print(table)


def show_comparison(comparison: Comparison, notes: Sequence[str]) -> None:
    """The learned forecast beside the naive ones."""
    table = Table(
        "forecaster",
        "MAPE, days 1-4 (%)",
        "pinball, days 1-4 (g/kWh)",
        "inside the 90 % band, days 1-4 (%)",
        "oracle saving: 4 h in 24 h / 24 h in 72 h (%)",
    )
    for score in comparison.scores:
        table.add_row(
            score.forecaster,
            _row(score.mape_pct),
            _row(score.pinball_g_kwh),
            _row(score.coverage_pct),
            _row(list(score.oracle_share_pct.values())),
        )
    out = Console()
    out.print(table)
    out.print(f"Better than the best naive on days 1-4 by {_row(comparison.better_pct)} %.")
    for note in notes:
        out.print(f"- {note}", soft_wrap=True)


def show_forecast(issued: Forecast, used: Sequence[dict[str, Any]]) -> None:
    """One forecast, every third hour, with what it was made from."""
    out = Console()
    out.print(f"Issued {issued.issued_at:%Y-%m-%d %H:%M} UTC: {issued.source}", soft_wrap=True)
    for entry in used:
        until = entry.get("known_until") or entry.get("issued_at")
        out.print(f"- {entry['input']}, known until {until}: {entry['source']}", soft_wrap=True)
    table = Table("UTC", f"{issued.quantity} ({issued.unit})", "90 % band")
    for step in range(0, len(issued.value), 3):
        when = issued.start + timedelta(seconds=issued.step_s * step)
        band = "" if issued.low is None or issued.high is None else f"{issued.low[step]:.0f} - {issued.high[step]:.0f}"
        table.add_row(f"{when:%a %d %b %H:%M}", f"{issued.value[step]:.0f}", band)
    out.print(table)


def _row(values: Sequence[float | None]) -> str:
    return " / ".join("-" if value is None else f"{value:.1f}" for value in values)
