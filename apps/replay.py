"""Decides a past window again from what the store kept: bit for bit with the policy that ran, else counterfactually.

Counterfactual is a decision at each recorded moment; the plant did not answer to the ones before, so their predicted
effects (with bands) count from the setpoints that truly stood there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from apps.assembly import fresh_s
from apps.codec import decision_json
from apps.deciding import ENERGY, Decider, make_joint
from apps.inputs import unpack
from facility.errors import DataError
from facility.queries import END
from facility.records import Decision
from facility.site import Site, load_site, validate
from facility.store import Store

PAGE = 200  # decisions read at a time
MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Replayed:
    """One decision made again; ``is_same``: whether the recorded one has the same bytes, None with another policy."""

    at: datetime
    decision: dict[str, Any]
    is_same: bool | None
    recorded: dict[str, Any] | None = None
    verdicts: list[dict[str, Any]] = field(default_factory=list)

    def line(self) -> bytes:
        """As one line of JSON: the same decision gives the same bytes."""
        data = {"decision": self.decision, "verdicts": self.verdicts} if self.verdicts else {"decision": self.decision}
        return canonical(data)


@dataclass(slots=True)
class Tally:
    """What a replay came to."""

    policy: str = ""
    ticks: int = 0
    same: int = 0
    differing: list[str] = field(default_factory=list)  # times of decisions with other bytes than the recorded ones
    first: str = ""
    last: str = ""
    commands: int = 0
    verdicts: dict[str, int] = field(default_factory=dict)
    saved_kwh: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])  # value, low, high
    recorded_saved_kwh: list[float] | None = None
    with_effect: int = 0  # decisions whose effect could be predicted
    digest: Any = field(default_factory=hashlib.sha256)

    def add(self, tick: Replayed) -> None:
        """Count one decision."""
        self.policy = tick.decision["policy"]
        self.ticks += 1
        self.first = self.first or tick.at.isoformat()
        self.last = tick.at.isoformat()
        self.commands += len(tick.decision["commands"])
        for verdict in tick.verdicts:
            self.verdicts[verdict["kind"]] = self.verdicts.get(verdict["kind"], 0) + 1
        if tick.is_same is not None:
            self.same += tick.is_same
            if not tick.is_same:
                self.differing.append(tick.at.isoformat())
        found = _saved(tick.decision)
        if found is not None:
            self.with_effect += 1
            self.saved_kwh = [a + b for a, b in zip(self.saved_kwh, found, strict=True)]
        if tick.recorded is not None and (before := _saved(tick.recorded)) is not None:
            so_far = self.recorded_saved_kwh or [0.0, 0.0, 0.0]
            self.recorded_saved_kwh = [a + b for a, b in zip(so_far, before, strict=True)]
        self.digest.update(tick.line() + b"\n")

    def to_json(self) -> dict[str, Any]:
        """As plain data. Bands are summed as they are: what is not known of a hall is the same at every tick."""
        return {
            "policy": self.policy,
            "ticks": self.ticks,
            "from": self.first,
            "to": self.last,
            "same_as_recorded": self.same,
            "differing": self.differing,
            "commands": self.commands,
            "verdicts": dict(sorted(self.verdicts.items())),
            "predicted_saving_kwh": _band(self.saved_kwh) if self.with_effect else None,
            "recorded_saving_kwh": _band(self.recorded_saved_kwh),
            "ticks_with_prediction": self.with_effect,
            "sha256": self.digest.hexdigest(),
        }


def replay_store(
    path: Path, policy: str, start: datetime, end: datetime, site_file: Path | None = None, run: str | None = None
) -> Iterator[Replayed]:
    """Decide anew what the store at ``path`` kept of [start, end), with ``policy`` (empty: the one that ran).

    Raises StoreLocked while a service owns the file, DataError where it has nothing of that time.
    """
    if not path.is_file():
        raise DataError("no such store", where=str(path), hint="it is eco.duckdb in the state directory")
    store = Store.open(path)
    deciders: dict[str, Decider] = {}
    try:
        is_empty = True
        for row in _input_rows(store, start, end, run):
            is_empty = False
            if row["run"] not in deciders:
                deciders[row["run"]] = _decider(store, row["run"], policy, site_file)
            yield _again(store, deciders[row["run"]], row)
        if is_empty:
            raise DataError("no decision of that time was kept", where=str(path), hint="see /v1/query/decisions")
    finally:
        store.close()


def _again(store: Store, decider: Decider, row: dict[str, Any]) -> Replayed:
    inputs = unpack(row["content"])
    decision = plain(decider.decide(inputs.state, inputs.forecasts))
    window = {"start": inputs.state.at, "end": inputs.state.at + MOMENT, "run": row["run"], "limit": 1}
    found = store.query("decisions", **window).to_pylist()
    recorded = json.loads(found[0]["payload"]) if found else None
    policy = decider.policy
    is_own = (policy.name, policy.version) == (inputs.policy, inputs.policy_version)
    is_same = None
    if is_own and recorded is not None:
        is_same = canonical(decision) == canonical({key: recorded.get(key) for key in decision})
    return Replayed(inputs.state.at, decision, is_same, recorded)


def _input_rows(store: Store, start: datetime, end: datetime, run: str | None) -> Iterator[dict[str, Any]]:
    """A page at a time: a month of inputs is more than memory should hold."""
    while True:
        rows = store.query("inputs", start=start, end=end, limit=PAGE, run=run).to_pylist()
        yield from rows
        if len(rows) < PAGE:
            return
        start = rows[-1]["ts"] + MOMENT


def _decider(store: Store, run: str, policy: str, site_file: Path | None) -> Decider:
    """As the run had it: site and policy stand in the audit row with which it began."""
    rows = store.query("audit", kind="run", run=run, end=END, limit=1).to_pylist()
    if not rows and site_file is None:
        raise DataError("the store does not say how this run was configured", where=f"run {run}", hint="give --site")
    began: dict[str, Any] = json.loads(rows[0]["payload"]) if rows else {"speed": 1.0, "policy": ""}
    site = load_site(site_file) if site_file is not None else validate(Site, began["site"], f"run {run}")
    max_age_s = fresh_s(site, began["speed"])
    return Decider(make_joint(policy or began["policy"], site, max_age_s), site, max_age_s)


def plain(decision: Decision) -> dict[str, Any]:
    """A decision as it is kept: through JSON, so that both sides have the same types."""
    data: dict[str, Any] = json.loads(json.dumps(decision_json(decision)))
    return data


def canonical(data: Any) -> bytes:
    """JSON with sorted keys and no spaces."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), default=_plain).encode()


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else asdict(value)


def _saved(decision: dict[str, Any]) -> list[float] | None:
    """Predicted energy saving in kWh: value, low, high."""
    for effect in decision["effects"]:
        if effect["quantity"] == ENERGY:
            return [effect["value"], effect["low"], effect["high"]]
    return None


def _band(values: list[float] | None) -> dict[str, float] | None:
    return None if values is None else dict(zip(("value", "low", "high"), values, strict=True))
