"""What meters and sensors say of a hall's physics, beside what the twin computes of the same thing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from facility.records import FloatArray
from twin.hall import HallFlows
from twin.identification.columns import Columns, blocks

OUTPUTS: Mapping[str, Callable[[HallFlows], FloatArray]] = {
    "air handlers' fans, W": lambda flows: flows.crah_fan_w,
    "chillers, W": lambda flows: flows.chiller_w,
    "chilled-water pumps, W": lambda flows: flows.chw_pump_w,
    "condenser pumps, W": lambda flows: flows.cw_pump_w,
    "tower fans, W": lambda flows: flows.tower_fan_w,
    "mechanical plant, W": lambda flows: flows.cooling_w,
    "UPS loss, W": lambda flows: flows.ups_loss_w,
    "distribution loss, W": lambda flows: flows.pdu_loss_w,
    "facility less IT, W": lambda flows: flows.facility_w - flows.it_w,
    "return air, C": lambda flows: flows.return_air_c,
    "chilled-water return, C": lambda flows: flows.chw_return_c,
    "mean inlet, C": lambda flows: flows.inlet_c.mean(axis=1),
    "hottest inlet, C": lambda flows: flows.max_inlet_c,
}
"""What can be compared, and how the twin's flows give it, (B,)."""

OVERHEAD = "facility less IT, W"


def observed(columns: Columns) -> dict[str, FloatArray]:
    """The recording's series (T,) of each of ``OUTPUTS`` that it holds, NaN where not known."""
    series = columns.series
    powers = {
        "air handlers' fans, W": columns.total("crah", ("fan",), "kw"),
        "chillers, W": columns.total("chiller", ("power",), "kw"),
        "chilled-water pumps, W": columns.total("chw", ("pump",), "kw"),
        "condenser pumps, W": columns.total("cw", ("pump",), "kw"),
        "tower fans, W": columns.total("tower", ("fan",), "kw"),
        "mechanical plant, W": columns.total("mech", ("power",), "kw"),
        **_losses(columns),
        OVERHEAD: blocks(series.overhead_kw),
    }
    found = {name: 1e3 * values for name, values in powers.items() if values is not None}
    temperatures = {
        "return air, C": columns.mean("crah", ("return",), "c"),
        "chilled-water return, C": columns.mean("chw", ("return",), "c"),
        **_inlets(columns),
    }
    return found | {name: values for name, values in temperatures.items() if values is not None}


def _losses(columns: Columns) -> dict[str, FloatArray | None]:
    into, out = columns.total("ups", ("input",), "kw"), columns.total("ups", ("output",), "kw")
    it_kw = blocks(columns.series.it_total_kw)
    return {
        "UPS loss, W": None if into is None or out is None else into - out,
        "distribution loss, W": None if out is None else out - it_kw,
    }


def _inlets(columns: Columns) -> dict[str, FloatArray | None]:
    series = columns.series
    if not series.inlets_newest_c:
        return {}
    each = np.stack([blocks(values) for values in series.inlets_newest_c.values()])
    known = np.isfinite(each)
    mean = np.where(known.all(axis=0), np.where(known, each, 0.0).mean(axis=0), np.nan)
    return {"mean inlet, C": mean, "hottest inlet, C": blocks(series.inlet_max_c)}
