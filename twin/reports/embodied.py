"""Carbon of making the equipment, spread over its life.

Built-in figures are of GPU boards alone, not of servers: an HGX H100 8-GPU board 1,312 kg CO2e cradle to gate, an A100
SXM 127.6 kg (arXiv 2509.00093, taken second hand). ``[[report.embodied]]`` takes their place.
"""

from __future__ import annotations

from facility.site.report import Embodied
from twin.kpi import YEAR_H, embodied_share_g
from twin.reports.inputs import Inputs

LIFE_YEARS = 5.0  # assumed where nothing is configured; four to six years are usual
SERVERS_WHERE = "embodied carbon of servers, from their makers' product carbon footprints: [[report.embodied]]"
_SOURCE = "arXiv 2509.00093, second hand; boards without their servers; life of 5 years assumed"
_BOARDS: tuple[tuple[str, str, int, float], ...] = (  # in the model's name, board, GPUs on it, kg each
    ("H100", "HGX H100 8-GPU board", 8, 1312.0),
    ("A100", "A100 SXM board", 1, 127.6),
)


def equipment(inputs: Inputs) -> tuple[Embodied, ...]:
    """What is configured, else the GPU boards of the hall where their figure is known, else nothing."""
    if inputs.facts.embodied or inputs.installed is None:
        return inputs.facts.embodied
    for mark, item, gpus, kg_each in _BOARDS:
        if mark in inputs.installed.gpu_model:
            count = inputs.installed.gpus / gpus
            return (Embodied(item=item, count=count, kg_each=kg_each, life_years=LIFE_YEARS, source=_SOURCE),)
    return ()


def is_built_in(inputs: Inputs) -> bool:
    """Whether the figures are those of boards that come with the product."""
    return not inputs.facts.embodied and bool(equipment(inputs))


def whole_kg(inputs: Inputs) -> float | None:
    """Carbon of making all of it; None where no equipment is known."""
    items = equipment(inputs)
    return sum(one.count * one.kg_each for one in items) if items else None


def share_kg(inputs: Inputs, used_s: float) -> float | None:
    """The part of it that ``used_s`` seconds of its life carry; None where no equipment is known."""
    items = equipment(inputs)
    if not items:
        return None
    year_s = YEAR_H * 3600.0
    return sum(
        embodied_share_g(one.count * one.kg_each * 1e3, used_s, one.life_years * year_s, 1.0) / 1e3 for one in items
    )


def words(inputs: Inputs) -> str:
    """What was counted, with its sources."""
    listed = [
        f"{one.count:g} x {one.item} at {one.kg_each:g} kg over {one.life_years:g} years ({one.source})"
        for one in equipment(inputs)
    ]
    return "; ".join([*listed, f"not counted: {SERVERS_WHERE}"] if is_built_in(inputs) else listed)
