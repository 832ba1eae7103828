"""CARL, the learning agent, as it runs: one decision on jobs, caps, parking and cooling, its network as plain arrays.

The network sees ``scheduler.arena.observe.OBSERVATIONS`` and what is preferred, and moves the tuned rule and the
plant's setpoints (``scheduler.arena.controls``). Numpy alone: training (``scheduler.training``) needs torch, running
does not. See docs/training.md.
"""

from __future__ import annotations

import zipfile
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facility.errors import ConfigError
from facility.records import FloatArray
from scheduler.arena.arena import World
from scheduler.arena.controls import ACTIONS, Reach, act
from scheduler.arena.observe import OBSERVATIONS, Observer
from scheduler.arena.reward import PREFERENCES, Preference
from scheduler.arena.rule import RuleParams
from scheduler.arena.scales import Scales
from scheduler.arena.view import ArenaAction, ArenaView

POLICY_FORMAT = 2  # of the arrays in a policy file; another number is refused
INPUTS = (*OBSERVATIONS, *PREFERENCES)
_CENTRE = ("kappa", "min_gpu_h", "cap_compute_w", "cap_memory_w", "spare_nodes", "keep_running", "forced_s")


class Carl:
    """A trained policy on the halls of one arena, from its first step on."""

    name = "carl"

    def __init__(self, arrays: PolicyArrays, world: World, scales: Scales, wish: Preference) -> None:
        """``scales`` are those of the world's windows; ``wish`` says what is preferred in each hall."""
        self._arrays, self._wish = arrays, wish.columns()
        self._observer = Observer(world.hall, world.control, scales)

    def decide(self, view: ArenaView) -> ArenaAction:
        """What the network thinks best, without exploration."""
        seen = np.concatenate([self._observer.see(view), self._wish], axis=1)
        return act(view, self._arrays.act(seen), self._arrays.centre)


@dataclass(frozen=True, slots=True, eq=False)
class PolicyArrays:
    """A trained policy: a network with tanh between its layers, and the rule that it moves.

    Layer i maps (B, inputs) to (B, outputs) by ``weights[i]`` (inputs, outputs) and ``biases[i]`` (outputs,).
    """

    weights: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]
    centre: RuleParams

    def __post_init__(self) -> None:
        widths = [len(INPUTS), *(len(bias) for bias in self.biases)]
        shapes = list(pairwise(widths))
        if [weight.shape for weight in self.weights] != shapes or widths[-1] != len(ACTIONS):
            raise ConfigError(
                f"layers of shape {[weight.shape for weight in self.weights]} are no network from "
                f"{len(INPUTS)} inputs to {len(ACTIONS)} actions",
                where="policy",
                hint="train it again with this version",
            )

    def act(self, seen: NDArray[np.float32]) -> FloatArray:
        """The most likely action for inputs (B, 44): (B, 9) in -1..1."""
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
                inputs=np.array(INPUTS),
                actions=np.array(ACTIONS),
                reach=_reach(),
                centre=np.array([float(getattr(self.centre, name)) for name in _CENTRE]),
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
                    RuleParams(**dict(zip(_CENTRE, file["centre"].tolist(), strict=True))),
                )
        except FileNotFoundError as error:
            raise ConfigError("no such policy file", where=str(path), hint="train one with `eco train`") from error
        except (KeyError, ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile) as error:
            raise ConfigError(f"this is no policy file ({error})", where=str(path), hint="train it again") from error


def _reach() -> FloatArray:
    return np.array(list(asdict(Reach()).values()))


def _require_known(file: np.lib.npyio.NpzFile, path: Path) -> None:
    """Another order of inputs or another reach of actions would be read without complaint, and act wrongly."""
    same = (
        int(file["format"]) == POLICY_FORMAT
        and tuple(file["inputs"]) == INPUTS
        and tuple(file["actions"]) == ACTIONS
        and np.array_equal(file["reach"], _reach())
    )
    if not same:
        raise ConfigError(
            "the policy was trained by a version with other inputs or actions",
            where=str(path),
            hint="train it again with this version",
        )
