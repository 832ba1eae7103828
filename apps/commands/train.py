"""`eco train`: trains CARL and says what it gains on windows that it never saw."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from apps.commands.output import console, print_json
from facility.errors import ConfigError, EcoError
from facility.site import Site, load_site
from scheduler.training_record import TrainingRecord
from twin.signals import Signals, load_signals, synthetic_signals
from twin.traces import read_trace, synthetic_trace

_NEEDED = ("gymnasium", "stable_baselines3", "torch")
_SYNTHETIC_START = datetime(2021, 1, 1, tzinfo=UTC)
_SYNTHETIC_D = 1095.0  # two years to learn from, one to be judged on
_SYNTHETIC_SEED = 2024


def train(
    carbon: Annotated[
        list[Path] | None, typer.Option(help="Electricity Maps CSV; repeat for more years. Without: synthetic.")
    ] = None,
    weather: Annotated[
        list[Path] | None, typer.Option(help="Open-Meteo JSON or EPW; repeat for more years. Without: synthetic.")
    ] = None,
    jobs: Annotated[
        Path | None, typer.Option(help="Job trace: PAI, Alibaba 2023 or Philly form. Without: synthetic.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Hall steps of 15 minutes to learn from.")] = 100_000,
    seed: Annotated[int, typer.Option(min=0, help="Draws the windows, the jobs and the first network.")] = 0,
    site: Annotated[Path | None, typer.Option(help="The site file; the reference hall without one.")] = None,
    out: Annotated[Path, typer.Option(metavar="FILE.npz", help="The policy; its record goes beside it.")] = Path(
        "carl.npz"
    ),
    json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """Train the agent on jobs, caps, parking and cooling, and score it on unseen windows against FCFS and the rule."""
    _require_extra()
    # Here rather than above: torch takes seconds to import and is not installed where nobody trains, and every other
    # command must run without it.
    from scheduler.training import train as learn

    place = load_site(site)
    signals = _signals(carbon, weather, place)
    trace = read_trace(jobs) if jobs is not None else synthetic_trace(_SYNTHETIC_SEED)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("training", total=1.0)
        record = learn(
            signals,
            trace,
            place.hall,
            steps=steps,
            seed=seed,
            out=out,
            progress=lambda share: progress.update(bar, completed=share),
        )
    if json:
        print_json(record.to_json())
    else:
        _show(record, out)


def _require_extra() -> None:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise EcoError(
            f"training needs {', '.join(missing)}",
            where="eco train",
            hint="pip install 'eco-orchestrator[train]'; a trained policy runs without",
        )


def _signals(carbon: list[Path] | None, weather: list[Path] | None, site: Site) -> Signals:
    """The user's files, or all synthetic: half of each would be a place that does not exist."""
    place = site.site
    if carbon and weather:
        return load_signals(carbon, weather, zone=None if place.emulated else place.zone, altitude_m=place.altitude_m)
    if carbon or weather:
        raise ConfigError(
            "carbon and weather go together",
            where="--weather" if carbon else "--carbon",
            hint="give files of both for the same place and years, or neither for a synthetic grid and climate",
        )
    return synthetic_signals(place.zone, _SYNTHETIC_START, _SYNTHETIC_D, _SYNTHETIC_SEED)


def _show(record: TrainingRecord, out: Path) -> None:
    table = Table(
        "policy", "IT kWh", "PUE", "carbon kg", "vs fcfs %", "vs rule %", "late", "slowdown", "stretch %", "min > 27 C"
    )
    for row in record.score:
        table.add_row(
            row.policy,
            f"{row.it_kwh:,.0f}",
            f"{row.pue:.4f}",
            f"{row.carbon_kg:,.0f}",
            f"{row.saving_vs_fcfs_pct:+.2f} ± {row.saving_vs_fcfs_sd_pct:.2f}",
            f"{row.saving_vs_rule_pct:+.2f} ± {row.saving_vs_rule_sd_pct:.2f}",
            f"{row.late_jobs:,} of {row.jobs:,}",
            f"{row.slowdown:.2f}",
            f"{row.stretch_pct:.1f}",
            f"{row.hot_min:,.0f}",
        )
    label = "SYNTHETIC signals or jobs: " if record.synthetic else ""
    lines = (
        f"{label}{'; '.join(record.sources)}",
        f"{record.score[0].windows} unseen weeks from {record.unseen_from[:10]} on; savings are means of the weeks "
        f"± their standard deviation. {record.steps:,} steps in {record.seconds:.0f} s.",
        f"Policy: {out}, record: {out.with_suffix('.json')}",
    )
    screen = Console()
    screen.print(table)
    for line in lines:
        screen.print(line, highlight=False, markup=False)
