"""`eco site check` on a site with every protocol: each device is ok, or failed with the reason told apart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from apps.cli import app
from apps.try_devices import try_all
from facility.devices.hwmon import HwmonDevice
from facility.errors import Reason
from facility.site import Device
from tests.apps.every_protocol import SECRETS, SiteFile, every_protocol

# The devices, and for which reason each fails.
OK = ("meter-1", "ups-1", "ups-v3", "bmc-1", "node-1", "ahu-1", "sums", "supplies", "past")
FAILS = {
    "meter-other": Reason.UNKNOWN_MODEL,
    "meter-silent": Reason.TIMEOUT,
    "meter-off": Reason.REFUSED,
    "meter-lost": Reason.UNREACHABLE,
    "ups-key": Reason.CREDENTIALS,
    "pdu-other": Reason.UNKNOWN_MODEL,
    "pdu-community": Reason.CREDENTIALS,
    "pdu-key": Reason.CREDENTIALS,
    "pdu-privacy": Reason.CREDENTIALS,
    "pdu-secret": Reason.CONFIG,
    "pdu-dead": Reason.TIMEOUT,
    "pdu-off": Reason.REFUSED,
    "bmc-password": Reason.CREDENTIALS,
    "bmc-user": Reason.CREDENTIALS,
    "bmc-dead": Reason.TIMEOUT,
    "bmc-off": Reason.REFUSED,
    "node-password": Reason.CREDENTIALS,
    "node-certificate": Reason.CERTIFICATE,
    "node-silent": Reason.TIMEOUT,
    "node-off": Reason.REFUSED,
    "node-other": Reason.UNKNOWN_MODEL,
    "ahu-instance": Reason.WRONG_DEVICE,
    "ahu-other": Reason.UNKNOWN_MODEL,
    "ahu-dead": Reason.TIMEOUT,
    "sums-password": Reason.CREDENTIALS,
    "sums-certificate": Reason.CERTIFICATE,
    "sums-off": Reason.REFUSED,
    "sums-other": Reason.UNKNOWN_MODEL,
    "supplies-none": Reason.UNKNOWN_MODEL,
    "supplies-lost": Reason.ERROR,
    "past-lost": Reason.ERROR,
}

Row = Mapping[str, Any]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteFile]:
    with pytest.MonkeyPatch.context() as patch, every_protocol(tmp_path_factory.mktemp("site")) as made:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        yield made


@pytest.fixture(scope="module")
def rows(site: SiteFile) -> dict[str, Row]:
    """What the command says, by device; it has looked at all of them at once."""
    done = CliRunner().invoke(app, ["site", "check", str(site.write()), "--within-s", "25", "--json"])
    assert done.exit_code == 1, done.output
    said = json.loads(done.stdout)
    assert [row["device"] for row in said["devices"]] == site.names
    return {row["device"]: row for row in said["devices"]}


def row_of(rows: Mapping[str, Row], name: str) -> Row:
    if name not in rows:
        pytest.skip(f"the peer of {name} is not installed")
    return rows[name]


@pytest.mark.parametrize("name", OK)
def test_a_device_that_answers_is_ok(rows: dict[str, Row], name: str) -> None:
    row = row_of(rows, name)
    assert (row["ok"], row["error"], row["reason"]) == (True, "", "")
    assert row["good"] >= 1
    assert row["good"] + row["uncertain"] + row["bad"] == row["points"]


@pytest.mark.parametrize(("name", "reason"), FAILS.items())
def test_a_device_that_fails_says_why(rows: dict[str, Row], name: str, reason: Reason) -> None:
    row = row_of(rows, name)
    assert (row["ok"], row["reason"]) == (False, reason), row["error"]
    assert row["error"]
    assert row["points"] == 0
    for secret in SECRETS.values():
        assert secret not in row["error"].replace(row["device"], "")


def test_units_that_do_not_fit_are_notes_and_no_failure(rows: dict[str, Row]) -> None:
    (note,) = row_of(rows, "ahu-1")["notes"]
    assert note.startswith("wrong_unit_c: the object holds degrees-fahrenheit")


def test_every_device_is_known_here(site: SiteFile) -> None:
    assert set(site.names) <= {*OK, *FAILS}


def test_the_file_alone_can_be_checked() -> None:
    reference = Path(__file__).parents[2] / "data" / "site.toml"
    done = CliRunner().invoke(app, ["site", "check", str(reference), "--offline"])
    assert (done.exit_code, "the site file is valid" in done.output) == (0, True)


async def _untyped(*_: object) -> None:
    raise KeyError("a fault in a client library")


def test_an_untyped_fault_costs_its_own_device_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(HwmonDevice, "read", _untyped)
    odd = Device(name="odd", protocol="hwmon", profile="hwmon-psu", root=str(tmp_path))
    (tried,) = asyncio.run(try_all([odd]))
    assert (tried.ok, tried.reason) == (False, Reason.ERROR)
    assert "KeyError" in tried.error
