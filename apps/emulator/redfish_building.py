"""The BMCs of the emulated building: one Redfish service a node, with the numbers that the plant has for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from apps.emulator.airside import NodeLoad, node_power
from apps.emulator.building import Building
from apps.emulator.redfish import Service
from apps.emulator.redfish_node import NodeNumbers, NodePlate, NodeSettings, NodeTree


def node_services(
    building: Building,
    user: str,
    password: str,
    catch_up: Callable[[], None],
    changed: Callable[[str, NodeSettings], None] = lambda _, __: None,
) -> dict[str, Service]:
    """A service for ``node-1``, ``node-2``...; ``catch_up`` runs before every reading.

    ``changed`` is told the node's name and what was set at its BMC: a limit bites in what the BMC reports at once, and
    in the plant only where ``changed`` takes it there.
    """
    gpu = building.hall.node.gpu
    plate = NodePlate(gpu.per_node, gpu.board_cap_min_w, gpu.board_cap_max_w)

    def read(index: int) -> NodeNumbers:
        catch_up()
        return node_numbers(building, index)

    return {
        name: Service(NodeTree(plate, partial(read, index), partial(changed, name)), user, password)
        for index, name in enumerate(building.hall.node_names)
    }


def node_numbers(building: Building, index: int) -> NodeNumbers:
    """What the node at ``index`` (from 0) draws now, by the plant's own account."""
    truth = building.plant.truth
    rack = building.plant.air.racks[index // building.hall.nodes_per_rack]
    gpus = building.cluster.gpu_power_w()[index]
    load = NodeLoad(gpus.busy_w, gpus.busy_gpus, gpus.idle_gpus)
    each_w = gpus.busy_w / gpus.busy_gpus if gpus.busy_gpus else 0.0
    node_w, _ = node_power(truth, load, rack.inlet_c)
    return NodeNumbers(
        gpu_w=(each_w,) * gpus.busy_gpus + (truth.gpu_idle_w,) * gpus.idle_gpus,
        node_w=node_w,
        energy_wh=building.plant.energy_wh(building.hall.node_names[index]),
        inlet_c=rack.inlet_c,
    )
