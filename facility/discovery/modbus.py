"""Discovery over Modbus TCP: device identification (0x2B/0x0E) and the SunSpec list of models."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from facility.clock import WallClock
from facility.devices import open_device
from facility.devices.modbus.sunspec import BASES, END, MARKER, MAX_MODELS
from facility.discovery.discover import READ_S, Finding, Match, Target, candidates, ordered, tried
from facility.errors import DeviceError
from facility.profile import Profile
from facility.records import Reading
from facility.site import Device

logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)  # what fails is said once, in the finding

OBJECTS = {0: "vendor", 1: "product", 2: "revision", 4: "product name", 5: "model"}  # Modbus V1.1b3, section 6.21
COMMON = 1  # SunSpec model with the maker's texts
COMMON_TEXTS = {"vendor": (0, 16), "model": (16, 16), "version": (40, 8), "serial": (48, 16)}  # registers in its body

Words = Callable[[int, int], Awaitable[Sequence[int] | None]]


async def probe(target: Target) -> Finding:
    """Raises DeviceError where nothing answers as Modbus."""
    port = target.port("modbus")
    where = f"modbus {target.host}:{port}, unit {target.unit_id}"
    client = AsyncModbusTcpClient(target.host, port=port, timeout=target.deadline_s, retries=0, reconnect_delay=0)
    try:
        async with asyncio.timeout(target.deadline_s):
            connected = await client.connect()
        if not connected:
            raise DeviceError("no connection", where=where, hint="nothing listens, or a firewall is between")
        says = await _identity(client, target)
        models = await _models(_reader(client, target), says)
    except TimeoutError as error:
        raise DeviceError(f"no connection within {target.deadline_s:g} s", where=where) from error
    finally:
        client.close()
    if models:
        says["SunSpec models"] = ", ".join(str(model) for model in models)
    if not says:
        raise DeviceError(
            "it takes connections and does not say what it is", where=where, hint="choose the profile by its name plate"
        )
    fitting = [(rank, profile) for profile in candidates("modbus") if (rank := rank_of(profile, says, models))]
    matches = [await _try(target, profile, rank) for rank, profile in fitting]
    hint = "" if any(match.good for match in matches) else "no shipped profile explains it: write one from its manual"
    settings = {} if target.unit_id == 1 else {"unit_id": target.unit_id}
    return Finding("modbus", port, says, ordered(matches), settings, hint=hint)


async def _identity(client: AsyncModbusTcpClient, target: Target) -> dict[str, str]:
    """The texts of function 0x2B/0x0E; a device without it is asked no further."""
    says: dict[str, str] = {}
    for code in (1, 2):  # basic, then regular
        await asyncio.sleep(target.pause_s)
        try:
            answer = await client.read_device_information(read_code=code, device_id=target.unit_id)
        except ModbusException:
            return says
        if answer.isError():
            return says
        for number, text in getattr(answer, "information", {}).items():
            if number in OBJECTS and isinstance(text, bytes):
                says[OBJECTS[number]] = text.decode("latin-1").strip(" \0")
    return says


def _reader(client: AsyncModbusTcpClient, target: Target) -> Words:
    async def read(address: int, count: int) -> Sequence[int] | None:
        await asyncio.sleep(target.pause_s)
        try:
            answer = await client.read_holding_registers(address, count=count, device_id=target.unit_id)
        except ModbusException:
            return None
        return None if answer.isError() or len(answer.registers) < count else answer.registers

    return read


async def _models(read: Words, says: dict[str, str]) -> list[int]:
    """The SunSpec models of the device, in its order; the maker's texts of model 1 go into ``says``."""
    for base in BASES:
        if tuple(await read(base, len(MARKER)) or ()) == MARKER:
            break
    else:
        return []
    models: list[int] = []
    address = base + len(MARKER)
    while len(models) < MAX_MODELS and (head := await read(address, 2)) is not None and head[0] != END:
        model, length = head
        if model == COMMON and (body := await read(address + 2, min(length, 66))) is not None:
            says.update({name: text for name, (at, count) in COMMON_TEXTS.items() if (text := _text(body, at, count))})
        models.append(model)
        address += length + 2
    return models


def _text(body: Sequence[int], at: int, count: int) -> str:
    return b"".join(word.to_bytes(2, "big") for word in body[at : at + count]).decode("latin-1").strip(" \0")


def rank_of(profile: Profile, says: dict[str, str], models: Sequence[int]) -> float:
    """0 where the profile does not fit; a profile of the maker comes before one of a SunSpec model."""
    vendor = f"{says.get('vendor', '')} {says.get('product', '')} {says.get('product name', '')}".lower()
    if any(part.lower() in vendor for part in profile.identify.modbus_vendor):
        return 2.0
    return 1.0 if set(profile.modbus.sunspec_models) & set(models) else 0.0


async def _try(target: Target, profile: Profile, rank: float) -> Match:
    settings = Device(
        name=f"{profile.name}-1",
        protocol="modbus",
        profile=profile.name,
        host=target.host,
        port=target.port("modbus"),
        unit_id=target.unit_id,
        deadline_s=target.deadline_s,
    )
    device = open_device(settings, WallClock())

    async def read() -> list[Reading]:
        async with asyncio.timeout(READ_S):
            return await device.read()

    try:
        return await tried(profile.name, rank, read)
    finally:
        await device.close()
