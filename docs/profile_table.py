"""Writes docs/profiles.md: what each SNMP profile reads from a recording of a real device.

Run it with `python -m docs.profile_table`; the recordings are those of ../shared/data/facility/snmp, served by snmpsim.
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from facility.clock import WallClock
from facility.devices import open_device
from facility.profile import load_profile, shipped_profiles
from facility.records import Reading
from facility.site import Device, SnmpAuth
from tests.peers.snmp import snmpsim
from tests.shared import SHARED

TARGET = Path(__file__).with_name("profiles.md")
RECORDINGS = {  # recording -> profiles that explain it
    "apc_apdu9959eu3": ("apc-rpdu2",),
    "apc_inrow-dx": ("apc-cooling",),
    "apc_uniflair-sp": ("apc-cooling",),
    "eaton-mgeups_93ps": ("eaton-93ps", "ups-mib"),
    "eatonpdu_2": ("eaton-epdu",),
    "liebert_mph2rg": ("liebert-mph2",),
    "pcoweb-rittalchiller": ("rittal-chiller",),
    "raritan-pdu_px3": ("raritan-px3",),
    "rittal-lcp_cmciii-pu-lcp": ("rittal-lcp",),
    "sentry4_switched8i": ("sentry4",),
    "stulz_wib8000": ("stulz-wib8000",),
    "vertiv-pdu_mn03edr1": ("vertiv-geist",),
}
Readings = Mapping[tuple[str, str], Sequence[Reading]]
"""By recording and profile."""


async def read_all(port: int) -> dict[tuple[str, str], list[Reading]]:
    """One reading of every recording through its profiles, from snmpsim at ``port``."""
    found = {}
    for recording, profiles in RECORDINGS.items():
        os.environ["RECORDING"] = recording
        auth = SnmpAuth(version="2c", community="env:RECORDING")
        for profile in profiles:
            settings = Device(name="x", protocol="snmp", profile=profile, port=port, deadline_s=20.0, snmp=auth)
            device = open_device(settings, WallClock())
            found[recording, profile] = await device.read()
            await device.close()
    return found


def render(readings: Readings) -> str:
    """The page: one row a point family, with the value of its first instance."""
    without = [name for name in shipped_profiles() if _is_snmp(name) and name not in {key[1] for key in readings}]
    lines = [
        "# What the SNMP profiles read",
        "",
        "Made by docs/profile_table.py from recordings of real devices. A row is a family of points: the first",
        "instance, its value, and how many there are. `bad` is what the device itself marks as no value; it never",
        "becomes a number.",
        "",
        f"Profiles without a recording: {', '.join(without)}.",
    ]
    for (recording, profile), found in readings.items():
        bad = sum(reading.value is None for reading in found)
        lines += ["", f"## {profile} on {recording}", "", f"{len(found)} points, {bad} without a value.", ""]
        lines += ["| point | instances | value | unit | quality |", "|---|---|---|---|---|"]
        lines += [_row(family) for family in _families(found)]
    return "\n".join(lines) + "\n"


def _is_snmp(name: str) -> bool:
    return load_profile(name).protocol == "snmp" and not name.startswith("emulated")


def _families(readings: Sequence[Reading]) -> list[list[Reading]]:
    families: dict[str, list[Reading]] = {}
    for reading in readings:
        families.setdefault(re.sub(r"\d+", "#", reading.point), []).append(reading)
    return list(families.values())


def _row(family: Sequence[Reading]) -> str:
    shown = next((reading for reading in family if reading.value is not None), family[0])
    value = "" if shown.value is None else f"{shown.value:.6g}" if abs(shown.value) < 1e5 else f"{shown.value:.0f}"
    counts = {quality: sum(reading.quality is quality for reading in family) for quality in {r.quality for r in family}}
    said = ", ".join(
        quality.value if len(counts) == 1 else f"{count} {quality.value}" for quality, count in sorted(counts.items())
    )
    return f"| {shown.point.partition('/')[2]} | {len(family)} | {value} | {shown.unit} | {said} |"


def main() -> None:
    """Serve the recordings, read them, write the page."""
    with tempfile.TemporaryDirectory() as scratch, snmpsim(SHARED / "facility/snmp", Path(scratch)) as port:
        TARGET.write_text(render(asyncio.run(read_all(port))), encoding="utf-8")


if __name__ == "__main__":
    main()
