"""A calibrated model as one file: a zip of plain arrays and one JSON text (numpy's npz), read without pickle.

Loading runs no code from the file. The model card, a JSON beside it, says where the model comes from and how good
it is.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from facility.errors import DataError
from facility.records import Point
from twin.identification.calibrated import CalibratedHall
from twin.learned import Domain, Trees
from twin.lumped import Linear
from twin.meters import Fit, Gain
from twin.prediction import BuildingModel, Physics, Residual
from twin.telemetry.cleaning import Habits
from twin.telemetry.clocks import Witness
from twin.telemetry.topology import Topology

FORMAT = 2


def card_path(model: Path) -> Path:
    """Where the model card of a model file lies."""
    return model.with_name(model.name + ".card.json")


def save_model(model: BuildingModel, card: Mapping[str, Any], path: Path) -> None:
    """Writes the model file and its card."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    residuals = []
    for number, ((kind, horizon), residual) in enumerate(model.residuals.items()):
        residuals.append({"kind": kind, "horizon": horizon, "features": residual.features, "past": list(residual.past)})
        for part in ("trees", "domain"):
            for item in fields(getattr(residual, part)):
                arrays[f"{number}/{part}/{item.name}"] = np.asarray(getattr(getattr(residual, part), item.name))
        for point, errors in residual.past.items():
            arrays[f"{number}/past/{point}"] = errors
    meta = {
        "format": FORMAT,
        "topology": asdict(model.topology),
        "points": [asdict(point) for point in model.points.values()],
        "habits": {name: asdict(habits) for name, habits in model.habits.items()},
        "gains": [asdict(gain) for gain in model.gains],
        "offsets": dict(model.offsets),
        "witness": asdict(model.witness) if model.witness else None,
        "physics": _physics_to(model.physics, arrays),
        "residuals": residuals,
        "hall": model.hall.to_json() if model.hall else None,
        "card": dict(card),
    }
    text = np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)
    with path.open("wb") as file:  # by handle: numpy would add a suffix to a name
        np.savez_compressed(file, allow_pickle=False, meta=text, **arrays)
    card_path(path).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def load_model(path: Path) -> tuple[BuildingModel, dict[str, Any]]:
    """The model and its card; raises DataError where the file is no model of this version."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            stored = {name: arrays[name] for name in arrays.files}
        meta = json.loads(stored["meta"].tobytes().decode())
        if meta["format"] != FORMAT:
            raise DataError(f"format {meta['format']}, need {FORMAT}", where=str(path), hint="calibrate again")
        return _model(meta, stored), dict(meta["card"])
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(f"not a model file: {error}", where=str(path), hint="write one with eco calibrate") from error


def _model(meta: Mapping[str, Any], stored: Mapping[str, Any]) -> BuildingModel:
    topology: dict[str, Any] = {key: _tuple(value) for key, value in meta["topology"].items()}
    topology["scale"] = {name: _tuple(pair) for name, pair in topology["scale"].items()}
    witness = meta["witness"]
    return BuildingModel(
        topology=Topology(**topology),
        points={point["name"]: Point(**point) for point in meta["points"]},
        habits={name: Habits(**habits) for name, habits in meta["habits"].items()},
        gains=(Gain(**meta["gains"][0]), Gain(**meta["gains"][1])),
        offsets=meta["offsets"],
        witness=Witness(**{name: _tuple(value) for name, value in witness.items()}) if witness else None,
        physics=_physics_from(meta["physics"], stored),
        residuals={
            (r["kind"], r["horizon"]): _residual(number, r, stored) for number, r in enumerate(meta["residuals"])
        },
        hall=CalibratedHall.from_json(meta["hall"], "hall") if meta["hall"] else None,
    )


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _residual(number: int, entry: Mapping[str, Any], stored: Mapping[str, Any]) -> Residual:
    trees = {item.name: stored[f"{number}/trees/{item.name}"] for item in fields(Trees)}
    trees |= {"depth": int(trees["depth"]), "baseline": float(trees["baseline"])}
    return Residual(
        trees=Trees(**trees),
        features=tuple(entry["features"]),
        domain=Domain(*(stored[f"{number}/domain/{item.name}"] for item in fields(Domain))),
        past={point: stored[f"{number}/past/{point}"] for point in entry["past"]},
    )


def _physics_to(physics: Physics, arrays: dict[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
    linears = {"overhead": physics.overhead, **{f"inlet:{name}": linear for name, linear in physics.inlets.items()}}
    for key, linear in linears.items():
        arrays |= {
            f"physics/{key}/mean": linear.mean,
            f"physics/{key}/beta": linear.fit.beta,
            f"physics/{key}/covariance": linear.fit.covariance,
        }
    return {
        "tau_min": physics.tau_min,
        "linears": {key: {"names": linear.names, "residual": linear.fit.residual} for key, linear in linears.items()},
    }


def _physics_from(entry: Mapping[str, Any], stored: Mapping[str, Any]) -> Physics:
    linears = {}
    for key, linear in entry["linears"].items():
        mean, beta, covariance = (stored[f"physics/{key}/{part}"] for part in ("mean", "beta", "covariance"))
        linears[key] = Linear(tuple(linear["names"]), mean, Fit(beta, covariance, linear["residual"]))
    inlets = {key.removeprefix("inlet:"): linear for key, linear in linears.items() if key.startswith("inlet:")}
    return Physics(entry["tau_min"], linears["overhead"], inlets)
