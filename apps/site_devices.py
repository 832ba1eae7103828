"""Opens the devices of a site: real ones where the site file says, those of an emulated site on loopback alone."""

from __future__ import annotations

import os
from collections.abc import Mapping

from apps.state_dir import StateDir, read_json
from facility.clock import Clock
from facility.devices import open_device
from facility.errors import ConfigError
from facility.records import Actuator
from facility.site import Device, Site

LOOPBACK = "127.0.0.1"
CLUSTER = "cluster"  # its name among the ports of the emulated building


def emulated_secrets(state: StateDir) -> dict[str, str]:
    """Environment of who talks to the emulated building in ``state``: its community, keys, passwords, certificate."""
    return {
        "ECO_BMC_PASSWORD": state.token("bmc"),
        "ECO_BMC_CA": str(state.root / "bmc-cert.pem"),
        "ECO_SNMP_COMMUNITY": "public",
        "ECO_SNMP_AUTH_KEY": state.token("snmp-auth"),
        "ECO_SNMP_PRIV_KEY": state.token("snmp-priv"),
    }


def emulated_ports(site: Site, state: StateDir) -> dict[str, int]:
    """Where the devices of an emulated site listen; empty for a real one, whatever the directory holds."""
    return dict(read_json(state.ports) or {}) if site.site.emulated else {}


def open_devices(site: Site, state: StateDir, clock: Clock) -> tuple[Actuator, ...]:
    """Every device of ``site`` in the order of its file; raises ConfigError where one cannot be had."""
    ports = emulated_ports(site, state)
    if site.site.emulated:
        for name, value in emulated_secrets(state).items():
            os.environ.setdefault(name, value)
    return tuple(_open(device, site, clock, ports) for device in site.device)


def _open(device: Device, site: Site, clock: Clock, ports: Mapping[str, int]) -> Actuator:
    if not site.site.emulated or not device.port:
        return open_device(device, clock)
    if device.name not in ports:
        raise ConfigError(
            "the emulated building has no such device",
            where=f"device {device.name}",
            hint=f"it has: {', '.join(sorted(set(ports) - {CLUSTER})) or 'none, for it does not run'}",
        )
    return open_device(device, clock, port=ports[device.name], host=LOOPBACK)
