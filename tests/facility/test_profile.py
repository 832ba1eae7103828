"""Profiles: what ships is complete, and what is wrong in a user's own is named with file and key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from facility.errors import ConfigError
from facility.profile import load_profile, shipped_profiles
from facility.profile_point import ProfilePoint
from facility.records import Quality

GOOD = """
[profile]
name = "mine"
protocol = "modbus"
source = "manual 1"
[[point]]
name = "outlet-{n}/power_w"
kind = "power"
unit = "W"
address = 100
repeat = 3
step = 2
type = "float32"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", shipped_profiles())
def test_every_shipped_profile_loads_and_names_its_source(name: str) -> None:
    profile = load_profile(name)
    assert profile.profile.source
    assert profile.profile.description
    points = profile.points_of("dev-1")
    assert len(points) == sum(not point.is_template for point in profile.point)  # others are found on the device
    for point in points.values():
        assert point.equipment == "dev-1"
        assert re.search(r"_[a-z0-9]+$", point.name), f"{point.name} has no unit in its name"
        if point.writable and point.name.removeprefix("dev-1/") not in profile.release.points:
            assert point.min is not None
            assert point.max is not None


def test_a_repeated_point(tmp_path: Path) -> None:
    points = load_profile(write(tmp_path, GOOD)).point
    assert [(point.name, point.address) for point in points] == [
        ("outlet-1/power_w", 100),
        ("outlet-2/power_w", 102),
        ("outlet-3/power_w", 104),
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('unit = "W"', 'unit = "W"\nunits = "W"'), "unknown key 'point.0.units', did you mean 'unit'"),
        (('name = "mine"', 'name = "other"'), "must be the file's name 'mine'"),
        (("address = 100", 'oid = "1.3.6.1"'), "modbus needs 'address' as its address and no other, got oid"),
        (("address = 100", "address = 65531"), "beyond the last register"),
        (("address = 100", "address = 65534"), "point.1.address"),
        (('type = "float32"', 'type = "float16"'), "point.0.type"),
        (('type = "float32"', "scale = 0"), "scale must not be 0"),
        (('type = "float32"', 'table = "input"\nwritable = true'), "cannot be written"),
        (('type = "float32"', "min = 5\nmax = 1"), "minimum is above"),
        (("{n}", "1"), "needs {n} in its name"),
        (("repeat = 3", "repeat = 0"), "repeat is 1 to 1000"),
        (("[[point]]", '[release]\nkind = "timeout"\n[[point]]'), "needs heartbeat_point"),
        (("source", "sauce"), "'profile.source' is missing"),
        (("[[point]]", "[[point]"), "not valid TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    path = write(tmp_path, GOOD.replace(change[0], change[1], 1))
    with pytest.raises(ConfigError, match=re.escape(said)) as raised:
        load_profile(path)
    assert "mine.toml" in str(raised.value)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"janitza-umg.*raritan-px3.*ups-mib"):
        load_profile("janitsa")


def test_sentinels_and_limits_decide_on_quality() -> None:
    point = ProfilePoint(
        name="t_c", kind="temperature", unit="degC", scale=0.1, offset=-50.0, sentinels=(9999,), valid_max=60.0
    )
    for raw, value, quality in ((730, 23.0, Quality.GOOD), (1200, 70.0, Quality.UNCERTAIN)):
        decoded = point.decode(raw)
        assert decoded[0] == pytest.approx(value)
        assert decoded[1] is quality
    for nothing in (9999, None, float("nan"), float("inf")):
        assert point.decode(nothing) == (None, Quality.BAD)
    assert point.encode(23.0) == pytest.approx(730)
