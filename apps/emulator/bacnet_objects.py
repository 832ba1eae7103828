"""BACnet objects of an emulated device: one for each point of its profile."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from bacpypes3.basetypes import BinaryPV, PriorityValue, PropertyIdentifier
from bacpypes3.errors import PropertyError
from bacpypes3.local.analog import AnalogInputObject, AnalogOutputObject, AnalogValueObject
from bacpypes3.local.binary import BinaryInputObject, BinaryValueObject
from bacpypes3.primitivedata import Null, Real

from apps.emulator.registers import is_writable
from facility.profile_point import ProfilePoint

Take = Callable[[ProfilePoint, float | None, int], None]  # point, value (None: relinquish), priority
LOWEST_PRIORITY = 16
UNITS = {
    "degC": "degreesCelsius",
    "%": "percent",
    "W": "watts",
    "Wh": "wattHours",
    "min": "minutes",
    "1": "noUnits",
}
INCREMENTS = {"degC": 0.1, "%": 0.5, "W": 10.0, "Wh": 100.0}  # change of value worth telling, by unit; others 1


class Served:
    """A point as an object: who writes its present value writes to the device, within its limits."""

    _point: ProfilePoint
    _take: Take

    def show(self, value: float) -> None:
        """Report ``value`` from now on."""
        self.presentValue = Real(value)

    async def write_property(self, attr: Any, value: Any, index: Any = None, priority: int | None = None) -> None:
        """Nothing but the present value is written, and that only where the profile or an operator may."""
        if attr not in ("presentValue", PropertyIdentifier.presentValue) or not is_writable(self._point):
            raise PropertyError("writeAccessDenied")
        self._take(self._point, self._allowed(value), priority or LOWEST_PRIORITY)

    def _allowed(self, value: Any) -> float | None:
        if isinstance(value, Null):
            raise PropertyError("invalidDataType")  # there is no slot to empty
        number = float(value)
        low = -math.inf if self._point.min is None else self._point.min
        high = math.inf if self._point.max is None else self._point.max
        if not (math.isfinite(number) and low <= number <= high):
            raise PropertyError("valueOutOfRange")
        return number


class AnalogInput(Served, AnalogInputObject):  # type: ignore[misc]  # bacpypes3 is not typed
    """Measured or computed."""


class AnalogValue(Served, AnalogValueObject):  # type: ignore[misc]
    """A plain value: no priorities."""


class BinaryInput(Served, BinaryInputObject):  # type: ignore[misc]
    """A state."""

    def show(self, value: float) -> None:
        """Report active from one half on."""
        self.presentValue = BinaryPV(int(value >= 0.5))


class BinaryValue(BinaryInput, BinaryValueObject):  # type: ignore[misc]
    """A switch: no priorities."""


class AnalogOutput(Served, AnalogOutputObject):  # type: ignore[misc]
    """A setpoint with a priority array; relinquished, it is the local one."""

    _shown: tuple[list[float | None], float] | None = None

    def command(self, slots: Sequence[float | None], local: float) -> None:
        """Report these slots, highest priority first, and the local setpoint as the relinquish default."""
        if self._shown == (list(slots), local):
            return  # building sixteen BACnet values anew costs more than all the rest of a request
        self._shown = (list(slots), local)
        self.relinquishDefault = Real(local)
        for place, held in enumerate(slots):
            self.priorityArray[place] = PriorityValue(null=()) if held is None else PriorityValue(real=held)
        self.recalculating()

    def _allowed(self, value: Any) -> float | None:
        return None if isinstance(value, Null) else super()._allowed(value)


_CLASSES = {
    "analog-input": AnalogInput,
    "analog-value": AnalogValue,
    "analog-output": AnalogOutput,
    "binary-input": BinaryInput,
    "binary-value": BinaryValue,
}


def make_object(point: ProfilePoint, value: float, take: Take) -> Any:
    """The object of a point, showing ``value``; writes that it allows are handed to ``take``."""
    kind, _, instance = point.object.partition(",")
    about: dict[str, Any] = {"eventState": "normal", "outOfService": False, "description": point.description}
    if kind.startswith("analog"):
        about |= {"units": UNITS[point.unit], "covIncrement": INCREMENTS.get(point.unit, 1.0), "presentValue": value}
    else:
        about |= {"presentValue": BinaryPV(int(value >= 0.5))}
    if kind == "analog-output":
        about |= {"relinquishDefault": value, "minPresValue": point.min, "maxPresValue": point.max}
    made = _CLASSES[kind](objectIdentifier=(kind, int(instance)), objectName=point.name, **about)
    made._point, made._take = point, take
    return made
