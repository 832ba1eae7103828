"""A site with devices of every protocol: real peers that answer, and others that are dead, deaf or strangers."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from apps.emulator.redfish_tls import certificate_in
from tests.facility.ahu import write_profile
from tests.peers import ipmi_sim, prometheus, redfish, snmp
from tests.peers.bacnet import INSTANCE, bacnet_device
from tests.peers.processes import answers_tcp, free_port, running
from tests.peers.require import require_library

ROOT = Path(__file__).parents[2]
HEAD = '[site]\nname = "everything"\nzone = "US-CAL-CISO"\nlatitude_deg = 37.3\nlongitude_deg = -121.9\n'
SECRETS = {
    "COMMUNITY": snmp.COMMUNITY,
    "ANY_UPS": "any-ups",
    "AUTH_KEY": snmp.AUTH_KEY,
    "PRIV_KEY": snmp.PRIV_KEY,
    "BMC_PASSWORD": ipmi_sim.PASSWORD,
    "REDFISH_PASSWORD": redfish.PASSWORD,
    "PROMETHEUS_PASSWORD": prometheus.PASSWORD,
    "WRONG": "not-the-secret",
}
UPS: dict[str, snmp.Rows] = {"any-ups": {"1.3.6.1.2.1.33.1.2.4.0": 97, "1.3.6.1.2.1.33.1.4.4.1.4.1": 850}}
SUMS = """
[profile]
name = "sums"
protocol = "prometheus"
source = "made for this test"
[[point]]
name = "seven_count"
kind = "count"
unit = "1"
query = "vector(7)"
"""
SUPPLY = {
    "name": "pmbus",
    "power1_label": "pin",
    "power1_input": "263000000",
    "in1_label": "vin",
    "in1_input": "230500",
}


@dataclass(frozen=True, slots=True)
class Dead:
    """Ports of nobody: UDP and TCP that take everything and say nothing, UDP and TCP where nobody listens."""

    udp: int
    tcp: int
    closed_udp: int
    closed_tcp: int


@contextlib.contextmanager
def dead_ports() -> Iterator[Dead]:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hole,
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as deaf,
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as closed,
    ):
        for each in (hole, deaf, closed):
            each.bind(("127.0.0.1", 0))
        deaf.listen(8)
        ports = [each.getsockname()[1] for each in (hole, deaf, closed)]
        yield Dead(ports[0], ports[1], free_port(socket.SOCK_DGRAM), ports[2])


class SiteFile:
    """A site file in the making; ``folder`` is for what its devices need, ``stack`` stops their peers."""

    def __init__(self, folder: Path, stack: ExitStack, dead: Dead) -> None:
        self.folder, self.stack, self.dead = folder, stack, dead
        self.names: list[str] = []
        text = (ROOT / "data" / "site.toml").read_text(encoding="utf-8")
        self._text = HEAD + text[text.index("[hall") : text.index("[roles]")]

    def add(self, name: str, protocol: str, **settings: object) -> None:
        """One [[device]]; a table is given as a dict."""
        self.names.append(name)
        is_dead = settings.get("port") in (self.dead.udp, self.dead.tcp)
        settings = {"name": name, "protocol": protocol, "deadline_s": 1.0 if is_dead else 8.0, **settings}
        self._text += "[[device]]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in settings.items())

    def write(self) -> Path:
        """The file."""
        path = self.folder / "site.toml"
        path.write_text(self._text, encoding="utf-8")
        return path


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(value)


def modbus(site: SiteFile) -> None:
    """A Janitza meter on libmodbus: every float 230.0."""
    library, port = require_library("libmodbus.so.5", "apt-get install libmodbus5"), free_port()
    contents = ["19000", "43660000" * 35]
    command = [sys.executable, "-m", "tests.peers.libmodbus_server", library, str(port), *contents]
    site.stack.enter_context(running(command, site.folder / "modbus.log", lambda: answers_tcp(port)))
    site.add("meter-1", "modbus", profile="janitza-umg", port=port)
    site.add("meter-other", "modbus", profile="sunspec-meter", port=port)
    site.add("meter-silent", "modbus", profile="janitza-umg", port=site.dead.tcp)
    site.add("meter-off", "modbus", profile="janitza-umg", port=site.dead.closed_tcp)
    site.add("meter-lost", "modbus", profile="janitza-umg", port=502, host="no-such-host.invalid")


def snmpsim(site: SiteFile) -> None:
    """A UPS on snmpsim, over v2c and v3."""
    port = site.stack.enter_context(snmp.snmpsim(None, _folder(site, "snmpsim"), UPS))
    site.add("ups-1", "snmp", profile="ups-mib", port=port, snmp={"version": "2c", "community": "env:ANY_UPS"})
    site.add("ups-v3", "snmp", profile="ups-mib", port=port, snmp=_v3(context="any-ups"))
    site.add("ups-key", "snmp", profile="ups-mib", port=port, snmp=_v3(context="any-ups", auth_key="env:WRONG"))


def snmpd(site: SiteFile) -> None:
    """net-snmp's agent, which knows none of a PDU's objects."""
    port = site.stack.enter_context(snmp.snmpd(_folder(site, "snmpd")))
    right = {"version": "2c", "community": "env:COMMUNITY"}
    for name, auth in {
        "pdu-other": right,
        "pdu-community": {**right, "community": "env:WRONG"},
        "pdu-key": _v3(auth_key="env:WRONG"),
        "pdu-privacy": _v3(priv_key="env:WRONG"),
        "pdu-secret": {**right, "community": "env:NOT_SET_ANYWHERE"},
    }.items():
        site.add(name, "snmp", profile="apc-rpdu2", port=port, snmp=auth, deadline_s=2.5)
    site.add("pdu-dead", "snmp", profile="apc-rpdu2", port=site.dead.udp, snmp=right)
    site.add("pdu-off", "snmp", profile="apc-rpdu2", port=site.dead.closed_udp, snmp=right)


def _v3(**changes: str) -> dict[str, str]:
    return {"version": "3", "user": snmp.USER, "auth_key": "env:AUTH_KEY", "priv_key": "env:PRIV_KEY", **changes}


def ipmi(site: SiteFile) -> None:
    """OpenIPMI's simulator."""
    folder = _folder(site, "ipmi")
    bmc = site.stack.enter_context(ipmi_sim.ipmi_sim(folder, ipmi_sim.build_module(folder)))
    right = {"user": ipmi_sim.USER, "password": "env:BMC_PASSWORD"}
    site.add("bmc-1", "ipmi", profile="ipmi-bmc", port=bmc.port, ipmi=right)
    site.add("bmc-password", "ipmi", profile="ipmi-bmc", port=bmc.port, ipmi={**right, "password": "env:WRONG"})
    site.add("bmc-user", "ipmi", profile="ipmi-bmc", port=bmc.port, ipmi={**right, "user": "nobody"})
    site.add("bmc-dead", "ipmi", profile="ipmi-bmc", port=site.dead.udp, ipmi=right)
    site.add("bmc-off", "ipmi", profile="ipmi-bmc", port=site.dead.closed_udp, ipmi=right)


def redfish_(site: SiteFile) -> None:
    """The strict server over TLS, with a certificate of its own."""
    folder, port = _folder(site, "redfish"), free_port()
    site.stack.enter_context(redfish.process(folder, port))
    ca = {"ca_file": str(certificate_in(folder).cert)}
    login = {"user": redfish.USER, "password": "env:REDFISH_PASSWORD"}
    site.add("node-1", "redfish", profile="redfish-hgx", port=port, http={**login, **ca})
    wrong = {**login, **ca, "password": "env:WRONG"}
    site.add("node-password", "redfish", profile="redfish-hgx", port=port, http=wrong)
    site.add("node-certificate", "redfish", profile="redfish-hgx", port=port, http=login)
    site.add("node-other", "redfish", profile="redfish-ilo", port=port, http={**login, **ca})
    site.add("node-silent", "redfish", profile="redfish-hgx", port=site.dead.tcp, http={**login, "scheme": "http"})
    site.add("node-off", "redfish", profile="redfish-hgx", port=site.dead.closed_tcp, http={**login, **ca})


def bacnet(site: SiteFile) -> None:
    """An air handler on bacpypes3; one of its objects has another unit than the profile says."""
    folder = _folder(site, "bacnet")
    port, _ = site.stack.enter_context(bacnet_device(folder))
    ahu, right = str(write_profile(folder)), {"instance": INSTANCE}
    strange = write_profile(folder, name="strange", only=("absent_count", "missing_count"))
    site.add("ahu-1", "bacnet", profile=ahu, port=port, bacnet=right)
    site.add("ahu-instance", "bacnet", profile=ahu, port=port, bacnet={"instance": 77})
    site.add("ahu-other", "bacnet", profile=str(strange), port=port, bacnet=right)
    site.add("ahu-dead", "bacnet", profile=ahu, port=site.dead.udp, bacnet=right)


def prometheus_(site: SiteFile) -> None:
    """A Prometheus that scrapes nobody, over TLS and with a password: it can still do sums."""
    folder = _folder(site, "prometheus")
    certificate, profile = certificate_in(folder), folder / "sums.toml"
    profile.write_text(SUMS)
    peer = prometheus.prometheus(folder, [], cert=certificate.cert, key=certificate.key)
    port = site.stack.enter_context(peer).port
    right = {"user": prometheus.USER, "password": "env:PROMETHEUS_PASSWORD", "ca_file": str(certificate.cert)}
    site.add("sums", "prometheus", profile=str(profile), port=port, http=right)
    wrong = {**right, "password": "env:WRONG"}
    site.add("sums-password", "prometheus", profile=str(profile), port=port, http=wrong)
    untrusted = {key: value for key, value in right.items() if key != "ca_file"}
    site.add("sums-certificate", "prometheus", profile=str(profile), port=port, http=untrusted)
    site.add("sums-off", "prometheus", profile=str(profile), port=site.dead.closed_tcp, http=right)
    site.add("sums-other", "prometheus", profile="dcgm", port=port, http=right)


def hwmon(site: SiteFile) -> None:
    """One supply in a tree of the kernel's layout."""
    root = _folder(site, "hwmon")
    (root / "hwmon0").mkdir()
    for file, text in SUPPLY.items():
        (root / "hwmon0" / file).write_text(f"{text}\n")
    site.add("supplies", "hwmon", profile="hwmon-psu", root=str(root))
    site.add("supplies-none", "hwmon", profile="hwmon-psu", root=str(_folder(site, "empty")))
    site.add("supplies-lost", "hwmon", profile="hwmon-psu", root=str(site.folder / "not-there"))


def replay(site: SiteFile) -> None:
    """The recording that ships with the product."""
    site.add("past", "replay", recording=str(ROOT / "data" / "recordings" / "reference-hall"))
    site.add("past-lost", "replay", recording=str(site.folder / "not-there"))


PARTS: tuple[Callable[[SiteFile], None], ...] = (
    modbus,
    snmpsim,
    snmpd,
    ipmi,
    redfish_,
    bacnet,
    prometheus_,
    hwmon,
    replay,
)


@contextlib.contextmanager
def every_protocol(folder: Path) -> Iterator[SiteFile]:
    """The site, while its peers run. What has no peer on this machine is left out."""
    with ExitStack() as stack:
        site = SiteFile(folder, stack, stack.enter_context(dead_ports()))
        for part in PARTS:
            with contextlib.suppress(pytest.skip.Exception):
                part(site)
        yield site


def _folder(site: SiteFile, name: str) -> Path:
    folder = site.folder / name
    folder.mkdir()
    return folder
