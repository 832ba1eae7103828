"""Gang placement: which nodes give a job its GPUs.

A gang runs whole or not at all. One that fits on a node stays on one node, because its GPUs then talk over NVLink; it
takes the fullest node that still has room (best fit), so that whole nodes stay free for large gangs and for parking.
A larger gang takes whole free nodes first, then those with most room, and its remainder by best fit.
"""

from __future__ import annotations

from collections.abc import Mapping

Placement = tuple[tuple[str, int], ...]


def place(gpus: int, free: Mapping[str, int], node_gpus: int = 8) -> Placement | None:
    """Nodes and GPUs for a gang of ``gpus``, or None where it does not fit now.

    ``free`` are the free GPUs of each node, ``node_gpus`` the GPUs of a whole node. Ties go to the node that stands
    first in ``free``, so that the same input gives the same placement.
    """
    if gpus <= 0:
        raise ValueError(f"a gang has at least one GPU, got {gpus}")
    if gpus <= node_gpus:
        name = _best_fit(gpus, free)
        return None if name is None else ((name, gpus),)
    if sum(free.values()) < gpus:
        return None
    chosen: list[tuple[str, int]] = []
    roomiest_first = sorted(free.items(), key=lambda item: -item[1])
    for index, (name, count) in enumerate(roomiest_first):
        rest = gpus - sum(taken for _, taken in chosen)
        if rest <= count:
            last = _best_fit(rest, dict(roomiest_first[index:])) or name
            return (*chosen, (last, rest))
        chosen.append((name, count))
    return None


def take(free: dict[str, int], placement: Placement) -> None:
    """Remove a placement's GPUs from ``free``, in place."""
    for name, count in placement:
        free[name] -= count


def give(free: dict[str, int], placement: Placement) -> None:
    """Add a placement's GPUs to ``free``, in place."""
    for name, count in placement:
        free[name] += count


def _best_fit(gpus: int, free: Mapping[str, int]) -> str | None:
    fitting = [(count, name) for name, count in free.items() if count >= gpus]
    return min(fitting, key=lambda pair: pair[0])[1] if fitting else None
