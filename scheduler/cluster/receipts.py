"""The receipt of a job that has ended: what it used, what that emitted, what was saved and why each thing was done.

Figures that are not known are null, with a note that says what is missing. Carbon is IT energy x PUE x effective carbon
intensity, the three apart; SCI is that of ISO/IEC 21031. The saving has two parts that add up to it: *shift*, the same
energy at another time, and *power*, less energy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from scheduler.cluster import names
from scheduler.cluster.ask import Ask
from scheduler.cluster.codec import to_json
from scheduler.cluster.ledger import Account, Baseline, Ledger
from scheduler.cluster.settings import ClusterSettings
from scheduler.cluster.workload import Workload
from twin.kpi import embodied_share_g, sci_g

FORMAT = "eco-orchestrator.io/receipt/v1"
YEAR_S = 365.25 * 86400.0
METER_BAND = 0.05  # relative: GPU power sensors, as NVML documents them (+- 5 %)
MOST_BYTES = 200_000  # of one annotation; all of an object hold 256 KiB

Receipt = dict[str, Any]


def make_receipt(
    workload: Workload, ledger: Ledger, ask: Ask, ended_at: datetime, settings: ClusterSettings
) -> Receipt:
    """The receipt as JSON types; ``ledger`` is settled up to the end."""
    account, notes = ledger.account, _notes(ledger, settings)
    carbon = _carbon(account, settings)
    embodied = embodied_share_g(
        settings.embodied.kg_per_gpu * 1000.0, account.gpu_s, settings.embodied.lifetime_y * YEAR_S, 1.0
    )
    return {
        "format": FORMAT,
        "job": _job(workload, ledger, ask, ended_at),
        "energy": _energy(account, ask),
        "carbon": carbon,
        "embodied_g": _rounded(embodied),
        "sci": _sci(carbon, account, embodied, ask),
        "saving": saving(ledger.baseline, account, settings),
        "budget": _budget(ask, carbon["location_g"]),
        "decisions": [to_json(entry) for entry in ledger.entries],
        "decisions_dropped": ledger.dropped,
        "override": ledger.override or None,
        "notes": notes,
    }


def _job(workload: Workload, ledger: Ledger, ask: Ask, ended_at: datetime) -> dict[str, Any]:
    deadline = ask.latest_end(ledger.submitted_at, ledger.work_s or 0.0)
    return {
        "kind": workload.kind.kind,
        "namespace": workload.namespace,
        "name": workload.name,
        "uid": workload.obj["metadata"].get("uid"),
        "outcome": workload.outcome,
        "gpus": workload.gpus,
        "submitted_at": ledger.submitted_at.isoformat(),
        "started_at": None if ledger.started_at is None else ledger.started_at.isoformat(),
        "ended_at": ended_at.isoformat(),
        "deadline": None if deadline is None else deadline.isoformat(),
        "late_s": None if deadline is None else max(0.0, (ended_at - deadline).total_seconds()),
        "pauses": ledger.pauses,
    }


def _energy(account: Account, ask: Ask) -> dict[str, Any]:
    steps = account.steps if account.steps is not None else (float(ask.steps) if ask.steps else None)
    return {
        "it_wh": _rounded(account.it_wh),
        "gpu_h": _rounded(account.gpu_s / 3600.0),
        "steps": steps,
        "wh_per_step": _rounded(account.it_wh / steps) if steps else None,
        "coverage": _rounded(min(1.0, account.covered_s / account.span_s)) if account.span_s else None,
    }


def _carbon(account: Account, settings: ClusterSettings) -> dict[str, Any]:
    """The three factors, and both ways of scope 2."""
    intensity = account.location_g / account.carbon_wh * 1000.0 if account.carbon_wh else None
    pue = settings.pue or 1.0
    location = None if intensity is None else account.it_wh / 1000.0 * pue * intensity
    return {
        "pue": settings.pue,
        "intensity_g_kwh": _rounded(intensity),
        "location_g": _rounded(location),
        "market_g": None if account.market_g is None else _rounded(account.market_g * pue),
    }


def _sci(carbon: Mapping[str, Any], account: Account, embodied: float, ask: Ask) -> dict[str, Any] | None:
    intensity = carbon["intensity_g_kwh"]
    if intensity is None:
        return None
    steps = account.steps or ask.steps
    units, name = (float(steps), "step") if steps else (1.0, "job")
    value = sci_g(account.it_wh / 1000.0 * (carbon["pue"] or 1.0), intensity, embodied, units)
    return {"g_per_unit": _rounded(value), "unit": name}


def saving(baseline: Baseline | None, account: Account, settings: ClusterSettings) -> dict[str, Any] | None:
    """Baseline less what was emitted, in g, with its band; positive is saved. None where either is not known."""
    if baseline is None or baseline.intensity_g_kwh is None or not account.carbon_wh:
        return None
    pue = settings.pue or 1.0
    actual_ci = account.location_g / account.carbon_wh * 1000.0
    kwh, plain_kwh = account.it_wh / 1000.0 * pue, baseline.it_wh / 1000.0 * pue
    plain_g, actual_g = plain_kwh * baseline.intensity_g_kwh, kwh * actual_ci
    spread = (baseline.gpu_w_high - baseline.gpu_w_low) / 2.0 / baseline.gpu_w
    low_ci = baseline.intensity_low_g_kwh or baseline.intensity_g_kwh
    high_ci = baseline.intensity_high_g_kwh or baseline.intensity_g_kwh
    return {
        "g": _rounded(plain_g - actual_g),
        "low_g": _rounded(plain_kwh * (1 - spread) * low_ci - actual_g * (1 + METER_BAND)),
        "high_g": _rounded(plain_kwh * (1 + spread) * high_ci - actual_g * (1 - METER_BAND)),
        "shift_g": _rounded(kwh * (baseline.intensity_g_kwh - actual_ci)),
        "power_g": _rounded((plain_kwh - kwh) * baseline.intensity_g_kwh),
        "baseline_g": _rounded(plain_g),
        "baseline": {name: value for name, value in to_json(baseline).items() if value is not None},
    }


def _budget(ask: Ask, location_g: float | None) -> dict[str, Any] | None:
    if ask.budget_kg is None:
        return None
    used = None if location_g is None else location_g / 1000.0
    return {"kg": ask.budget_kg, "used_kg": _rounded(used), "kept": None if used is None else used <= ask.budget_kg}


def _notes(ledger: Ledger, settings: ClusterSettings) -> list[str]:
    account, notes = ledger.account, []
    if settings.pue is None:
        notes.append("PUE is not set: carbon is that of IT energy alone")
    if account.market_g is None:
        notes.append("no contract's intensity is set: no market-based carbon")
    if account.it_wh and account.carbon_wh < account.it_wh:
        share = account.carbon_wh / account.it_wh
        notes.append(f"the intensity of {share:.0%} of the energy is known; the rest counts at their mean")
    if account.span_s and account.covered_s < 0.99 * account.span_s:
        notes.append(f"meters cover {account.covered_s / account.span_s:.0%} of the time that it ran")
    if ledger.baseline is None:
        notes.append("no baseline: it was not planned")
    return notes


def receipt_text(receipt: Receipt) -> str:
    """One line of JSON that an annotation can hold; the oldest decisions go where it would be too long."""
    text = json.dumps(receipt, separators=(",", ":"))
    while len(text) > MOST_BYTES and receipt["decisions"]:
        dropped = max(1, len(receipt["decisions"]) // 4)
        receipt = {
            **receipt,
            "decisions": receipt["decisions"][dropped:],
            "decisions_dropped": receipt["decisions_dropped"] + dropped,
        }
        text = json.dumps(receipt, separators=(",", ":"))
    return text


def summary(receipt: Receipt) -> str:
    """One line for people."""
    energy, carbon, saved = receipt["energy"], receipt["carbon"], receipt["saving"]
    parts = [f"{energy['it_wh'] / 1000.0:.3g} kWh"]
    if carbon["location_g"] is not None:
        parts.append(f"{carbon['location_g'] / 1000.0:.3g} kg CO2e at {carbon['intensity_g_kwh']:.0f} g/kWh")
    if saved is not None:
        text = f"saved {saved['g'] / 1000.0:.3g} kg ({saved['low_g'] / 1000.0:.3g} to {saved['high_g'] / 1000.0:.3g})"
        parts.append(text)
    pauses = receipt["job"]["pauses"]
    parts.append(f"{pauses} pause{'' if pauses == 1 else 's'}")
    return f"{', '.join(parts)}; see {names.RECEIPT}"


def _rounded(value: float | None) -> float | None:
    """Six significant digits."""
    return None if value is None else float(f"{value:.6g}")
