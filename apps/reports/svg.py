"""Charts as inline SVG: no script, no file beside, readable on paper, in light and in dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape

import numpy as np

from facility.records import FloatArray

WIDTH, HEIGHT = 760, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 12, 44
TICKS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """One series [n]; NaN interrupts it. ``style`` is a class of the page's style sheet."""

    name: str
    value: FloatArray
    style: str


def chart(title: str, unit: str, start: Sequence[datetime], lines: Sequence[Line], alt: str, *, zero: bool) -> str:
    """Lines over time as an SVG with a text for those who cannot see it; empty without a value."""
    values = np.concatenate([line.value[np.isfinite(line.value)] for line in lines])
    if not values.size:
        return ""
    low, high = _range(values, zero=zero)
    scale = _Scale(low, high, len(start))
    body = [*_grid(scale, unit), *_times(scale, start)]
    body += [shape for line in lines for shape in _line(scale, line)]
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(f"{title}: {alt}", quote=True)}">'
        f"<title>{escape(title)}</title><desc>{escape(alt)}</desc>{''.join(body)}</svg>"
    )


def legend(lines: Sequence[Line]) -> str:
    """Names beside the colours of lines."""
    items = "".join(f'<li><span class="key {line.style}"></span>{escape(line.name)}</li>' for line in lines)
    return f'<ul class="legend">{items}</ul>'


@dataclass(frozen=True, slots=True)
class _Scale:
    """From values and bucket numbers to places on the drawing."""

    low: float
    high: float
    count: int

    def x(self, index: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * index / max(self.count, 1)

    def y(self, value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (self.high - value) / (self.high - self.low)


def _range(values: FloatArray, *, zero: bool) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    low = min(low, 0.0) if zero else low
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return (low if zero and low == 0.0 else low - room), high + room


def _step(span: float) -> float:
    """A round distance between grid lines."""
    rough = span / TICKS
    size = 10.0 ** math.floor(math.log10(rough))
    return next(factor * size for factor in (1.0, 2.0, 5.0, 10.0) if factor * size >= rough)


def _grid(scale: _Scale, unit: str) -> list[str]:
    step = _step(scale.high - scale.low)
    first = math.ceil(scale.low / step)
    found = [f'<text class="unit" x="4" y="{TOP + 10}">{escape(unit)}</text>']
    for number in range(first, math.floor(scale.high / step) + 1):
        y = scale.y(number * step)
        found.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        found.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{number * step:.6g}</text>')
    return found


def _times(scale: _Scale, start: Sequence[datetime]) -> list[str]:
    every = max(math.ceil(len(start) / 6), 1)
    y = HEIGHT - BOTTOM + 18
    found = []
    for index in range(0, len(start), every):
        at = start[index]
        text = f"{at:%m-%d %H:%M}" if (start[-1] - start[0]).days < 6 else f"{at:%Y-%m-%d}"
        found.append(f'<text class="tick" x="{scale.x(index):.1f}" y="{y}">{text}</text>')
    return found


def _line(scale: _Scale, line: Line) -> list[str]:
    """Steps, because each value is that of its whole bucket; a gap is a gap."""
    found = []
    known = np.isfinite(line.value)
    change = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(np.int8)))
    for first, last in zip(change[::2], change[1::2], strict=True):
        corners = [
            f"{scale.x(index + side):.1f},{scale.y(float(line.value[index])):.1f}"
            for index in range(first, last)
            for side in (0, 1)
        ]
        found.append(f'<polyline class="{line.style}" points="{" ".join(corners)}"/>')
    return found
