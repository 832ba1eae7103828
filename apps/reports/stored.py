"""What a store holds, asked by its named queries: of the file itself where nobody runs it, else of the live service."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import httpx
import numpy as np
import pyarrow as pa

from apps.reports.source import About, Held, Rows
from apps.run_config import RunConfig, load_run
from apps.state_dir import StateDir, read_json
from apps.world import signals_of
from facility import queries
from facility.counters import unwrapped_name
from facility.errors import ConfigError, DataError, EcoError, StoreError, StoreLocked
from facility.site import ReportFacts, Roles, Site, validate
from twin.reports.inputs import Installed
from twin.signals import Series

ROWS_A_QUESTION = 200_000  # of the 500,000 that one answer may have
TIMEOUT_S = 60.0
PATIENCE = 20  # times that one question is asked again where the service limits its rate
LONGEST_WAIT_S = 10.0
Ask = Callable[..., pa.Table]


class StoredSource:
    """Readings by the named queries ``points`` and ``readings``, whoever answers them."""

    def __init__(
        self, name: str, ask: Ask, about: About, carbon: tuple[Series, ...], close: Callable[[], None]
    ) -> None:
        self.name = name
        self._ask = ask
        self._about = about
        self._carbon = carbon
        self._close = close
        self._points: dict[str, Held] | None = None

    def about(self) -> About:
        """The site of the run."""
        return self._about

    def points(self) -> Mapping[str, Held]:
        """Every point that has a good or doubtful value."""
        if self._points is None:
            rows = self._ask("points").to_pylist()
            self._points = {
                row["point"]: Held(row["unit"], _utc(row["first"]), _utc(row["last"]), row["readings"])
                for row in rows
                if row["with_value"]
            }
        return self._points

    def rows(self, point: str, start: datetime, end: datetime) -> Rows:
        """Readings of one point in [start, end), of its unwrapped register where the store keeps one."""
        unwrapped = unwrapped_name(point)
        name = unwrapped if unwrapped in self.points() else point
        tables = [
            self._ask("readings", point=name, start=first.isoformat(), end=last.isoformat())
            for first, last in _pieces(self.points()[name], start, end)
        ]
        if not tables:
            nothing = np.zeros(0, dtype=np.bool_)
            return Rows(np.zeros(0, dtype=np.int64), np.zeros(0), nothing, nothing)
        return _rows(pa.concat_tables(tables))

    def carbon(self) -> tuple[Series, ...]:
        """The intensity with which the run is accounted."""
        return self._carbon

    def close(self) -> None:
        """Close the file or the connection."""
        self._close()


def _pieces(held: Held, start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """[start, end) as far as there are readings, in pieces that fit into one answer each."""
    first, last = max(start, held.first), min(end, held.last + timedelta(microseconds=1))
    if last <= first:
        return []
    rate = held.readings / max((held.last - held.first).total_seconds(), 1.0)
    count = max(math.ceil(rate * (last - first).total_seconds() / ROWS_A_QUESTION), 1)
    edges = [first + (last - first) * (number / count) for number in range(count)] + [last]
    return list(itertools.pairwise(edges))


def _rows(table: pa.Table) -> Rows:
    ts_us = table["ts"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    quality = np.asarray(table["quality"].to_pylist(), dtype=np.str_)
    value = np.asarray(table["value"].to_pandas(), dtype=np.float64)
    return Rows(ts_us, value, quality == "good", quality != "bad")


def _utc(when: datetime) -> datetime:
    return when.astimezone(UTC)


def open_state(root: Path) -> StoredSource:
    """A state directory: the service where it runs, else the database, opened only to read.

    Raises ConfigError where there is no store, StoreLocked where another process owns it and answers no questions.
    """
    state = StateDir(root)
    if not state.database.exists():
        hint = "name the --state of `eco up` or `eco run`, or take readings in with `eco ingest --state`"
        raise ConfigError("no store in this state directory", where=str(root), hint=hint)
    address = read_json(state.api)
    if isinstance(address, dict) and _answers(address["url"]):
        return open_service(address["url"], state.token("api"))
    return _open_file(state)


def _open_file(state: StateDir) -> StoredSource:
    try:
        connection = duckdb.connect(str(state.database), read_only=True)
    except duckdb.Error as error:
        text = str(error).splitlines()[0]
        if "Conflicting lock" in text:
            hint = "wait until it has ended, or ask the service by --url"
            raise StoreLocked("another process has it open", where=str(state.database), hint=hint) from error
        raise StoreError(f"cannot open: {text}", where=str(state.database)) from error
    connection.execute("SET TimeZone = 'UTC'")

    def ask(name: str, **parameters: Any) -> pa.Table:
        query, bound = queries.bind(name, parameters)
        try:
            answer: pa.Table = connection.sql(query.sql, params=bound).to_arrow_table()
        except duckdb.Error as error:
            raise StoreError(str(error).splitlines()[0], where=str(state.database)) from error
        return answer

    config = load_run(state) if state.run.exists() else None
    about = About() if config is None else about_site(config.load_site())
    return StoredSource(f"state directory {state.root}", ask, about, _carbon_of(config), connection.close)


def about_site(site: Site) -> About:
    """What a site file says."""
    installed = Installed(site.hall.gpus, site.hall.node.gpu.model)
    zone = "" if site.site.emulated else site.site.zone  # an emulated building may stand in any
    return About(site.site.name, site.site.timezone, zone, site.roles, site.report, installed)


def _carbon_of(config: RunConfig | None) -> tuple[Series, ...]:
    """The files of the run, or the made-up grid of an emulated building; a provider's answers are not kept here."""
    if config is None or config.load_site().carbon is not None:
        return ()
    site = config.load_site()
    if not config.sources.carbon and not site.site.emulated:
        return ()
    return (signals_of(config.sources, site, config.start, year=config.start.year).carbon,)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/v1/health", timeout=5.0).is_success
    except httpx.HTTPError:
        return False


def open_service(url: str, token: str) -> StoredSource:
    """A running service, asked over HTTP; raises ConfigError where it does not answer or refuses."""
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError("the token is no single word", where=url, hint="name the file that holds nothing else")
    client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT_S)
    try:
        return _of_service(client, url)
    except BaseException:
        client.close()
        raise


def _of_service(client: httpx.Client, url: str) -> StoredSource:
    def ask(name: str, **parameters: Any) -> pa.Table:
        answer = _get(client, f"/v1/query/{name}", **parameters)
        return pa.ipc.open_stream(answer.content).read_all()

    said = _get(client, "/v1/about").json()
    series = _series(_get(client, "/v1/carbon").json())
    is_made_up = series.synthetic and not said["site"]["emulated"]
    about = _about(said, f"{url}/v1/about")
    return StoredSource(f"service {url}", ask, about, () if is_made_up else (series,), client.close)


def _about(said: dict[str, Any], where: str) -> About:
    return About(
        name=said["site"]["name"],
        timezone=said["site"]["timezone"],
        zone="" if said["site"]["emulated"] else said["site"]["zone"],
        roles=validate(Roles, said["roles"], where),
        facts=validate(ReportFacts, said.get("report", {}), where),
        installed=Installed(**said["hall"]) if "hall" in said else None,
    )


def _get(client: httpx.Client, path: str, **parameters: Any) -> httpx.Response:
    """One answer; where the service asks for patience it is given. Raises ConfigError, EcoError."""
    answer = _once(client, path, parameters)
    for _ in range(PATIENCE):
        if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
            break
        time.sleep(min(float(answer.headers.get("Retry-After", "1")), LONGEST_WAIT_S))
        answer = _once(client, path, parameters)
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        hint = "give its token: --token file:STATE/api.token"
        raise ConfigError("the service refused the token", where=str(client.base_url), hint=hint)
    if answer.is_error:
        raise EcoError(f"answered {answer.status_code}: {answer.text[:300]}", where=f"{client.base_url}{path}")
    return answer


def _once(client: httpx.Client, path: str, parameters: dict[str, Any]) -> httpx.Response:
    try:
        return client.get(path, params=parameters)
    except httpx.HTTPError as error:
        hint = "check the address, and that the service runs"
        raise ConfigError(f"no answer: {type(error).__name__}", where=str(client.base_url), hint=hint) from error


def _series(said: dict[str, Any]) -> Series:
    try:
        return Series(
            quantity=said["quantity"],
            unit=said["unit"],
            zone=said["zone"],
            start=datetime.fromisoformat(said["start"]),
            step_s=float(said["step_s"]),
            value=np.array([math.nan if one is None else one for one in said["value"]], dtype=np.float64),
            known_lag_s=0.0,
            source=said["source"],
            synthetic=said["synthetic"],
            kind=said["kind"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"not a signal: {error}", where="/v1/carbon", hint="is the service of this version?") from error
