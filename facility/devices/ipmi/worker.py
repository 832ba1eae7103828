"""A process that holds the session to one BMC; requests and answers are lines of JSON on the socket that is its stdin.

pyghmi keeps sessions and sockets in globals, and waits in ways of its own: here it can stall nobody else, and whoever
started the process may kill it at any time. It imports nothing of this project, which keeps it small, and ends with
its parent: then the socket closes.

The first line is ``{"host", "port", "user", "password", "deadline_s"}``, answered by ``{}`` or ``{"error"}``. Each
further line is ``{"netfn", "command", "data" (hexadecimal), "lun"}``, answered by ``{"code", "data"}`` or
``{"error"}``; after an error the process ends.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator
from typing import Any

from pyghmi.exceptions import IpmiException
from pyghmi.ipmi.private.session import Session

PUMP_S = 0.005  # pyghmi may miss the wake-up for an answer that comes at once, so that it is asked often
KEEP_ALIVE_S = 15.0  # BMCs drop a session that is idle for 60 s (IPMI 2.0, 6.12.15), some sooner
APP, GET_DEVICE_ID = 0x06, 0x01  # any request keeps a session
NO_ANSWER = "no answer"


class Bmc:
    """One session. Calls wait no longer than they are told."""

    def __init__(self, host: str, port: int, user: str, password: str, deadline_s: float) -> None:
        self._where = {"bmc": host, "port": port, "userid": user, "password": password}
        self._deadline_s = deadline_s
        self._session: Any = None

    def login(self) -> dict[str, Any]:
        """Open the session; says the error where that fails."""
        said: dict[str, Any] = {}
        until = time.monotonic() + self._deadline_s
        self._session = Session(**self._where, onlogon=said.update)
        while not said and time.monotonic() < until:
            Session.wait_for_rsp(PUMP_S)
        return {} if "success" in said else {"error": said.get("error", NO_ANSWER)}

    def ask(self, netfn: int, command: int, data: str, lun: int) -> dict[str, Any]:
        """One request and its answer."""
        answers: list[dict[str, Any]] = []
        until = time.monotonic() + self._deadline_s
        self._session.raw_command(
            netfn=netfn, command=command, data=bytes.fromhex(data), callback=answers.append, rslun=lun
        )
        while not answers and time.monotonic() < until:
            Session.wait_for_rsp(PUMP_S)
        self._session.incommand = False  # with a callback, this is left to us
        if not answers or "error" in answers[0]:
            return {"error": answers[0]["error"] if answers else NO_ANSWER}
        return {"code": answers[0]["code"], "data": bytes(answers[0]["data"]).hex()}

    def logout(self) -> None:
        """Free the session in the BMC, which has few."""
        self._session.logout(False)


def lines(connection: socket.socket, bmc: Bmc | None = None) -> Iterator[bytes]:
    """The lines that the parent sends, until it is gone; between them the session is kept, or the process ends."""
    buffer = b""
    while True:
        if not select.select([connection], [], [], KEEP_ALIVE_S)[0]:
            if bmc is not None and "error" in bmc.ask(APP, GET_DEVICE_ID, "", 0):
                return
            continue
        chunk = connection.recv(65536)
        if not chunk:
            return
        *whole, buffer = (buffer + chunk).split(b"\n")
        yield from whole


def main() -> None:
    """Serve the parent on the socket that is standard input."""
    connection = socket.socket(fileno=0)

    def say(answer: dict[str, Any]) -> bool:
        connection.sendall(json.dumps(answer).encode() + b"\n")
        return "error" not in answer

    settings = next(lines(connection), None)
    if settings is None:
        return
    bmc = Bmc(**json.loads(settings))
    try:
        if not say(bmc.login()):
            return
        for line in lines(connection, bmc):
            if not say(bmc.ask(**json.loads(line))):
                return
        bmc.logout()
    except (IpmiException, OSError) as error:
        say({"error": str(error)})


if __name__ == "__main__":
    main()
