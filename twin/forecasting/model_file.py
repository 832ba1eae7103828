"""A carbon model as one file: a zip of plain arrays and one JSON text (numpy's npz), read without pickle.

Loading runs no code from the file; a file from elsewhere can at worst give wrong numbers.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from facility.errors import DataError
from twin.forecasting.issue import Bank, CarbonModel
from twin.forecasting.kinds import Accounting, CarbonKind, Scope
from twin.forecasting.linear import Line
from twin.forecasting.model import Part, Trained
from twin.learned import Trees

FORMAT = 1
_Arrays = dict[str, Any]


def save_model(model: CarbonModel, path: Path) -> None:
    """Write the model; raises DataError where the file cannot be written."""
    arrays: _Arrays = {
        "bank/at_s": np.array([int(when.timestamp()) for when in model.bank.at], np.int64),
        "bank/centre": model.bank.centre,
        "bank/width": model.bank.width,
    }
    for number, part in enumerate(model.trained.parts):
        for name, trees in _named(part):
            for item in fields(Trees):
                arrays[f"{number}/{name}/{item.name}"] = np.asarray(getattr(trees, item.name))
        for item in fields(Line):
            arrays[f"{number}/line/{item.name}"] = np.asarray(getattr(part.line, item.name))
    meta = {
        "format": FORMAT,
        "scope": model.kind.scope,
        "accounting": model.kind.accounting,
        "zone": model.zone,
        "inputs": model.inputs,
        "since": model.since.isoformat(),
        "until": model.until.isoformat(),
        "columns": model.trained.names,
        "parts": [[part.first, part.last, len(part.centres), part.line_share] for part in model.trained.parts],
    }
    text = np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)
    try:
        with path.open("wb") as file:  # by handle: numpy would add a suffix to a name
            np.savez_compressed(file, meta=text, **arrays)
    except OSError as error:
        raise DataError(f"cannot write: {error.strerror}", where=str(path), hint="check the folder") from error


def load_model(path: Path) -> CarbonModel:
    """The model; raises DataError where the file is no carbon model of this version."""
    hint = "write one with eco forecast fit"
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        meta = json.loads(arrays["meta"].tobytes().decode())
        if meta["format"] != FORMAT:
            raise DataError(f"format {meta['format']}, need {FORMAT}", where=str(path), hint=hint)
        return _model(meta, arrays)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"cannot read: {reason}", where=str(path), hint=hint) from error
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"not a carbon model: {error}", where=str(path), hint=hint) from error


def _named(part: Part) -> list[tuple[str, Trees]]:
    return [*((f"centre-{k}", trees) for k, trees in enumerate(part.centres)), ("width", part.width)]


def _model(meta: Mapping[str, Any], arrays: _Arrays) -> CarbonModel:
    parts = tuple(
        Part(
            first=int(first),
            last=int(last),
            centres=tuple(_trees(arrays, f"{number}/centre-{k}") for k in range(count)),
            line=_line(arrays, f"{number}/line"),
            line_share=float(share),
            width=_trees(arrays, f"{number}/width"),
        )
        for number, (first, last, count, share) in enumerate(meta["parts"])
    )
    moments = tuple(datetime.fromtimestamp(int(second), UTC) for second in arrays["bank/at_s"])
    return CarbonModel(
        trained=Trained(tuple(meta["columns"]), parts),
        bank=Bank(moments, arrays["bank/centre"], arrays["bank/width"]),
        kind=CarbonKind(Scope(meta["scope"]), Accounting(meta["accounting"])),
        zone=str(meta["zone"]),
        inputs=tuple(meta["inputs"]),
        since=datetime.fromisoformat(meta["since"]),
        until=datetime.fromisoformat(meta["until"]),
    )


def _trees(arrays: _Arrays, name: str) -> Trees:
    parts: dict[str, Any] = {item.name: arrays[f"{name}/{item.name}"] for item in fields(Trees)}
    return Trees(**(parts | {"depth": int(parts["depth"]), "baseline": float(parts["baseline"])}))


def _line(arrays: _Arrays, name: str) -> Line:
    parts: dict[str, Any] = {item.name: arrays[f"{name}/{item.name}"] for item in fields(Line)}
    whole = {key: int(parts[key]) for key in ("hour", "lead")}
    return Line(**(parts | whole | {key: float(parts[key]) for key in ("reach", "level")}))
