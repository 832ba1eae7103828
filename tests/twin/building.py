"""A small made-up building with a recording: other counts, units and sampling than the shared one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]

START_US = 1_700_000_000_000_000 // 86_400_000_000 * 86_400_000_000
MINUTE_US = 60_000_000
DAYS = 9
STEP_MIN = 2
PDUS, ZONES = 3, 3


@dataclass(frozen=True)
class Building:
    """Rows by point, and the list of points as lines of a points.csv."""

    ts_us: NDArray[np.int64]
    values: dict[str, Floats]
    lines: tuple[str, ...]

    def write(self, folder: Path, *, drop: tuple[str, ...] = (), shift_us: dict[str, Floats] | None = None) -> Path:
        """Writes telemetry.parquet and points.csv; returns the folder."""
        parts = []
        for name, value in self.values.items():
            if name in drop:
                continue
            offset = np.zeros(len(value)) if shift_us is None else shift_us.get(name, np.zeros(len(value)))
            stamps = self.ts_us + offset.astype(np.int64) + (7 if name.startswith(("zone", "sp")) else 23) * 1_000_000
            parts.append(pl.DataFrame({"ts": stamps, "point": [name] * len(value), "value": value}))
        table = pl.concat(parts).with_columns(pl.col("ts").cast(pl.Datetime("us", "UTC")), quality=pl.lit("good"))
        table.write_parquet(folder / "telemetry.parquet")
        kept = [line for line in self.lines if line.split(",")[0] not in drop]
        (folder / "points.csv").write_text("point,kind,unit,equipment,min,max\n" + "\n".join(kept), encoding="utf-8")
        return folder


def building(seed: int = 0) -> Building:
    """Nine days: IT power in watts steps and drifts, overhead follows it with a lag of 20 minutes and the weather."""
    rng = np.random.default_rng(seed)
    count = DAYS * 1440
    minute = np.arange(count)
    load = [_steps(rng, count, 60.0 + 20.0 * number, 25.0) for number in range(PDUS)]
    outdoor = 15.0 + 8.0 * np.sin(2 * np.pi * (minute / 1440.0 - 0.3))
    supply = 20.0 + 0.5 * np.round(2.0 * _steps(rng, count, 0.0, 1.0) / 2.0)
    fan = 60.0 + 5.0 * np.round(_steps(rng, count, 0.0, 1.5))
    it = np.sum(load, axis=0)
    heat = _lag(it, 20.0)
    overhead = 12.0 + 0.06 * it + 0.12 * heat + 0.004 * heat * outdoor + 20.0 * (fan / 100.0) ** 3
    keep = minute[::STEP_MIN]
    values: dict[str, Floats] = {"main/power_w": 1e3 * (it + overhead + rng.normal(0, 0.2, count))[keep]}
    for number in range(PDUS):
        values[f"pdu-{number + 1}/power_w"] = 1e3 * (load[number] + rng.normal(0, 0.05, count))[keep]
        inlet = supply + 2.0 * _lag(load[number], 6.0) / fan + rng.normal(0, 0.05, count)
        values[f"zone-{number + 1}/inlet_c"] = inlet[keep]
    values |= {"wx/drybulb_c": (outdoor + rng.normal(0, 0.05, count))[keep]}
    values |= {"sp/supply_air_c": supply[keep], "sp/fan_pct": fan[keep]}
    values["hvac/power_w"] = 1e3 * (overhead - 0.06 * it + rng.normal(0, 0.1, count))[keep]
    values["zone-0/hall_c"] = (18.0 + 0.02 * heat + rng.normal(0, 0.01, count))[keep]
    return Building(START_US + keep * MINUTE_US, values, tuple(_lines(values)))


def _lines(values: dict[str, Floats]) -> list[str]:
    lines = []
    for name in values:
        equipment = name.split("/")[0]
        if equipment == "sp":
            kind, unit, low, high = "setpoint", "%" if "pct" in name else "degC", "0", "100"
        elif name.endswith("_w"):
            kind, unit, low, high = "power", "W", "0", "3000000"
        else:
            kind, unit, low, high = "temperature", "degC", "", ""
        lines.append(f"{name},{kind},{unit},{equipment},{low},{high}")
    return lines


def _steps(rng: np.random.Generator, count: int, level: float, size: float) -> Floats:
    """Levels held for a random time, about two hours, with a little drift between."""
    lengths = rng.integers(30, 240, count // 30)
    levels = level + size * rng.uniform(-1.0, 1.0, len(lengths))
    return np.asarray(np.repeat(levels, lengths)[:count])


def _lag(values: Floats, tau_min: float) -> Floats:
    lagged = np.empty_like(values)
    state = values[0]
    for index, value in enumerate(values):
        state += (value - state) * (1.0 - np.exp(-1.0 / tau_min))
        lagged[index] = state
    return lagged
