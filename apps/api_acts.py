"""The acts of persons over HTTP: mode, proposals, overrides, stop, demand-response events. Each names who it was."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, HTTPException
from fastapi import Path as InPath
from pydantic import Field

from apps.auth import Gate
from apps.proposals import Status
from apps.service_view import ServiceView
from apps.tokens import Role
from facility.audit import Actor
from facility.errors import ConfigError, DataError, EcoError, StoreError
from facility.overrides import Override
from facility.records import Mode
from facility.site import StrictModel
from facility.written import Written

T = TypeVar("T")
Why = Annotated[str, Field(min_length=1, max_length=500, description="why, in words: the audit keeps it")]
Name = Annotated[str, InPath(max_length=200)]
DAY_S = 86_400.0


class Reason(StrictModel):
    """Why a person does it."""

    why: Why


class ModeWish(Reason):
    """A mode; ``for_s`` is how long ACTIVE may last, in seconds of the run's clock."""

    mode: Mode
    for_s: Annotated[float, Field(gt=0, le=366 * DAY_S)] | None = None


class OverrideWish(Reason):
    """A point to be left to the person; without a value what stands there stays."""

    point: Annotated[str, Field(min_length=1, max_length=200)]
    value: float | None = None


class EventWish(Reason):
    """So much less at the main meter, for so long."""

    shed_kw: Annotated[float, Field(gt=0, le=1e6)]
    for_s: Annotated[float, Field(ge=60, le=DAY_S)]


def add_acts(app: FastAPI, service: ServiceView, gate: Gate, refusals: dict[int | str, dict[str, Any]]) -> None:
    """Add the paths to ``app``: viewers may look, operators may act. ``who`` is the dependency that gives the actor."""
    look: dict[str, Any] = {"dependencies": [Depends(gate.requires(Role.VIEWER))], "responses": refusals}
    conflict = {409: {"description": "not as things are"}, 503: {"description": "it could not be audited"}}
    act: dict[str, Any] = {"responses": {**refusals, **conflict}}
    who = Depends(gate.requires(Role.OPERATOR))
    _add_mode(app, service, who, look, act)
    _add_proposals(app, service, who, look, act)
    _add_overrides(app, service, who, look, act)
    _add_events(app, service, who, look, act)


def _add_mode(app: FastAPI, service: ServiceView, who: Any, look: dict[str, Any], act: dict[str, Any]) -> None:
    @app.get("/v1/mode", **look)
    def mode() -> dict[str, Any]:
        """The mode in force: since when, until when, by whom and why."""
        return service.control.modes.grant.to_json()

    @app.put("/v1/mode", **act)
    async def set_mode(wish: ModeWish, actor: Actor = who) -> dict[str, Any]:
        """Change the mode. ACTIVE needs the site's consent and ``for_s``; it falls back to SHADOW afterwards."""
        until = None if wish.for_s is None else service.now() + timedelta(seconds=wish.for_s)
        return (await _done(service.control.set_mode(wish.mode, actor, wish.why, until))).to_json()

    @app.post("/v1/stop", **act)
    async def stop(reason: Reason, actor: Actor = who) -> dict[str, Any]:
        """Mode OFF and everything given back, at once."""
        errors = await _done(service.control.stop(actor, reason.why))
        return {"mode": service.control.modes.mode.value, "errors": errors}


def _add_proposals(app: FastAPI, service: ServiceView, who: Any, look: dict[str, Any], act: dict[str, Any]) -> None:
    @app.get("/v1/proposals", **look)
    def proposals(status: Status | None = None) -> list[dict[str, Any]]:
        """What the loop proposes in ADVISORY, newest first, with its predicted effect."""
        return [one.to_json() for one in service.control.proposals.listed(status)]

    @app.post("/v1/proposals/{name}/accept", **act)
    async def accept(name: Name, reason: Reason, actor: Actor = who) -> dict[str, Any]:
        """Write what was proposed, through the guard as things are now."""
        proposal, written = await _done(service.control.accept(name, actor, reason.why))
        return {**proposal.to_json(), "written": written_json(written)}

    @app.post("/v1/proposals/{name}/reject", **act)
    async def reject(name: Name, reason: Reason, actor: Actor = who) -> dict[str, Any]:
        """Close a proposal."""
        return (await _done(service.control.reject(name, actor, reason.why))).to_json()


def _add_overrides(app: FastAPI, service: ServiceView, who: Any, look: dict[str, Any], act: dict[str, Any]) -> None:
    @app.get("/v1/overrides", **look)
    def overrides() -> list[dict[str, Any]]:
        """Points that a person holds; the loop leaves them alone."""
        return [override_json(one) for one in service.control.overrides.held.values()]

    @app.post("/v1/overrides", **act)
    async def hold(wish: OverrideWish, actor: Actor = who) -> dict[str, Any]:
        """Take a point from the loop at once, until it is lifted; set it where a value is given."""
        held, written = await _done(service.control.hold(wish.point, wish.value, actor, wish.why))
        return {**override_json(held), "written": written_json(written)}

    @app.post("/v1/overrides/lift", **act)
    async def lift(wish: OverrideWish, actor: Actor = who) -> dict[str, Any]:
        """Give a point back to the loop; ``value`` is left away."""
        return override_json(await _done(service.control.lift(wish.point, actor, wish.why)))


def _add_events(app: FastAPI, service: ServiceView, who: Any, look: dict[str, Any], act: dict[str, Any]) -> None:
    def report() -> dict[str, Any]:
        found = service.control.demand.report()
        if found is None:
            raise HTTPException(404, "there was no event yet")
        return found.to_json()

    @app.get("/v1/event", **look)
    def event() -> dict[str, Any]:
        """The demand-response event that is under way, or was last, in figures."""
        return report()

    @app.post("/v1/event", **act)
    async def order(wish: EventWish, actor: Actor = who) -> dict[str, Any]:
        """Take so much off the main meter at once, for so long, within the guard's rules."""
        await _done(service.control.order_event(wish.shed_kw * 1000.0, wish.for_s, actor, wish.why))
        return report()

    @app.delete("/v1/event", **act)
    async def end(actor: Actor = who) -> dict[str, Any]:
        """End the event early: jobs come back by and by."""
        await _done(service.control.end_event(actor))
        return report()


async def _done(act: Awaitable[T]) -> T:
    """What an act returned; 409 where it cannot be as things are, 503 where it could not be audited."""
    try:
        return await act
    except (DataError, ConfigError) as error:
        raise HTTPException(409, str(error)) from error
    except StoreError as error:
        raise HTTPException(503, str(error)) from error
    except EcoError as error:
        raise HTTPException(502, str(error)) from error


def override_json(held: Override) -> dict[str, Any]:
    """An override as plain data."""
    return {**asdict(held), "since": held.since.isoformat()}


def written_json(written: Sequence[Written]) -> list[dict[str, Any]]:
    """What became of each command."""
    return [
        {
            "point": one.verdict.command.point,
            "wanted": one.verdict.command.value,
            "kind": one.verdict.kind.value,
            "rule": one.verdict.rule,
            "detail": one.verdict.detail,
            "value": one.verdict.value,
            "read_back": one.read_back,
            "error": one.error,
        }
        for one in written
    ]
