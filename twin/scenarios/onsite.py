"""Grid, photovoltaics and battery of a case: what the site imports is what is left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facility.records import FloatArray
from twin import solar
from twin.scenarios.battery import BatteryFlows, run_battery, schedule
from twin.scenarios.simulate import Trajectory

CLEAR_SKY = "clear sky (Haurwitz), no clouds: an upper bound, as the weather holds neither irradiance nor cloud cover"


@dataclass(frozen=True, slots=True)
class OnSite:
    """Powers in watts, (T, B); import - export + pv + discharge = load + charge at every step."""

    load_w: FloatArray  # main meter of the hall
    pv_w: FloatArray
    battery: BatteryFlows
    import_w: FloatArray
    export_w: FloatArray
    sun: str  # what the irradiance rests on; empty without photovoltaics


def on_site(run: Trajectory) -> OnSite:
    """Settles the energy of a case after the hall has been simulated: neither battery nor sun acts on the hall."""
    case, around, load_w = run.case, run.around, run.flows["facility_w"]
    pv_w, words = _pv(run)
    net_w = load_w - pv_w[:, None]
    battery = run_battery(case, schedule(case, around), net_w, around.step_s)
    grid_w = net_w + battery.charge_w - battery.discharge_w
    return OnSite(
        load_w=load_w,
        pv_w=np.broadcast_to(pv_w[:, None], load_w.shape),
        battery=battery,
        import_w=np.maximum(grid_w, 0.0),
        export_w=np.maximum(-grid_w, 0.0),
        sun=words,
    )


def _pv(run: Trajectory) -> tuple[FloatArray, str]:
    """AC power of the modules (T,)."""
    case, around = run.case, run.around
    if not case.pv_kwp:
        return np.zeros(around.steps), ""
    sky = solar.sun(around.start, around.steps, around.step_s, around.latitude_deg, around.longitude_deg)
    clear = solar.clear_sky_w_m2(sky.cos_zenith)
    known, words = clear, CLEAR_SKY
    if around.irradiance is not None:
        end = around.times[-1] + (around.times[1] - around.times[0])
        known = around.irradiance.horizontal_w_m2(around.start, end, around.step_s, clear)
        words = around.irradiance.source
    plane = solar.tilted_w_m2(known, sky, case.pv_tilt_deg, case.pv_azimuth_deg)
    return solar.pv_power_w(case.pv_kwp, plane, around.weather.drybulb_c), words
