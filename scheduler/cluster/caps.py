"""Which cap a job runs under: the one that its work costs least energy at, where its deadline has time for it."""

from __future__ import annotations

import numpy as np

from scheduler.cluster.profiler import JobCurve
from scheduler.cluster.settings import GpuType

STEPS = 11  # caps that are compared, from the lowest allowed to the highest
WORTH = 0.02  # of the energy: a smaller saving is not worth a slower job


def choose_cap(
    curve: JobCurve,
    gpu: GpuType,
    remaining_s: float,
    time_left_s: float,
    *,
    slowdown: float,
    host_w: float,
    floor_w: float | None = None,
    ceiling_w: float | None = None,
) -> float | None:
    """The cap in W for each GPU, or None for none.

    ``time_left_s`` is until the deadline less its margin. ``host_w`` is what a GPU's share of the host draws however
    fast it works: without it the slowest would always look best. ``ceiling_w`` is held whatever the deadline says.
    """
    high = min(gpu.max_w, ceiling_w or gpu.max_w)
    low = min(max(gpu.min_cap_w, floor_w or 0.0, float(curve.curve.cap_knots_w[0])), high)
    caps = np.linspace(low, high, STEPS) if high > low else np.array([high])
    speed, power_w = curve.over(np.maximum(caps, curve.curve.cap_knots_w[0]))
    energy = (power_w + host_w) / speed
    fits = (speed >= speed[-1] * (1.0 - slowdown)) & (remaining_s / speed <= time_left_s)
    fits[-1] = True
    best = int(np.flatnonzero(fits)[np.argmin(energy[fits])])
    if energy[best] > energy[-1] * (1.0 - WORTH):
        best = len(caps) - 1
    cap = float(round(caps[best]))
    return None if cap >= gpu.max_w else cap
