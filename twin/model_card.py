"""The model card: what a model was made from, what it found out, and how well it did where it was tried."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from facility.records import FloatArray
from twin.calibrate import Calibration
from twin.telemetry.faults import Fault
from twin.telemetry.reading import Telemetry
from twin.telemetry.survey import Survey

_LIBRARIES = ("numpy", "scipy", "scikit-learn", "polars")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def model_card(calibration: Calibration, telemetry: Telemetry, until_us: int, found: Survey) -> dict[str, Any]:
    """The card as JSON data."""
    model = calibration.model
    return {
        "model": "lumped physics, residual trees, adaptive conformal bands",
        "version": _version("eco-orchestrator"),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "telemetry_sha256": telemetry.sha256,
        "window": {
            "start": iso(telemetry.start_us),
            "end": iso(min(until_us, telemetry.end_us)),
            "days": calibration.days,
        },
        "topology": asdict(model.topology),
        "parameters": [asdict(parameter) for parameter in calibration.parameters],
        "overhead": [
            {"input": name, "value": float(value), "std": float(std)}
            for name, value, std in zip(
                model.physics.overhead.names,
                model.physics.overhead.fit.beta,
                model.physics.overhead.fit.std,
                strict=True,
            )
        ],
        "hall": _hall(calibration),
        "gains": {"facility": asdict(model.gains[0]), "it": asdict(model.gains[1])},
        "inlet_offsets_k": dict(model.offsets),
        "residuals": _residuals(calibration),
        "faults": [fault_entry(fault) for fault in found.faults],
        "single_rows": {name: dict(counts) for name, counts in found.single_rows.items() if counts},
    }


def _hall(calibration: Calibration) -> dict[str, Any]:
    """Figures of the calibrated hall, before and after, and how it did on steps that its trial had not seen."""
    hall = calibration.model.hall
    if hall is None:
        return {"without": calibration.without_hall}
    return {
        "figures": [asdict(figure) for figure in hall.figures],
        "comparison": [asdict(row) for row in hall.comparison],
        "outputs": list(hall.outputs),
        "notes": list(hall.notes),
    }


def fault_entry(fault: Fault) -> dict[str, Any]:
    """One fault as JSON data."""
    return {
        "point": fault.point,
        "kind": fault.kind,
        "start": iso(fault.start_us),
        "end": iso(fault.end_us),
        "cleaning": fault.done,
        "note": fault.note,
    }


def iso(ts_us: int) -> str:
    """ISO time of microseconds since 1970."""
    return (_EPOCH + timedelta(microseconds=ts_us)).isoformat()


def _residuals(calibration: Calibration) -> list[dict[str, Any]]:
    """Errors on the part of the training window that the tried residual had not seen."""
    entries = []
    for (_, horizon), residual in calibration.model.residuals.items():
        for point, errors in residual.past.items():
            known = errors[np.isfinite(errors)]
            entries.append({"point": point, "horizon_min": horizon, **_summary(known)})
    return entries


def _summary(errors: FloatArray) -> dict[str, float]:
    low, high = np.quantile(errors, [0.05, 0.95])
    return {
        "count": len(errors),
        "mae": float(np.abs(errors).mean()),
        "rmse": float(np.sqrt((errors**2).mean())),
        "bias": float(errors.mean()),
        "low90": float(low),
        "high90": float(high),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def kinds(faults: Iterable[Fault]) -> dict[str, int]:
    """How many episodes there are of each kind."""
    count: dict[str, int] = {}
    for fault in faults:
        count[fault.kind] = count.get(fault.kind, 0) + 1
    return dict(sorted(count.items()))
