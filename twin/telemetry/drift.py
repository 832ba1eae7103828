"""Sensors that drift: seen against their siblings, because a slow error looks like weather to a sensor alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from facility.records import FloatArray, Point
from twin.meters import robust_lstsq
from twin.telemetry.cleaning import CleanRows
from twin.telemetry.faults import Fault, spans
from twin.telemetry.grid import Clock, during
from twin.telemetry.reading import MINUTE_US
from twin.telemetry.topology import class_of, quantity_of

_BLOCK_MIN = 120  # minutes averaged: daily swings are shared by siblings, drift is not
_SIGMA = 2.5  # of a block's ordinary residual
_ONSET = 0.4  # share of the limit at which an episode is said to begin and end
_LEAST_K = 0.4  # smaller errors are within a sensor's class
_LEAST_BLOCKS = 8
_VALVE_PCT = 3.0
DONE = "named only"


def find_drifts(rows: Mapping[str, CleanRows], clock: Clock, points: Mapping[str, Point]) -> list[Fault]:
    """Temperature sensors that leave their siblings, and supply sensors whose loop betrays them."""
    blocks = {n: _blocks(during(rows[n], clock, 15)) for n in rows if points[n].kind in ("temperature", "command")}
    found: list[tuple[float, Fault]] = []
    for name, own in blocks.items():
        if points[name].kind == "temperature":
            found += _against(name, name, own, _siblings(name, blocks, points), clock, _LEAST_K)
        elif quantity_of(name) == "valve":
            sensor = f"{points[name].equipment}/supply_air_c"
            if sensor in blocks:  # the valve keeps the reading at its setpoint: a false reading moves the valve
                found += _against(sensor, name, own, _siblings(name, blocks, points), clock, _VALVE_PCT)
    return _culprits(found, points)


def _siblings(name: str, blocks: Mapping[str, FloatArray], points: Mapping[str, Point]) -> list[FloatArray]:
    """The same quantity at other equipment of the class, and other temperatures of the same equipment's zone."""
    mine = (class_of(points[name]), quantity_of(name))
    same = [n for n in blocks if n != name and (class_of(points[n]), quantity_of(n)) == mine]
    near = [
        n
        for n in blocks
        if n != name and points[n].equipment == points[name].equipment and points[n].kind == "temperature"
    ]
    return [blocks[n] for n in (*same, *(near if points[name].kind == "temperature" else []))] if len(same) >= 2 else []


def _against(
    sensor: str, name: str, own: FloatArray, others: list[FloatArray], clock: Clock, least: float
) -> list[tuple[float, Fault]]:
    if not others:
        return []
    design = np.column_stack([*others, np.ones(len(own))])
    fit = robust_lstsq(design, own, correlated=1.0)
    if fit is None or fit.residual == 0.0:
        return []
    residual = own - design @ fit.beta
    smooth = np.nan_to_num(np.abs(_running_median(residual, 5)))
    limit = max(_SIGMA * fit.residual, least)
    source = "" if sensor == name else f" ({name})"
    faults = []
    for start, end in spans(smooth > _ONSET * limit):
        if (smooth[start : end + 1] > limit).sum() >= _LEAST_BLOCKS:
            begin = clock.start_us + start * _BLOCK_MIN * MINUTE_US
            stop = clock.start_us + (end + 1) * _BLOCK_MIN * MINUTE_US
            note = f"{np.nanmedian(residual[start : end + 1]):+.2f} against its siblings{source}"
            faults.append(
                (float(smooth[start : end + 1].max() / limit), Fault(sensor, "sensor_drift", begin, stop, DONE, note))
            )
    return faults


def _culprits(found: list[tuple[float, Fault]], points: Mapping[str, Point]) -> list[Fault]:
    """Of overlapping episodes at one piece of equipment the clearest: one drifting sensor makes others look off."""
    kept: list[Fault] = []
    for _, fault in sorted(found, key=lambda pair: -pair[0]):
        place = points[fault.point].equipment
        if not any(
            points[k.point].equipment == place and k.start_us < fault.end_us and fault.start_us < k.end_us for k in kept
        ):
            kept.append(fault)
    return kept


def _blocks(values: FloatArray) -> FloatArray:
    count = -(-len(values) // _BLOCK_MIN)
    padded = np.append(values, np.full(count * _BLOCK_MIN - len(values), np.nan)).reshape(count, _BLOCK_MIN)
    finite = np.isfinite(padded)
    total = np.where(finite, padded, 0.0).sum(axis=1)
    return np.where(finite.sum(axis=1) > _BLOCK_MIN // 4, total / np.maximum(finite.sum(axis=1), 1), np.nan)


def _running_median(values: FloatArray, width: int) -> FloatArray:
    padded = np.concatenate([np.full(width // 2, np.nan), values, np.full(width // 2, np.nan)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, width)
    ordered = np.sort(windows, axis=1)
    count = np.isfinite(windows).sum(axis=1)
    return np.where(count > 0, ordered[np.arange(len(values)), np.maximum(count - 1, 0) // 2], np.nan)
