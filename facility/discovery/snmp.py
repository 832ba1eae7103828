"""Discovery over SNMP: sysObjectID and sysDescr, then the profiles whose [identify] fits."""

from __future__ import annotations

import asyncio
from typing import Any

from facility.clock import WallClock
from facility.devices.snmp import SYS_DESCR, SYS_OBJECT_ID, SnmpDevice
from facility.devices.snmp.agent import SnmpAgent
from facility.devices.snmp.value import NO_VALUE, text_of
from facility.discovery.discover import READ_S, Finding, Match, Target, candidates, ordered, tried
from facility.errors import DeviceError
from facility.profile import Profile
from facility.profile_snmp import Identify
from facility.records import Reading
from facility.site import Device, SnmpAuth

SYS_NAME = "1.3.6.1.2.1.1.5.0"
MOST_TRIED = 3


async def probe(target: Target) -> Finding:
    """Raises DeviceError where the agent does not answer."""
    port = target.port("snmp")
    if target.snmp is None:
        raise DeviceError("not asked", where=f"snmp {target.host}:{port}", hint="give a community or a v3 user")
    agent = SnmpAgent(target.host, target.host, port, target.snmp, target.deadline_s, pause_s=target.pause_s)
    try:
        descr, object_id, name = await agent.get([SYS_DESCR, SYS_OBJECT_ID, SYS_NAME])
        says = {"sysObjectID": _oid(object_id), "sysDescr": text_of(descr), "sysName": text_of(name)}
        fitting = [(rank, profile) for profile in candidates("snmp") if (rank := await _rank(profile, says, agent))]
    finally:
        await agent.close()
    fitting.sort(key=lambda pair: pair[0], reverse=True)
    matches = [await _try(target, target.snmp, profile, rank) for rank, profile in fitting[:MOST_TRIED]]
    settings = {"snmp": target.snmp.model_dump(exclude_defaults=True) | {"version": target.snmp.version}}
    hint = "" if any(match.good for match in matches) else _unknown(target, says)
    return Finding("snmp", port, says, ordered(matches), settings, hint=hint)


def _oid(value: Any) -> str:
    return "" if value is None or isinstance(value, NO_VALUE) else str(value)


async def _rank(profile: Profile, says: dict[str, str], agent: SnmpAgent) -> float:
    """0 where the profile does not fit; the longer the part of sysObjectID that fits, the higher."""
    identify = profile.identify
    if identify == Identify():
        return 0.0
    ids = [start for start in identify.sys_object_id if f"{says['sysObjectID']}.".startswith(f"{start}.")]
    descrs = [start for start in identify.sys_descr if says["sysDescr"].startswith(start)]
    if (identify.sys_object_id and not ids) or (identify.sys_descr and not descrs):
        return 0.0
    if identify.has_oid and not [oid for oid in identify.has_oid if await _has(agent, oid)]:
        return 0.0
    return 1.0 + max((start.count(".") for start in ids), default=0) + (0.5 if descrs else 0.0)


async def _has(agent: SnmpAgent, subtree: str) -> bool:
    pairs = await agent.bulk(subtree, 1)
    return bool(pairs) and pairs[0][0].startswith(f"{subtree}.")


async def _try(target: Target, auth: SnmpAuth, profile: Profile, rank: float) -> Match:
    settings = Device(
        name=f"{profile.name}-1",
        protocol="snmp",
        profile=profile.name,
        host=target.host,
        port=target.port("snmp"),
        deadline_s=target.deadline_s,
        snmp=auth,
    )
    device = SnmpDevice(settings, auth, profile, WallClock(), pause_s=target.pause_s)

    async def read() -> list[Reading]:
        async with asyncio.timeout(READ_S):
            return await device.read()

    try:
        return await tried(profile.name, rank, read)
    finally:
        await device.close()


def _unknown(target: Target, says: dict[str, str]) -> str:
    enterprise = ".".join(says["sysObjectID"].split(".")[:7]) or "1.3.6.1.4.1"
    return (
        "no shipped profile explains this device: copy that of a similar one, fill in the OIDs of the maker's MIB "
        f"(`snmpwalk ... {target.host} {enterprise}` lists what is there), and give its path as 'profile'"
    )
