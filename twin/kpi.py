"""Key figures of a site as pure functions, and the three-factor account that every result is stated as.

Definitions: PUE ISO/IEC 30134-2 (IT energy at the IT inlet: category 3), CUE ISO/IEC 30134-8, WUE ISO/IEC 30134-9, SCI
ISO/IEC 21031. PUE, CUE and WUE are annual figures; over another span they are interim ones and must be called so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facility.records import FloatArray

J_PER_KWH = 3.6e6


def energy_kwh(power_w: FloatArray, step_s: float) -> float:
    """Energy of mean powers (n,) in steps of ``step_s`` seconds."""
    return float(np.sum(power_w)) * step_s / J_PER_KWH


def pue(facility_kwh: float, it_kwh: float) -> float | None:
    """Power usage effectiveness: facility energy over IT energy; None without IT energy."""
    return facility_kwh / it_kwh if it_kwh > 0 else None


def cue_kg_kwh(carbon_kg: float, it_kwh: float) -> float | None:
    """Carbon usage effectiveness: kg CO2e of the site's energy over kWh of IT energy; None without IT energy."""
    return carbon_kg / it_kwh if it_kwh > 0 else None


def wue_l_kwh(water_l: float, it_kwh: float) -> float | None:
    """Water usage effectiveness: litres over kWh of IT energy (= m3/MWh); None without IT energy."""
    return water_l / it_kwh if it_kwh > 0 else None


def carbon_kg(power_w: FloatArray, intensity_g_kwh: FloatArray, step_s: float) -> float:
    """Carbon of one load: the sum of its energy times the intensity in each step (location-based)."""
    return float(np.dot(power_w, intensity_g_kwh)) * step_s / J_PER_KWH / 1000.0


def effective_ci_g_kwh(power_w: FloatArray, intensity_g_kwh: FloatArray) -> float | None:
    """Intensity that the load met: the mean weighted by power; None where nothing was drawn."""
    total = float(np.sum(power_w))
    return float(np.dot(power_w, intensity_g_kwh)) / total if total > 0 else None


def flat_ci_g_kwh(intensity_g_kwh: FloatArray) -> float | None:
    """Intensity that a constant load meets over the same steps; None without steps."""
    return float(np.mean(intensity_g_kwh)) if len(intensity_g_kwh) else None


def sci_g(energy_kwh: float, intensity_g_kwh: float, embodied_g: float, functional_units: float) -> float | None:
    """Software carbon intensity, (E x I + M) per R; offsets do not count; None without functional units."""
    return (energy_kwh * intensity_g_kwh + embodied_g) / functional_units if functional_units > 0 else None


def embodied_share_g(total_g: float, used_s: float, lifetime_s: float, resource_share: float) -> float:
    """M of SCI: total embodied emissions x time share x resource share."""
    return total_g * (used_s / lifetime_s) * resource_share


@dataclass(frozen=True, slots=True)
class ThreeFactors:
    """Carbon as IT energy x PUE x effective carbon intensity."""

    it_kwh: float
    pue: float
    effective_ci_g_kwh: float

    @property
    def carbon_kg(self) -> float:
        """The product, in kg CO2e."""
        return self.it_kwh * self.pue * self.effective_ci_g_kwh / 1000.0

    @property
    def facility_kwh(self) -> float:
        """Energy at the main meter."""
        return self.it_kwh * self.pue


def three_factors(
    it_w: FloatArray, facility_w: FloatArray, intensity_g_kwh: FloatArray, step_s: float
) -> ThreeFactors | None:
    """The account of a series of mean powers, each (n,); None where IT or facility drew nothing."""
    it_kwh = energy_kwh(it_w, step_s)
    ratio = pue(energy_kwh(facility_w, step_s), it_kwh)
    intensity = effective_ci_g_kwh(facility_w, intensity_g_kwh)
    return None if ratio is None or intensity is None else ThreeFactors(it_kwh, ratio, intensity)
