"""Stalls by pressure: the kernel's own file, and imitated trees of both of the kubelet's cgroup drivers."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from facility.clock import WallClock
from facility.devices import open_device
from facility.devices.stalls import StallDevice
from facility.devices.stalls.psi import (
    NODE_PRESSURE,
    StallMeter,
    find_pods,
    find_unified,
    parse_some_us,
    read_some_us,
)
from facility.errors import DataError, DeviceError
from facility.records import Command, Quality, Reading
from facility.site import Device
from tests.shared import missing

UID = "0b1c2d3e-4f50-4617-8293-a4b5c6d7e8f9"
OTHER = "11111111-2222-3333-4444-555555555555"
STATIC = "0123456789abcdef0123456789abcdef"  # a pod of the kubelet's own manifests
SYSTEMD = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + UID.replace("-", "_") + ".slice"


def pressure(total_us: int) -> str:
    """A file as the kernel writes it."""
    return f"some avg10=0.08 avg60=0.03 avg300=0.11 total={total_us}\nfull avg10=0.08 avg60=0.03 avg300=0.10 total=7\n"


def group(root: Path, path: str, total_us: int = 0) -> Path:
    """A cgroup with a file of pressure."""
    folder = root / path
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "io.pressure").write_text(pressure(total_us))
    return folder


class Machine:
    """A node of files, and its steady clock."""

    def __init__(self, root: Path) -> None:
        self.cgroups, self.node_file, self.now_s = root / "cgroup", root / "io", 100.0
        self.cgroups.mkdir()
        self.node_file.write_text(pressure(5_000_000))
        device = Device(name="node-3", protocol="stalls", cgroup_root=str(self.cgroups), deadline_s=20.0)
        self.device = StallDevice(device, WallClock(), node_file=self.node_file, steady_s=lambda: self.now_s)

    async def values(self) -> dict[str, float | None]:
        return {reading.point: reading.value for reading in await self.device.read()}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


# Parsing --------------------------------------------------------------------------------------------------------------


def test_the_total_of_some_is_taken_not_that_of_full() -> None:
    assert parse_some_us(pressure(98925843), "io") == 98925843


@pytest.mark.parametrize(
    "text",
    [
        "some avg10=0.00",
        "full avg10=0 total=3\n",
        "some total=-1",
        "some total=1 total=2",
        "some total=",
        "sometotal=1",
    ],
)
def test_what_is_no_pressure_says_where(text: str) -> None:
    with pytest.raises(DataError, match="the file: there is no line 'some"):
        parse_some_us(text, "the file")


TEXTS = st.one_of(
    st.text(),
    st.lists(st.sampled_from(["some", "full", " ", "\n", "total=", "avg10=", "1", "٣", "-", "\x00", "."])).map("".join),
)


@given(TEXTS)
@example("")
@example("some total=٣")
@example("some total=99999999999999999999999")
def test_any_text_gives_a_total_nothing_or_an_error_for_people(text: str) -> None:
    total_us = None
    with contextlib.suppress(DataError):
        total_us = parse_some_us(text, "here")
    assert total_us is None or total_us >= 0


def test_the_kernel_of_this_machine_counts_up() -> None:
    if not NODE_PRESSURE.exists():
        missing(f"no {NODE_PRESSURE}: the kernel counts no pressure")
    first, second = read_some_us(NODE_PRESSURE), read_some_us(NODE_PRESSURE)
    assert first is not None
    assert second is not None
    assert second >= first >= 0


# From totals to a share -----------------------------------------------------------------------------------------------


def test_a_share_needs_two_totals_and_time_between_them() -> None:
    meter = StallMeter()
    assert meter.update(1_000_000, 10.0) is None
    assert meter.update(1_000_000, 10.0) is None
    assert meter.update(3_500_000, 20.0) == pytest.approx(25.0)
    assert meter.update(3_500_000, 30.0) == 0.0


def test_a_total_that_begins_anew_is_no_share_and_the_next_one_is() -> None:
    meter = StallMeter()
    meter.update(9_000_000, 0.0)
    assert meter.update(100_000, 10.0) is None
    assert meter.update(1_100_000, 20.0) == pytest.approx(10.0)


def test_an_interval_without_a_total_is_not_bridged() -> None:
    meter = StallMeter()
    meter.update(1_000_000, 0.0)
    assert meter.update(None, 10.0) is None
    assert meter.update(2_000_000, 20.0) is None
    assert meter.update(3_000_000, 30.0) == pytest.approx(10.0)


@given(st.lists(st.tuples(st.none() | st.integers(0, 2**64 - 1), st.floats(0.0, 1e9)), max_size=20))
def test_a_share_is_of_the_whole(steps: list[tuple[int | None, float]]) -> None:
    meter = StallMeter()
    shares = [meter.update(total_us, at_s) for total_us, at_s in steps]
    assert all(share is None or 0.0 <= share <= 100.0 for share in shares)


# Pods -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "uid"),
    [
        (f"kubepods/pod{UID}", UID),
        (f"kubepods/burstable/pod{UID}", UID),
        (f"kubepods/besteffort/pod{STATIC}", STATIC),
        (f"kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice", UID),
        (SYSTEMD, UID),
        (f"kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{UID.replace('-', '_')}.slice", UID),
        (f"kubelet/kubepods/burstable/pod{UID}", UID),
        (f"pod{UID}", UID),  # the root is the folder of the pods itself
    ],
)
def test_pods_of_every_driver_and_class_are_found(tmp_path: Path, path: str, uid: str) -> None:
    folder = group(tmp_path, path)
    group(tmp_path, f"{path}/cri-containerd-{'a' * 64}.scope")
    assert find_pods(tmp_path) == {uid: folder}


def test_what_is_no_pod_is_none(tmp_path: Path) -> None:
    for path in (
        "system.slice/podman.service",
        f"user.slice/pod{UID}",
        "kubepods/burstable/podnot-a-uid",
        f"burstable/pod{UID}",
        f"kubepods/burstable/other/pod{UID}",
    ):
        group(tmp_path, path)
    (tmp_path / "kubepods" / f"pod{UID}").write_text("a file")
    assert find_pods(tmp_path) == {}


def test_the_root_is_as_configured_or_the_one_with_controllers(tmp_path: Path) -> None:
    assert find_unified(str(tmp_path)) == tmp_path
    assert find_unified("").is_relative_to("/sys/fs/cgroup")


# The device -----------------------------------------------------------------------------------------------------------


async def test_the_node_and_its_pods_from_the_second_read_on(machine: Machine) -> None:
    pod = group(machine.cgroups, SYSTEMD, 1_000)
    first = await machine.device.read()
    assert [reading.quality for reading in first] == [Quality.BAD, Quality.BAD]
    machine.now_s += 60.0
    machine.node_file.write_text(pressure(8_000_000))
    (pod / "io.pressure").write_text(pressure(30_001_000))
    found = await machine.values()
    assert found == {"node-3/io_stall_pct": pytest.approx(5.0), f"node-3/pod-{UID}/io_stall_pct": pytest.approx(50.0)}
    point = machine.device.points[f"node-3/pod-{UID}/io_stall_pct"]
    assert (point.equipment, point.unit, point.writable) == (f"node-3/pod-{UID}", "%", False)


async def test_points_come_and_go_with_the_pods(machine: Machine) -> None:
    pod = group(machine.cgroups, f"kubepods/burstable/pod{UID}")
    name = f"node-3/pod-{UID}/io_stall_pct"
    await machine.values()
    group(machine.cgroups, f"kubepods/pod{OTHER}")
    assert set(await machine.values()) == {"node-3/io_stall_pct", name, f"node-3/pod-{OTHER}/io_stall_pct"}
    (pod / "io.pressure").unlink()
    pod.rmdir()
    (reading,) = await machine.device.read([name])  # asked for by who saw it a moment ago
    assert reading.value is None
    assert name not in machine.device.points
    with pytest.raises(DeviceError, match="no such point"):
        await machine.device.read([name])


@pytest.mark.parametrize("is_folder", [False, True])
async def test_a_pod_of_which_no_pressure_is_read_costs_only_itself(machine: Machine, is_folder: bool) -> None:
    file = group(machine.cgroups, f"kubepods/pod{UID}") / "io.pressure"
    file.unlink()
    if is_folder:
        file.mkdir()  # exists and cannot be read
    await machine.values()
    machine.now_s += 10.0
    assert await machine.values() == {"node-3/io_stall_pct": 0.0, f"node-3/pod-{UID}/io_stall_pct": None}


async def test_a_kernel_without_pressure_and_a_wrong_root_are_told_apart(machine: Machine) -> None:
    machine.node_file.write_text("cpu 1 2 3\n")
    with pytest.raises(DeviceError, match="is this a file of pressure"):
        await machine.device.read()
    machine.node_file.unlink()
    with pytest.raises(DeviceError, match=r"does not count pressure .*psi=1"):
        await machine.device.read()
    machine.cgroups.rmdir()
    with pytest.raises(DeviceError, match=r"cgroup: cannot be read: No such file .*see cgroup_root"):
        await machine.device.read()


async def test_nothing_is_written(machine: Machine) -> None:
    command = Command("node-3/io_stall_pct", 1.0, "%", "test")
    assert machine.device.check(command).rule == "not_writable"
    with pytest.raises(DeviceError, match="only measured"):
        await machine.device.write(command)
    await machine.device.release()
    assert (await machine.device.read_back(command)).value is None


async def test_this_machine_itself() -> None:
    if not NODE_PRESSURE.exists():
        missing(f"no {NODE_PRESSURE}: the kernel counts no pressure")
    device = open_device(Device(name="node-1", protocol="stalls", deadline_s=20.0), WallClock())
    await device.read()
    readings: list[Reading] = await device.read()
    node = readings[0]
    assert node.point == "node-1/io_stall_pct"
    assert node.value is not None
    assert 0.0 <= node.value <= 100.0
    await device.close()
