"""A case hour by hour for charts: means of the hour over the draws, with the band of the main meter."""

from __future__ import annotations

import numpy as np
import polars as pl

from facility.records import FloatArray
from twin.scenarios.onsite import OnSite
from twin.scenarios.simulate import LOADS, Trajectory


def hourly(name: str, run: Trajectory, site: OnSite) -> pl.DataFrame:
    """One row an hour: ``ts`` (UTC), ``case``, kW of each load and of grid, sun and battery, kg, litres, degrees C.

    ``hottest_inlet_c`` is the highest of the hour; every other column is its mean, carbon and water its sum.
    """
    around, flows = run.around, run.flows
    size = round(3600.0 / around.step_s)

    def mean(values: FloatArray) -> FloatArray:
        flat = values if values.ndim == 1 else values.mean(axis=1)
        return np.asarray(flat.reshape(-1, size).mean(axis=1))

    facility = flows["facility_w"].reshape(-1, size, flows["facility_w"].shape[1]).mean(axis=1) / 1e3
    low, high = np.percentile(facility, (5.0, 95.0), axis=1)
    price = around.price_usd_mwh
    columns: dict[str, FloatArray | None] = {
        **{f"{load.removesuffix('_w')}_kw": mean(flows[load]) / 1e3 for load in LOADS},
        "facility_kw": facility.mean(axis=1),
        "facility_kw_lo90": low,
        "facility_kw_hi90": high,
        "pue": mean(flows["facility_w"]) / mean(flows["it_w"]),
        "import_kw": mean(site.import_w) / 1e3,
        "export_kw": mean(site.export_w) / 1e3,
        "pv_kw": mean(site.pv_w) / 1e3,
        "battery_charge_kw": mean(site.battery.charge_w) / 1e3,
        "battery_discharge_kw": mean(site.battery.discharge_w) / 1e3,
        "battery_stored_kwh": mean(site.battery.stored_kwh),
        "carbon_kg": _carbon_kg(run, site, size),
        "water_l": mean(flows["water_l_h"]),
        "hottest_inlet_c": flows["max_inlet_c"].mean(axis=1).reshape(-1, size).max(axis=1),
        "supply_air_c": mean(flows["supply_air_c"]),
        "chw_supply_c": mean(flows["chw_supply_c"]),
        "free_cooling_share": mean(flows["economizer_w"])
        / np.maximum(mean(flows["economizer_w"]) + mean(flows["evaporator_w"]), 1e-9),
        "gpus_busy_share": mean(run.load.busy),
        "drybulb_c": mean(around.weather.drybulb_c),
        "wetbulb_c": mean(around.weather.wetbulb_c),
        "dewpoint_c": mean(around.dewpoint_c),
        "intensity_g_kwh": mean(around.intensity_g_kwh),
        "price_usd_mwh": None if price is None else mean(price),
    }
    hours = len(facility)
    frame = pl.DataFrame({"ts": around.times[::size], "case": [name] * hours})
    return frame.with_columns(
        pl.Series(column, [None] * hours if values is None else values, dtype=pl.Float64)
        for column, values in columns.items()
    )


def _carbon_kg(run: Trajectory, site: OnSite, size: int) -> FloatArray:
    """Carbon of each hour, step by step."""
    grams_h = site.import_w.mean(axis=1) / 1e3 * run.around.intensity_g_kwh
    return np.asarray(grams_h.reshape(-1, size).mean(axis=1) / 1e3)
