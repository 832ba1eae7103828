"""One connection to a Redfish service: credentials, sessions, deadlines and the wish to be left alone."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar

import httpx

from facility.devices.redfish.http import Answer, failure, is_sendable, parse, retry_after_s, tls
from facility.devices.redfish.resources import Json, link, message_ids
from facility.errors import DeviceError, DeviceTimeout, Reason
from facility.site import Device, Http, resolve_path, resolve_secret

ROOT = "/redfish/v1/"
SESSIONS = "/redfish/v1/SessionService/Sessions"
AT_ONCE = 4  # requests on their way to one service: its processor is small
BUSY_S = 1.0  # wait after a 503 that does not say how long
LOGIN_PAUSE_S = 60.0  # a refused password is not tried again sooner: services lock accounts after a few tries
LOGOUT_S = 2.0
KEEP_S = 300.0  # a connection is kept from read to read: a TLS handshake costs a BMC a second of its time
HEADERS = {"Accept": "application/json", "OData-Version": "4.0"}
# Answers to a login that mean "no sessions here" or "no session left": basic authentication needs none.
NO_SESSIONS = (404, 405, 501)
FULL = ("CreateLimitReachedForResource", "SessionLimitExceeded")

_until: ContextVar[float] = ContextVar("_until", default=float("inf"))  # loop time at which the operation must be over


class RedfishSession:
    """Logs in when first needed, again where the session has ended, and out at the end."""

    def __init__(self, device: Device, http: Http) -> None:
        """Sends nothing; raises ConfigError where a secret or the CA file is not there."""
        self._device, self._http = device, http
        self._password = resolve_secret(http.password) if http.password else ""
        self._bearer = resolve_secret(http.token) if http.token else ""
        self._tls = tls(resolve_path(http.ca_file), http.verify) if http.scheme == "https" else None
        self._start_anew()

    def _start_anew(self) -> None:
        self._client: httpx.AsyncClient | None = None
        self._credentials: dict[str, str] | None = None  # headers; None: not logged in
        self._session = ""  # path of our session, for logging out
        self._quiet_until = 0.0
        self._refused: tuple[float, DeviceError] | None = None
        self._login, self._turns = asyncio.Lock(), asyncio.Semaphore(AT_ONCE)

    @property
    def where(self) -> str:
        """The device and its address, for errors."""
        return f"{self._device.name} (redfish {self._http.scheme}://{self._device.host}:{self._device.port})"

    @property
    def left_s(self) -> float:
        """Seconds until the operation must be over."""
        return _until.get() - asyncio.get_running_loop().time()

    @contextlib.asynccontextmanager
    async def operation(self, name: str) -> AsyncIterator[None]:
        """What is done inside shares one deadline; raises DeviceTimeout or DeviceError for what fails."""
        mark = _until.set(asyncio.get_running_loop().time() + self._device.deadline_s)
        try:
            async with asyncio.timeout(self._device.deadline_s):
                yield
        except (TimeoutError, httpx.TimeoutException) as error:
            said = f"{name}: no answer within {self._device.deadline_s:g} s"
            raise DeviceTimeout(said, where=self.where) from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise failure(name, self.where, error) from error
        finally:
            _until.reset(mark)

    async def get(self, path: str) -> Answer:
        """One resource, whatever the status; refused credentials raise."""
        return await self._request("GET", path)

    async def patch(self, path: str, body: Json, etag: str = "") -> Answer:
        """Change a resource of the version ``etag``, whatever the status."""
        return await self._request("PATCH", path, body, {"If-Match": etag} if etag else {})

    async def post(self, path: str, body: Json) -> Answer:
        """Call an action, whatever the status."""
        return await self._request("POST", path, body)

    def refused(self, request: str, answer: Answer) -> DeviceError:
        """An answer that cannot be used, as an error."""
        hint = "the user lacks the privilege" if answer.status == 403 else ""
        reason = Reason.CREDENTIALS if answer.status == 403 else Reason.ERROR
        said = f"{request}: the service answers {answer.said}"
        return DeviceError(said, where=self.where, hint=hint, reason=reason)

    async def _request(
        self, method: str, path: str, body: Json = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        used = await self._logged_in()
        answer = await self._send(method, path, body, {**used, **(headers or {})})
        if answer.status != 401:
            return answer
        if "X-Auth-Token" in used:  # the session has ended: its time was over, or the service was restarted
            used = await self._logged_in(ended=used)
            answer = await self._send(method, path, body, {**used, **(headers or {})})
        if answer.status == 401:
            raise self._wrong_credentials(answer)
        return answer

    async def _logged_in(self, ended: Mapping[str, str] | None = None) -> dict[str, str]:
        """Headers with our credentials; logs in where that is needed."""
        async with self._login:
            if ended is not None and self._credentials == ended:
                self._credentials = None
            if self._credentials is None:
                self._raise_if_refused_lately()
                self._credentials = await self._log_in()
            return self._credentials

    async def _log_in(self) -> dict[str, str]:
        root = await self._send("GET", ROOT, None, {})
        if not _is_root(root.body) and root.status != 401:
            hint = "is it another service, or the other scheme?"
            said = f"not a Redfish service: {ROOT} answers {root.status}"
            raise DeviceError(said, where=self.where, hint=hint, reason=Reason.WRONG_DEVICE)
        if self._bearer:
            return {"Authorization": f"Bearer {self._bearer}"}
        if not self._http.user:
            return {}
        path = link(root.body, "Links", "Sessions") or SESSIONS
        answer = await self._send("POST", path, {"UserName": self._http.user, "Password": self._password}, {})
        token = answer.headers.get("X-Auth-Token")
        if answer.status in (200, 201) and token and is_sendable(token):
            self._session = answer.where_to or link(answer.body)
            return {"X-Auth-Token": token}
        if answer.status in NO_SESSIONS or any(text in message_ids(answer.body) for text in FULL):
            return {"Authorization": _basic(self._http.user, self._password)}
        if answer.status in (400, 401, 403):  # some say "bad request" to a wrong password
            raise self._wrong_credentials(answer)
        raise self.refused("login", answer)

    def _wrong_credentials(self, answer: Answer) -> DeviceError:
        hint = "check the token" if self._bearer else "check user and password"
        said = f"wrong credential: the service answers {answer.said}"
        error = DeviceError(said, where=self.where, hint=hint, reason=Reason.CREDENTIALS)
        self._refused = (asyncio.get_running_loop().time(), error)
        self._credentials = None
        return error

    def _raise_if_refused_lately(self) -> None:
        if self._refused is None:
            return
        at, error = self._refused
        if asyncio.get_running_loop().time() - at < LOGIN_PAUSE_S:
            raise DeviceError(error.what, where=error.where, hint=error.hint, reason=error.reason)
        self._refused = None

    async def _send(self, method: str, path: str, body: Json, headers: Mapping[str, str]) -> Answer:
        """One request, held back while the service has asked for quiet."""
        while True:
            await self._wait_for_quiet()
            async with self._turns:
                answer = await self._once(method, path, body, headers)
            if answer.status != 503 or any(text in message_ids(answer.body) for text in FULL):
                return answer
            self._quiet_until = asyncio.get_running_loop().time() + retry_after_s(answer, BUSY_S)

    async def _wait_for_quiet(self) -> None:
        wait_s = self._quiet_until - asyncio.get_running_loop().time()
        if wait_s <= 0.0:
            return
        if self._quiet_until > _until.get():
            said = f"busy: the service asks to be left alone for another {wait_s:.1f} s (503)"
            hint = "a longer deadline_s would wait for it"
            raise DeviceError(said, where=self.where, hint=hint, reason=Reason.BUSY)
        await asyncio.sleep(wait_s)

    async def _once(self, method: str, path: str, body: Json, headers: Mapping[str, str]) -> Answer:
        client = self._open()
        request = client.build_request(method, path, json=body, headers=headers)
        try:
            response = await client.send(request)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            if method != "GET":  # it may have been done
                raise
            response = await client.send(client.build_request(method, path, headers=headers))  # a connection kept open
        return Answer(response.status_code, response.headers, parse(response.content))

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(
                base_url=f"{self._http.scheme}://{_in_url(self._device.host)}:{self._device.port}",
                verify=self._tls if self._tls is not None else False,
                headers=HEADERS,
                timeout=self._device.deadline_s,
                limits=httpx.Limits(
                    max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE, keepalive_expiry=KEEP_S
                ),
                trust_env=False,  # no proxy stands between us and a device
            )
        return self._client

    async def close(self) -> None:
        """Log out and close; a service that does not answer forgets the session by itself."""
        client, session, credentials = self._client, self._session, self._credentials
        self._start_anew()
        if client is None:
            return
        try:
            with contextlib.suppress(TimeoutError, httpx.HTTPError, httpx.InvalidURL, OSError):
                async with asyncio.timeout(min(LOGOUT_S, self._device.deadline_s)):
                    if session and credentials:
                        await client.delete(session, headers=credentials)
        finally:
            await client.aclose()


def _is_root(body: Json) -> bool:
    if not isinstance(body, dict):
        return False
    return "RedfishVersion" in body or "ServiceRoot" in str(body.get("@odata.type"))


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
