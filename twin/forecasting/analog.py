"""What the grid emitted at this time of day when the price was the same: a local regression over the last eight weeks.

Price orders the power plants: at a high one coal and gas run, at a low one wind and sun. How high is high drifts with
the price of gas, so the relation is learnt anew for every hour, from the known hours of the same time of day (and the
hour on either side) of the last 56 days. Each weighs by its age, by whether it was a working day too, and by how near
its price was; a straight line through them, flattened where the prices hardly differ, gives the log intensity at the
price ahead. Where no price is known the weights are those of time alone, and the line is a mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facility.records import FloatArray
from twin.forecasting.inputs import Inputs
from twin.forecasting.running import Index, Running, at

DAYS = 56
AGE_D = 25.0  # an hour this many days older weighs 1/e
NEAR = 0.35  # of the candidates' standard deviation of price: the kernel's width
OTHER_KIND = 0.5  # weight of a day of rest for a working day, and the other way round
FLATTEN = 0.1  # ridge on the slope, as a share of the kernel's variance
LEAST_SPREAD_USD = 3.0  # prices that differ by less tell nothing
NO_PRICE = 1.0  # distance, in standard deviations, of an hour whose price is missing
_FAINT = 1e-6  # keeps the weights of a price without neighbours above zero
_CHUNK = 8192  # rows at a time, for memory


@dataclass(frozen=True, slots=True, eq=False)
class Analog:
    """Log intensity that the local relation gives, and how far its neighbours scatter, shape [n] each."""

    log_carbon: FloatArray
    spread: FloatArray


def analog(inputs: Inputs, target: Index, origin: Index, priced: Index) -> Analog:
    """For each hour ``target``, from the carbon before ``origin`` and the prices before ``priced``; NaN without any."""
    parts = [
        _chunk(inputs, target[first : first + _CHUNK], origin[first : first + _CHUNK], priced[first : first + _CHUNK])
        for first in range(0, len(target), _CHUNK)
    ]
    return Analog(np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts]))


def _chunk(inputs: Inputs, target: Index, origin: Index, priced: Index) -> tuple[FloatArray, FloatArray]:
    days = np.tile(np.arange(DAYS), 3)
    beside = np.repeat([-1, 0, 1], DAYS)
    newest = target - 24 * ((target - origin) // 24 + 1)
    index = newest[:, None] - 24 * days + beside
    is_known = (index >= 0) & (index < origin[:, None])
    index = np.where(is_known, index, 0)
    rest = inputs.calendar.is_rest
    weight = np.exp(-days / AGE_D) * np.where(rest[index] == rest[target][:, None], 1.0, OTHER_KIND) * is_known
    distance, is_flat = _distance(inputs, target, priced, index, is_known)
    near = weight * np.exp(-0.5 * (distance / NEAR) ** 2) + _FAINT * weight
    return _line(near, np.where(is_flat[:, None], 0.0, distance), inputs.log_carbon[index])


def _distance(
    inputs: Inputs,
    target: Index,
    priced: Index,
    index: Index,
    is_known: np.ndarray[tuple[int, int], np.dtype[np.bool_]],
) -> tuple[FloatArray, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Distance of each candidate's price from the target's, in standard deviations; and where there is no price."""
    wanted = np.where(target < priced, at(inputs.prices, target), np.nan)
    price = inputs.prices[index]
    has = is_known & np.isfinite(price)
    count = np.maximum(has.sum(axis=1), 1)
    held = np.where(has, price, 0.0)
    mean = held.sum(axis=1) / count
    spread = np.sqrt((np.where(has, price - mean[:, None], 0.0) ** 2).sum(axis=1) / count) + LEAST_SPREAD_USD
    is_flat = ~np.isfinite(wanted)
    distance = (held - np.where(is_flat, 0.0, wanted)[:, None]) / spread[:, None]
    return np.where(is_flat[:, None], 0.0, np.where(has, distance, NO_PRICE)), is_flat


def _line(weight: FloatArray, distance: FloatArray, value: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Weighted line at distance 0, and the weighted scatter of the values, shape [n] each."""
    total = weight.sum(axis=1)
    safe = np.maximum(total, 1e-300)
    mean_value = (weight * value).sum(axis=1) / safe
    mean_distance = (weight * distance).sum(axis=1) / safe
    aside = distance - mean_distance[:, None]
    over = value - mean_value[:, None]
    variance = (weight * aside**2).sum(axis=1) + FLATTEN * NEAR**2 * safe
    slope = (weight * aside * over).sum(axis=1) / variance
    result = mean_value - slope * mean_distance
    spread = np.sqrt((weight * over**2).sum(axis=1) / safe)
    missing = total <= 0.0
    return np.where(missing, np.nan, result), np.where(missing, np.nan, spread)


def recent_misses(inputs: Inputs, first: int, last: int) -> Running:
    """How far the log intensity of each hour of [first, last) lay above its analog of two days earlier, as running
    means; what the relation has missed of late, it is likely to miss again.
    """
    misses = np.full(last, np.nan)
    begin = max(first, 0)
    hours = np.arange(begin, last)
    if len(hours):
        found = analog(inputs, hours, hours - 24, hours + 1)
        misses[begin:] = inputs.log_carbon[begin:last] - found.log_carbon
    return Running(misses)
