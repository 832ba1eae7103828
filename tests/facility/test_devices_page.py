"""Every example of docs/devices.md is one that the product takes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest

from facility.devices.ipmi.points import parse
from facility.errors import Reason
from facility.profile import Profile, load_profile
from facility.site import Device

TEXT = (Path(__file__).parents[2] / "docs" / "devices.md").read_text(encoding="utf-8")
BLOCKS = [tomllib.loads(block) for block in re.findall(r"^```toml\n(.*?)^```", TEXT, re.M | re.S)]
EXAMPLES = [device for block in BLOCKS for device in block.get("device", [])]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: str(example["name"]))
def test_an_example_is_a_device_of_its_profile(example: dict[str, Any]) -> None:
    device = Device.model_validate(example)
    if device.profile:
        assert load_profile(device.profile).protocol == device.protocol


def test_every_protocol_has_an_example() -> None:
    known = set(get_args(Device.model_fields["protocol"].annotation))
    assert {example["protocol"] for example in EXAMPLES} == known


def test_the_profile_is_one() -> None:
    (profile,) = [Profile.model_validate(block) for block in BLOCKS if "profile" in block]
    assert profile.release.timeout_point == "fallback_timeout_min"


def test_the_ipmi_addresses_are_some() -> None:
    for address in ("Inlet Temp", "Temp@3.1", "dcmi:power", "dcmi:limit", "chassis:power", "pmbus:1/0x58:READ_PIN"):
        assert f"`{address}`" in TEXT
        parse(address)


def test_every_reason_is_explained() -> None:
    explained = re.findall(r"^\| `(\w+)` \|", TEXT, re.M)
    assert set(explained) - {"reason"} == set(Reason)
