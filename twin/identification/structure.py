"""The hall that a recording seems to stand for: counts from its points, sizes scaled from a reference hall."""

from __future__ import annotations

import numpy as np

from facility.site import Hall
from twin.halls import edited, figure
from twin.identification.columns import Columns
from twin.power import NodeParams

HEADROOM = 1.15  # rated over the highest IT power that was seen
FLOW_HEADROOM = 1.05

# Sizes that follow the IT load: those of the whole hall, and those of one of several units.
_WHOLE = (
    "room.thermal_mass_j_k",
    "room.envelope_ua_w_k",
    "room.lighting_w",
    "room.aux_w",
    "chilled_water.volume_m3",
    "chilled_water.design_flow_kg_s",
    "chilled_water.pump_rated_w",
    "tower.design_heat_w",
    "tower.design_air_kg_s",
    "tower.fan_rated_w",
    "tower.pump_rated_w",
)
_CRAH = ("crah.rated_airflow_m3_s", "crah.rated_fan_w", "crah.coil_ua_w_k")


def structure(columns: Columns, reference: Hall) -> tuple[Hall, tuple[str, ...]]:
    """``reference`` with the recording's numbers of units and its size, and in words what was taken from where.

    Each IT meter feeds as many racks of the reference's kind as its load asks for. Flows and capacities are scaled with
    the number of racks; the design flow of chilled water is taken from its meter where there is one.
    """
    peak_w = 1e3 * float(np.nanquantile(columns.series.it_total_kw, 0.995))
    meters = len(columns.series.it_kw)
    rack_w = reference.nodes_per_rack * float(NodeParams.from_site(reference.node).rated_dc_w)
    racks = meters * max(1, round(HEADROOM * peak_w / (meters * rack_w)))
    scale = racks / reference.racks
    crahs = columns.units("crah") or reference.crah.count
    chillers = columns.units("chiller") or reference.chiller.count
    hall = edited(reference, "racks", racks)
    for path in _WHOLE:
        hall = edited(hall, path, figure(reference, path) * scale)
    hall = _counted(hall, reference, scale, crahs, chillers)
    hall = edited(hall, "ups.rated_w", reference.ups.rated_w * scale)
    notes = [
        f"{racks} racks on {meters} IT meters, {crahs} air handlers and {chillers} chillers from the points",
        f"sizes of {reference.name} times {scale:.3g}, for an IT peak of {peak_w / 1e3:.0f} kW",
    ]
    flow = columns.mean("chw", ("flow",), "lps")
    if flow is not None:
        design = FLOW_HEADROOM * float(np.nanquantile(flow, 0.999))
        hall = edited(hall, "chilled_water.design_flow_kg_s", design)
        notes.append(f"design flow of chilled water from its meter: {design:.0f} kg/s")
    return hall, tuple(notes)


def _counted(hall: Hall, reference: Hall, scale: float, crahs: int, chillers: int) -> Hall:
    crah_share = scale * reference.crah.count / crahs
    for path in _CRAH:
        hall = edited(hall, path, figure(reference, path) * crah_share)
    hall = edited(hall, "crah.count", crahs)
    hall = edited(hall, "crah.redundant", min(reference.crah.redundant, crahs - 1))
    hall = edited(hall, "chiller.count", chillers)
    capacity_w = reference.chiller.rated_capacity_w * scale * reference.chiller.count / chillers
    return edited(hall, "chiller.rated_capacity_w", capacity_w)
