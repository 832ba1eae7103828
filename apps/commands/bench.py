"""`eco bench`: schedulers, twin, store and collector, measured."""

from __future__ import annotations

import asyncio
import resource
import tempfile
from dataclasses import asdict
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from apps.bench_cluster import Size, bench_cluster
from apps.bench_collector import Load, bench_collector
from apps.bench_env import bench_env
from apps.bench_plants import bench_plants
from apps.bench_store import bench_store
from apps.commands.output import console, parse_duration, parse_time, print_json
from apps.faults.campaign import PER_DAY, Campaign
from apps.run_config import resolved
from facility.errors import ConfigError, EcoError
from facility.site import load_site
from scheduler.account import Row
from scheduler.cluster.api import Kube, connect
from scheduler.evaluate import Benchmark, BenchmarkConfig, benchmark, run_seeds
from twin.bench import bench
from twin.part_load import LOADS


class Plant(StrEnum):
    """How the plant is run."""

    LEGACY = "legacy"
    RULE = "rule"
    OPTIMUM = "optimum"


app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Measure policies, the twin, the store and the collector."
)


@app.command()
def schedulers(
    carbon: Annotated[list[Path], typer.Option(help="Electricity Maps CSV; repeat for more years.")],
    weather: Annotated[list[Path], typer.Option(help="Open-Meteo JSON or EPW; repeat for more years.")],
    jobs: Annotated[Path, typer.Option(help="Job trace: PAI, Alibaba 2023 or Philly form.")],
    start: Annotated[datetime, typer.Option(parser=parse_time, metavar="DATE", help="First day, ISO, UTC.")],
    price: Annotated[
        list[Path] | None, typer.Option(help="Day-ahead prices, CSV; without them the cost is null.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=365, help="Days of arrivals; a drain follows.")] = 28,
    utilisation: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="GPU time of the jobs over that of the hall.")
    ] = 0.6,
    slack_h: Annotated[float, typer.Option(min=0.0, help="How long a flexible job may wait, in hours.")] = 24.0,
    flexible: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of the jobs that may wait.")] = 0.7,
    policies: Annotated[str, typer.Option(help="Joined by commas: fcfs, wait-awhile, bound.")] = "fcfs,wait-awhile",
    plant: Annotated[Plant, typer.Option(help="How the plant is run, alike for all policies.")] = Plant.LEGACY,
    site: Annotated[Path | None, typer.Option(help="The site file; the reference hall without one.")] = None,
    zone: Annotated[str | None, typer.Option(help="Refuse files of another zone.")] = None,
    seed: Annotated[int, typer.Option(help="Draws the jobs from the trace.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="Repeat with so many seeds; rows are means with their spread.")] = 1,
    fill_gaps: Annotated[
        bool, typer.Option("--fill-gaps", help="Interpolate gaps of at most 3 h, and say so.")
    ] = False,
    series: Annotated[Path | None, typer.Option(metavar="OUT.parquet", help="Keep every step of every policy.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """The same jobs, plant and grid under each policy: energy, PUE, carbon, cost, water and delay."""
    if series is not None and seeds > 1:
        raise ConfigError("one file cannot hold the series of several seeds", where="--series", hint="use --seeds 1")
    config = BenchmarkConfig(
        carbon=tuple(carbon),
        weather=tuple(weather),
        price=tuple(price or ()),
        jobs=jobs,
        start=start,
        site=load_site(site),
        days=days,
        utilisation=utilisation,
        slack_h=slack_h,
        flexible=flexible,
        policies=tuple(name.strip() for name in policies.split(",") if name.strip()),
        plant=plant.value,
        seed=seed,
        zone=zone,
        fill_gaps=fill_gaps,
    )
    rows, inputs = _run(config, seeds, series)
    if json:
        print_json({"rows": [asdict(row) for row in rows], "inputs": inputs})
    else:
        _show_rows(rows)


def _run(config: BenchmarkConfig, seeds: int, series: Path | None) -> tuple[list[Row], dict[str, Any] | None]:
    """The rows, and what the files held; several seeds draw several sets of jobs, so there is no one account."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("simulating", total=float(seeds))
        if seeds > 1:
            return run_seeds(config, seeds, done=lambda count: progress.update(bar, completed=count)), None
        result = benchmark(config, lambda share: progress.update(bar, completed=share))
    _report(result)
    if series is not None:
        draft = series.with_name(f".{series.name}.draft")
        result.series.write_parquet(draft, compression="zstd")
        draft.replace(series)
    return list(result.rows), {"signals": [asdict(one) for one in result.signals], "trace": asdict(result.trace)}


def _report(result: Benchmark) -> None:
    """What was read, on standard error: units, zones, gaps and findings belong beside every result."""
    for one in result.signals:
        span = f"{one.start:%Y-%m-%d} to {one.end:%Y-%m-%d}"
        console.print(
            f"{one.quantity} ({one.unit}), zone {one.zone}, {span}, {one.source}", highlight=False, markup=False
        )
        for finding in one.findings:
            console.print(f"  {finding.level}: {finding.text}", highlight=False, markup=False)
    trace = result.trace
    console.print(
        f"{trace.jobs} jobs of {trace.trace_jobs} in {trace.source}: utilisation {trace.utilisation:.3f},"
        f" {trace.too_wide} too wide for the hall, {trace.shortened} cut to {trace.longest_s / 3600:.0f} h",
        highlight=False,
        markup=False,
    )


def _show_rows(rows: list[Row]) -> None:
    """One column a policy: a row has more figures than a terminal has columns."""
    plain = [asdict(row) for row in rows]
    table = Table("figure", *(row["policy"] for row in plain))
    for name in (name for name in plain[0] if name not in ("policy", "spread")):
        table.add_row(name, *(_cell(row[name]) for row in plain))
    Console().print(table)


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:,.5g}" if isinstance(value, float) else str(value)


@app.command()
def twin(
    site: Annotated[Path | None, typer.Option(help="The site file; the reference hall without one.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Halls stepped at once.")] = 1024,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long to measure.")] = 3.0,
    steps: Annotated[int, typer.Option(min=0, help="Hall steps to take at least.")] = 1_000_000,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Hall steps a second on one core, one hall against real time, slowing down and memory."""
    hall, before_kb = load_site(site).hall, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = bench(hall, batch=batch, seconds=seconds, least_steps=steps)
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
    _show(result | {"memory_grown_mb": grown_kb / 1024.0}, json)


@app.command()
def plants(
    weather: Annotated[
        list[Path] | None, typer.Option(help="Open-Meteo JSON or EPW, one place each; synthetic without.")
    ] = None,
    site: Annotated[Path | None, typer.Option(help="The site file; the reference hall without one.")] = None,
    load: Annotated[list[float] | None, typer.Option(min=0.05, max=1.0, help="Share of the GPUs at work.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """PUE and total power of one plant run the old way, by a good fixed rule, and at its physical optimum."""
    with console.status("stepping through the weather"):
        files = [Path(path) for path in resolved(tuple(weather or ()))]
        rows = bench_plants(load_site(site).hall, files, load or LOADS)
    if json:
        print_json({"rows": rows})
    else:
        _show_plants(rows)


def _show_plants(rows: list[dict[str, Any]]) -> None:
    names = (
        "weather",
        "plant",
        "load",
        "IT kW",
        "facility kW",
        "PUE",
        "worst hour",
        "peak kW",
        "warmest inlet C",
        "L/kWh",
    )
    table = Table(*(Column(name, no_wrap=True) for name in names))
    for row in rows:
        numbers = (row["it_kw"], row["facility_kw"], row["pue"], row["peak_pue"], row["peak_kw"], row["max_inlet_c"])
        shown = [f"{value:.3f}" if value < 4.0 else f"{value:.1f}" for value in (*numbers, row["wue_l_kwh"])]
        table.add_row(row["weather"], row["plant"], f"{row['load']:.0%}", *shown)
    Console(width=150).print(table)


@app.command()
def store(
    rows: Annotated[int, typer.Option(min=1000, help="Readings to write.")] = 200_000,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Readings a second that the store acknowledges, and how long a query takes meanwhile."""
    _show(bench_store(rows), json)


@app.command()
def collector(
    modbus: Annotated[int, typer.Option(min=0, help="Emulated Modbus TCP devices.")] = 750,
    snmp: Annotated[int, typer.Option(min=0, help="Emulated SNMP v2c agents.")] = 200,
    redfish: Annotated[int, typer.Option(min=0, help="Emulated Redfish chassis.")] = 50,
    points: Annotated[int, typer.Option(min=1, help="Points of all devices together.")] = 20_000,
    period: Annotated[float, typer.Option(min=0.1, help="Seconds between two polls of a device.")] = 10.0,
    duration: Annotated[
        timedelta,
        typer.Option("--for", parser=parse_duration, metavar="DURATION", help="How long to poll, e.g. 5m."),
    ] = timedelta(minutes=5),
    dead: Annotated[float, typer.Option(min=0.0, max=0.5, help="Share of devices that do not answer.")] = 0.05,
    slow: Annotated[float, typer.Option(min=0.0, max=0.5, help="Share of devices that take 3 s to answer.")] = 0.05,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Many emulated devices polled into a store: missed periods, CPU and memory of the collector."""
    load = Load(modbus, snmp, redfish, points, period, duration.total_seconds(), dead, slow)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("polling", total=1.0)
        result = bench_collector(load, lambda share: progress.update(bar, completed=share))
    _show(result, json)


@app.command()
def cluster(
    kubeconfig: Annotated[
        str, typer.Option(help="A throw-away API server; one with GPU nodes is refused.", show_default=False)
    ],
    jobs: Annotated[int, typer.Option(min=1, help="Labelled Jobs to make, two fifths of them running.")] = 5000,
    nodes: Annotated[int, typer.Option(min=1, help="Nodes of eight GPUs to make.")] = 1250,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """One planning tick of the controller over a large cluster, and its memory; everything made is taken away."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("making the cluster", total=1.0)
        result = bench_cluster(
            Kube(connect(kubeconfig), timeout_s=300.0),
            Size(jobs, nodes),
            lambda share: progress.update(bar, completed=share),
        )
    _show(result, json)


@app.command()
def env(
    site: Annotated[Path | None, typer.Option(help="The site file; the reference hall without one.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Halls stepped at once.")] = 512,
    steps: Annotated[int, typer.Option(min=1, help="Hall steps to take, with random actions.")] = 1_000_000,
    windows: Annotated[int, typer.Option(min=1, help="Synthetic weeks that episodes are drawn from.")] = 16,
    shield: Annotated[bool, typer.Option(help="Guard every decision by the shield.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Steps a second of the joint environment on one core, jobs and observations included."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("stepping", total=1.0)
        result = bench_env(
            load_site(site).hall,
            batch=batch,
            steps=steps,
            windows=windows,
            shield=shield,
            progress=lambda share: progress.update(bar, completed=share),
        )
    _show(result, json)


def _show(result: dict[str, Any], json: bool) -> None:
    if json:
        print_json(result)
        return
    table = Table("figure", "value")
    for name, value in result.items():
        table.add_row(name, _cell(value))
    Console().print(table)


@app.command()
def faults(
    days: Annotated[float, typer.Option(min=0.1, max=366.0, help="Simulated days.")] = 30.0,
    seed: Annotated[int, typer.Option(help="Draws kinds, times, targets and sizes.")] = 1,
    per_day: Annotated[float, typer.Option(min=1.0, max=1000.0, help="Faults a day.")] = PER_DAY,
    json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Run the loop, guard and store through randomised faults; exits with 1 where the controller did anything wrong."""
    with tempfile.TemporaryDirectory(prefix="eco-faults-") as folder:
        campaign = Campaign(Path(folder), days, seed, per_day)
        with Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console) as progress:
            task = progress.add_task(f"faults, seed {seed}", total=1.0)
            outcome = asyncio.run(campaign.run(lambda share: progress.update(task, completed=share)))
    if json:
        print_json(outcome.to_json())
    else:
        console.print_json(data=outcome.to_json())
    if not outcome.is_clean:
        raise EcoError("the controller did what it must not do", where="eco bench faults", hint="see `examples`")
