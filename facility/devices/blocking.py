"""Calls that block, and may block for ever, in a thread with a deadline: drivers, files of the kernel."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from facility.errors import DeviceTimeout

LOOK_S = 0.005  # between two looks whether an earlier call has come back

T = TypeVar("T")


class Blocking:
    """One call at a time: while one is stuck no second one is begun, and a stuck one does not keep the process."""

    def __init__(self, where: str, deadline_s: float, hint: str) -> None:
        """``where`` and ``hint`` are for the error; the deadline is in wall seconds."""
        self._where, self._deadline_s, self._hint = where, deadline_s, hint
        self._last: concurrent.futures.Future[Any] | None = None

    async def run(self, work: Callable[[], T]) -> T:
        """What ``work`` returns or raises; DeviceTimeout where it takes too long, or an earlier call is stuck."""
        said = "an earlier call has not come back"
        try:
            async with asyncio.timeout(self._deadline_s):
                while self._last is not None and not self._last.done():
                    await asyncio.sleep(LOOK_S)
                said = f"no answer within {self._deadline_s:g} s"
                outcome: concurrent.futures.Future[T] = concurrent.futures.Future()
                outcome.set_running_or_notify_cancel()  # who gives up does not stop it
                self._last = outcome
                threading.Thread(target=_run, args=(work, outcome), name=self._where, daemon=True).start()
                return await asyncio.wrap_future(outcome)
        except TimeoutError as error:
            raise DeviceTimeout(said, where=self._where, hint=self._hint) from error


def _run(work: Callable[[], T], outcome: concurrent.futures.Future[T]) -> None:
    try:
        outcome.set_result(work())
    except Exception as error:
        outcome.set_exception(error)
