"""Key figures of a site as pure functions, and the three-factor account that every result is stated as.

Definitions: PUE ISO/IEC 30134-2, REF -3, ITEEsv -4, ITEUsv -5, ERF -6, CUE -8, WUE -9, CER EN 50600-4-7, SCI ISO/IEC
21031. These are annual figures; over another span they are interim ones and must be called so. ``site_kpis`` states
each with its category and coverage, and says what is missing where it has no value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facility.records import FloatArray

J_PER_KWH = 3.6e6
YEAR_H = 8760.0
PUE_CATEGORIES = {
    0: "peak power at UPS output (The Green Grid)",
    1: "IT energy at UPS output",
    2: "IT energy at PDU output",
    3: "IT energy at the IT inlet",
}


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


@dataclass(frozen=True, slots=True)
class Kpi:
    """One key figure; without a value the note says what is missing."""

    name: str
    value: float | None
    unit: str
    category: int | None  # of PUE and what is built on its denominator
    coverage_pct: float  # of the span for which there were readings
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteEnergy:
    """What a site measured over a span; None is not known, and never zero."""

    span_h: float
    coverage_pct: float
    facility_kwh: float | None = None
    it_kwh: float | None = None  # at the IT inlet
    pdu_output_kwh: float | None = None
    ups_output_kwh: float | None = None
    peak_facility_kw: float | None = None
    peak_ups_output_kw: float | None = None
    cooling_kwh: float | None = None  # fans, pumps, chillers, towers
    electrical_loss_kwh: float | None = None  # from the meter to the IT inlet
    heat_removed_kwh: float | None = None
    reused_kwh: float | None = None  # heat used outside the data centre
    renewable_kwh: float | None = None  # consumed on site, or bought with guarantees of origin
    carbon_kg: float | None = None  # location-based
    market_carbon_kg: float | None = None
    water_l: float | None = None
    server_work_per_s: float | None = None  # summed over servers, from their benchmark
    server_max_w: float | None = None
    cpu_utilisation_pct: float | None = None  # mean over servers and time
    embodied_kg: float | None = None  # the share of the span
    functional_units: float | None = None


@dataclass(frozen=True, slots=True)
class _Ratio:
    """A key figure that is one quantity over another."""

    name: str
    unit: str
    over: str
    under: str
    source: str
    category: int | None = None


_RATIOS = (
    _Ratio("PUE", "1", "peak_facility_kw", "peak_ups_output_kw", PUE_CATEGORIES[0], 0),
    _Ratio("PUE", "1", "facility_kwh", "ups_output_kwh", PUE_CATEGORIES[1], 1),
    _Ratio("PUE", "1", "facility_kwh", "pdu_output_kwh", PUE_CATEGORIES[2], 2),
    _Ratio("PUE", "1", "facility_kwh", "it_kwh", PUE_CATEGORIES[3], 3),
    _Ratio("CUE", "kg/kWh", "carbon_kg", "it_kwh", "ISO/IEC 30134-8, location-based", 3),
    _Ratio("CUE market-based", "kg/kWh", "market_carbon_kg", "it_kwh", "scope 2 by contracts (GHG Protocol)", 3),
    _Ratio("WUE", "L/kWh", "water_l", "it_kwh", "ISO/IEC 30134-9, water drawn at the site", 3),
    _Ratio("ERF", "1", "reused_kwh", "facility_kwh", "ISO/IEC 30134-6"),
    _Ratio("REF", "1", "renewable_kwh", "facility_kwh", "ISO/IEC 30134-3"),
    _Ratio("CER", "1", "heat_removed_kwh", "cooling_kwh", "EN 50600-4-7, heat removed over electricity for cooling"),
    _Ratio("ITEEsv", "work/s/W", "server_work_per_s", "server_max_w", "ISO/IEC 30134-4"),
    _Ratio("MLC", "1", "cooling_kwh", "it_kwh", "operated mechanical load, form of ASHRAE 90.4; no design check", 3),
    _Ratio("ELC", "1", "electrical_loss_kwh", "it_kwh", "operated losses, form of ASHRAE 90.4; no design check", 3),
)
_AT_MOST_ONE = ("ERF", "REF")


def site_kpis(energy: SiteEnergy) -> tuple[Kpi, ...]:
    """Every key figure that has a definition, with its category, coverage and note; None where an input is missing."""
    return (*(_ratio(one, energy) for one in _RATIOS), _iteu(energy), _sci(energy))


def _ratio(ratio: _Ratio, energy: SiteEnergy) -> Kpi:
    over, under = getattr(energy, ratio.over), getattr(energy, ratio.under)
    missing = [name for name, value in ((ratio.over, over), (ratio.under, under)) if value is None]
    value = None if missing or not under > 0 else over / under
    if value is not None and ratio.name in _AT_MOST_ONE:
        value = min(value, 1.0)
    return _kpi(ratio.name, value, ratio.unit, ratio.category, energy, ratio.source, missing)


def _iteu(energy: SiteEnergy) -> Kpi:
    used = energy.cpu_utilisation_pct
    missing = ["cpu_utilisation_pct"] if used is None else []
    return _kpi("ITEUsv", used, "%", None, energy, "ISO/IEC 30134-5, of CPUs: GPUs do not count", missing)


def _sci(energy: SiteEnergy) -> Kpi:
    """Carbon of energy and embodied carbon for each functional unit; offsets do not count."""
    parts = {name: getattr(energy, name) for name in ("carbon_kg", "embodied_kg", "functional_units")}
    missing = [name for name, value in parts.items() if value is None]
    units = energy.functional_units
    value = None
    if energy.carbon_kg is not None and energy.embodied_kg is not None and units is not None and units > 0:
        value = 1e3 * (energy.carbon_kg + energy.embodied_kg) / units
    return _kpi("SCI", value, "g/unit", None, energy, "ISO/IEC 21031", missing)


def _kpi(
    name: str, value: float | None, unit: str, category: int | None, energy: SiteEnergy, source: str, missing: list[str]
) -> Kpi:
    notes = [source]
    if missing:
        notes.append(f"missing: {', '.join(missing)}")
    elif value is None:
        notes.append("nothing to divide by")
    if energy.span_h < YEAR_H:
        notes.append(f"interim: {energy.span_h:.4g} h, not a year")
    return Kpi(name, value, unit, category, energy.coverage_pct, "; ".join(notes))
