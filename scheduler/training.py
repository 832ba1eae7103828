"""Training of the agent: PPO of stable-baselines3 over the batch environment, exported to plain arrays.

Needs the extra ``[train]``. What it writes needs numpy alone: the policy (.npz) and beside it the record (.json) of
what it was trained on, how, and what it gains on windows it never saw.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from facility.errors import ConfigError
from facility.site import Hall
from scheduler.arena.pool import REFERENCE, Draw, Pool, random_windows
from scheduler.arena.rule import RuleParams
from scheduler.carl import PolicyArrays
from scheduler.env import JointEnv
from scheduler.score import score
from scheduler.training_record import (
    CurvePoint,
    TrainingRecord,
    fingerprint,
    hall_fingerprint,
    sources,
    trace_fingerprint,
    versions,
)
from twin.plant import plant_control
from twin.signals import Signals
from twin.traces import Trace

Progress = Callable[[float], None]

HALLS = 48
WINDOWS = 32  # that training draws from
UNSEEN_WINDOWS = 8  # that the score is on
TRAIN_SHARE = 2.0 / 3.0  # the first two of three years; everything after is unseen
# From a search on another model of such a hall; not tuned again here.
PPO_SETTINGS: dict[str, Any] = {
    "n_steps": 168,
    "batch_size": 1008,
    "n_epochs": 4,
    "gamma": 0.98,
    "gae_lambda": 0.95,
    "learning_rate": 3e-4,
    "target_kl": 0.03,
    "ent_coef": 0.0,
}
LAYERS = (64, 64)  # of the policy and of the value network, tanh
LOG_STD = -1.6  # of the first exploration: about 0.2 of an action's reach


class SharedHalls(VecEnv):  # type: ignore[misc, unused-ignore]  # Any without the extra
    """A ``JointEnv`` behind the interface that stable-baselines3 expects."""

    def __init__(self, env: JointEnv) -> None:
        """Serves ``env`` as it is; the batch stays one batch."""
        self._env = env
        self._actions: NDArray[np.float32] = np.zeros((env.num_envs, 1), np.float32)
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> NDArray[np.float32]:
        """Begin new windows, with the seed given to ``seed`` if one was."""
        seen, _ = self._env.reset(seed=self._seeds[0])
        self._reset_seeds()
        return seen

    def step_async(self, actions: NDArray[np.float32]) -> None:
        """Keep the actions for ``step_wait``."""
        self._actions = actions

    def step_wait(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """One step; the end of an episode is marked as truncated, so that its value is bootstrapped."""
        seen, reward, _, ended, info = self._env.step(self._actions.astype(np.float64))
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if ended.any():
            infos = [{"TimeLimit.truncated": True, "terminal_observation": last} for last in info["final_obs"]]
        return seen, reward.astype(np.float32), ended, infos

    def close(self) -> None:
        """Close the environment."""
        self._env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The same attribute for every hall asked for."""
        return [getattr(self._env, attr_name)] * len(self._indices(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set for all halls: they share one environment."""
        setattr(self._env, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Call once; the answer for every hall asked for."""
        return [getattr(self._env, method_name)(*args, **kwargs)] * len(self._indices(indices))

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """No hall is wrapped."""
        return [False] * len(self._indices(indices))

    def _indices(self, indices: int | Sequence[int] | None) -> Sequence[int]:
        return range(self.num_envs) if indices is None else [indices] if isinstance(indices, int) else indices


class _Curve(BaseCallback):  # type: ignore[misc, unused-ignore]  # Any without the extra
    """Keeps the learning curve and tells the progress."""

    def __init__(self, steps: int, progress: Progress | None) -> None:
        super().__init__()
        self.points: list[CurvePoint] = []
        self._wanted, self._progress = steps, progress

    def _on_step(self) -> bool:
        if self._progress is not None:
            self._progress(min(1.0, self.num_timesteps / self._wanted))
        return True

    def _on_rollout_end(self) -> None:
        rewards = self.locals["rollout_buffer"].rewards  # (steps, halls)
        halls = rewards.mean(axis=0)
        self.points.append(CurvePoint(self.num_timesteps, float(halls.mean()), float(halls.std(ddof=1))))


def make_model(env: JointEnv, seed: int) -> PPO:
    """An untrained PPO on ``env``; its first actions are near zero, so it starts at the rule."""
    return PPO(
        "MlpPolicy",
        SharedHalls(env),
        seed=seed,
        device="cpu",
        policy_kwargs={"net_arch": list(LAYERS), "activation_fn": torch.nn.Tanh, "log_std_init": LOG_STD},
        **PPO_SETTINGS,
    )


def exported(model: PPO, centre: RuleParams) -> PolicyArrays:
    """The mean of the policy as plain arrays."""
    network: Any = model.policy
    modules = [*network.mlp_extractor.policy_net, network.action_net]
    layers = [module for module in modules if isinstance(module, torch.nn.Linear)]
    return PolicyArrays(
        tuple(layer.weight.detach().numpy().T.copy() for layer in layers),
        tuple(layer.bias.detach().numpy().copy() for layer in layers),
        centre,
    )


def train(
    signals: Signals,
    trace: Trace,
    hall: Hall,
    *,
    steps: int,
    seed: int,
    out: Path,
    progress: Progress | None = None,
    windows: int = WINDOWS,
    unseen: int = UNSEEN_WINDOWS,
) -> TrainingRecord:
    """Train on the first two thirds of ``signals``, score on the rest, write ``out`` (.npz) and its record (.json).

    ``steps`` are hall steps of 15 minutes; ``windows`` weeks are drawn to learn from, ``unseen`` to be judged on, at
    the reference load. Raises ConfigError where ``out`` cannot be written, DataError where the signals are too short.
    """
    _require_writable(out)
    began = time.monotonic()
    early, late = Draw(part=(0.0, TRAIN_SHARE)), replace(REFERENCE, part=(TRAIN_SHARE, 1.0))
    judged = random_windows([signals], trace, hall.gpus, unseen, seed, late)
    pool = Pool.of(
        hall, random_windows([signals], trace, hall.gpus, windows, seed, early), plant_control("optimum", hall)
    )
    model = make_model(JointEnv(pool, HALLS), seed)
    curve = _Curve(steps, progress)
    _learn(model, steps, curve)
    policy = exported(model, pool.centre)
    policy.save(out)
    record = TrainingRecord(
        policy=out.name,
        policy_sha256=hashlib.sha256(out.read_bytes()).hexdigest(),
        centre=asdict(pool.centre),
        synthetic=signals.synthetic or trace.synthetic,
        sources=(*sources(signals), trace.source),
        signals_sha256=fingerprint(signals),
        jobs_sha256=trace_fingerprint(trace),
        hall_sha256=hall_fingerprint(hall),
        unseen_from=min(one.start for one in judged).isoformat(),
        seed=seed,
        steps=model.num_timesteps,
        seconds=time.monotonic() - began,
        settings={**PPO_SETTINGS, "halls": HALLS, "windows": windows, "layers": LAYERS, "log_std_init": LOG_STD},
        versions=versions(),
        curve=tuple(curve.points),
        score=tuple(score(policy, hall, judged)),
    )
    record.save(out.with_suffix(".json"))
    return record


def _learn(model: PPO, steps: int, curve: _Curve) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # networks this small lose more to hand-over than threads give
    try:
        model.learn(total_timesteps=steps, callback=curve)
    finally:
        torch.set_num_threads(threads)


def _require_writable(out: Path) -> None:
    """Before an hour of training rather than after it."""
    if out.suffix != ".npz":
        raise ConfigError("a policy file ends in .npz", where=str(out), hint="its record goes beside it as .json")
    if not out.parent.is_dir():
        raise ConfigError("no such folder", where=str(out.parent), hint="create it, or choose another --out")
