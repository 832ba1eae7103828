"""The arena: many halls with jobs, nodes and plants in one batch of arrays, for training, baselines and evaluation.

A policy is an object with a ``name`` and ``decide(view: ArenaView) -> ArenaAction``, both arrays over all halls.
``run`` steps arenas under their policies until all are drained; docs/scheduling.md has the interface on one page.
"""

from scheduler.arena.account import StepAccount, Totals
from scheduler.arena.arena import Arena, World
from scheduler.arena.build import steps_covered, surroundings
from scheduler.arena.jobs import JobTable
from scheduler.arena.policies import ArenaFcfs
from scheduler.arena.run import Run, Service, run, service
from scheduler.arena.settings import STEP_S, ArenaSettings, Limits, Parking, Stalls
from scheduler.arena.surroundings import ForecastTable, Surroundings
from scheduler.arena.view import ArenaAction, ArenaPolicy, ArenaView

__all__ = [
    "STEP_S",
    "Arena",
    "ArenaAction",
    "ArenaFcfs",
    "ArenaPolicy",
    "ArenaSettings",
    "ArenaView",
    "ForecastTable",
    "JobTable",
    "Limits",
    "Parking",
    "Run",
    "Service",
    "Stalls",
    "StepAccount",
    "Surroundings",
    "Totals",
    "World",
    "run",
    "service",
    "steps_covered",
    "surroundings",
]
