"""Discovery over IPMI: what a BMC says to anybody, and with a login which it is and what its sensors read."""

from __future__ import annotations

import asyncio
from typing import Any

from facility.clock import WallClock
from facility.devices.ipmi import IpmiDevice
from facility.devices.ipmi.link import HELLO, Bmc, IpmiLink
from facility.discovery.discover import READ_S, Finding, Match, Target, candidates, ordered, tried
from facility.errors import DeviceError, DeviceTimeout, Reason, network_reason
from facility.profile import Profile
from facility.records import Reading
from facility.site import Device, Login, resolve_secret

APP, GET_DEVICE_ID = 0x06, 0x01
ANSWER = 20  # octets of RMCP, session and message headers before the completion code (IPMI 2.0, 13.6)
COMMAND = 0x38  # Get Channel Authentication Capabilities
DEFAULT_PRIVILEGE_S = 10.0  # a session on a slow BMC


async def probe(target: Target) -> Finding:
    """Raises DeviceError where nothing answers as IPMI; without a login it is only asked what it speaks."""
    port = target.port("ipmi")
    says = capabilities(await _greet(target.host, port, target.deadline_s), f"ipmi {target.host}:{port}")
    if target.ipmi is None:
        return Finding("ipmi", port, says, hint="the rest needs a login: give a user and its password")
    says |= await _identity(target, target.ipmi)
    matches = [await _try(target, target.ipmi, profile) for profile in candidates("ipmi")]
    settings = {"ipmi": target.ipmi.model_dump()}
    hint = "" if any(match.good for match in matches) else "no sensor has a value: is the node on?"
    return Finding("ipmi", port, says, ordered(matches), settings, hint=hint)


async def _greet(host: str, port: int, deadline_s: float) -> bytes:
    """The answer to Get Channel Authentication Capabilities, which needs no session."""
    where, loop = f"ipmi {host}:{port}", asyncio.get_running_loop()
    heard: asyncio.Future[bytes] = loop.create_future()
    try:
        async with asyncio.timeout(deadline_s):
            transport, _ = await loop.create_datagram_endpoint(lambda: _Ear(heard), remote_addr=(host, port))
            try:
                transport.sendto(HELLO)
                return await heard
            finally:
                transport.close()
    except TimeoutError as error:
        hint = "is IPMI over LAN enabled?"
        raise DeviceTimeout(f"no answer within {deadline_s:g} s", where=where, hint=hint) from error
    except OSError as error:
        raise DeviceError(f"cannot be reached: {error}", where=where, reason=network_reason(error)) from error


class _Ear(asyncio.DatagramProtocol):
    def __init__(self, heard: asyncio.Future[bytes]) -> None:
        self._heard = heard

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if not self._heard.done():
            self._heard.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self._heard.done():
            self._heard.set_exception(exc)


def capabilities(answer: bytes, where: str) -> dict[str, str]:
    """What Get Channel Authentication Capabilities says (IPMI 2.0, 22.13). Raises DeviceError where it is none."""
    data = answer[ANSWER + 1 : -1]
    if len(data) < 8 or answer[0] != 0x06 or answer[ANSWER - 1] != COMMAND or answer[ANSWER] != 0:
        raise DeviceError("what answers there is no BMC", where=where, reason=Reason.WRONG_DEVICE)
    channel, kinds, status, extended = data[0], data[1], data[2], data[3]
    is_v2 = bool(kinds & 0x80) and bool(extended & 0x02)
    return {
        "IPMI": "2.0" if is_v2 else "1.5 alone: too old for this product",
        "channel": str(channel & 0x0F),
        "anonymous login": "enabled: anybody may log in, switch it off" if status & 0x01 else "off",
        "maker (IANA)": str(int.from_bytes(data[4:7], "little")),
    }


async def _identity(target: Target, login: Login) -> dict[str, str]:
    """Get Device ID (IPMI 2.0, 20.1). Raises DeviceError where the login is refused."""
    password, port = resolve_secret(login.password), target.port("ipmi")
    deadline_s = max(target.deadline_s, DEFAULT_PRIVILEGE_S)
    link = IpmiLink(Bmc(target.host, target.host, port, login.user, password, deadline_s))
    try:
        answer = await link.ask(APP, GET_DEVICE_ID)
    finally:
        await link.close()
    data = answer.data
    if answer.code or len(data) < 11:
        return {}
    return {
        "firmware": f"{data[2] & 0x7F}.{data[3]:02x}",
        "maker (IANA)": str(int.from_bytes(data[6:9], "little") & 0xFFFFF),
        "product": str(int.from_bytes(data[9:11], "little")),
    }


async def _try(target: Target, login: Login, profile: Profile) -> Match:
    settings = Device(
        name=f"{profile.name}-1",
        protocol="ipmi",
        profile=profile.name,
        host=target.host,
        port=target.port("ipmi"),
        deadline_s=READ_S,
        ipmi=login,
    )
    device = IpmiDevice(settings, profile, WallClock())

    async def read() -> list[Reading]:
        return await device.read()

    try:
        return await tried(profile.name, 1.0, read)
    finally:
        await device.close()
