"""Discovery over BACnet/IP: a directed Who-Is, the device's list of objects, their names and units.

Which object is what is the integrator's choice: a shipped profile fits where the device has most of its objects in its
units; else the objects themselves make a draft, to be completed by a person and with nothing writable.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bacpypes3.basetypes import EngineeringUnits
from bacpypes3.primitivedata import ObjectType

from facility.clock import WallClock
from facility.devices.bacnet import BacnetDevice
from facility.devices.bacnet.client import UNCONFIGURED, RefusedError, join, leave, local_address, resolve
from facility.devices.bacnet.device import object_of
from facility.devices.bacnet.station import DEVICE, Denied, ObjectId, Station
from facility.devices.bacnet.units import BACNET, PROFILE, Unit, unit_error
from facility.devices.bacnet.values import Property, Tags, identifiers, number, text
from facility.discovery.discover import READ_S, Draft, Finding, Match, Target, candidates, ordered, tried
from facility.errors import DeviceError, DeviceTimeout, network_reason
from facility.profile import Profile
from facility.records import Reading
from facility.site import Bacnet, Device

ANALOG, BINARY, MULTISTATE = (0, 1, 2), (3, 4, 5), (13, 14, 19)  # inputs, outputs, values (ASHRAE 135, clause 21)
MOST_OBJECTS = 500  # that are looked at: a building's controller may have thousands
FITS = 0.6  # share of a profile's objects that the device must have, in fitting units
# Of each quantity: the unit that is read into, what names end in, and the kind of point.
QUANTITIES = {
    "temperature": ("degC", "c", "temperature"),
    "ratio": ("%", "pct", "ratio"),
    "power": ("W", "w", "power"),
    "apparent power": ("VA", "va", "apparent_power"),
    "energy": ("Wh", "wh", "energy"),
    "voltage": ("V", "v", "voltage"),
    "current": ("A", "a", "current"),
    "frequency": ("Hz", "hz", "frequency"),
    "speed": ("rpm", "rpm", "speed"),
    "pressure": ("Pa", "pa", "pressure"),
    "mass flow": ("kg/s", "kg_s", "flow"),
    "volume flow": ("m3/s", "m3_s", "flow"),
    "volume": ("m3", "m3", "volume"),
    "time": ("s", "s", "duration"),
}


@dataclass(frozen=True, slots=True)
class Found:
    """One object: its name, and its unit's number where it has one."""

    target: ObjectId
    name: str
    unit: int | None


async def probe(target: Target) -> Finding:
    """Raises DeviceError where nothing answers as BACnet."""
    port = target.port("bacnet")
    where = f"bacnet {target.host}:{port}"
    try:
        remote = await resolve(target.host, port)
        local = local_address("", remote)
        client = await join(local, id(target))
    except OSError as error:
        raise DeviceError(f"cannot be reached: {error}", where=where, reason=network_reason(error)) from error
    try:
        instance, says, objects = await _ask(Station(client, remote), target)
    except TimeoutError as error:
        hint = "nothing answers there; some devices answer in their own network alone"
        raise DeviceTimeout(f"no answer within {target.deadline_s:g} s", where=where, hint=hint) from error
    except RefusedError as said:
        raise DeviceError(f"it refuses: {said}", where=where) from said
    finally:
        await leave(local, id(target))
    fitting = [(rank, profile) for profile in candidates("bacnet") if (rank := rank_of(profile, objects)) >= FITS]
    matches = [await _try(target, profile, instance, rank) for rank, profile in fitting]
    draft = None if any(match.good for match in matches) else draft_of(instance, says, objects)
    hint = "" if draft is None else "keep the draft as a file, delete what is not wanted, and see what may be written"
    return Finding("bacnet", port, says, ordered(matches), {"bacnet": {"instance": instance}}, hint=hint, draft=draft)


async def _ask(station: Station, target: Target) -> tuple[int, dict[str, str], dict[ObjectId, Found]]:
    async with asyncio.timeout(target.deadline_s):
        instance = await station.identify(UNCONFIGURED)
    if instance is None:
        hint = "it answers no Who-Is: read its instance at its panel, and give it as bacnet.instance"
        raise DeviceError("it does not say which device it is", where=f"bacnet {target.host}", hint=hint)
    me = (DEVICE, instance)
    says = {"device instance": str(instance)}
    for label, name in {
        "name": Property.OBJECT_NAME,
        "vendor": Property.VENDOR_NAME,
        "model": Property.MODEL_NAME,
    }.items():
        says[label] = await _text(station, target, me, name)
    listed = await _objects(station, target, me)
    says["objects"] = str(len(listed))
    known = [each for each in listed if each[0] in (*ANALOG, *BINARY, *MULTISTATE)][:MOST_OBJECTS]
    return instance, says, {each: await _look_at(station, target, each) for each in known}


async def _objects(station: Station, target: Target, me: ObjectId) -> list[ObjectId]:
    """The list of objects: whole, or one by one where the device cannot send it in parts."""
    whole = await _one(station, target, me, Property.OBJECT_LIST)
    if not isinstance(whole, Denied):
        return identifiers(whole)
    length = await _one(station, target, me, Property.OBJECT_LIST, 0)
    count = 0 if isinstance(length, Denied) else int(number(length) or 0)
    found: list[ObjectId] = []
    for index in range(1, min(count, MOST_OBJECTS) + 1):
        element = await _one(station, target, me, Property.OBJECT_LIST, index)
        found += [] if isinstance(element, Denied) else identifiers(element)
    return found


async def _look_at(station: Station, target: Target, each: ObjectId) -> Found:
    name = await _text(station, target, each, Property.OBJECT_NAME)
    unit = await _one(station, target, each, Property.UNITS) if each[0] in ANALOG else Denied("has none")
    code = None if isinstance(unit, Denied) else number(unit)
    return Found(each, name, None if code is None else int(code))


async def _text(station: Station, target: Target, each: ObjectId, name: Property) -> str:
    answer = await _one(station, target, each, name)
    return "" if isinstance(answer, Denied) else text(answer)


async def _one(
    station: Station, target: Target, each: ObjectId, name: Property, index: int | None = None
) -> Tags | Denied:
    """One request, with the pause before it that keeps the rate down."""
    await asyncio.sleep(target.pause_s)
    async with asyncio.timeout(target.deadline_s):
        return await station.read_one(each, name, index)


def rank_of(profile: Profile, objects: Mapping[ObjectId, Found]) -> float:
    """The share of the profile's points whose object is there, with a unit that the profile takes it for."""
    fits = [
        found is not None and (found.unit is None or not unit_error(found.unit, point.unit, point.scale, point.offset))
        for point in profile.point
        for found in [objects.get(object_of(point))]
    ]
    return sum(fits) / len(fits)


async def _try(target: Target, profile: Profile, instance: int, rank: float) -> Match:
    settings = Device(
        name=f"{profile.name}-1",
        protocol="bacnet",
        profile=profile.name,
        host=target.host,
        port=target.port("bacnet"),
        deadline_s=READ_S,
        bacnet=Bacnet(instance=instance),
    )
    device = BacnetDevice(settings, profile, WallClock())

    async def read() -> list[Reading]:
        return await device.read()

    try:
        return await tried(profile.name, rank, read)
    finally:
        await device.close()


def draft_of(instance: int, says: Mapping[str, str], objects: Mapping[ObjectId, Found]) -> Draft | None:
    """A profile of every object that is understood; None where there is none."""
    name = _slug(says.get("name", "")) or f"bacnet-{instance}"
    points = _points(list(objects.values()))
    source = _quoted(f"the device's own list of objects: {says.get('vendor', '')} {says.get('model', '')}".rstrip(" :"))
    head = f'[profile]\nname = "{name}"\nprotocol = "bacnet"\nsource = {source}\n'
    note = "\n# Setpoints: add writable, min, max and max_step to points that the maintainer lets be commanded.\n"
    release = '\n[release]\nkind = "relinquish"\n'
    return Draft(name, head + note + release + "".join(points), len(points)) if points else None


def _points(found: Sequence[Found]) -> list[str]:
    seen: dict[str, int] = {}
    points = []
    for each in found:
        unit, suffix, kind, scale = _meaning(each)
        if not unit:
            continue
        name = f"{_slug(each.name) or f'object-{each.target[0]}-{each.target[1]}'}_{suffix}"
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            name = f"{name.removesuffix(f'_{suffix}')}-{seen[name]}_{suffix}"
        address = f"{ObjectType(each.target[0])},{each.target[1]}"
        points.append(
            f'\n[[point]]\nname = "{name}"\nkind = "{kind}"\nunit = "{unit}"\n'
            f'description = {_quoted(each.name)}\nobject = "{address}"\noptional = true\n{scale}'
        )
    return points


def _meaning(found: Found) -> tuple[str, str, str, str]:
    """Unit, suffix, kind, and the lines that convert; an empty unit where the object's is not known."""
    if found.target[0] in BINARY:
        return "1", "flag", "flag", ""
    if found.target[0] in MULTISTATE or found.unit is None:
        return "1", "code", "code", ""
    name = str(EngineeringUnits(found.unit))
    if name in ("no-units", "power-factor"):
        return "1", "ratio" if name == "power-factor" else "count", "ratio", ""
    has = BACNET.get(name)
    if has is None:
        return "", "", "", ""
    unit, suffix, kind = QUANTITIES[has.quantity]
    return unit, suffix, kind, _conversion(has, PROFILE[unit])


def _conversion(has: Unit, wants: Unit) -> str:
    scale, offset = has.scale / wants.scale, (has.offset - wants.offset) / wants.scale
    lines = f"scale = {scale!r}\n" if scale != 1.0 else ""
    return lines + (f"offset = {offset!r}\n" if offset else "")


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _quoted(words: str) -> str:
    safe = "".join(letter for letter in words if letter.isprintable())
    return '"' + safe.replace("\\", "\\\\").replace('"', '\\"') + '"'
