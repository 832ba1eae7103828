"""`eco job submit|status|receipt`: a manifest through the pipeline."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml  # type: ignore[import-untyped]
from rich.console import Console
from rich.table import Table

from apps.commands.output import console, print_json
from facility.errors import ConfigError
from scheduler.cluster import names
from scheduler.cluster.api import Json, Kube, NotFound, connect, path_of
from scheduler.cluster.ask import Ask, read_ask
from scheduler.cluster.change import OWNER
from scheduler.cluster.kinds import BY_NAME, KINDS, Kind, dig
from scheduler.cluster.receipts import summary
from scheduler.cluster.workload import Workload

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Hand in a labelled job, follow it, get its receipt."
)

Kubeconfig = Annotated[
    str, typer.Option(envvar="KUBECONFIG", help="File with the way to the API server.", show_default="~/.kube/config")
]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Namespace of the job.")]
KindName = Annotated[str, typer.Option("--kind", help=f"One of {', '.join(BY_NAME)}.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.command()
def submit(
    file: Annotated[Path, typer.Argument(help="A manifest: Job, JobSet, TrainJob, RayJob, PyTorchJob, MPIJob or Pod.")],
    namespace: Namespace = "default",
    deadline: Annotated[str, typer.Option(help="RFC 3339, or a duration from now such as 12h.")] = "",
    max_delay: Annotated[str, typer.Option(help="How much later it may end, such as 8h.")] = "",
    duration: Annotated[str, typer.Option(help="Run time of the whole gang at full power.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Let the server check it, and create nothing.")] = False,
    kubeconfig: Kubeconfig = "",
    as_json: AsJson = False,
) -> None:
    """Create a job that waits for the controller from its first moment: labelled, suspended, marked."""
    body, kind = read_manifest(file)
    asked = {names.DEADLINE: deadline, names.MAX_DELAY: max_delay, names.DURATION: duration}
    prepare(body, kind, {name: value for name, value in asked.items() if value})
    ask = read_ask(body["metadata"]["annotations"], datetime.now(UTC), None, Workload(kind, body).grace_s)
    refuse(ask, str(file))
    space = body["metadata"].setdefault("namespace", namespace)
    kube = Kube(connect(kubeconfig or _default_kubeconfig()))

    made = kube.create(path_of(kind, space), body, **({"dryRun": "All"} if dry_run else {}))
    for _, text in ask.warnings:
        console.print(f"note: {text}", highlight=False, markup=False)
    said = {"kind": kind.kind, "namespace": space, "name": made["metadata"]["name"], "dry_run": dry_run}
    if as_json:
        print_json(said)
    else:
        Console().print(f"{kind.kind} {space}/{said['name']} {'would be ' if dry_run else ''}created", highlight=False)


@app.command()
def status(
    name: Annotated[str, typer.Argument(help="Name of the job.")],
    namespace: Namespace = "default",
    kind: KindName = "Job",
    kubeconfig: Kubeconfig = "",
    as_json: AsJson = False,
) -> None:
    """Where a job is on its way, and why."""
    workload = _get(kubeconfig, kind, namespace, name)
    said = status_of(workload)
    if as_json:
        print_json(said)
        return
    table = Table("what", "value")
    for key, value in said.items():
        if key != "decisions" and value is not None:
            table.add_row(key, str(value))
    Console().print(table)
    for one in said["decisions"]:
        Console().print(f"{one['at']}  {one['what']}: {one['reason']}", highlight=False, markup=False)


@app.command()
def receipt(
    name: Annotated[str, typer.Argument(help="Name of the job.")],
    namespace: Namespace = "default",
    kind: KindName = "Job",
    kubeconfig: Kubeconfig = "",
    as_json: AsJson = False,
) -> None:
    """The receipt of a job that has ended."""
    workload = _get(kubeconfig, kind, namespace, name)
    text = workload.annotations.get(names.RECEIPT)
    if text is None:
        hint = "it comes when the job has ended" if not workload.outcome else "is the controller running?"
        raise ConfigError("there is no receipt yet", where=workload.key, hint=f"{hint}; see `eco job status {name}`")
    found = json.loads(text)
    if as_json:
        print_json(found)
        return
    Console().print(summary(found), highlight=False, markup=False)
    for one in found["decisions"]:
        Console().print(f"{one['at']}  {one['what']}: {one['reason']}", highlight=False, markup=False)
    for note in found["notes"]:
        Console().print(f"note: {note}", highlight=False, markup=False)


def read_manifest(file: Path) -> tuple[Json, Kind]:
    """The one object of a manifest and its kind; raises ConfigError."""
    try:
        found = [one for one in yaml.safe_load_all(file.read_text(encoding="utf-8")) if one is not None]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot be read: {error}", where=str(file), hint="give a YAML manifest") from error
    if len(found) != 1 or not isinstance(found[0], dict):
        raise ConfigError(f"{len(found)} objects", where=str(file), hint="give a manifest with one job")
    body: Json = found[0]
    said = (body.get("kind"), body.get("apiVersion"))
    kind = next((one for one in KINDS if (one.kind, one.api_version) == said), None)
    if kind is None:
        known = ", ".join(f"{one.kind} ({one.api_version})" for one in KINDS)
        raise ConfigError(f"{said[0]} ({said[1]}) is not a kind that can be held", where=str(file), hint=known)
    if not isinstance(dig(body, ("metadata", "name")), str):
        raise ConfigError("no metadata.name", where=str(file), hint="name the job")
    return body, kind


def prepare(body: Json, kind: Kind, asked: dict[str, str]) -> None:
    """Label the manifest, hold it, and mark who holds it; ``asked`` annotations come over its own. In place."""
    metadata = body["metadata"]
    metadata["labels"] = {**(metadata.get("labels") or {}), names.MANAGED: "true"}
    metadata["annotations"] = {**(metadata.get("annotations") or {}), **asked}
    if names.KUEUE_QUEUE in metadata["labels"]:
        return  # Kueue decides when it runs
    if kind.is_pod:
        gates = body.setdefault("spec", {}).setdefault("schedulingGates", [])
        if not any(gate.get("name") == names.GATE for gate in gates):
            gates.append({"name": names.GATE})
        return
    holder: Any = body
    for key in kind.suspend[:-1]:
        holder = holder.setdefault(key, {})
    holder[kind.suspend[-1]] = True
    metadata["annotations"] |= {names.SUSPENDED_BY: OWNER, names.REASON: "handed in: planned at first sight"}


def refuse(ask: Ask, where: str) -> None:
    """Raise ConfigError for what the controller would not understand; a policy is looked up by the controller."""
    problems = [one for one in ask.problems if not one.startswith(f"{names.POLICY} names")]
    if problems:
        raise ConfigError("; ".join(problems), where=where, hint="see docs/cluster.md")


def status_of(workload: Workload) -> dict[str, Any]:
    """What stands in a job's annotations, for people and programs."""
    ledger = workload.kept.ledger
    text = workload.annotations.get(names.RECEIPT)
    decisions = json.loads(text)["decisions"] if text else []
    if ledger is not None and ledger.entries:
        decisions = [{"at": one.at.isoformat(), "what": one.what, "reason": one.reason} for one in ledger.entries]
    return {
        "job": workload.key,
        "kind": workload.kind.kind,
        "phase": "not seen by the controller yet" if ledger is None else ledger.phase.value,
        "suspended": workload.is_suspended,
        "outcome": workload.outcome or None,
        "reason": workload.annotations.get(names.REASON),
        "submitted_at": None if ledger is None else ledger.submitted_at.isoformat(),
        "planned_start": None if ledger is None or not ledger.windows else ledger.windows[0][0].isoformat(),
        "gpu_cap_w": None if ledger is None else ledger.cap_w,
        "pauses": None if ledger is None else ledger.pauses,
        "energy_wh": None if ledger is None else ledger.account.it_wh,
        "carbon_g": None if ledger is None else ledger.account.location_g,
        "receipt": None if text is None else summary(json.loads(text)),
        "decisions": decisions,
    }


def _get(kubeconfig: str, kind_name: str, namespace: str, name: str) -> Workload:
    kind = BY_NAME.get(kind_name)
    if kind is None:
        raise ConfigError(f"no kind {kind_name!r}", where="--kind", hint=f"one of {', '.join(BY_NAME)}")
    kube = Kube(connect(kubeconfig or _default_kubeconfig()))
    try:
        return Workload(kind, kube.get(path_of(kind, namespace, name)))
    except NotFound as error:
        hint = "check --namespace and --kind"
        raise ConfigError(f"no {kind.kind} of that name", where=f"{namespace}/{name}", hint=hint) from error


def _default_kubeconfig() -> str:
    path = Path.home() / ".kube" / "config"
    return str(path) if path.exists() else ""
