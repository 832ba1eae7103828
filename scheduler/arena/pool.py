"""A pool of windows to learn from, each with its shadow: the same jobs, weather and plant under the tuned rule.

The shadow knows nothing of the agent, so it is run once for each window and kept; an episode is a draw from the pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from facility.errors import DataError
from facility.site import Hall
from scheduler.arena.arena import Arena, World
from scheduler.arena.arrays import IntArray
from scheduler.arena.reward import Score, Scorer
from scheduler.arena.rule import QuantileRule, RuleParams
from scheduler.arena.scales import Scales
from scheduler.arena.scenarios import HOUR_S, Window, plant_rows, world_of
from scheduler.arena.settings import ArenaSettings
from twin.hall import HallParams
from twin.plant import PlantControl
from twin.signals import Signals
from twin.traces import Trace, scale_trace

STEPS_WEEK = 672
HISTORY_D = 8  # of carbon before a window: the week of its scales, and a day to spare


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """P windows of ``steps`` steps, their scales, and the shadow's score of every step (T, P)."""

    world: World
    scales: Scales
    shadow: Score
    centre: RuleParams
    steps: int
    shield: bool = False  # of the shadow, and so of every hall that is compared with it

    @classmethod
    def of(
        cls,
        hall: Hall,
        windows: Sequence[Window],
        control: PlantControl,
        *,
        steps: int = STEPS_WEEK,
        centre: RuleParams | None = None,
        settings: ArenaSettings | None = None,
        params: HallParams | None = None,
        shield: bool = False,
    ) -> Pool:
        """Runs the shadows; raises DataError where the signals do not cover a window."""
        rule = centre or RuleParams()
        world = world_of(hall, windows, control, steps=steps + 1, settings=settings, params=params)
        scales = Scales.of(windows, steps + 1)
        return cls(world, scales, _shadow(world, scales, rule, steps, shield=shield), rule, steps, shield)

    def __len__(self) -> int:
        return len(self.world.jobs.count)

    def rows(self, index: IntArray) -> tuple[World, Scales]:
        """The world and scales of some windows, repeats allowed."""
        params = self.world.params
        world = replace(self.world, params=None).rows(index)
        return replace(world, params=None if params is None else plant_rows(params, index)), self.scales.rows(index)


def _shadow(world: World, scales: Scales, rule: RuleParams, steps: int, *, shield: bool) -> Score:
    arena, policy = Arena(world, shield=shield), QuantileRule(rule)
    scorer = Scorer(arena, scales)
    taken = [scorer.score(arena.step(policy.decide(arena.view()))) for _ in range(steps)]
    return Score(*(np.stack([getattr(one, part.name) for one in taken]) for part in fields(Score)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """How windows are drawn; ranges are uniform, and everything a hall meets is drawn anew for each window."""

    days: int = 7  # of arrivals
    tail_days: int = 0  # that the signals must cover beyond them, for the drain
    utilisation: tuple[float, float] = (0.4, 0.9)
    flexible: tuple[float, float] = (0.4, 1.0)
    slack_h: tuple[float, ...] = (6.0, 24.0, 48.0)
    part: tuple[float, float] = (0.0, 1.0)  # of the span that the signals cover


REFERENCE = Draw(tail_days=14, utilisation=(0.6, 0.6), flexible=(0.7, 0.7), slack_h=(24.0,))


def random_windows(
    signals: Sequence[Signals], trace: Trace, gpus_total: int, count: int, seed: int, draw: Draw | None = None
) -> list[Window]:
    """Windows at random times of random zones, with random load, flexible share and slack, as ``draw`` says.

    Raises DataError where a signal is too short for a window.
    """
    rng, how = np.random.default_rng([seed, 21]), draw or Draw()
    return [_window(signals[int(rng.integers(len(signals)))], trace, gpus_total, how, rng) for _ in range(count)]


def _window(signals: Signals, trace: Trace, gpus_total: int, draw: Draw, rng: np.random.Generator) -> Window:
    start = _start(signals, draw, rng)
    jobs = scale_trace(
        trace,
        start=start,
        days=draw.days,
        gpus_total=gpus_total,
        utilisation=float(rng.uniform(*draw.utilisation)),
        slack_h=float(rng.choice(draw.slack_h)),
        flexible=float(rng.uniform(*draw.flexible)),
        seed=int(rng.integers(1 << 31)),
    )
    return Window(signals, start, jobs)


def _start(signals: Signals, draw: Draw, rng: np.random.Generator) -> datetime:
    """A full hour at which a window and its tail fit into the drawn part of the span."""
    earliest = max(signals.start, signals.carbon.start + timedelta(days=HISTORY_D))
    span_h = (signals.end - earliest).total_seconds() / HOUR_S
    low = np.ceil(earliest.timestamp() / HOUR_S + draw.part[0] * span_h)
    high = np.floor(earliest.timestamp() / HOUR_S + draw.part[1] * span_h) - 24 * (draw.days + draw.tail_days) - 1
    if high <= low:
        raise DataError(
            f"{span_h * (draw.part[1] - draw.part[0]) / 24.0:.0f} days of signals",
            where=signals.carbon.source,
            hint=f"a window takes {draw.days + draw.tail_days + 1} days, after {HISTORY_D} days of past",
        )
    return datetime.fromtimestamp(float(rng.integers(int(low), int(high))) * HOUR_S, UTC)
