"""When a device is polled: on a grid of its own, less often while it fails."""

from __future__ import annotations

import math
import random
from datetime import datetime, timedelta

GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0  # its multiples modulo 1 are spread evenly, however many are taken
START_GAP_S = 0.01  # between the first polls of two devices: 1,000 devices begin within 10 s, not at one instant
BACK_OFF_PERIODS = 8.0  # a device that fails is asked less often, down to one poll in so many periods
BACK_OFF_S = 300.0  # and at least every so many seconds, or every period where that is longer


class Grid:
    """The moments origin + k period at which one device is due. Nothing drifts: a late poll does not move the next."""

    def __init__(self, origin: datetime, period_s: float, number: int) -> None:
        """``number`` counts the devices: each gets a phase of its own within its period."""
        self.period_s = max(period_s, 1e-3)
        self._origin = origin + timedelta(seconds=self.period_s * (number * GOLDEN % 1.0))
        self._index = -1

    def begin(self, now: datetime) -> None:
        """Take the period that ``now`` is in for served."""
        self._index = math.floor(self._position(now))

    def next_after(self, now: datetime) -> tuple[float, int]:
        """Seconds until the device is due again, and how many periods passed unserved since it was due last.

        A sleep may end a little early, then the period just served does not come again. A clock that was set back
        by more than a period starts the count anew instead of stopping all polls until it has caught up.
        """
        position = self._position(now)
        index = math.floor(position) + 1
        if self._index - position <= 1.0:
            index = max(index, self._index + 1)
        missed = max(index - self._index - 1, 0)
        self._index = index
        return (index - position) * self.period_s, missed

    def _position(self, now: datetime) -> float:
        return (now - self._origin).total_seconds() / self.period_s


def start_s(number: int, devices: int) -> float:
    """When the first poll of device ``number`` of so many is due. Neighbours, often alike, are apart."""
    return START_GAP_S * devices * (number * GOLDEN % 1.0)


def back_off_s(period_s: float, failures: int) -> float:
    """How long to wait after the so-manieth failure in a row: doubling, capped, with jitter of one half.

    Jitter keeps devices that died together (a switch, a gateway) from coming back in step.
    """
    longest = min(period_s * BACK_OFF_PERIODS, max(BACK_OFF_S, period_s))
    wait_s = min(period_s * 2.0 ** min(failures, 30), longest)
    return random.uniform(0.5 * wait_s, wait_s)
