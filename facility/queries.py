"""The named queries of the store: the only questions that another process may ask. There is no free SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from facility.errors import StoreError

MAX_ROWS = 500_000
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
END = datetime(2262, 1, 1, tzinfo=UTC)


def _names(value: Any) -> list[str]:
    """One point name, several joined by commas, or a list of them."""
    names = value.split(",") if isinstance(value, str) else list(value)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError("expected point names joined by commas")
    return names


def _time(value: Any) -> datetime:
    when = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    if when.tzinfo is None:
        raise ValueError("expected a time with an offset, e.g. 2023-06-01T00:00:00+00:00")
    return when.astimezone(UTC)


def _limit(value: Any) -> int:
    number = int(value)
    if not 1 <= number <= MAX_ROWS:
        raise ValueError(f"expected 1 to {MAX_ROWS}")
    return number


def _seconds(value: Any) -> float:
    number = float(value)
    if not 0.0 <= number <= 366 * 86400.0:
        raise ValueError("expected seconds, 0 to a year")
    return number


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: how it is read, and its default; without one it must be given."""

    read: Callable[[Any], Any]
    description: str
    default: Any = None
    required: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A question with typed parameters."""

    sql: str
    description: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


_START = Parameter(_time, "from this time on (ISO, with offset)", BEGINNING)
_END = Parameter(_time, "before this time (ISO, with offset)", END)
_POINTS = Parameter(_names, "point names joined by commas", required=True)
_LIMIT = Parameter(_limit, "at most so many rows", 100)
_RUN = Parameter(str, "of this run alone (/v1/about names the present one, the query runs all)")


def _rolled(table: str, length: str) -> Query:
    return Query(
        f"SELECT ts, point, mean, low, high, last, unit, readings, bad FROM {table}"  # noqa: S608 - our own names
        " WHERE list_contains($point, point) AND ts >= $start AND ts < $end AND coalesce(run = $run, true)"
        " ORDER BY ts, point",
        f"mean, lowest, highest and last value of points in buckets of {length}; bad readings are counted, not used",
        {"point": _POINTS, "start": _START, "end": _END, "run": _RUN},
    )


QUERIES: Mapping[str, Query] = {
    "minutes": _rolled("minutes", "a minute"),
    "quarters": _rolled("quarters", "a quarter of an hour"),
    "segments": Query(
        "SELECT level, day, file, row_count, written_at FROM segments ORDER BY level, day, file",
        "the Parquet files to which old rows went, under history/ in the state directory",
    ),
    "latest": Query(
        "SELECT point, arg_max(ts, ts) AS ts, arg_max_null(value, ts) AS value, any_value(unit) AS unit,"
        " arg_max(quality, ts) AS quality, any_value(source) AS source"
        " FROM readings WHERE ts >= $start AND coalesce(run = $run, true) GROUP BY point ORDER BY point",
        "the newest reading of every point; value is null where the device had none",
        {"start": _START, "run": _RUN},
    ),
    "series": Query(
        "SELECT CASE WHEN $every_s > 0 THEN time_bucket(to_seconds($every_s), ts) ELSE ts END AS ts, point,"
        " avg(value) AS value, count(value) AS readings"
        " FROM readings WHERE list_contains($point, point) AND ts >= $start AND ts < $end AND quality <> 'bad'"
        " AND coalesce(run = $run, true)"
        " GROUP BY ALL ORDER BY 1, 2",
        "readings of points in time, or their means over buckets of every_s seconds",
        {
            "point": _POINTS,
            "start": _START,
            "end": _END,
            "run": _RUN,
            "every_s": Parameter(_seconds, "length of a bucket in seconds; 0 for none", 0.0),
        },
    ),
    "readings": Query(
        "SELECT ts, value, quality FROM readings WHERE point = $point AND ts >= $start AND ts < $end"
        " AND coalesce(run = $run, true) ORDER BY ts, received_at",
        "every reading of one point as it was measured, with its quality",
        {"point": Parameter(str, "name of one point", required=True), "start": _START, "end": _END, "run": _RUN},
    ),
    "points": Query(
        "SELECT point, any_value(unit) AS unit, count(*) AS readings, count(value) AS with_value, min(ts) AS first,"
        " max(ts) AS last FROM readings WHERE coalesce(run = $run, true) GROUP BY point ORDER BY point",
        "every point that was ever read",
        {"run": _RUN},
    ),
    "energy": Query(
        "WITH steps AS (SELECT point, any_value(unit) OVER (PARTITION BY point) AS unit,"
        " value - lag(value) OVER (PARTITION BY point ORDER BY ts) AS step"
        " FROM readings WHERE list_contains($point, point) AND ts >= $start AND ts < $end AND value IS NOT NULL"
        " AND quality = 'good' AND coalesce(run = $run, true))"
        " SELECT point, any_value(unit) AS unit, sum(CASE WHEN step > 0 THEN step WHEN step <= 0 THEN 0 END) AS value,"
        " count(step) AS steps FROM steps"
        " GROUP BY point ORDER BY point",
        "what energy counters counted; a fall is a reset and counts nothing; null with fewer than two readings",
        {"point": _POINTS, "start": _START, "end": _END, "run": _RUN},
    ),
    "decisions": Query(
        "SELECT ts, policy, policy_version, model_version, reason, payload FROM decisions"
        " WHERE ts >= $start AND ts < $end AND coalesce(run = $run, true) ORDER BY ts DESC LIMIT $limit",
        "the last decisions, newest first, with all that they held as JSON",
        {"start": _START, "end": _END, "limit": _LIMIT, "run": _RUN},
    ),
    "verdicts": Query(
        "SELECT ts, point, wanted, value, kind, rule, detail, read_back, error FROM verdicts"
        " WHERE ts >= $start AND coalesce(run = $run, true) ORDER BY ts DESC, point LIMIT $limit",
        "what the guard said of the last commands, newest first, and the value read back",
        {"start": _START, "limit": _LIMIT, "run": _RUN},
    ),
    "events": Query(
        "SELECT ts, kind, subject, payload FROM events"
        " WHERE ts >= $start AND coalesce(run = $run, true) ORDER BY ts DESC LIMIT $limit",
        "what else happened, newest first",
        {"start": _START, "limit": _LIMIT, "run": _RUN},
    ),
    "audit": Query(
        "SELECT ts, kind, subject, action, person, role, why, before, after, payload, run FROM audit"
        " WHERE ts >= $start AND ts < $end AND coalesce(kind = $kind, true) AND coalesce(person = $person, true)"
        " AND coalesce(run = $run, true) ORDER BY ts DESC, rowid DESC LIMIT $limit",
        "who did what and why, newest first: modes, proposals, overrides, events, tokens, runs",
        {
            "start": _START,
            "end": _END,
            "kind": Parameter(str, "mode, proposal, override, event, token or run alone"),
            "person": Parameter(str, "of this person alone"),
            "limit": _LIMIT,
            "run": _RUN,
        },
    ),
    "modes": Query(
        "SELECT ts, before, after, person, role, why FROM audit WHERE kind = 'mode' AND coalesce(run = $run, true)"
        " ORDER BY ts DESC, rowid DESC LIMIT $limit",
        "every change of mode: when, from, to, by whom and why",
        {"limit": _LIMIT, "run": _RUN},
    ),
    "proposals": Query(
        "SELECT subject AS proposal, min(ts) AS made_at, max(ts) AS ts, arg_max(action, rowid) AS status,"
        " arg_max(person, rowid) AS person, arg_max(why, rowid) AS why, arg_min(payload, rowid) AS payload"
        " FROM audit WHERE kind = 'proposal' AND ts >= $start AND coalesce(run = $run, true)"
        " GROUP BY subject ORDER BY made_at DESC, subject LIMIT $limit",
        "every proposal with what became of it, newest first",
        {"start": _START, "limit": _LIMIT, "run": _RUN},
    ),
    "inputs": Query(
        "SELECT ts, content, run FROM inputs WHERE ts >= $start AND ts < $end AND coalesce(run = $run, true)"
        " ORDER BY ts, run LIMIT $limit",
        "what each decision was made on, packed, oldest first: `eco replay` reads it",
        {"start": _START, "end": _END, "limit": _LIMIT, "run": _RUN},
    ),
    "counts": Query(
        "SELECT (SELECT count(*) FROM readings WHERE ts >= $start AND coalesce(run = $run, true)) AS readings,"
        " (SELECT count(*) FROM decisions WHERE ts >= $start AND coalesce(run = $run, true)) AS decisions,"
        " count(*) FILTER (kind = 'accepted') AS accepted, count(*) FILTER (kind = 'clipped') AS clipped,"
        " count(*) FILTER (kind = 'rejected') AS rejected"
        " FROM verdicts WHERE ts >= $start AND coalesce(run = $run, true)",
        "how much was kept",
        {"start": _START, "run": _RUN},
    ),
    "runs": Query(
        "SELECT run, min(ts) AS first, max(ts) AS last, count(*) AS readings FROM readings GROUP BY run"
        " ORDER BY max(received_at)",
        "every run that wrote here, in the order of writing",
    ),
    "ingested": Query(
        "SELECT file, kind, readings, ingested_at, digest FROM ingested ORDER BY ingested_at, file",
        "every file that was taken in, with the digest by which it is known again",
    ),
    "trace_jobs": Query(
        "SELECT trace, form, submit_s, duration_s, gpus FROM trace_jobs WHERE coalesce(trace = $trace, true)"
        " ORDER BY trace, submit_s",
        "the jobs of the traces that were taken in, in seconds from each trace's own beginning",
        {"trace": Parameter(str, "file name of one trace; all of them where it is left out")},
    ),
}


def bind(name: str, given: Mapping[str, Any]) -> tuple[Query, dict[str, Any]]:
    """A query and its parameters, read and completed; raises StoreError that names what there is instead."""
    query = QUERIES.get(name)
    if query is None:
        raise StoreError(f"no query named {name!r}", where="query", hint=f"there are: {', '.join(sorted(QUERIES))}")
    unknown = sorted(set(given) - set(query.parameters))
    if unknown:
        known = ", ".join(query.parameters) or "none"
        raise StoreError(f"no parameter {', '.join(unknown)}", where=f"query {name}", hint=f"it takes: {known}")
    return query, {key: _read(name, key, parameter, given) for key, parameter in query.parameters.items()}


def _read(name: str, key: str, parameter: Parameter, given: Mapping[str, Any]) -> Any:
    if given.get(key) is None:
        if parameter.required:
            raise StoreError(f"parameter {key!r} is missing", where=f"query {name}", hint=parameter.description)
        return parameter.default
    try:
        return parameter.read(given[key])
    except (TypeError, ValueError) as error:
        raise StoreError(f"parameter {key!r}: {error}", where=f"query {name}", hint=parameter.description) from error


def describe() -> list[dict[str, Any]]:
    """Every query with its parameters, for people and programs."""
    return [
        {
            "name": name,
            "description": query.description,
            "parameters": {key: parameter.description for key, parameter in query.parameters.items()},
        }
        for name, query in sorted(QUERIES.items())
    ]
