"""Many emulated devices in one process, for the load benchmark.

``python -m apps.bench_devices KIND HEALTHY SLOW MUTE`` opens so many ports of a kind on 127.0.0.1 (modbus: TCP, any
unit id; snmp: UDP, any community; redfish: HTTP), prints them as JSON, and serves until its standard input ends. A
slow one answers after SLOW_S seconds, a mute one never. They say no more than the benchmark asks: what real devices
say, the tests see to.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import struct
import sys
from collections.abc import Callable
from typing import cast

SLOW_S = 3.0
NEVER_S = float("inf")
REGISTERS = struct.pack(">500f", *range(500))  # float32 values from register 0 on
_BODY = json.dumps({"@odata.id": "/redfish/v1", "RedfishVersion": "1.6.0", "Readings": list(range(500))}).encode()
RESOURCE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + str(len(_BODY)).encode() + b"\r\n\r\n"
) + _BODY
MBAP = struct.Struct(">HHHBBHH")  # transaction, protocol, length, unit, function, address, count


class ModbusPeer(asyncio.Protocol):
    """Answers reads of registers, one request after another."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._buffer += data
        while len(self._buffer) >= MBAP.size:
            request, self._buffer = self._buffer[: MBAP.size], self._buffer[MBAP.size :]
            transaction, _, _, unit, function, address, count = MBAP.unpack(request)
            content = REGISTERS[2 * address : 2 * (address + count)]
            head = struct.pack(">HHHBBB", transaction, 0, 3 + len(content), unit, function, len(content))
            _later(self._delay_s, functools.partial(self._send, head + content))

    def _send(self, answer: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(answer)


class RedfishPeer(asyncio.Protocol):
    """Answers every GET with one resource, which is the service root, too."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer every request whose head is complete."""
        *requests, self._buffer = (self._buffer + data).split(b"\r\n\r\n")
        for _ in requests:
            _later(self._delay_s, self._send)

    def _send(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(RESOURCE)


class SnmpPeer(asyncio.DatagramProtocol):
    """Answers GET of v2c with an INTEGER for every object."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        """Answer one message; what is none is passed over."""
        with contextlib.suppress(ValueError, IndexError):
            _later(self._delay_s, functools.partial(self._send, snmp_answer(data), address))

    def _send(self, answer: bytes, address: tuple[str, int]) -> None:
        if self._transport is not None:
            self._transport.sendto(answer, address)


def _later(delay_s: float, call: Callable[[], None]) -> None:
    if delay_s == 0:
        call()
    elif delay_s < NEVER_S:
        asyncio.get_running_loop().call_later(delay_s, call)


def _parts(data: bytes) -> list[tuple[int, bytes]]:
    """Tag and contents of each element of a BER sequence (X.690, short and long lengths)."""
    parts, i = [], 0
    while i < len(data):
        tag, length, i = data[i], data[i + 1], i + 2
        if length & 0x80:
            size = length & 0x7F
            length, i = int.from_bytes(data[i : i + size], "big"), i + size
        parts.append((tag, data[i : i + length]))
        i += length
    return parts


def _element(tag: int, content: bytes) -> bytes:
    if len(content) < 0x80:
        return bytes((tag, len(content))) + content
    length = len(content).to_bytes(2, "big")
    return bytes((tag, 0x82)) + length + content


def snmp_answer(message: bytes) -> bytes:
    """The response to a GET of SNMPv2c (RFC 3416): every object is 1000 plus its place in the request."""
    ((_, body),) = _parts(message)
    version, community, (_, request) = _parts(body)
    request_id, _, _, (_, bindings) = _parts(request)
    answers = b""
    for place, (_, binding) in enumerate(_parts(bindings)):
        name = _parts(binding)[0]
        answers += _element(0x30, _element(*name) + _element(0x02, (1000 + place).to_bytes(2, "big")))
    zero = _element(0x02, b"\0")
    response = _element(0xA2, _element(*request_id) + zero + zero + _element(0x30, answers))
    return _element(0x30, _element(*version) + _element(*community) + response)


async def _open(kind: str, delay_s: float) -> int:
    """One more device; its port."""
    loop = asyncio.get_running_loop()
    if kind != "snmp":
        peer = ModbusPeer if kind == "modbus" else RedfishPeer
        server = await loop.create_server(lambda: peer(delay_s), "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])
    transport, _ = await loop.create_datagram_endpoint(lambda: SnmpPeer(delay_s), ("127.0.0.1", 0))
    return int(transport.get_extra_info("sockname")[1])


async def serve(kind: str, healthy: int, slow: int, mute: int) -> None:
    """Open the devices, print their ports by state, and serve until standard input ends."""
    delays = {"healthy": (healthy, 0.0), "slow": (slow, SLOW_S), "mute": (mute, NEVER_S)}
    ports = {state: [await _open(kind, delay_s) for _ in range(count)] for state, (count, delay_s) in delays.items()}
    print(json.dumps(ports), flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], *(int(count) for count in sys.argv[2:5])))
