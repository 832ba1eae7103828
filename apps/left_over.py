"""What an earlier run left in command, and the event that says what became of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from datetime import datetime

from facility.guard import Guard
from facility.store import Store

log = logging.getLogger("eco.left_over")


async def take_over(guard: Guard, store: Store, at: datetime) -> None:
    """The next decision commands these devices: they stay as they are, on purpose."""
    await _audit(store, at, "taken_over", guard.left_over, ())


async def give_back(guard: Guard, store: Store, at: datetime) -> list[str]:
    """Where nothing will be decided nothing stays commanded; returns what went wrong, in words.

    To be called again: a device that is away now is given back when it comes.
    """
    left = guard.left_over
    if not left:
        return []
    errors = await guard.hand_back()
    if given := left - guard.left_over:
        await _audit(store, at, "given_back", given, errors)
    return errors


async def _audit(store: Store, at: datetime, kind: str, points: Iterable[str], errors: Sequence[str]) -> None:
    payload = {"points": sorted(points), "errors": list(errors)}
    log.warning("left commanded by an earlier run, %s: %s", kind.replace("_", " "), payload["points"])
    await asyncio.to_thread(store.append_event, at, kind, "left_over", payload)
