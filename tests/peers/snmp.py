"""Real SNMP agents: snmpsim on recordings of real devices, and net-snmp's snmpd with objects that can be written."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from socket import SOCK_DGRAM

from tests.peers.processes import free_port, running
from tests.peers.require import require_program

USER, AUTH_KEY, PRIV_KEY = "eco", "authpass12", "privpass12"
COMMUNITY = "watcher"
BASE = "1.3.6.1.4.1.99999.1"  # objects of snmpd that can be written, .1 and .2; .3 is text
V3 = ["-v3", "-l", "authPriv", "-u", USER, "-a", "SHA-256", "-A", AUTH_KEY, "-x", "AES", "-X", PRIV_KEY]


def snmpget(port: int, oid: str, *credentials: str) -> str:
    """What net-snmp's own client reads: the bare value, or its error text."""
    program = require_program("snmpget", "apt-get install snmp")
    command = [program, *credentials, "-Oqv", "-t", "2", "-r", "1", f"127.0.0.1:{port}", oid]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    return (done.stdout or done.stderr).strip()


Rows = Mapping[str, int | str]
"""Objects by OID: a number is an Integer32, a text an OCTET STRING."""


def snmprec(rows: Rows) -> str:
    """A recording made for a test, as snmpsim wants it: in the order of the OIDs."""
    order = sorted(rows, key=lambda oid: tuple(map(int, oid.split("."))))
    return "".join(f"{oid}|{4 if isinstance(rows[oid], str) else 2}|{rows[oid]}\n" for oid in order)


@contextlib.contextmanager
def snmpsim(recordings: Path | None, scratch: Path, made: Mapping[str, Rows] | None = None) -> Iterator[int]:
    """snmpsim serving every recording of a folder, and those ``made`` for the test; yields its port.

    The community, or the context of v3, is the recording's name.
    """
    port = free_port(SOCK_DGRAM)
    data = scratch / "recordings"
    if recordings is None:
        data.mkdir()
    else:
        shutil.copytree(recordings, data, copy_function=shutil.copyfile)
    for name, rows in (made or {}).items():
        (data / f"{name}.snmprec").write_text(snmprec({"1.3.6.1.2.1.1.1.0": name, **rows}))
    data.chmod(0o755)
    command = [
        str(Path(sys.executable).with_name("snmpsim-command-responder")),
        f"--data-dir={data}",
        f"--cache-dir={scratch / 'cache'}",
        f"--agent-udpv4-endpoint=127.0.0.1:{port}",
        f"--v3-user={USER}",
        f"--v3-auth-key={AUTH_KEY}",
        "--v3-auth-proto=SHA256",
        f"--v3-priv-key={PRIV_KEY}",
        "--v3-priv-proto=AES",
        *(("--process-user=root", "--process-group=root") if os.geteuid() == 0 else ()),
    ]
    first = min(path.stem for path in data.glob("*.snmprec"))
    with running(command, scratch / "snmpsim.log", lambda: _says(port, "1.3.6.1.2.1.1.1.0", first)):
        yield port


@contextlib.contextmanager
def snmpd(scratch: Path, port: int | None = None) -> Iterator[int]:
    """net-snmp's agent with a SHA-256/AES user that may write and a community that may only read; yields its port."""
    program = require_program("snmpd", "apt-get install snmpd")
    port = port or free_port(SOCK_DGRAM)
    configuration = scratch / "snmpd.conf"
    configuration.write_text(
        f"agentaddress udp:127.0.0.1:{port}\n"
        f"createUser {USER} SHA-256 {AUTH_KEY} AES {PRIV_KEY}\n"
        f"rwuser {USER} priv\n"
        f"rocommunity {COMMUNITY} 127.0.0.1\n"
        f"override -rw {BASE}.1 integer 220\n"
        f"override -rw {BASE}.2 integer 1\n"
        f'override {BASE}.3 octet_str "23.5"\n'
    )
    environment = {"SNMP_PERSISTENT_DIR": str(scratch / "persistent")}
    command = ["env", *(f"{key}={value}" for key, value in environment.items())]
    command += [program, "-f", "-Lo", "-C", "-c", str(configuration), "-p", str(scratch / "snmpd.pid")]
    with running(command, scratch / "snmpd.log", lambda: _says(port, f"{BASE}.1", COMMUNITY)):
        yield port


def _says(port: int, oid: str, community: str) -> bool:
    answer = snmpget(port, oid, "-v2c", "-c", community)
    return "Timeout" not in answer and "No Such" not in answer
