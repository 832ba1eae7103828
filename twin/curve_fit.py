"""Fits the power-speed curves and the scaling law to measured sweeps: ``python -m twin.curve_fit DIR >
data/gpu_curves.toml``.

DIR holds Zeus' ``zeus_*.csv`` (time per epoch and mean power at each power limit) and ElasticFlow's
``elasticflow_A100_*.csv``. Each sweep is normalised: cap by the GPU's highest limit, speed by the speed there, power
by that limit. On a common grid of caps the sweeps are fitted by isotonic regression, every GPU type with the same
weight, so that more power never means less speed.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from scipy.optimize import nnls
from sklearn.isotonic import IsotonicRegression

from facility.errors import DataError
from facility.records import FloatArray, WorkClass

CAP_GRID = np.round(np.arange(0.50, 1.0001, 0.05), 2)  # of the highest limit; below 0.5 not every GPU was measured
MAX_SLOWDOWN = 0.035
# Which recordings stand for which class: transformer GEMMs lose the most under a cap, convolution with batch norm less.
RECORDED = {WorkClass.COMPUTE_BOUND: ("squad", "bert_base_uncased"), WorkClass.MEMORY_BOUND: ("imagenet", "resnet50")}
SCALED = {
    "bert-large": ("bert", 128, 340e6 / 110e6),
    "resnet50": ("resnet50", 256, 1.0),
}  # file, global batch, work factor
EXPECTED = ("dataset", "network", "batch_size", "power_limit", "time_per_epoch", "average_power")


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """One workload on one GPU at one batch size: arrays over the limits, ascending."""

    gpu: str
    batch_size: int
    limit_w: FloatArray
    time_s: FloatArray
    power_w: FloatArray

    @property
    def speed(self) -> FloatArray:
        """Speed against the highest limit."""
        return np.asarray(self.time_s[-1] / self.time_s)

    @property
    def best_saving(self) -> float:
        """Largest cut of GPU energy at no more than 3.5 % slowdown, against the highest limit."""
        energy = self.time_s * self.power_w
        allowed = self.time_s <= self.time_s[-1] * (1.0 + MAX_SLOWDOWN)
        return float(1.0 - energy[allowed].min() / energy[-1])


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """Speed and power over CAP_GRID, and the root mean square misses of the sweeps against them."""

    speed: FloatArray
    power: FloatArray
    speed_rmse: float
    power_rmse: float
    sweeps: int


def read_sweeps(folder: Path, dataset: str, network: str) -> list[Sweep]:
    """All sweeps of one workload in ``folder``; raises DataError where there are none or columns are missing."""
    sweeps: list[Sweep] = []
    for path in sorted(folder.glob("zeus_*.csv")):
        table = pl.read_csv(path)
        if not set(EXPECTED) <= set(table.columns):
            raise DataError(
                f"expected columns {', '.join(EXPECTED)}", where=str(path), hint="give Zeus' summary_power files"
            )
        chosen = table.filter((pl.col("dataset") == dataset) & (pl.col("network") == network))
        for (batch,), rows in sorted(chosen.group_by("batch_size"), key=lambda item: int(str(item[0][0]))):
            ordered = rows.sort("power_limit")
            columns = (
                ordered[name].to_numpy().astype(np.float64)
                for name in ("power_limit", "time_per_epoch", "average_power")
            )
            sweeps.append(Sweep(path.stem.rsplit("_", 1)[-1], int(str(batch)), *columns))
    if not sweeps:
        raise DataError(f"no sweeps of {network} on {dataset}", where=str(folder), hint="give the folder of zeus_*.csv")
    return sweeps


def savings_by_gpu(sweeps: list[Sweep]) -> dict[str, float]:
    """The median over batch sizes of each GPU's best saving at no more than 3.5 % slowdown."""
    return {
        gpu: float(np.median([s.best_saving for s in sweeps if s.gpu == gpu]))
        for gpu in sorted({s.gpu for s in sweeps})
    }


def fit_curve(sweeps: list[Sweep]) -> Fit:
    """Isotonic speed and power over CAP_GRID; a GPU's many batch sizes together weigh as much as another's few."""
    caps, speeds, powers, weights = [], [], [], []
    for sweep in sweeps:
        cap = sweep.limit_w / sweep.limit_w[-1]
        inside = CAP_GRID[cap[0] - 1e-9 <= CAP_GRID]
        caps.append(inside)
        speeds.append(np.interp(inside, cap, sweep.speed))
        powers.append(np.interp(inside, cap, sweep.power_w / sweep.limit_w[-1]))
        same = sum(other.gpu == sweep.gpu for other in sweeps)
        weights.append(np.full(len(inside), 1.0 / same))
    cap, weight = np.concatenate(caps), np.concatenate(weights)
    speed, speed_rmse = _isotonic(cap, np.concatenate(speeds), weight)
    power, power_rmse = _isotonic(cap, np.concatenate(powers), weight)
    return Fit(speed / speed[-1], power, speed_rmse, power_rmse, len(sweeps))


def _isotonic(cap: FloatArray, value: FloatArray, weight: FloatArray) -> tuple[FloatArray, float]:
    """The non-decreasing fit on CAP_GRID and its weighted root mean square miss."""
    model = IsotonicRegression(increasing=True, out_of_bounds="clip").fit(cap, value, sample_weight=weight)
    miss = model.predict(cap) - value
    return np.asarray(model.predict(CAP_GRID)), float(np.sqrt(np.average(miss**2, weights=weight)))


def fit_scaling(folder: Path, model: str, batch: int) -> tuple[FloatArray, float]:
    """Seconds of one step at ``batch`` on g GPUs as compute / g + fixed + hop * log2(g), and its largest relative
    miss.
    """
    path = folder / f"elasticflow_A100_throughput_{model}.csv"
    table = pl.read_csv(path).filter(pl.col("global_batch_size") == batch)
    gpus = np.array([float(name) for name in table.columns[1:]])
    time_s = 1.0 / np.array(table.row(0)[1:], dtype=np.float64)
    terms = np.stack([1.0 / gpus, np.ones_like(gpus), np.log2(gpus)], axis=1)
    factor, _ = nnls(terms / time_s[:, None], np.ones_like(time_s))  # relative misses count alike
    return np.asarray(factor), float(np.abs(terms @ factor / time_s - 1.0).max())


def to_toml(folder: Path) -> str:
    """The fitted parameters as the text of data/gpu_curves.toml."""
    out = [
        "# Fitted parameters, not recordings. Refit: python -m twin.curve_fit DIR > data/gpu_curves.toml",
        "# Curves: isotonic fits to the power-limit sweeps of V100, A40, P100 and RTX 6000 published with Zeus",
        "# (NSDI '23, ml-energy/zeus, Apache-2.0). No public A100 sweep is at hand: on A100 they are modelled.",
        "# Scaling: A100 throughput by GPU count published with ElasticFlow (ASPLOS '23, pkusys/ElasticFlow).",
        "# cap_fraction, power_fraction: of the highest limit; speed: of the speed there; rmse: sweeps against fit.",
        f"cap_fraction = {_list(CAP_GRID)}",
    ]
    for work_class, recorded in RECORDED.items():
        fit = fit_curve(read_sweeps(folder, *recorded))
        out += [
            f"\n[curve.{work_class.value}]  # {recorded[1]} on {recorded[0]}, {fit.sweeps} sweeps",
            f"speed = {_list(fit.speed)}",
            f"power_fraction = {_list(fit.power)}",
            f"speed_rmse = {fit.speed_rmse:.4f}",
            f"power_rmse = {fit.power_rmse:.4f}",
        ]
    for workload, (model, batch, work) in SCALED.items():
        (compute, fixed, hop), miss = fit_scaling(folder, model, batch)
        scaled = f"times {work:.3f} (parameters of BERT-Large over BERT-base)" if work != 1.0 else "as recorded"
        out += [
            f"\n[scaling.{workload}]  # global batch {batch}, {scaled}; largest miss {100 * miss:.1f} %",
            f"batch = {batch}",
            f"compute_s = {compute * work:.5f}",
            f"fixed_s = {fixed * work:.5f}",
            f"hop_s = {hop * work:.5f}",
            f"largest_miss = {miss:.4f}",
        ]
    return "\n".join(out) + "\n"


def _list(values: FloatArray) -> str:
    return "[" + ", ".join(f"{value:.4f}" for value in values) + "]"


def main() -> None:
    """Fit the folder named on the command line and print the TOML."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m twin.curve_fit DIR")
    sys.stdout.write(to_toml(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
