"""The physics of one building: figures of a hall, found out from its telemetry, each with what is left unknown."""

from twin.identification.calibrated import CalibratedHall, Figure
from twin.identification.fit import identify

__all__ = ["CalibratedHall", "Figure", "identify"]
