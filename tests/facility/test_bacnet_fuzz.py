"""BACnet answers that make no sense: a value, none, or a typed error; never a hang, never another exception."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
from pathlib import Path
from typing import Any

import pytest
from bacpypes3.basetypes import PriorityValue
from bacpypes3.errors import InvalidTag
from bacpypes3.pdu import PDUData
from bacpypes3.primitivedata import (
    BitString,
    Boolean,
    CharacterString,
    Date,
    Double,
    Enumerated,
    Integer,
    Null,
    ObjectIdentifier,
    OctetString,
    Real,
    TagList,
    Time,
    Unsigned,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facility.clock import WallClock
from facility.devices.bacnet import BacnetDevice
from facility.devices.bacnet.units import unit_error
from facility.devices.bacnet.values import assess, flags, instance, like, number, same, slots
from facility.errors import DeviceError
from facility.profile import load_profile
from facility.records import Quality
from facility.site import Bacnet, Device

INSTANCE = 1234
I_AM = bytes.fromhex("1000 c4020004d2 2205c4 9100 210f")  # device 1234, 1476 octets, no segmentation, vendor 15
VALUE = bytes.fromhex("0c00000001 1e 2955 4e 4441940000 4f 296f 4e 820400 4f 1f")  # analog-input 1: 18.5, no flags set
PROFILE = """
[profile]
name = "fuzz"
protocol = "bacnet"
source = "made for this test"
[release]
kind = "relinquish"
[[point]]
name = "supply_air_c"
kind = "temperature"
unit = "degC"
object = "analog-input,1"
[[point]]
name = "setpoint_c"
kind = "temperature"
unit = "degC"
object = "analog-output,1"
writable = true
"""


def _tags(data: bytes) -> TagList:
    try:
        return TagList.decode(PDUData(data))
    except InvalidTag:
        return TagList()


@given(st.binary(max_size=40))
def test_any_octets_decode_to_a_number_or_to_none(data: bytes) -> None:
    tags = list(_tags(data).tagList)
    value = number(tags)
    assert value is None or isinstance(value, float)
    raw, quality = assess(tags, tags)
    assert raw is None or isinstance(raw, float)
    assert quality in Quality
    found = flags(tags), instance(tags), slots(tags)
    assert all(slot is None or isinstance(slot, float) for slot in found[2])
    try:
        like(tags, 20.0)
    except ValueError:
        assert value is None or len(tags) == 1


TYPES = [
    (Null(()), None),
    (Boolean(True), 1.0),
    (Boolean(False), 0.0),
    (Unsigned(70_000), 70_000.0),
    (Integer(-3), -3.0),
    (Real(18.5), 18.5),
    (Double(1e300), 1e300),
    (Enumerated(7), 7.0),
    (OctetString(b"\x01\x02"), None),
    (CharacterString("18.5"), None),
    (BitString([0, 1, 0, 0]), None),
    (Date("2024-05-01"), None),
    (Time("12:00:00"), None),
    (ObjectIdentifier("analog-input,1"), None),
]


@pytest.mark.parametrize("place", range(len(TYPES)))
def test_every_type_is_a_number_or_none(place: int) -> None:
    value, expected = TYPES[place]
    tags = list(value.encode().tagList)
    assert number(tags) == expected
    if expected is None:
        with pytest.raises(ValueError, match="no number"):
            like(tags, 1.0)
    else:
        assert number(list(like(tags, 1.0).encode().tagList)) == 1.0


def test_a_priority_array_with_structures_counts_its_slots() -> None:
    held = [PriorityValue(real=Real(20.0)), PriorityValue(null=Null(())), PriorityValue(enumerated=Enumerated(1))]
    array = slots([tag for value in held for tag in value.encode().tagList])
    assert array == [20.0, None, 1.0]
    strange = slots(list(_tags(bytes.fromhex("0e 4441a00000 0f 00")).tagList))
    assert math.isnan(strange[0] or 0.0)
    assert strange[1:] == [None]
    assert same(float(number(list(Real(0.1).encode().tagList)) or 0.0), 0.1)


@given(st.integers(0, 2**22 - 1), st.sampled_from(["degC", "W", "furlong"]))
def test_any_unit_has_an_answer(code: int, unit: str) -> None:
    assert isinstance(unit_error(code, unit, 1.0, 0.0), str)


class Nonsense(asyncio.DatagramProtocol):
    """A device that says who it is, and answers everything else with what it is given."""

    def __init__(self, answers: list[tuple[str, bytes]]) -> None:
        self._answers = itertools.cycle(answers)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one request; the octets of BVLC and NPDU come before the APDU."""
        apdu = data[6:]
        kind, octets = next(self._answers)
        if apdu[:2] == b"\x10\x08":
            reply = I_AM if kind != "who" else b"\x10\x00" + octets
        elif kind == "raw":
            self._send(octets, addr)
            return
        elif kind == "apdu":
            reply = octets
        else:
            reply = bytes((octets[0] if kind == "type" and octets else 0x30, apdu[2], apdu[3])) + octets
        self._send(b"\x81\x0a" + (6 + len(reply)).to_bytes(2, "big") + b"\x01\x00" + reply, addr)

    def _send(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(data, addr)


async def _ask(path: Path, answers: list[tuple[str, bytes]], deadline_s: float) -> list[float | None]:
    """Values that were read from a device with such answers, whatever else it was asked."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Nonsense(answers), local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    about = Device(
        name="ahu-1",
        protocol="bacnet",
        profile=str(path),
        port=port,
        deadline_s=deadline_s,
        bacnet=Bacnet(instance=INSTANCE, cov_lifetime_s=60),
    )
    device = BacnetDevice(about, load_profile(str(path)), WallClock())
    values: list[float | None] = []
    try:
        for ask in (device.read, device.release, device.left_over):
            with contextlib.suppress(DeviceError):
                answer = await ask()
                values += [each.value for each in answer] if isinstance(answer, list) else ()
    finally:
        await device.close()
        transport.close()
    return values


_place = st.integers(0, len(VALUE))
_cut = st.builds(lambda start, end, patch: VALUE[:start] + patch + VALUE[end:], _place, _place, st.binary(max_size=6))
_kinds = st.sampled_from(["answer", "answer", "type", "apdu", "raw", "who"])


@pytest.fixture(scope="module")
def fuzz_profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fuzz") / "fuzz.toml"
    path.write_text(PROFILE)
    return path


def test_the_nonsense_begins_with_an_answer_that_makes_sense(fuzz_profile: Path) -> None:
    assert asyncio.run(_ask(fuzz_profile, [("answer", VALUE)], deadline_s=5.0)) == [18.5, None]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(answers=st.lists(st.tuples(_kinds, st.one_of(st.binary(max_size=60), _cut, st.just(VALUE))), min_size=1))
def test_a_device_that_answers_nonsense(fuzz_profile: Path, answers: list[tuple[str, bytes]]) -> None:
    values = asyncio.run(_ask(fuzz_profile, answers, deadline_s=0.05))
    assert all(value is None or isinstance(value, float) for value in values)
