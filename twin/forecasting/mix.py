"""Carbon intensity of a generation mix: the factor of each source, weighed by what it generates.

Factors are per kWh generated, before losses in the grid; imports are not traced, so the result is of a zone's
generation and not of its consumption.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from twin.forecasting.kinds import Scope


class Fuel(StrEnum):
    """A source of electricity."""

    COAL = "coal"
    LIGNITE = "lignite"
    GAS = "gas"
    OIL = "oil"
    BIOMASS = "biomass"
    GEOTHERMAL = "geothermal"
    HYDRO = "hydro"
    NUCLEAR = "nuclear"
    SOLAR = "solar"
    WIND = "wind"
    WASTE = "waste"
    OTHER = "other"  # not told apart by the source: left out of the mean
    STORAGE = "storage"  # gives back what was counted before: left out


# gCO2eq/kWh: direct, life cycle. Coal, gas and the rest: medians of IPCC AR5 WG III, annex III, table A.III.2 (biogenic
# carbon counts as zero at the chimney). Lignite and oil are not in that table. Lignite: 101.0 kg/GJ of heat (IPCC 2006
# guidelines, volume 2, table 2.2) at 38 % efficiency, and coal's 60 g/kWh upstream. Oil: 77.4 kg/GJ at 40 %; its life
# cycle is the median of the IPCC special report on renewables, 2011, annex II. Waste: half of 91.7 kg/GJ at 25 %.
FACTORS_G_KWH: Mapping[Fuel, tuple[float, float]] = {
    Fuel.COAL: (760.0, 820.0),
    Fuel.LIGNITE: (957.0, 1017.0),
    Fuel.GAS: (370.0, 490.0),
    Fuel.OIL: (697.0, 840.0),
    Fuel.BIOMASS: (0.0, 230.0),
    Fuel.GEOTHERMAL: (0.0, 38.0),
    Fuel.HYDRO: (0.0, 24.0),
    Fuel.NUCLEAR: (0.0, 12.0),
    Fuel.SOLAR: (0.0, 48.0),
    Fuel.WIND: (0.0, 11.0),
    Fuel.WASTE: (660.0, 660.0),
}
LEAST_KNOWN = 0.8  # share of generation whose source must be known


def intensity_g_kwh(generation_mw: Mapping[Fuel, float], scope: Scope) -> float | None:
    """Intensity of one hour's mix; None where less than 80 % of it comes from a known source, or nothing is generated.

    Negative generation (a plant's own use) counts as none.
    """
    column = 0 if scope is Scope.DIRECT else 1
    known = {fuel: max(mw, 0.0) for fuel, mw in generation_mw.items() if fuel in FACTORS_G_KWH}
    unknown = max(generation_mw.get(Fuel.OTHER, 0.0), 0.0)
    total = sum(known.values())
    if total <= 0.0 or total < LEAST_KNOWN * (total + unknown):
        return None
    return sum(mw * FACTORS_G_KWH[fuel][column] for fuel, mw in known.items()) / total
