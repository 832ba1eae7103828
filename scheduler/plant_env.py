"""The Gymnasium vector environment of the plant: B halls in one batch, each beside a shadow under the base control.

Gymnasium comes with the extra ``[train]``: only training may import this module.
"""

from __future__ import annotations

from typing import Any

import gymnasium  # type: ignore[import-not-found, unused-ignore]  # absent without the extra
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv  # type: ignore[import-not-found, unused-ignore]
from gymnasium.vector.utils import batch_space  # type: ignore[import-not-found, unused-ignore]
from numpy.typing import NDArray

from facility.records import FloatArray
from facility.site import Hall
from scheduler.carl import OBSERVATIONS, RESIDUALS
from scheduler.trial import STEP_S, STEPS_WEEK, Halls, World, utilisations
from twin.air import ENVELOPES
from twin.plant import plant_control

Observations = NDArray[np.float32]
Flags = NDArray[np.bool_]

INLET_LIMIT_C = ENVELOPES["recommended"].high_c
REWARD_SHARE = 0.01  # one unit of reward: this share of what the servers' rated power emits in a step at the mean grid
PENALTY_PER_K = 5.0  # for each kelvin of the hottest inlet above the limit: outweighs any saving to be had from it


class PlantEnv(VectorEnv[Observations, FloatArray, NDArray[Any]]):  # type: ignore[misc, unused-ignore]
    """Weeks of 672 steps, truncated and begun anew together (``AutoresetMode.SAME_STEP``).

    Action (B, 3) in -1..1: the residuals of ``scheduler.carl``. Observation (B, 10): ``scheduler.carl.OBSERVATIONS``.
    Reward: carbon of the shadow (same week, load and base control, action zero) less that of the hall, over
    ``REWARD_SHARE`` of the rated emissions at the public mean intensity, less ``PENALTY_PER_K`` for each kelvin of
    the hottest inlet above 27 C. Pairing cancels weather and load, which would drown the effect of the action.
    """

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012 - as the base declares it

    def __init__(self, hall: Hall, world: World, num_envs: int = 24, base: str = "optimum") -> None:
        """``base`` is the plant control that is corrected, one of ``twin.plant.PLANTS``."""
        self.num_envs = num_envs
        self.single_observation_space = gymnasium.spaces.Box(-10.0, 10.0, (len(OBSERVATIONS),), np.float32)
        self.single_action_space = gymnasium.spaces.Box(-1.0, 1.0, (len(RESIDUALS),), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._halls = Halls(hall, world, plant_control(base, hall))  # the first B rows decide, the others shadow them

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """New random weeks and loads; ``seed`` restarts the draw."""
        super().reset(seed=seed, options=options)
        first = self._halls.world.training_starts(self.num_envs, self.np_random)
        load = utilisations(self.num_envs, self.np_random)
        self._halls.start(np.tile(first, 2), np.tile(load, (2, 1)))
        return self._observe(), {}

    def step(self, actions: FloatArray) -> tuple[Observations, FloatArray, Flags, Flags, dict[str, Any]]:
        """One step of 15 minutes; ``info`` has carbon_kg, shadow_kg and max_inlet_c, each (B,)."""
        count = self.num_envs
        flows = self._halls.step(np.concatenate([actions, np.zeros_like(actions)]))
        carbon_kg = self._halls.carbon_kg(flows)
        info: dict[str, Any] = {
            "carbon_kg": carbon_kg[:count],
            "shadow_kg": carbon_kg[count:],
            "max_inlet_c": flows.max_inlet_c[:count],
        }
        excess_k = np.maximum(0.0, info["max_inlet_c"] - INLET_LIMIT_C)
        reward = (info["shadow_kg"] - info["carbon_kg"]) / self._unit_kg() - PENALTY_PER_K * excess_k
        ended = np.full(count, self._halls.taken == STEPS_WEEK)
        seen = self._observe()
        if ended.all():
            info |= {"final_obs": seen, "_final_obs": ended}
            seen, _ = self.reset()
        return seen, reward, np.zeros(count, dtype=np.bool_), ended, info

    def _unit_kg(self) -> FloatArray:
        mean = self._halls.world.public_mean_g_kwh[self._halls.at[: self.num_envs] - 1]
        unit: FloatArray = REWARD_SHARE * self._halls.rated_w * STEP_S / 3.6e6 * mean / 1e3
        return unit

    def _observe(self) -> Observations:
        return self._halls.observe()[: self.num_envs]
