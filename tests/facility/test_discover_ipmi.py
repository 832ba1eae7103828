"""Discovery over IPMI against OpenIPMI's ipmi_sim: with and without a login."""

from __future__ import annotations

import json
import socket
import tomllib
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from apps.commands.site import app
from facility.discovery.discover import Finding, Target, discover
from facility.discovery.ipmi import capabilities
from facility.errors import ConfigError, DeviceError
from facility.site import Device, Login
from tests.peers.ipmi_sim import NAME, PASSWORD, USER, Bmc, build_module, ipmi_sim
from tests.peers.processes import free_port


@pytest.fixture(scope="module")
def bmc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bmc]:
    with ipmi_sim(tmp_path_factory.mktemp(NAME), build_module(tmp_path_factory.mktemp("module"))) as running:
        yield running


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMC_PASSWORD", PASSWORD)
    monkeypatch.setenv("WRONG", "guess")


async def found_at(port: int, password: str = "", deadline_s: float = 5.0) -> Finding:
    login = Login(user=USER, password=password) if password else None
    target = Target("127.0.0.1", ports={"ipmi": port}, ipmi=login, deadline_s=deadline_s, pause_s=0.0)
    (finding,) = await discover(target, ["ipmi"])
    return finding


async def test_without_a_login_a_bmc_says_what_it_speaks(bmc: Bmc) -> None:
    finding = await found_at(bmc.port)
    assert (finding.error, finding.says["IPMI"]) == ("", "2.0")
    assert finding.best is None
    assert "needs a login" in finding.hint
    said = bmc.ipmitool("channel", "info", "1")
    assert "Auth" in said or "Channel" in said  # the second client agrees that there is a channel


async def test_with_a_login_its_sensors_are_listed(bmc: Bmc) -> None:
    finding = await found_at(bmc.port, "env:BMC_PASSWORD")
    assert finding.error == ""
    assert {match.profile for match in finding.matches} == {"ipmi-bmc", "ipmi-psu"}
    by_profile = {match.profile: match for match in finding.matches}
    sensors = {reading.point: reading.value for reading in by_profile["ipmi-bmc"].readings}
    assert sensors["ipmi-bmc-1/sensor/inlet-temp_c"] == 23.0
    assert by_profile["ipmi-psu"].good > 0


async def test_a_wrong_password_a_closed_port_and_silence(bmc: Bmc) -> None:
    assert "wrong user or password" in (await found_at(bmc.port, "env:WRONG")).error
    assert "refused" in (await found_at(free_port(socket.SOCK_DGRAM))).error
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        assert "no answer within 0.3 s" in (await found_at(mute.getsockname()[1], deadline_s=0.3)).error


@pytest.mark.parametrize("answer", [b"", b"\x06\x00\xff\x07" + bytes(40), b"HTTP/1.1 400 Bad Request\r\n\r\n" * 3])
def test_what_is_no_bmc_is_said_so(answer: bytes) -> None:
    with pytest.raises(DeviceError, match="no BMC"):
        capabilities(answer, "here")


def test_the_command_proposes_a_device(bmc: Bmc) -> None:
    where = ["discover", "127.0.0.1", "--protocol", "ipmi", "--port", f"ipmi={bmc.port}", "--json"]
    done = CliRunner().invoke(app, [*where, "--ipmi-user", USER, "--ipmi-password-env", "BMC_PASSWORD"])
    assert done.exit_code == 0, done.output
    assert PASSWORD not in done.stdout
    (found,) = json.loads(done.stdout)["found"]
    device = Device.model_validate(tomllib.loads(found["device"])["device"][0])
    assert device.ipmi == Login(user=USER, password="env:BMC_PASSWORD")
    assert CliRunner().invoke(app, where).exit_code == 1  # without a login nothing is proposed
    assert isinstance(CliRunner().invoke(app, [*where, "--ipmi-user", USER]).exception, ConfigError)
