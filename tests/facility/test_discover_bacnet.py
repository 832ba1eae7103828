"""Discovery over BACnet/IP against a bacpypes3 device in a process of its own, and against an emulated air handler."""

from __future__ import annotations

import tomllib
from pathlib import Path
from socket import SOCK_DGRAM

import pytest

from facility.discovery.discover import Finding, Target, discover, snippet
from facility.profile import load_profile
from facility.records import Quality
from facility.site import Device
from tests.apps.test_emulated_bacnet import crah
from tests.facility.ahu import by_name, device_at
from tests.peers.bacnet import INSTANCE, bacnet_device
from tests.peers.processes import free_port


async def found_at(port: int, deadline_s: float = 5.0) -> tuple[Target, Finding]:
    target = Target("127.0.0.1", ports={"bacnet": port}, deadline_s=deadline_s, pause_s=0.0)
    (finding,) = await discover(target, ["bacnet"])
    return target, finding


@pytest.mark.parametrize("options", ["", "no-rpm max-apdu=206"])
async def test_a_device_that_no_profile_explains_gives_a_draft_that_works(options: str, tmp_path: Path) -> None:
    with bacnet_device(tmp_path, *options.split()) as (port, _):
        target, finding = await found_at(port)
        assert finding.error == ""
        assert finding.says["device instance"] == str(INSTANCE)
        assert finding.says["name"] == "peer"
        assert finding.best is None
        assert finding.draft is not None
        path = tmp_path / f"{finding.draft.name}.toml"
        path.write_text(finding.draft.toml)
        assert not any(point.writable for point in load_profile(path).point)
        async with device_at(port, path) as device:
            seen = by_name(await device.read())
            assert device.unit_errors == {}
    good = {name: reading.value for name, reading in seen.items() if reading.quality is Quality.GOOD}
    assert good["supply-air_c"] == 18.5
    assert good["fahrenheit_c"] == pytest.approx(20.0)  # what it says in deg F becomes deg C
    assert good["power_w"] == 12_500.0
    assert good["running_flag"] == 1.0
    assert good["mode_code"] == 2.0
    assert good["input-7_count"] == 7.0
    (proposed,) = tomllib.loads(snippet(target, finding))["device"]
    settings = Device.model_validate(proposed)
    assert (settings.profile, settings.bacnet and settings.bacnet.instance) == ("peer.toml", INSTANCE)


async def test_a_device_that_a_shipped_profile_explains() -> None:
    async with crah() as emulated:
        target, finding = await found_at(emulated.port)
    assert finding.best is not None
    assert (finding.best.profile, finding.draft) == ("emulated-crah-bacnet", None)
    (proposed,) = tomllib.loads(snippet(target, finding))["device"]
    assert Device.model_validate(proposed).profile == "emulated-crah-bacnet"


async def test_a_device_that_hides_its_instance_is_said_so(tmp_path: Path) -> None:
    with bacnet_device(tmp_path, "shy") as (port, _):
        _, finding = await found_at(port)
    assert "does not say which device it is" in finding.error


async def test_silence_is_said_so() -> None:
    _, finding = await found_at(free_port(SOCK_DGRAM), deadline_s=0.5)
    assert "no answer within 0.5 s" in finding.error
