"""A small site for `eco report`: a recording whose sums can be done by hand, and a site file with facts of an owner."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

START = datetime(2024, 6, 1, tzinfo=UTC)
SHIPPED = Path(__file__).resolve().parents[2] / "data" / "site.toml"
POINTS = """point,kind,unit,equipment,description,writable,min,max
main/power_kw,power,kW,main,whole facility,0,0,1000
main/energy_wh,counter,Wh,main,register,0,0,4294967295
ups-1/output_kw,power,kW,ups-1,UPS output,0,0,1000
pdu-1/power_kw,power,kW,pdu-1,zone 1,0,0,1000
pdu-2/power_kw,power,kW,pdu-2,zone 2,0,0,1000
it/energy_wh,counter,Wh,it,inlets of all servers,0,0,4294967295
mech/power_kw,power,kW,mech,mechanical,0,0,1000
water/makeup_m3,counter,m3,water,make-up,0,0,99999
grid/carbon_intensity_g_kwh,intensity,g/kWh,grid,life cycle,0,,
"""
FACILITY_KW, UPS_KW, PDU_KW, IT_KW, MECH_KW = 130.0, 104.0, 51.0, 100.0, 20.0
HOURS = 10
OUT_OF_RANGE = 9999.0  # what this site's gateway says of a meter that does not answer, with quality good

Row = tuple[datetime, str, float | None, str]


def rows(minutes: Sequence[int] = range(HOURS * 60 + 1)) -> list[Row]:
    """Steady powers each minute; the facility's power is lost from 02:00 to 04:00, its register is not read then."""
    found: list[Row] = []
    for minute in minutes:
        at, hours = START + timedelta(minutes=minute), minute / 60.0
        lost = 120 <= minute < 240
        register = (4_294_900_000.0 + FACILITY_KW * 1e3 * hours) % 4_294_967_296.0  # rolls over in the first hour
        found += [
            (at, "main/power_kw", OUT_OF_RANGE if lost else FACILITY_KW, "good"),
            (at, "ups-1/output_kw", UPS_KW, "good"),
            (at, "pdu-1/power_kw", PDU_KW, "good"),
            (at, "pdu-2/power_kw", PDU_KW, "bad" if minute >= 300 else "good"),
            (at, "it/energy_wh", 5e6 + IT_KW * 1e3 * hours, "good"),
            (at, "mech/power_kw", MECH_KW, "good"),
            (at, "water/makeup_m3", 100.0 + 0.18 * hours, "good"),
        ]
        if not lost:
            found.append((at, "main/energy_wh", register, "good"))
        if minute % 60 == 0:
            found.append((at, "grid/carbon_intensity_g_kwh", 200.0 if minute < 300 else 400.0, "uncertain"))
    return found


def write_recording(folder: Path, given: list[Row], points: str = POINTS) -> Path:
    """A recording's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    schema = {"ts": pl.Datetime("us", "UTC"), "point": pl.String, "value": pl.Float64, "quality": pl.String}
    pl.DataFrame(given, schema, orient="row").write_parquet(folder / "telemetry.parquet")
    (folder / "points.csv").write_text(points, encoding="utf-8")
    return folder


FACTS = """
[roles]
facility_energy_wh = "main/energy_wh"
it_energy_wh = ["it/energy_wh"]

[report]
owner = "Owner & Sons, Hall Street 1"
lau_code = "06412000"
kind = "enterprise"
rated_it_kw = 600.0
none_of = ["generator"]
refrigerants = ["R-513A", "R-1234ze"]

[report.residual_mix]
g_kwh = 500.0
source = "by hand"

[[report.instrument]]
kind = "guarantee_of_origin"
kwh = 2400.0
g_kwh = 0.0
start = 2024-06-01
end = 2024-06-02
source = "cancellation 17"
"""


def write_site(path: Path, facts: str = FACTS) -> Path:
    """A site file: the hall that ships, with these tables instead of the shipped ones that follow it."""
    hall = SHIPPED.read_text(encoding="utf-8").split("\n[control]")[0]
    path.write_text(f"{hall}\n{facts}", encoding="utf-8")
    return path
