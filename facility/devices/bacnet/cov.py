"""Subscriptions to changes of value (COV): which objects push, since when, and when they are to be renewed."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from facility.devices.bacnet.client import Client, RefusedError
from facility.devices.bacnet.station import ObjectId, Station
from facility.devices.bacnet.values import Property, Tags, content

EACH_READ = 20  # subscriptions made or renewed in one read, so that none takes long
Pushed = Callable[[ObjectId, Tags, Tags], None]  # object, present value, status flags


class Subscriptions:
    """The subscriptions at one device, each under this device's process number."""

    def __init__(self, lifetime_s: int, patience_s: float, process: int, pushed: Pushed) -> None:
        """``patience_s``: how long a device may take to acknowledge one; reading goes on without."""
        self._lifetime_s, self._patience_s, self._process, self._pushed = lifetime_s, patience_s, process, pushed
        # Times of the event loop, for the device counts wall seconds.
        self._since: dict[ObjectId, float] = {}
        self._refused: dict[ObjectId, float] = {}

    def listen(self, client: Client, station: Station) -> None:
        """Take what this device pushes to us."""
        client.listeners[station.address, self._process] = self._take

    def is_due(self, target: ObjectId) -> bool:
        """Whether an object does not push, or will not for much longer: then it is polled, and subscribed to again."""
        return _age_s(self._since.get(target)) > self._lifetime_s / 2

    async def renew(self, station: Station, targets: Iterable[ObjectId]) -> None:
        """Subscribe to some that are due; one that is refused is left to polling for a lifetime."""
        due = [each for each in targets if self.is_due(each) and _age_s(self._refused.get(each)) > self._lifetime_s]
        for target in due[:EACH_READ]:
            try:
                async with asyncio.timeout(self._patience_s):
                    await station.subscribe(target, self._process, self._lifetime_s)
            except RefusedError:
                self._refused[target] = _now_s()
            except TimeoutError:  # a device that knows no subscriptions may say nothing at all
                self._refused.update(dict.fromkeys(due, _now_s()))
                return
            else:
                self._since[target] = _now_s()

    def forget(self) -> None:
        """The device was gone: it may have forgotten us."""
        self._since.clear()
        self._refused.clear()

    async def end(self, client: Client, station: Station) -> None:
        """Unsubscribe from what is live."""
        client.listeners.pop((station.address, self._process), None)
        live = list(self._since)
        self._since.clear()
        for target in live:
            await station.unsubscribe(target, self._process)

    def _take(self, notification: Any) -> None:
        target = (int(notification.monitoredObjectIdentifier[0]), int(notification.monitoredObjectIdentifier[1]))
        values: dict[int, Sequence[Any]] = {
            int(each.propertyIdentifier): content(each.value) for each in notification.listOfValues
        }
        value, flags = (values.get(int(name), ()) for name in (Property.PRESENT_VALUE, Property.STATUS_FLAGS))
        if value:
            self._pushed(target, value, flags)


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _age_s(since_s: float | None) -> float:
    return math.inf if since_s is None else _now_s() - since_s
