"""Whatever JSON a service sends, the decoder gives a value, None or ABSENT."""

from __future__ import annotations

import json
import math
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facility.devices.base import ABSENT
from facility.devices.redfish.http import Answer, parse, retry_after_s
from facility.devices.redfish.resources import (
    actions_of,
    exists,
    expand,
    limits_at,
    link,
    members_of,
    message_ids,
    messages_of,
    number,
    number_at,
    passes,
    patch_of,
    safe_name,
)
from facility.errors import ConfigError
from facility.profile import load_profile
from facility.profile_point import ProfilePoint

KEYS = st.sampled_from(
    ["Reading", "Status", "State", "Members", "@odata.id", "Name", "MemberId", "Actions", "Oem", "a/b", "error"]
)
WORDS = st.sampled_from(["Absent", "Enabled", "Disabled", "OK", "", "0", "[Name=x]", "/redfish/v1", "//evil"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=5)
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=4)
)
TOKENS = KEYS.map(lambda key: key.replace("/", "~1")) | st.sampled_from(["*", "*Name", "0", "7", "99999999999", "~2"])
POINTERS = st.lists(TOKENS, min_size=1, max_size=4).map(lambda tokens: "".join(f"/{token}" for token in tokens))
EXAMPLES = settings(deadline=None, database=None)


def point(pointer: str, **more: object) -> ProfilePoint:
    fields = {"name": "x_w", "kind": "power", "unit": "W", "resource": "/redfish/v1", "pointer": pointer}
    return ProfilePoint.model_validate({**fields, **more})


@EXAMPLES
@given(ANYTHING, POINTERS, st.booleans())
def test_any_json_gives_a_value_none_or_absent(body: object, pointer: str, null_lifts: bool) -> None:
    for member in expand(body, pointer):
        asked = point(member.pointer, null_lifts=null_lifts, words={"OK": 0.0})
        found = number_at(body, asked)
        assert found is None or found is ABSENT or (isinstance(found, float) and math.isfinite(found))
        assert isinstance(exists(body, asked), bool)
        json.dumps(patch_of(body, member.pointer, 5.0))
        assert all(limit is None or math.isfinite(limit) for limit in limits_at(body, member.pointer))


@EXAMPLES
@given(ANYTHING)
def test_links_actions_and_messages_of_anything(body: object) -> None:
    assert all(path.startswith("/") and not path.startswith("//") for path in [*members_of(body), link(body) or "/"])
    assert all(isinstance(action["target"], str) for action in actions_of(body).values())
    assert len(messages_of(body)) <= 300
    assert isinstance(message_ids(body), str)
    assert isinstance(passes(body, {"Name": ("",)}), bool)


@EXAMPLES
@given(st.binary(max_size=60), st.text(max_size=20))
def test_any_bytes_and_headers_are_survived(content: bytes, header: str) -> None:
    answer = Answer(200, {"Retry-After": header, "ETag": header, "Location": header}, parse(content))
    assert retry_after_s(answer, 1.0) >= 0.0
    assert isinstance(answer.where_to + answer.said, str)
    httpx.Request("PATCH", "http://bmc/", headers={"If-Match": answer.etag})


@EXAMPLES
@given(st.text(max_size=20))
def test_any_identifier_becomes_part_of_a_point_name(text: str) -> None:
    assert point("/Reading").instance([safe_name(text)], pointer="/Reading").name == "x_w"
    assert ProfilePoint.model_validate({**point("/Reading").model_dump(), "name": f"{safe_name(text)}/x_w"})


def test_deep_nesting_and_huge_numbers_are_no_values() -> None:
    assert parse(b"[" * 100_000) is None
    assert parse(b'{"a": ' + b"1" * 5000 + b"}") is None
    assert number(10**400, {}) is None
    assert number(math.nan, {}) is None
    assert number(True, {}) == 1.0
    assert number("12", {}) is None  # nothing that is not a number becomes one


def test_members_of_an_array_are_known_by_their_name() -> None:
    body = {"Fans": [{"Name": "A/1", "Reading": 1}, {"Name": "B", "Reading": 2}, {"Name": "B", "Reading": 3}, 7]}
    found = expand(body, "/Fans/*Name/Reading")
    assert [member.met for member in found] == [("A/1",), ("B-1",), ("B-2",), ("3",)]
    assert [number_at(body, point(member.pointer)) for member in found] == [1.0, 2.0, 3.0, ABSENT]
    turned = {"Fans": body["Fans"][1:2] + body["Fans"][:1]}
    assert number_at(turned, point(found[0].pointer)) == 1.0  # by name, also where it has moved


def test_a_patch_leaves_the_members_before_it_alone() -> None:
    body = {"PowerControl": [{"MemberId": "a"}, {"MemberId": "b", "PowerLimit": {"LimitInWatts": 500}}]}
    patch = patch_of(body, "/PowerControl/[MemberId=b]/PowerLimit/LimitInWatts", 450.4)
    assert patch == {"PowerControl": [{}, {"PowerLimit": {"LimitInWatts": 450}}]}


def test_a_sensor_that_is_off_has_no_value_and_one_that_is_not_there_is_absent() -> None:
    for state, expected in (("Enabled", 0.0), ("StandbyOffline", None), ("Absent", ABSENT)):
        body = {"Status": {"State": "Enabled"}, "Fans": [{"Reading": 0, "Status": {"State": state}}]}
        assert number_at(body, point("/Fans/0/Reading")) is expected or expected == 0.0
        assert exists(body, point("/Fans/0/Reading")) == (state != "Absent")


@pytest.mark.parametrize(
    ("protocol", "point_", "said"),
    [
        ("redfish", 'resource = "/redfish/v1/Chassis"', "has a 'pointer'"),
        ("redfish", 'resource = "/redfish/v1/Chassis"\npointer = "Reading"', "begins with '/'"),
        ("snmp", 'oid = "1.3.6"\npointer = "/Reading"', "has a 'pointer'"),
        ("snmp", 'oid = "1.3.6"\nwords = { On = 1 }', "belong to redfish"),
    ],
)
def test_a_profile_that_does_not_fit_its_protocol_is_refused(
    tmp_path: Path, protocol: str, point_: str, said: str
) -> None:
    path = tmp_path / "odd.toml"
    about = f'[profile]\nname = "odd"\nprotocol = "{protocol}"\nsource = "test"\n'
    path.write_text(f'{about}[[point]]\nname = "x_w"\nkind = "power"\nunit = "W"\n{point_}\n')
    with pytest.raises(ConfigError, match=said):
        load_profile(path)
