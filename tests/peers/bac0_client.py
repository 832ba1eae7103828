"""BAC0 as a second BACnet client: ``python -m tests.peers.bac0_client PORT``; a command a line, a JSON answer a line.

A command is ``read ADDRESS TYPE INSTANCE PROPERTY [INDEX]``, ``write ADDRESS TYPE INSTANCE PROPERTY VALUE - PRIORITY``
or ``whois ADDRESS``, in BAC0's own words.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import BAC0
from bacpypes3.pdu import Address


async def answer(client: Any, command: str) -> Any:
    """What BAC0 makes of one command: a value, or the error in words."""
    verb, _, rest = command.partition(" ")
    try:
        if verb == "whois":
            heard = await client.this_application.app.who_is(address=Address(rest), timeout=3)
            return [int(found.iAmDeviceIdentifier[1]) for found in heard]
        if verb == "write":
            return await client._write(rest)
        value = await client.read(rest)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return value if isinstance(value, (int, float, str)) else str(value)


async def main(port: int) -> None:
    """Answer until the input ends."""
    BAC0.log_level("silence")
    loop = asyncio.get_running_loop()
    async with BAC0.start(ip="127.0.0.1/32", port=port, ping=False) as client:
        while line := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
            print("ANSWER " + json.dumps(await answer(client, line)), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
