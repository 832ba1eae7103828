"""CARL, the learning agent, as it runs: what it sees, what it may change, and its network as plain arrays.

This release decides plant setpoints only: supply air, air-handler fan speed and chilled water, as small residuals on a
plant control of ``twin.plant`` (the optimum by default). Jobs, power caps and node parking come in a later release.

Numpy alone: training (``scheduler.training``) needs torch, running does not. See docs/training.md.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facility.errors import ConfigError
from facility.records import FloatArray
from twin.hall import HallParams, PlantAction

POLICY_FORMAT = 1  # of the arrays in a policy file; another number is refused
OBSERVATIONS = (
    "load_share",
    "wetbulb",
    "drybulb",
    "hour_sin",
    "hour_cos",
    "carbon_ratio",
    "max_inlet",
    "last_supply_air",
    "last_fan_speed",
    "last_chw_supply",
)
# What one unit of action adds to the base control's setpoint.
RESIDUALS = {"supply_air_c": 2.0, "fan_speed": 0.15, "chw_supply_c": 2.0}


@dataclass(frozen=True, slots=True)
class Seen:
    """What the agent knows when it decides, arrays (B,) unless said; nothing in it is of a later time."""

    load_share: FloatArray  # last IT power over the servers' rated DC power
    wetbulb_c: FloatArray
    drybulb_c: FloatArray
    hour_utc: FloatArray  # 0..24
    carbon_ratio: FloatArray  # newest public intensity over the mean of the public week before
    max_inlet_c: FloatArray
    last: FloatArray  # (B, 3) the agent's last action


def observation(seen: Seen) -> NDArray[np.float32]:
    """The network's input in the order of ``OBSERVATIONS``, (B, 10), each of the order of one."""
    angle = 2.0 * np.pi * seen.hour_utc / 24.0
    columns = (
        seen.load_share,
        (seen.wetbulb_c - 12.0) / 10.0,
        (seen.drybulb_c - 16.0) / 10.0,
        np.sin(angle),
        np.cos(angle),
        seen.carbon_ratio - 1.0,
        (seen.max_inlet_c - 24.0) / 4.0,
        *seen.last.T,
    )
    return np.stack(columns, axis=1).astype(np.float32)


def corrected(params: HallParams, base: PlantAction, action: FloatArray) -> PlantAction:
    """The base setpoints plus the agent's residuals (B, 3) in -1..1, held to the machines' limits."""
    crah, chw = params.crah, params.chw
    limits = {
        "supply_air_c": (crah.supply_min_c, crah.supply_max_c),
        "fan_speed": (crah.min_speed, 1.0),
        "chw_supply_c": (chw.supply_min_c, chw.supply_max_c),
    }
    bounded = np.clip(action, -1.0, 1.0)
    changed = {
        name: np.clip(getattr(base, name) + size * bounded[:, column], *limits[name])
        for column, (name, size) in enumerate(RESIDUALS.items())
    }
    return replace(base, **changed)


@dataclass(frozen=True, slots=True, eq=False)
class PolicyArrays:
    """A trained policy: a network with tanh between its layers, and the plant control that it corrects.

    Layer i maps (B, inputs) to (B, outputs) by ``weights[i]`` (inputs, outputs) and ``biases[i]`` (outputs,).
    """

    weights: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]
    base: str = "optimum"

    def __post_init__(self) -> None:
        widths = [len(OBSERVATIONS), *(len(bias) for bias in self.biases)]
        shapes = list(pairwise(widths))
        if [weight.shape for weight in self.weights] != shapes or widths[-1] != len(RESIDUALS):
            raise ConfigError(
                f"layers of shape {[weight.shape for weight in self.weights]} are no network from "
                f"{len(OBSERVATIONS)} observations to {len(RESIDUALS)} actions",
                where="policy",
                hint="train it again with this version",
            )

    def act(self, seen: NDArray[np.float32]) -> FloatArray:
        """The most likely action for observations (B, 10): residuals (B, 3) in -1..1."""
        hidden: FloatArray = np.asarray(seen, dtype=np.float64)
        last = len(self.weights) - 1
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = hidden @ weight + bias
            if index < last:
                hidden = np.tanh(hidden)
        return np.clip(hidden, -1.0, 1.0)

    def save(self, path: Path) -> None:
        """Write one .npz of plain arrays (no pickle); an older file is replaced in one move."""
        layers = {f"weight_{i}": weight for i, weight in enumerate(self.weights)}
        layers |= {f"bias_{i}": bias for i, bias in enumerate(self.biases)}
        draft = path.with_name(f".{path.name}.draft")
        with draft.open("wb") as file:
            np.savez(
                file,
                allow_pickle=False,
                format=np.array(POLICY_FORMAT),
                observations=np.array(OBSERVATIONS),
                actions=np.array(list(RESIDUALS)),
                residuals=np.array(list(RESIDUALS.values())),
                base=np.array(self.base),
                layers=np.array(len(self.weights)),
                **layers,
            )
        draft.replace(path)

    @classmethod
    def load(cls, path: Path) -> PolicyArrays:
        """Read a policy file; raises ConfigError where it is none, or not one that this version understands."""
        try:
            with np.load(path, allow_pickle=False) as file:
                _require_known(file, path)
                count = range(int(file["layers"]))
                return cls(
                    tuple(file[f"weight_{i}"] for i in count),
                    tuple(file[f"bias_{i}"] for i in count),
                    str(file["base"]),
                )
        except FileNotFoundError as error:
            raise ConfigError("no such policy file", where=str(path), hint="train one with `eco train`") from error
        except (KeyError, ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile) as error:
            raise ConfigError(f"this is no policy file ({error})", where=str(path), hint="train it again") from error


def _require_known(file: np.lib.npyio.NpzFile, path: Path) -> None:
    """Another order of observations or another size of residual would be read without complaint, and act wrongly."""
    same = (
        int(file["format"]) == POLICY_FORMAT
        and tuple(file["observations"]) == OBSERVATIONS
        and tuple(file["actions"]) == tuple(RESIDUALS)
        and np.array_equal(file["residuals"], np.array(list(RESIDUALS.values())))
    )
    if not same:
        raise ConfigError(
            "the policy was trained by a version with other observations or actions",
            where=str(path),
            hint="train it again with this version",
        )
