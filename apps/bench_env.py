"""How fast the joint environment is on one core: jobs, caps, parking, plant, observations and rewards together."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from facility.errors import EcoError
from facility.records import FloatArray
from facility.site import Hall
from scheduler.arena.controls import ACTIONS
from scheduler.arena.pool import STEPS_WEEK, Pool, random_windows
from twin.plant import plant_control
from twin.signals import synthetic_signals
from twin.traces import synthetic_trace

if TYPE_CHECKING:
    from scheduler.env import JointEnv

_START = datetime(2023, 1, 1, tzinfo=UTC)
_DAYS = 90.0  # of synthetic signals that the windows are drawn from
_ZONES = ("US-CAL-CISO", "DE")
_DRAWS = 16  # action arrays, drawn before the clock starts
Progress = Callable[[float], None]


def bench_env(
    hall: Hall,
    *,
    batch: int,
    steps: int,
    windows: int = 16,
    shield: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Take ``steps`` hall steps with random actions; raises EcoError where Gymnasium is not installed.

    ``env_steps_per_s`` is of this process's own CPU time, so that a busy machine does not count; ``wall_steps_per_s``
    is by the clock. ``flatness`` compares whole episodes, and is None with fewer than two. The shadows of the windows
    are run once, before (``setup_s``).
    """
    if find_spec("gymnasium") is None:
        raise EcoError(
            "gymnasium is not installed", where="eco bench env", hint="pip install 'eco-orchestrator[train]'"
        )
    # Here rather than above: every other benchmark must run without the extra.
    from scheduler.env import JointEnv

    began = time.process_time()
    signals = [synthetic_signals(zone, _START, _DAYS, seed=1) for zone in _ZONES]
    drawn = random_windows(signals, synthetic_trace(1), hall.gpus, windows, seed=0)
    env = JointEnv(Pool.of(hall, drawn, plant_control("optimum", hall), shield=shield), batch)
    seen, _ = env.reset(seed=0)
    setup_s = time.process_time() - began
    rounds, began_wall = max(1, -(-steps // batch)), time.perf_counter()
    cpu_s = _taken_s(env, rounds, progress)
    wall_s = time.perf_counter() - began_wall
    return {
        "env_steps_per_s": rounds * batch / float(cpu_s.sum()),
        "wall_steps_per_s": rounds * batch / wall_s,
        "flatness": _flatness(cpu_s),
        "steps": rounds * batch,
        "batch": batch,
        "windows": windows,
        "shield": shield,
        "observations": seen.shape[1],
        "actions": len(ACTIONS),
        "gpus": hall.gpus,
        "setup_s": setup_s,
        "threads": 1,
    }


def _taken_s(env: JointEnv, rounds: int, progress: Progress | None) -> FloatArray:
    """CPU seconds of each round of the batch."""
    rng = np.random.default_rng(0)
    actions = [rng.uniform(-1.0, 1.0, (env.num_envs, len(ACTIONS))) for _ in range(_DRAWS)]
    cpu_s = np.empty(rounds)
    for index in range(rounds):
        began = time.process_time()
        env.step(actions[index % _DRAWS])
        cpu_s[index] = time.process_time() - began
        if progress is not None:
            progress((index + 1) / rounds)
    return cpu_s


def _flatness(cpu_s: FloatArray) -> float | None:
    """Speed of the slowest episode over that of the fastest: within one, halls fill and steps slow down."""
    episodes = len(cpu_s) // STEPS_WEEK
    if episodes < 2:
        return None
    spent = cpu_s[: episodes * STEPS_WEEK].reshape(episodes, STEPS_WEEK).sum(axis=1)
    return float(spent.min() / spent.max())
