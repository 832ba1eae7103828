"""One case: everything about a site that a what-if question may set. Defaults are the site as it stands."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from facility.site import StrictModel

MaybeFloat = float | None


class Case(StrictModel):
    """A site, its load and its surroundings. None leaves what the site file says."""

    # How the plant is run
    plant: Literal["legacy", "rule", "optimum"] = "rule"
    supply_air_c: Annotated[MaybeFloat, Field(ge=10, le=35, description="supply air instead of the control's")] = None
    supply_air_offset_k: Annotated[float, Field(ge=-9, le=9, description="added to the supply air")] = 0.0
    chw_supply_c: Annotated[MaybeFloat, Field(ge=4, le=25, description="chilled water instead of the control's")] = None
    water_follows: Annotated[bool, Field(description="chilled and tower water follow the supply air")] = True
    airflow_factor: Annotated[float, Field(ge=0.3, le=2, description="on the fan speed of the air handlers")] = 1.0
    economizer: Literal["as controlled", "on", "off"] = "as controlled"
    crahs_lost: Annotated[int, Field(ge=0, description="air handlers out of service")] = 0
    chillers_lost: Annotated[int, Field(ge=0, description="chillers out of service")] = 0
    # The building
    extra_racks: Annotated[int, Field(ge=0, le=400, description="racks added, like the site's")] = 0
    bypass: Annotated[MaybeFloat, Field(ge=0, lt=0.9, description="share of supply air that passes no server")] = None
    recirculation_factor: Annotated[float, Field(ge=0, le=5, description="on the recirculation of every rack")] = 1.0
    ups_modules: Annotated[int | None, Field(ge=1, le=20, description="UPS modules")] = None
    cycles_of_concentration: Annotated[MaybeFloat, Field(gt=1, le=20, description="of the tower's water")] = None
    rack_positions: Annotated[int | None, Field(ge=1, description="places for racks, where known")] = None
    feeder_kw: Annotated[MaybeFloat, Field(gt=0, description="limit of the feeder, where known")] = None
    # The load
    utilisation: Annotated[float, Field(gt=0, le=1, description="mean share of the GPUs at work")] = 0.6
    load_swing: Annotated[float, Field(ge=0, le=0.6, description="half the swing of the day over the mean")] = 0.0
    gpu_cap_w: Annotated[MaybeFloat, Field(ge=100, le=1000, description="power limit of every GPU")] = None
    parking_share: Annotated[float, Field(ge=0, le=1, description="share of the idle nodes switched off")] = 0.0
    shift_share: Annotated[float, Field(ge=0, le=1, description="share of the work that waits for the window")] = 0.0
    shift_from_h: Annotated[float, Field(ge=0, lt=24, description="start of the window, local time")] = 22.0
    shift_to_h: Annotated[float, Field(ge=0, le=24, description="end of the window, local time")] = 6.0
    # What surrounds it
    zone: Annotated[str, Field(description="grid and climate; empty for the site's")] = ""
    drybulb_offset_k: Annotated[float, Field(ge=-20, le=20, description="added to the outdoor dry bulb")] = 0.0
    dewpoint_offset_k: Annotated[float, Field(ge=-20, le=20, description="added to the outdoor dew point")] = 0.0
    market_g_kwh: Annotated[MaybeFloat, Field(ge=0, le=2000, description="factor of the contracts, market-based")] = (
        None
    )
    # Energy on site
    battery_kw: Annotated[float, Field(ge=0, description="power of the battery, each way")] = 0.0
    battery_kwh: Annotated[float, Field(ge=0, description="energy that the battery can hold")] = 0.0
    battery_efficiency: Annotated[float, Field(gt=0, le=1, description="round trip; NREL ATB 2023: 0.85")] = 0.85
    battery_drive: Literal["carbon", "price"] = "carbon"
    pv_kwp: Annotated[float, Field(ge=0, description="rated DC power of the modules")] = 0.0
    pv_tilt_deg: Annotated[float, Field(ge=0, le=90, description="of the modules from the horizontal")] = 20.0
    pv_azimuth_deg: Annotated[float, Field(ge=0, lt=360, description="clockwise from north; 180 is south")] = 180.0
