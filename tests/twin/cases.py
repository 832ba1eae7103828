"""Cases on a made-up July for the tests of what-if: small batches of the 1 MW site, each run once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from importlib.resources import as_file, files
from typing import Any

from facility.site import Site, Tariff, load_site
from twin.scenarios import Answer, Setup, World, ask, load_catalogue, spread_ensemble
from twin.scenarios.account import account
from twin.scenarios.case import Case
from twin.scenarios.onsite import OnSite, on_site
from twin.scenarios.simulate import Trajectory, simulate
from twin.scenarios.surroundings import Surroundings, surroundings
from twin.signals import Signals, synthetic_signals

BEGIN = datetime(2024, 5, 20, tzinfo=UTC)
START = datetime(2024, 7, 15, 7, tzinfo=UTC)  # midnight in San Jose
DAYS, DRAWS = 2, 4
CATALOGUE = load_catalogue()


@lru_cache(maxsize=1)
def site() -> Site:
    """The 1 MW site."""
    with as_file(files("data") / "site-1mw.toml") as path:
        return load_site(path)


@lru_cache(maxsize=4)
def signals(zone: str = "US-CAL-CISO") -> Signals:
    """Seventy days of a made-up grid and climate."""
    return synthetic_signals(zone, BEGIN, 70, 3)


def world(zone: str = "US-CAL-CISO") -> World:
    """That grid and climate around the 1 MW site."""
    return World(signals(zone), site().site)


def around_of(**values: Any) -> Surroundings:
    """Two July days of a case."""
    return surroundings(world(), Case(**values), START, DAYS, 900.0)


@lru_cache(maxsize=64)
def run(**values: Any) -> Trajectory:
    """A case on four draws of the hall."""
    return simulate(spread_ensemble(site().hall, DRAWS), Case(**values), around_of(**values))


def figures_of(**values: Any) -> dict[str, Any]:
    """All figures of a case."""
    played = run(**values)
    return dict(account(played, on_site(played), Tariff()))


def setup(**changes: Any) -> Setup:
    """One July day."""
    one = Setup(
        site=site(),
        ensemble=spread_ensemble(site().hall, DRAWS),
        here=world(),
        there=world,
        start=START,
        days=1,
    )
    return replace(one, **changes)


@lru_cache(maxsize=32)
def answer_of(name: str) -> Answer:
    """A question of the catalogue over one July day."""
    return ask(setup(), CATALOGUE.of(name))


def settled(**values: Any) -> tuple[Trajectory, OnSite]:
    """A case and its energy on site."""
    played = run(**values)
    return played, on_site(played)
