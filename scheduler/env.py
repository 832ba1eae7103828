"""The Gymnasium environment of the joint decision: jobs, caps, parking and cooling of B halls in one batch.

``JointEnv`` is the vector environment that training uses; ``OneHall`` is a single hall of it as a plain ``Env``.
Gymnasium comes with the extra ``[train]``: only training may import this module.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium  # type: ignore[import-not-found, unused-ignore]  # absent without the extra
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv  # type: ignore[import-not-found, unused-ignore]
from gymnasium.vector.utils import batch_space  # type: ignore[import-not-found, unused-ignore]
from numpy.typing import NDArray

from facility.records import FloatArray
from scheduler.arena.arena import Arena
from scheduler.arena.arrays import IntArray
from scheduler.arena.controls import ACTIONS, act
from scheduler.arena.observe import LIMIT, OBSERVATIONS, Observer
from scheduler.arena.pool import Pool
from scheduler.arena.reward import PREFERENCES, Preference, Scorer, paired_reward
from scheduler.arena.surroundings import STEPS_H
from scheduler.arena.view import ArenaView

Observations = NDArray[np.float32]
Flags = NDArray[np.bool_]

DELAY_WEIGHTS = (0.1, 10.0)


class JointEnv(VectorEnv[Observations, FloatArray, NDArray[Any]]):  # type: ignore[misc, unused-ignore]
    """Windows of a pool, truncated and begun anew together (``AutoresetMode.SAME_STEP``); no job is lost to a reset.

    Action (B, 9) in -1..1: ``scheduler.arena.controls.ACTIONS``; zero is the tuned rule. Observation (B, 44):
    ``scheduler.arena.observe.OBSERVATIONS`` and ``PREFERENCES``. Reward: score of the step less that of the shadow,
    which runs the rule on the same jobs, weather and plant (``scheduler.arena.reward``).
    """

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012 - as the base declares it

    def __init__(self, pool: Pool, num_envs: int = 256) -> None:
        """Episodes are draws from ``pool``, whose shield guards the agent as it guards the shadow."""
        self.num_envs = num_envs
        width = len(OBSERVATIONS) + len(PREFERENCES)
        self.single_observation_space = gymnasium.spaces.Box(-LIMIT, LIMIT, (width,), np.float32)
        self.single_action_space = gymnasium.spaces.Box(-1.0, 1.0, (len(ACTIONS),), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._pool = pool
        self._index: IntArray
        self._arena: Arena
        self._view: ArenaView

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """New windows and preferences; ``seed`` restarts the draw."""
        super().reset(seed=seed, options=options)
        rng, pool = self.np_random, self._pool
        rounds = -(-self.num_envs // len(pool))
        self._index = np.concatenate([rng.permutation(len(pool)) for _ in range(rounds)])[: self.num_envs]
        low, high = np.log10(DELAY_WEIGHTS)
        self._wish = Preference(rng.random(self.num_envs), 10.0 ** rng.uniform(low, high, self.num_envs))
        world, scales = pool.rows(self._index)
        self._arena = Arena(world, shield=pool.shield)
        self._scorer = Scorer(self._arena, scales)
        self._observer = Observer(world.hall, world.control, scales)
        return self._observe(), {}

    def step(self, actions: FloatArray) -> tuple[Observations, FloatArray, Flags, Flags, dict[str, Any]]:
        """15 minutes; ``info`` has carbon_kg, it_kwh, facility_kwh, gpus_busy, max_inlet_c and refused, (B,) each."""
        step = self._arena.cluster.step
        account = self._arena.step(act(self._view, actions, self._pool.centre))
        agent, shadow = self._scorer.score(account), self._pool.shadow.row(step, self._index)
        reward = paired_reward(agent, shadow, self._wish)
        info: dict[str, Any] = {
            "carbon_kg": account.carbon_kg,
            "it_kwh": account.it_w / 1e3 / STEPS_H,
            "facility_kwh": account.facility_w / 1e3 / STEPS_H,
            "gpus_busy": account.gpus_busy,
            "max_inlet_c": account.max_inlet_c,
            "refused": account.refused,
        }
        ended = np.full(self.num_envs, step + 1 == self._pool.steps)
        seen = self._observe()
        if ended.all():
            info |= {"final_obs": seen, "_final_obs": ended}
            seen, _ = self.reset()
        return seen, reward, np.zeros(self.num_envs, dtype=np.bool_), ended, info

    def _observe(self) -> Observations:
        self._view = self._arena.view()
        return np.concatenate([self._observer.see(self._view), self._wish.columns()], axis=1)


class OneHall(gymnasium.Env[Observations, FloatArray]):  # type: ignore[misc, unused-ignore]
    """One hall of a ``JointEnv``, for tools that take a plain environment."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - as the base declares it

    def __init__(self, make: Callable[[], JointEnv]) -> None:
        """``make`` gives a ``JointEnv`` of one hall."""
        self._env = make()
        self.observation_space = self._env.single_observation_space
        self.action_space = self._env.single_action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """A new window."""
        super().reset(seed=seed)
        seen, info = self._env.reset(seed=seed, options=options)
        return seen[0], info

    def step(self, action: FloatArray) -> tuple[Observations, float, bool, bool, dict[str, Any]]:
        """15 minutes."""
        seen, reward, _, truncated, info = self._env.step(np.asarray(action)[None])
        last = info["final_obs"] if truncated[0] else seen
        told = {name: value[0] for name, value in info.items() if not name.endswith("final_obs")}
        return last[0], float(reward[0]), False, bool(truncated[0]), told
