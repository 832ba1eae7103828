"""`eco calibrate`: fits the twin of a building to its telemetry, and names the faults of the recording."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from apps.commands.output import console, parse_time, print_json
from apps.world import reference_site
from facility.errors import ConfigError, DataError
from facility.site import load_site
from twin.calibrate import HORIZONS, Design
from twin.calibrate import calibrate as fit
from twin.learned import ROUNDS
from twin.model_card import kinds, model_card
from twin.model_file import card_path, load_model, save_model
from twin.telemetry.reading import read_telemetry
from twin.telemetry.scoring import Score, score_faults
from twin.telemetry.survey import survey

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def calibrate(
    telemetry: Annotated[Path, typer.Option(help="Recording: Parquet with ts, point, value, quality.")],
    points: Annotated[Path, typer.Option(help="points.csv of the recording.")],
    train_until: Annotated[str, typer.Option(metavar="TIME", help="Only rows before it are learned from.")],
    out: Annotated[Path, typer.Option(help="The model file; its card goes beside it.")],
    horizons: Annotated[str, typer.Option(help="Minutes ahead, separated by commas.")] = ",".join(map(str, HORIZONS)),
    site: Annotated[
        Path | None, typer.Option(help="Site file: the hall to calibrate, and what points are for.")
    ] = None,
    update: Annotated[
        Path | None,
        typer.Option(metavar="MODEL", help="An earlier model: begin with its hall."),
    ] = None,
    events: Annotated[Path | None, typer.Option(help="What truly happened, to score the faults found.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Trees of each residual: fewer are faster.")] = ROUNDS,
    json: Annotated[bool, typer.Option("--json", help="Print the model card as JSON.")] = False,
) -> None:
    """Fit the twin to a building's telemetry, chronologically, and say what is wrong with the recording."""
    until_us = (parse_time(train_until) - _EPOCH) // timedelta(microseconds=1)
    if update is not None and site is not None:
        raise ConfigError("--update and --site both name a hall", where="--update", hint="give one of them")
    configured = load_site(site) if site else None
    roles = configured.roles if configured else None
    design = Design(configured.hall, True) if configured else _design(update)
    if not out.parent.is_dir():
        raise DataError(f"there is no folder {out.parent}", where=str(out), hint="create it first")
    with console.status("reading") as status:
        recording = read_telemetry(telemetry, points)
        status.update("looking for faults")
        found = survey(recording)
        status.update("fitting (a few minutes)")
        calibration = fit(recording, until_us, parse_horizons(horizons), roles, rounds, design)
    score = score_faults(found.faults, events, found.loggers, recording.points) if events else None
    card = model_card(calibration, recording, until_us, found)
    if score is not None:
        card["fault_score"] = asdict(score)
    save_model(calibration.model, card, out)
    if json:
        print_json(card)
    else:
        _show(card, kinds(found.faults), score, out)


def _design(update: Path | None) -> Design:
    """The hall of an earlier calibration, or the reference hall to be scaled."""
    if update is None:
        return Design(reference_site().hall, False)
    earlier, _ = load_model(update)
    if earlier.hall is None:
        raise DataError("the earlier model has no calibrated hall", where=str(update), hint="leave --update away")
    return Design(earlier.hall.best, True)


def parse_horizons(text: str) -> tuple[int, ...]:
    """``5,15,30,60``; raises typer.BadParameter for anything else."""
    try:
        horizons = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no list of minutes; write for example 5,15,30,60") from error
    if not horizons or not all(1 <= horizon <= 240 for horizon in horizons):
        raise typer.BadParameter(f"horizons must be from 1 to 240 minutes, got {text!r}")
    return horizons


def _show_hall(shown: Console, hall: dict[str, Any]) -> None:
    if "without" in hall:
        shown.print(f"no calibrated hall: {hall['without']}", soft_wrap=True)
        return
    figures = Table("figure", "before", "after", "90 %", "told by the recording", title="The hall")
    for entry in hall["figures"]:
        band = f"{entry['low90']:.4g} to {entry['high90']:.4g}"
        told = "yes" if entry["is_told"] else "no"
        figures.add_row(entry["path"], f"{entry['prior']:.4g}", f"{entry['value']:.4g}", band, told)
    tried = Table("output", "mean", "RMSE before", "RMSE after", title="The hall on later days that it had not seen")
    for entry in hall["comparison"]:
        tried.add_row(
            entry["output"], f"{entry['mean']:.4g}", f"{entry['rmse_before']:.3g}", f"{entry['rmse_after']:.3g}"
        )
    shown.print(figures, tried)
    for note in hall["notes"]:
        shown.print(f"- {note}", soft_wrap=True)


def _show(card: dict[str, Any], episodes: dict[str, int], score: Score | None, out: Path) -> None:
    shown = Console()
    parameters = Table("parameter", "value", "std", title="Physics")
    for entry in card["parameters"]:
        parameters.add_row(entry["name"], f"{entry['value']:.4g}", f"{entry['std']:.2g}")
    errors = Table("point", "minutes ahead", "MAE", "bias", "90 % of errors", title="Errors where it was tried")
    for entry in card["residuals"]:
        band = f"{entry['low90']:+.3g} to {entry['high90']:+.3g}"
        errors.add_row(entry["point"], str(entry["horizon_min"]), f"{entry['mae']:.3g}", f"{entry['bias']:+.2g}", band)
    shown.print(parameters, errors)
    _show_hall(shown, card["hall"])
    shown.print("faults: " + (", ".join(f"{count} {kind}" for kind, count in episodes.items()) or "none"))
    if score is not None:
        shown.print(f"faults, by point and hour: recall {score.recall:.3f}, precision {score.precision:.3f}")
    shown.print(f"model {out}, card {card_path(out)}", soft_wrap=True)
