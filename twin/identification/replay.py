"""A recorded operation run through many halls at once: what each of them would have shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np

from facility.records import FloatArray
from facility.site import Hall
from twin.hall import HallInputs, HallParams, PlantAction, steady, step
from twin.halls import batch
from twin.identification.observed import OUTPUTS
from twin.identification.operation import STEP_S, Operation
from twin.power import LossParams


def replay(halls: Sequence[Hall], run: Operation, wanted: Sequence[str]) -> dict[str, FloatArray]:
    """Each ``wanted`` output (T, B) of B ``halls`` under the same operation.

    IT power is the meter's: server fans, leakage and supplies are part of it and are not computed anew.
    """
    params, count = _metered(batch(halls)), len(halls)
    servers = np.full((count, params.racks), float(params.nodes_per_rack))
    found = {name: np.empty((len(run), count)) for name in wanted}
    state = steady(params, _inputs(run, 0, servers), _action(run, 0, count))[0]
    for now in range(len(run)):
        state, flows = step(params, state, _inputs(run, now, servers), _action(run, now, count), STEP_S)
        for name in wanted:
            found[name][now] = OUTPUTS[name](flows)
    return found


def _metered(params: HallParams) -> HallParams:
    """Servers whose power is what the meter says, and whose fans still ask for air."""
    none = LossParams(params.node.psu.rated_w, 0.0, 0.0, 0.0)
    return replace(params, node=replace(params.node, fan_rated_w=0.0, leakage_per_k=0.0, psu=none))


def _inputs(run: Operation, now: int, servers: FloatArray) -> HallInputs:
    load = np.broadcast_to(run.it_w[now], servers.shape)
    return HallInputs(load, servers, run.weather.at(now, len(servers)))


def _action(run: Operation, now: int, count: int) -> PlantAction:
    return PlantAction(*(np.full(count, getattr(run.action, part.name)[now]) for part in fields(PlantAction)))
