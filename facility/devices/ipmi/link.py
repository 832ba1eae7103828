"""A BMC's session as the event loop sees it: requests go to a process of its own, and none outlives its deadline.

Before a process is started the BMC is asked, without a session, whether it is there at all: so a dead one costs a
packet, and a refused port is told apart from silence.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facility.errors import DeviceError, DeviceTimeout, Reason, network_reason

WORKER = Path(__file__).with_name("worker.py")
# Get Channel Authentication Capabilities for an administrator over IPMI 1.5 without session (IPMI 2.0, 13.6 and 22.13).
HELLO = bytes.fromhex("0600ff07 00 00000000 00000000 09 2018c8 8100388e04b5")
HELLO_EVERY_S = 0.7
STARTS_AT_ONCE = 4  # a start takes 0.2 s of a processor
WRONG_LOGIN = ("password", "unauthorized", "rakp", "integrity", "privilege", "privelege")  # words of pyghmi's errors

_starts: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Answer:
    """A completion code (0 is success) and what came with it."""

    code: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Bmc:
    """Where a BMC is, and who asks. ``name`` is for messages."""

    name: str
    host: str
    port: int
    user: str
    password: str
    deadline_s: float

    @property
    def where(self) -> str:
        """The BMC in messages, without secrets."""
        return f"{self.name} (ipmi {self.host}:{self.port}, user {self.user})"


class Worker:
    """The process that holds a session, and the socket to it."""

    def __init__(self) -> None:
        """Start the process; it says nothing to the BMC before it is told to."""
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-I", str(WORKER)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C ends the parent, and that ends it in order
            )
        self.pid = self._process.pid
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def is_alive(self) -> bool:
        """Whether it still runs: it ends by itself where the BMC has dropped the session."""
        return self._process.poll() is None

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """One line there and one back; an error where the process is gone."""
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_unix_connection(sock=self._socket)
        try:
            self._writer.write(json.dumps(request).encode() + b"\n")
            line = await self._reader.readline()
        except OSError:
            line = b""
        answer: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {"error": "its process ended"}
        return answer

    def kill(self) -> None:
        """End it now; what it was doing is lost."""
        self._process.kill()
        self._process.wait()
        self._hang_up()

    async def close(self) -> None:
        """Let it log out and end, but not for long."""
        self._hang_up()
        for _ in range(50):
            if self._process.poll() is not None:
                return
            await asyncio.sleep(0.02)
        self.kill()

    def _hang_up(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._socket.close()


class IpmiLink:
    """Requests to one BMC, one at a time; after any failure its process is killed and the next request starts anew."""

    def __init__(self, bmc: Bmc) -> None:
        self._bmc = bmc
        self._turn = asyncio.Lock()
        self._worker: Worker | None = None
        self._starting: asyncio.Task[Worker] | None = None
        self.sessions = 0  # how many were opened so far; a new one may find another firmware

    async def ask(self, netfn: int, command: int, data: bytes = b"", lun: int = 0) -> Answer:
        """One request; raises DeviceTimeout, or DeviceError where the BMC refuses port, user or password."""
        async with self._turn:
            worker = await self._connected()
            request = {"netfn": netfn, "command": command, "data": data.hex(), "lun": lun}
            try:
                async with asyncio.timeout(self._bmc.deadline_s):
                    said = await worker.ask(request)
            except BaseException as error:
                self._drop()  # its answer may still come, and must not be taken for another's
                if isinstance(error, TimeoutError):
                    raise self._silent() from error
                raise
            if "error" in said:
                self._drop()
                raise self._explain(said["error"])
            return Answer(said["code"], bytes.fromhex(said["data"]))

    async def _connected(self) -> Worker:
        """The process with its session. The start goes on where the caller gives up: it is there for the next one."""
        if self._worker is not None and not self._worker.is_alive:
            self._drop()
        if self._worker is not None:
            return self._worker
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
            self._starting.add_done_callback(_look)
        starting = self._starting
        try:
            return await asyncio.shield(starting)
        finally:
            if starting.done():
                self._starting = None
                self._worker = None if starting.cancelled() or starting.exception() else starting.result()

    async def _start(self) -> Worker:
        loop = asyncio.get_running_loop()
        await _hello(self._bmc)
        async with _starts.setdefault(loop, asyncio.Semaphore(STARTS_AT_ONCE)):
            worker = Worker()
            try:
                said = await self._login(worker)
            except BaseException:
                worker.kill()
                raise
        if "error" in said:
            worker.kill()
            raise self._explain(said["error"])
        self.sessions += 1
        return worker

    async def _login(self, worker: Worker) -> dict[str, Any]:
        bmc = self._bmc
        settings = {"host": bmc.host, "port": bmc.port, "user": bmc.user, "password": bmc.password}
        patience_s = 2 * bmc.deadline_s + 2.0  # the process itself has to come up
        try:
            async with asyncio.timeout(patience_s):
                return await worker.ask({**settings, "deadline_s": bmc.deadline_s})
        except TimeoutError as error:
            raise self._silent() from error

    def _silent(self) -> DeviceTimeout:
        return DeviceTimeout(f"no answer within {self._bmc.deadline_s:g} s", where=self._bmc.where)

    def _explain(self, said: str) -> DeviceError:
        """pyghmi's words as an error that says what to do."""
        if said in ("no answer", "timeout"):
            return self._silent()
        if any(word in said.lower() for word in WRONG_LOGIN):
            hint = "check user and password, and that the user may use IPMI over LAN"
            what = f"wrong user or password: {said}"
            return DeviceError(what, where=self._bmc.where, hint=hint, reason=Reason.CREDENTIALS)
        return DeviceError(f"the session failed: {said}", where=self._bmc.where)

    def _drop(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.kill()

    async def close(self) -> None:
        """Log out and end the process."""
        starting, self._starting = self._starting, None
        if starting is not None:
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError, DeviceError):
                self._worker = await starting
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.close()


def _look(task: asyncio.Task[Worker]) -> None:
    """A start that fails after everybody has given up on it is no news."""
    if not task.cancelled():
        task.exception()


async def _hello(bmc: Bmc) -> None:
    """Ask without a session whether somebody is there; raises DeviceError where not."""
    loop = asyncio.get_running_loop()
    heard: asyncio.Future[None] = loop.create_future()
    try:
        async with asyncio.timeout(bmc.deadline_s):
            transport, _ = await loop.create_datagram_endpoint(lambda: Ear(heard), remote_addr=(bmc.host, bmc.port))
            try:
                while not heard.done():
                    transport.sendto(HELLO)
                    await asyncio.wait([heard], timeout=HELLO_EVERY_S)
                heard.result()
            finally:
                transport.close()
                heard.cancel()  # what comes too late is not waited for
    except TimeoutError as error:
        raise DeviceTimeout(
            f"no answer within {bmc.deadline_s:g} s", where=bmc.where, hint="is it on, and is IPMI over LAN enabled?"
        ) from error
    except ConnectionRefusedError as error:
        said = "connection refused: nothing listens on that port"
        raise DeviceError(said, where=bmc.where, reason=Reason.REFUSED) from error
    except OSError as error:
        raise DeviceError(f"cannot be reached: {error}", where=bmc.where, reason=network_reason(error)) from error


class Ear(asyncio.DatagramProtocol):
    """Hears the first answer, or that the port is closed."""

    def __init__(self, heard: asyncio.Future[None]) -> None:
        self._heard = heard

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Any answer will do: what it says is for the session to find out."""
        if not self._heard.done():
            self._heard.set_result(None)

    def error_received(self, exc: Exception) -> None:
        """The host says that nobody listens."""
        if not self._heard.done():
            self._heard.set_exception(exc)
