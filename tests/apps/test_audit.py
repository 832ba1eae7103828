"""The audit only grows, is asked by name, and a tick is kept as a whole."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from apps.inputs import Inputs, pack, unpack
from apps.keeper import Keeper
from apps.token_audit import TokenAudit
from apps.tokens import Role, Tokens
from facility.audit import SERVICE, Actor, AuditEntry
from facility.errors import DataError, StoreError
from facility.records import Forecast, JobPhase, JobStatus, Mode, NodeStatus, PointState, Quality, State
from facility.store import Store
from tests.apps.small_hall import START, small_hall
from tests.scheduler.curves import job


def _entry(minute: int, person: str, action: str = "changed", kind: str = "mode") -> AuditEntry:
    return AuditEntry(START + timedelta(minutes=minute), kind, "mode", action, Actor(person, "operator"), "because")


def test_the_audit_is_asked_by_person_kind_and_time(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "eco.duckdb", "r")
    store.append_audit([_entry(0, "Ada"), _entry(1, "Grace"), _entry(2, "Ada", "created", "token")])
    assert [row["person"] for row in store.query("audit").to_pylist()] == ["Ada", "Grace", "Ada"]
    assert [row["kind"] for row in store.query("audit", person="Ada", kind="token").to_pylist()] == ["token"]
    since = store.query("audit", start=START + timedelta(minutes=1), end=START + timedelta(minutes=2))
    assert [row["person"] for row in since.to_pylist()] == ["Grace"]
    assert store.query("modes").num_rows == 2
    store.close()


def test_rows_of_the_same_moment_stay_in_the_order_of_writing(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "eco.duckdb", "r")
    for number in range(30):
        store.append_audit([_entry(0, "Ada", f"act {number}")])
    actions = [row["action"] for row in store.query("audit").to_pylist()]
    assert actions == [f"act {number}" for number in reversed(range(30))]
    store.close()


def test_what_an_injected_person_name_says_is_a_name(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "eco.duckdb", "r")
    store.append_audit([_entry(0, "x'); DROP TABLE audit; --")])
    assert store.query("audit", person="x'); DROP TABLE audit; --").num_rows == 1
    assert store.query("audit", person="' OR 1=1 --").num_rows == 0
    store.close()


def test_a_tick_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "eco.duckdb", "r")
    row = pa.Table.from_pylist([{"ts": START, "content": b"x"}])

    def half() -> None:
        with store.transaction() as kept:
            kept.append("inputs", row)
            kept.append("decisions", row)  # of another form

    with pytest.raises((StoreError, KeyError, pa.ArrowInvalid)):
        half()
    assert store.query("inputs").num_rows == 0
    store.close()


def test_a_run_says_with_what_it_began(tmp_path: Path) -> None:
    hall = small_hall(tmp_path)
    asyncio.run(hall.keeper.commit())
    (row,) = hall.parts.store.query("audit", kind="run").to_pylist()
    payload = json.loads(row["payload"])
    assert payload["policy"] == "wait-awhile+rule"
    assert payload["site"]["site"]["name"] == "reference hall"
    assert {"policy_version", "model_version", "product", "python"} <= set(payload)
    hall.parts.store.close()


def test_audit_rows_wait_for_a_store_that_does_not_take_them(tmp_path: Path) -> None:
    class Full:
        """A store on a full disk, until there is room again."""

        is_full = True
        rows: list[AuditEntry]

        def append_audit(self, entries: list[AuditEntry]) -> None:
            if self.is_full:
                raise StoreError("no space left on device", where="append to audit")
            self.rows += entries

        def append_readings(self, readings: list[Any]) -> int:
            return len(readings)

    async def story() -> None:
        store: Any = Full()
        store.rows = []
        keeper = Keeper(store)
        keeper.note(_entry(0, "Ada"))
        await keeper.commit()
        assert "audit rows wait" in keeper.problem
        with pytest.raises(StoreError):
            await keeper.audit([_entry(1, "Grace")])
        store.is_full = False
        await keeper.commit()
        assert [row.actor.name for row in store.rows] == ["Ada"]  # what was refused was not done, and is not kept

    asyncio.run(story())


def _inputs() -> Inputs:
    seen = {
        "a/x_c": PointState(21.125000000000004, "degC", START, 0.1 + 0.2, Quality.GOOD),
        "a/y_c": PointState(None, "degC", START, 1e-9, Quality.BAD),
    }
    jobs = (JobStatus(job("j", 4), JobPhase.SUSPENDED, 1234.5, started_at=START, gpu_cap_w=250.0),)
    value = np.array([1.0 / 3.0, np.nan, 2.5])
    forecast = Forecast("carbon_intensity_g_kwh", "g/kWh", START, START, 3600.0, value, None, value + 0.1, "test")
    nodes = (NodeStatus("node-1", 8, 4),)
    return Inputs(State(START, seen, jobs, nodes), {forecast.quantity: forecast}, "fcfs", "1", Mode.SHADOW.value)


def test_inputs_come_back_bit_for_bit() -> None:
    packed = pack(_inputs())
    back = unpack(packed)
    assert back.state == _inputs().state
    np.testing.assert_array_equal(back.forecasts["carbon_intensity_g_kwh"].value, [1.0 / 3.0, np.nan, 2.5])
    assert pack(back) == packed == pack(_inputs())


@pytest.mark.parametrize("content", [b"", b"no zlib", pack(_inputs())[:-20]])
def test_damaged_inputs_are_refused(content: bytes) -> None:
    with pytest.raises(DataError, match="not the inputs of a decision"):
        unpack(content)


def test_tokens_of_the_command_line_come_into_the_audit_once(tmp_path: Path) -> None:
    store, tokens = Store.open(tmp_path / "eco.duckdb", "r"), Tokens(tmp_path / "tokens.json")
    text, token = tokens.create("Ada", Role.OPERATOR, datetime.now(UTC) + timedelta(days=1))
    audit = TokenAudit(tokens, store)
    store.append_audit(audit.news(START))
    tokens.revoke(token.id)
    store.append_audit([*audit.news(START), *TokenAudit(tokens, store).news(START)][:1])
    assert TokenAudit(tokens, store).news(START) == []
    rows = store.query("audit").to_pylist()
    assert [(row["subject"], row["action"]) for row in rows] == [(token.id, "revoked"), (token.id, "created")]
    assert all(text not in row["payload"] and token.digest not in row["payload"] for row in rows)
    store.close()


def test_the_service_is_an_actor_too() -> None:
    assert (SERVICE.name, SERVICE.role) == ("service", "service")
