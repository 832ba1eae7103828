"""BACnet/IP against a bacpypes3 device in a process of its own, with BAC0 as a second client."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from socket import SOCK_DGRAM

import pytest

from facility.errors import ConfigError, DeviceError, DeviceTimeout, ReadBackError
from facility.records import Command, Quality, VerdictKind
from facility.site import Bacnet
from tests.facility.ahu import HEAD, by_name, command, device_at, value_of, values, write_profile
from tests.peers.bacnet import INSTANCE, Ask, asking_bac0, bacnet_device, present_value, write
from tests.peers.processes import free_port


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    return write_profile(tmp_path)


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with bacnet_device(tmp_path_factory.mktemp("bacnet")) as (port, _):
        yield port


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    with asking_bac0() as answers:
        yield answers


@pytest.mark.parametrize("options", ["", "no-rpm", "shy", "max-apdu=128", "shy no-rpm max-apdu=50"])
async def test_values_and_qualities_whatever_the_device_can_do(options: str, tmp_path: Path, profile: Path) -> None:
    with bacnet_device(tmp_path, *options.split()) as (port, _):
        async with device_at(port, profile) as ahu:
            seen = by_name(await ahu.read())
            errors = ahu.unit_errors
    assert "absent_count" not in seen  # the device says it has no such object, and the profile that not every one has
    assert (seen["missing_count"].value, seen["missing_count"].quality) == (None, Quality.BAD)
    good = {name: seen[name].value for name in seen if seen[name].quality is Quality.GOOD}
    assert good == pytest.approx(
        {
            "supply_air_c": 18.5,
            "input_c": 18.5,
            "right_unit_c": 20.0,
            "power_w": 12_500.0,
            "setpoint_c": 24.0,
            "plain_count": 5.0,
            "offset_k": 1.0,
            "running_flag": 1.0,
            "enable_flag": 0.0,
            "mode_count": 2.0,
        }
    )
    assert (seen["broken_c"].value, seen["broken_c"].quality) == (None, Quality.BAD)  # fault, no sensor
    assert (seen["in_hand_c"].value, seen["in_hand_c"].quality) == (21.0, Quality.UNCERTAIN)  # out of service
    assert (seen["overridden_c"].value, seen["overridden_c"].quality) == (22.0, Quality.UNCERTAIN)
    assert seen["wrong_unit_c"].quality is Quality.UNCERTAIN
    assert list(errors) == ["wrong_unit_c"]
    assert "degrees-fahrenheit" in errors["wrong_unit_c"]


async def test_many_points_come_in_batches_of_the_devices_message_size(tmp_path: Path) -> None:
    points = "".join(
        f'[[point]]\nname = "n{n}_count"\nkind = "any"\nunit = "1"\nobject = "analog-input,{100 + n}"\n'
        for n in range(60)
    )
    path = tmp_path / "many.toml"
    path.write_text(HEAD.format(name="many", release="none") + points)
    for options in ("", "max-apdu=206"):
        with bacnet_device(tmp_path, *options.split()) as (port, _):
            async with device_at(port, path) as ahu:
                assert values(await ahu.read()) == {f"n{n}_count": float(n) for n in range(60)}


async def test_commands_at_two_priorities_and_back_to_the_default(peer: int, ask: Ask, profile: Path) -> None:
    low, high = {"priority": 16}, {"priority": 10}
    async with device_at(peer, profile, **low) as ours, device_at(peer, profile, **high) as other:
        await ours.write(command("setpoint_c", 22.0))
        assert await ask(present_value(peer, "analogOutput", 1)) == [22.0]
        await other.write(command("setpoint_c", 20.0))
        assert await value_of(ours, "setpoint_c") == 20.0
        with pytest.raises(ReadBackError, match="overridden by priority 10, which holds 20"):
            await ours.write(command("setpoint_c", 21.0))
        await other.write(command("setpoint_c", None))
        assert await value_of(ours, "setpoint_c") == 21.0  # it waited in our slot
        assert await ours.left_over() == {"ahu-1/setpoint_c": 21.0}
        await ours.release(["ahu-1/setpoint_c"])
        assert await ours.left_over() == {}
    assert await ask(present_value(peer, "analogOutput", 1)) == [24.0]  # relinquish default


async def test_release_is_per_point_and_leaves_other_priorities_alone(peer: int, ask: Ask, profile: Path) -> None:
    async with device_at(peer, profile) as ahu:
        await ask(write(peer, "analogOutput", 1, "19", 16))
        for name, value in (("setpoint_c", 23.0), ("enable_flag", 1.0), ("offset_k", 2.5)):
            await ahu.write(command(name, value))
        assert await value_of(ahu, "enable_flag") == 1.0
        await ahu.release(["ahu-1/enable_flag"])
        assert await value_of(ahu, "enable_flag") == 0.0
        assert await ahu.left_over() == {"ahu-1/setpoint_c": 23.0, "ahu-1/offset_k": 2.5}
        await ahu.release()
        assert await ahu.left_over() == {}
        assert await value_of(ahu, "setpoint_c") == 19.0
        seen = await ask(
            write(peer, "analogOutput", 1, "null", 16),
            present_value(peer, "analogOutput", 1),
            f"whois 127.0.0.1:{peer}",
        )
        assert seen[1:] == [24.0, [INSTANCE]]


async def test_what_the_device_refuses_is_named(peer: int, tmp_path: Path) -> None:
    async with device_at(peer, write_profile(tmp_path, release="none")) as ahu:
        with pytest.raises(DeviceError, match="value-out-of-range"):
            await ahu.write(command("setpoint_c", 35.0))
        with pytest.raises(DeviceError, match="write-access-denied"):
            await ahu.write(command("input_c", 20.0))
        with pytest.raises(DeviceError, match="unknown-object"):
            await ahu.write(Command("ahu-1/missing_count", 1.0, "", "test"))
        assert await ahu.left_over() == {}
        assert await value_of(ahu, "setpoint_c") == 24.0


async def test_what_could_not_be_given_back_is_not_written(peer: int, profile: Path) -> None:
    async with device_at(peer, profile) as ahu:
        for name in ("plain_count", "input_c"):
            with pytest.raises(DeviceError, match="without a priority array"):
                await ahu.write(command(name, 7.0))
        with pytest.raises(DeviceError, match="degrees-fahrenheit"):
            await ahu.write(command("wrong_unit_c", 20.0))
        assert await value_of(ahu, "plain_count") == 5.0
        hot = ahu.check(command("setpoint_c", 99.0))
        assert (hot.kind, hot.value) == (VerdictKind.CLIPPED, 40.0)


async def test_a_wrong_instance_is_named(peer: int, profile: Path) -> None:
    async with device_at(peer, profile, instance=77) as stranger:
        for _ in range(2):
            with pytest.raises(DeviceError, match=f"device instance {INSTANCE} answers there, not 77"):
                await stranger.read()


async def test_a_device_that_is_killed_and_comes_back(profile: Path, tmp_path: Path) -> None:
    port = free_port(SOCK_DGRAM)
    async with device_at(port, profile, deadline_s=4.0) as ahu:
        for _ in range(2):
            with bacnet_device(tmp_path, port=port) as (_, process):
                assert await value_of(ahu, "supply_air_c") == 18.5
                process.send_signal(signal.SIGKILL)
                process.wait()
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.5):  # as the collector does
                        await ahu.read()
    async with device_at(port, profile, deadline_s=0.5) as ahu:
        with pytest.raises(DeviceTimeout, match=r"no answer within 0\.5 s"):
            await ahu.read()


CRASHING = """
import asyncio, os, signal, sys
from facility.records import Command
from tests.facility.ahu import device_at

async def main():
    async with device_at(int(sys.argv[1]), sys.argv[2]) as ahu:
        await ahu.write(Command("ahu-1/setpoint_c", 22.0, "degC", "test"))
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_what_a_killed_run_left_in_command_is_found_and_relinquished(peer: int, profile: Path) -> None:
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", CRASHING, str(peer), str(profile))
    assert await killed.wait() == -signal.SIGKILL
    async with device_at(peer, profile) as ahu:
        assert await ahu.left_over() == {"ahu-1/setpoint_c": 22.0}
        await ahu.release(list(await ahu.left_over()))
        assert await ahu.left_over() == {}
        assert await value_of(ahu, "setpoint_c") == 24.0


async def test_devices_share_a_client_and_are_read_at_the_same_time(peer: int, tmp_path: Path, profile: Path) -> None:
    with bacnet_device(tmp_path, instance=9) as (second, _):
        async with device_at(peer, profile) as one, device_at(second, profile, instance=9) as two:
            reads = await asyncio.gather(*(device.read() for device in (one, two) for _ in range(5)))
            assert {values(readings)["supply_air_c"] for readings in reads} == {18.5}
            await one.close()
            assert await value_of(two, "supply_air_c") == 18.5


async def test_a_taken_local_port_and_nonsense_in_the_settings_are_named(peer: int, tmp_path: Path) -> None:
    path = write_profile(tmp_path)
    with socket.socket(socket.AF_INET, SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        async with device_at(peer, path, local_address=f"127.0.0.1:{taken.getsockname()[1]}") as ahu:
            with pytest.raises(DeviceError, match="in use"):
                await ahu.read()
    async with device_at(peer, path, local_address="somewhere") as ahu:
        with pytest.raises(ConfigError, match="not an address"):
            await ahu.read()
    path.write_text(path.read_text().replace("analog-value,99", "analogue,99"))
    with pytest.raises(ConfigError, match="analogue,99"):
        async with device_at(peer, path):
            pass


async def test_a_cancelled_read_leaves_the_device_usable(peer: int, profile: Path) -> None:
    async with device_at(peer, profile) as ahu:
        await ahu.read()
        for _ in range(20):
            task = asyncio.create_task(ahu.read())
            await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await value_of(ahu, "supply_air_c") == 18.5


def test_the_priority_must_not_be_that_of_life_safety() -> None:
    with pytest.raises(ValueError, match="priority"):
        Bacnet(instance=1, priority=2)


MAPPED = {  # a user's mapping of a generic profile to the objects of the peer
    "bacnet-ahu": ("supply_air_setpoint_c", {"analog-value,1": "analog-output,1"}, {"supply_air_c": 18.5}),
    "bacnet-chiller": (
        "chw_supply_setpoint_c",
        {
            "analog-value,1": "analog-output,1",
            "analog-input,1": "analog-input,51",
            "analog-input,2": "analog-input,1",
            "analog-input,7": "analog-input,6",
        },
        {"chw_return_c": 18.5, "power_w": 12_500.0},
    ),
}


@pytest.mark.parametrize("shipped", MAPPED)
async def test_a_generic_profile_mapped_to_a_unit(peer: int, tmp_path: Path, shipped: str) -> None:
    setpoint, objects, expected = MAPPED[shipped]
    text = resources.files("facility").joinpath(f"profiles/{shipped}.toml").read_text()
    text = text.replace(f'name = "{shipped}"', 'name = "mine"')
    for placeholder, instance in objects.items():
        line = f'object = "{instance}"' + ("\nscale = 1000.0" if instance == "analog-input,6" else "")
        text = text.replace(f'object = "{placeholder}"', line)
    path = tmp_path / "mine.toml"
    path.write_text(text)
    async with device_at(peer, path) as unit:
        seen = values(await unit.read())
        assert {name: seen[name] for name in expected} == expected
        await unit.write(command(setpoint, 22.0))
        assert await value_of(unit, setpoint) == 22.0
        await unit.release([f"ahu-1/{setpoint}"])
        assert await value_of(unit, setpoint) == 24.0
