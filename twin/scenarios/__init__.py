"""What-if: a question of the catalogue, asked of the twin of a site over hours of weather, grid and price."""

from twin.scenarios.account import Band
from twin.scenarios.answer import Answer, Outcome, Setup, ask
from twin.scenarios.case import Case
from twin.scenarios.catalogue import FREE, Catalogue, Question, load_catalogue, parse_settings
from twin.scenarios.ensemble import Ensemble, posterior_ensemble, spread_ensemble
from twin.scenarios.limits import Limit
from twin.scenarios.surroundings import World
from twin.scenarios.transient import Loss

__all__ = [
    "FREE",
    "Answer",
    "Band",
    "Case",
    "Catalogue",
    "Ensemble",
    "Limit",
    "Loss",
    "Outcome",
    "Question",
    "Setup",
    "World",
    "ask",
    "load_catalogue",
    "parse_settings",
    "posterior_ensemble",
    "spread_ensemble",
]
