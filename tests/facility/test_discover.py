"""`eco site discover` against real agents: what it proposes, what it refuses, and what it says of the unknown."""

from __future__ import annotations

import asyncio
import datetime as dt
import http.server
import ipaddress
import json
import ssl
import threading
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pymodbus import ModbusDeviceIdentification
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from typer.testing import CliRunner

from apps.commands.site import app
from docs.profile_table import RECORDINGS
from facility.discovery.discover import Finding, Target, discover, snippet
from facility.errors import ConfigError
from facility.profile import load_profile, shipped_profiles
from facility.site import Device, SnmpAuth
from tests.peers import snmp as peers
from tests.peers.processes import free_port
from tests.shared import shared

MADE: dict[str, peers.Rows] = {
    "stranger": {"1.3.6.1.2.1.1.2.0": "not an OID", "1.3.6.1.4.1.99999.1.0": 7},
    "any-ups": {"1.3.6.1.2.1.33.1.2.4.0": 97, "1.3.6.1.2.1.33.1.4.4.1.4.1": 850},
}


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with peers.snmpsim(shared("facility/snmp"), tmp_path_factory.mktemp("snmpsim"), MADE) as port:
        yield port


async def snmp_at(port: int, community: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Target, Finding]:
    monkeypatch.setenv("TEST_COMMUNITY", community)
    auth = SnmpAuth(version="2c", community="env:TEST_COMMUNITY")
    target = Target("127.0.0.1", auth, {"snmp": port}, pause_s=0.0)
    (finding,) = await discover(target, ["snmp"])
    return target, finding


@pytest.mark.parametrize(("recording", "profiles"), RECORDINGS.items())
async def test_every_recorded_device_is_known(
    agents: int, recording: str, profiles: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    target, finding = await snmp_at(agents, recording, monkeypatch)
    assert tuple(match.profile for match in finding.matches) == profiles
    assert finding.best is not None
    assert finding.best.good >= 10
    (proposed,) = tomllib.loads(snippet(target, finding))["device"]
    device = Device.model_validate(proposed)
    assert (device.profile, device.port, device.snmp) == (profiles[0], agents, target.snmp)


async def test_an_unknown_device_says_what_it_is_and_what_to_do(agents: int, monkeypatch: pytest.MonkeyPatch) -> None:
    target, finding = await snmp_at(agents, "stranger", monkeypatch)
    assert finding.says["sysDescr"] == "stranger"
    assert finding.best is None
    assert snippet(target, finding) == ""
    assert "snmpwalk" in finding.hint


async def test_a_ups_of_any_make_is_known_by_the_standard_mib(agents: int, monkeypatch: pytest.MonkeyPatch) -> None:
    _, finding = await snmp_at(agents, "any-ups", monkeypatch)
    assert finding.best is not None
    assert finding.best.profile == "ups-mib"


async def test_a_wrong_community_and_no_credentials_are_told_apart(
    agents: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_COMMUNITY", "nobody")
    auth = SnmpAuth(version="2c", community="env:TEST_COMMUNITY")
    wrong = await discover(Target("127.0.0.1", auth, {"snmp": agents}, deadline_s=0.5), ["snmp"])
    assert "wrong community" in wrong[0].error
    nothing = await discover(Target("127.0.0.1"), ["snmp"])
    assert "give a community or a v3 user" in nothing[0].error


@pytest.mark.parametrize(
    "host",
    ["10.0.0.0/24", "10.0.0.1-20", "10.0.0.1,10.0.0.2", "10.0.0.*", "", "a b", "-x", "host;ls", "1.2.3.4-1.2.3.9"],
)
def test_ranges_and_lists_of_hosts_are_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="one host"):
        Target(host)


def test_names_and_addresses_are_taken() -> None:
    for host in ("pdu-1.example.org", "10.0.0.1", "::1", "fe80::1", "localhost", "rack_7"):
        assert Target(host).host == host


def text_registers(text: str, count: int) -> list[int]:
    data = text.encode().ljust(2 * count, b"\0")
    return [int.from_bytes(data[at : at + 2], "big") for at in range(0, 2 * count, 2)]


def sunspec_meter() -> list[int]:
    """SunSpec marker, common model, model 203 with every value not implemented but power, end model."""
    common = [*text_registers("Meters Ltd", 16), *text_registers("M203", 16), *[0] * 34]
    body = [0x8000] * 105
    body[16], body[20] = 1234, 1  # W and its scale factor
    return [0x5375, 0x6E53, 1, len(common), *common, 203, len(body), *body, 0xFFFF, 0]


@asynccontextmanager
async def modbus_server(registers: list[int], vendor: str = "") -> AsyncIterator[int]:
    port = free_port()
    identity = ModbusDeviceIdentification(info_name={"VendorName": vendor, "ModelName": "X"} if vendor else None)
    data = [SimData(40000, values=registers, datatype=DataType.REGISTERS)]
    server = ModbusTcpServer(SimDevice(1, simdata=data), address=("127.0.0.1", port), identity=identity)
    await server.serve_forever(background=True)
    try:
        yield port
    finally:
        await server.shutdown()


async def test_a_sunspec_meter_over_modbus() -> None:
    async with modbus_server(sunspec_meter(), "Meters Ltd") as port:
        target = Target("127.0.0.1", ports={"modbus": port}, pause_s=0.0)
        (finding,) = await discover(target, ["modbus"])
    assert finding.says["vendor"] == "Meters Ltd"
    assert finding.says["SunSpec models"] == "1, 203"
    assert finding.best is not None
    assert finding.best.profile == "sunspec-meter"
    power = next(reading for reading in finding.best.readings if reading.point.endswith("/power_w"))
    assert power.value == pytest.approx(12340.0)
    assert Device.model_validate(tomllib.loads(snippet(target, finding))["device"][0]).protocol == "modbus"


async def test_closed_ports_are_said_so() -> None:
    ports = {"modbus": free_port(), "redfish": free_port()}
    modbus, redfish = await discover(Target("127.0.0.1", ports=ports), ["modbus", "redfish"])
    assert "no connection" in modbus.error
    assert "no Redfish service" in redfish.error


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(ConfigError, match="no discovery over 'telnet'"):
        asyncio.run(discover(Target("127.0.0.1"), ["telnet"]))


class Service(http.server.BaseHTTPRequestHandler):
    """A service root and nothing else."""

    def do_GET(self) -> None:
        body = json.dumps({"RedfishVersion": "1.15.0", "Vendor": "Maker", "Product": "BMC"}).encode()
        self.send_response(200 if self.path == "/redfish/v1/" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Tests are quiet."""


@contextmanager
def redfish_server(folder: Path) -> Iterator[tuple[int, Path]]:
    """A TLS server with a certificate of its own; yields port and certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bmc")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - dt.timedelta(hours=1))
    builder = builder.not_valid_after(now + dt.timedelta(hours=1))
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    certificate, secret = folder / "bmc.pem", folder / "bmc.key"
    certificate.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    secret.write_bytes(key.private_bytes(*form))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, secret)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1], certificate
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_a_redfish_service_with_and_without_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with redfish_server(tmp_path) as (port, certificate):
        target = Target("127.0.0.1", ports={"redfish": port})
        (distrusted,) = await discover(target, ["redfish"])
        assert "bad certificate" in distrusted.error
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        (finding,) = await discover(target, ["redfish"])
    assert finding.says == {"RedfishVersion": "1.15.0", "Vendor": "Maker", "Product": "BMC"}
    assert "login" in finding.hint


def test_the_command_prints_what_was_found(agents: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_AUTH", peers.AUTH_KEY)
    monkeypatch.setenv("TEST_PRIV", peers.PRIV_KEY)
    keys = ["--snmp-user", peers.USER, "--auth-key-env", "TEST_AUTH", "--priv-key-env", "TEST_PRIV"]
    where = ["discover", "127.0.0.1", "--protocol", "snmp", "--port", f"snmp={agents}"]
    done = CliRunner().invoke(app, [*where, *keys, "--context", "vertiv-pdu_mn03edr1", "--json"])
    assert done.exit_code == 0, done.output
    (found,) = json.loads(done.stdout)["found"]
    assert found["profile"] == "vertiv-geist"
    assert {"point": "vertiv-geist-1/phase-1/power_w", "value": 1464.0, "unit": "W", "quality": "good"} in found[
        "points"
    ]
    (device,) = tomllib.loads(found["device"])["device"]
    assert device["snmp"] == {
        "version": "3",
        "user": peers.USER,
        "auth_key": "env:TEST_AUTH",
        "priv_key": "env:TEST_PRIV",
        "context": "vertiv-pdu_mn03edr1",
    }


def test_the_command_fails_where_nothing_is_known(agents: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_COMMUNITY", "stranger")
    where = ["discover", "127.0.0.1", "--protocol", "snmp", "--port", f"snmp={agents}"]
    done = CliRunner().invoke(app, [*where, "--community-env", "TEST_COMMUNITY"])
    assert done.exit_code == 1
    for wrong in (["--port", "snmp"], ["--snmp-user", "x"], ["--snmp-user", "x", "--community-env", "Y"]):
        assert isinstance(CliRunner().invoke(app, [*where, *wrong]).exception, ConfigError)


def test_profiles_are_found_by_what_a_device_says() -> None:
    """A family that is known by one thing alone must not swallow another: each [identify] is checked to be its own."""
    seen: dict[tuple[object, ...], str] = {}
    for name in shipped_profiles():
        identify = load_profile(name).identify
        key = (identify.sys_object_id, identify.sys_descr, identify.has_oid)
        if any(key):
            assert key not in seen, f"{name} and {seen.get(key)}"
            seen[key] = name
