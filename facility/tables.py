"""The tables of the store, and the forms in which rows come in."""

from __future__ import annotations

import pyarrow as pa

_ROLLED = (
    " (ts TIMESTAMPTZ NOT NULL, point VARCHAR NOT NULL, mean DOUBLE, low DOUBLE, high DOUBLE, last DOUBLE, unit VARCHAR"
    " NOT NULL, readings BIGINT NOT NULL, bad BIGINT NOT NULL, run VARCHAR NOT NULL)"
)

TABLES = (
    "CREATE TABLE IF NOT EXISTS readings (ts TIMESTAMPTZ NOT NULL, point VARCHAR NOT NULL, value DOUBLE, unit VARCHAR"
    " NOT NULL, quality VARCHAR NOT NULL, source VARCHAR NOT NULL, received_at TIMESTAMPTZ NOT NULL)",
    "CREATE TABLE IF NOT EXISTS decisions (ts TIMESTAMPTZ NOT NULL, policy VARCHAR NOT NULL, policy_version VARCHAR NOT"
    " NULL, model_version VARCHAR NOT NULL, reason VARCHAR NOT NULL, payload VARCHAR NOT NULL)",
    "CREATE TABLE IF NOT EXISTS verdicts (ts TIMESTAMPTZ NOT NULL, point VARCHAR NOT NULL, wanted DOUBLE, value DOUBLE,"
    " kind VARCHAR NOT NULL, rule VARCHAR NOT NULL, detail VARCHAR NOT NULL, read_back DOUBLE, error VARCHAR NOT NULL)",
    "CREATE TABLE IF NOT EXISTS events (ts TIMESTAMPTZ NOT NULL, kind VARCHAR NOT NULL, subject VARCHAR NOT NULL,"
    " payload VARCHAR NOT NULL)",
    "CREATE TABLE IF NOT EXISTS ingested (digest VARCHAR NOT NULL, file VARCHAR NOT NULL, kind VARCHAR NOT NULL,"
    " readings BIGINT NOT NULL, ingested_at TIMESTAMPTZ NOT NULL, run VARCHAR)",
    "CREATE TABLE IF NOT EXISTS trace_jobs (trace VARCHAR NOT NULL, form VARCHAR NOT NULL, submit_s DOUBLE NOT NULL,"
    " duration_s DOUBLE NOT NULL, gpus BIGINT NOT NULL, run VARCHAR)",
    "CREATE TABLE IF NOT EXISTS audit (ts TIMESTAMPTZ NOT NULL, kind VARCHAR NOT NULL, subject VARCHAR NOT NULL,"
    " action VARCHAR NOT NULL, person VARCHAR NOT NULL, role VARCHAR NOT NULL, why VARCHAR NOT NULL, before VARCHAR NOT"
    " NULL, after VARCHAR NOT NULL, payload VARCHAR NOT NULL, run VARCHAR)",
    f"CREATE TABLE IF NOT EXISTS minutes{_ROLLED}",
    f"CREATE TABLE IF NOT EXISTS quarters{_ROLLED}",
    "CREATE TABLE IF NOT EXISTS segments (level VARCHAR NOT NULL, day DATE NOT NULL, file VARCHAR NOT NULL, row_count"
    " BIGINT NOT NULL, written_at TIMESTAMPTZ NOT NULL)",
    "CREATE TABLE IF NOT EXISTS inputs (ts TIMESTAMPTZ NOT NULL, content BLOB NOT NULL, run VARCHAR)",
)

STAMP: pa.DataType = pa.timestamp("us", "UTC")
READINGS = pa.schema(
    {
        "ts": STAMP,
        "point": pa.string(),
        "value": pa.float64(),
        "unit": pa.string(),
        "quality": pa.string(),
        "source": pa.string(),
    }
)
QUALITIES = {"good", "bad", "uncertain"}
VERDICTS = pa.schema(
    {
        "ts": STAMP,
        "point": pa.string(),
        "wanted": pa.float64(),
        "value": pa.float64(),
        "kind": pa.string(),
        "rule": pa.string(),
        "detail": pa.string(),
        "read_back": pa.float64(),
        "error": pa.string(),
    }
)
