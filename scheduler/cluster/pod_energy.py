"""Energy by pod, reconciled to the meters: what is given out, and what is nobody's, are the meter's figure exactly.

The rule, from the meter down; energies are of one interval in which no node changed its state.

1. The meter of the **feed** (a PDU, an inlet) is the truth. The meters of its nodes are scaled together to it, upwards
   by no more than ``UPSCALE_MAX``: that is a difference of calibration. What is missing beyond it is ``FEED``: losses
   of the feed, switches, nodes without a meter. Nodes that claim more than the feed gave are scaled down, however far.
2. A **node** without a meter counts with the sum of its components, which is too low by its fans and supplies.
3. **Components** (GPUs by DCGM, pods' processors and memory by Kepler) keep their figures, unless together they claim
   more than their node has: then they are scaled down to it. Kepler's pods never claim more than Kepler's node.
   Kepler's own GPU figure, known to be too low, is used only for a node of which DCGM tells nothing; by how much it is
   too low elsewhere is reported.
4. A GPU's energy is its holder's, also while it idles: nobody else could have it. That of a GPU without a holder, and
   what a node takes beside its components (``HOST``: fans, supplies, disks, network, idle processors), is
   **unallocated**, all of it under ``PARKED`` or ``BOOT`` where that is what the node did.

Energies are whole millijoules: sums of integers are exact. Shares are rounded by the largest remainder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction

from facility.errors import DataError

MJ_PER_WH = 3_600_000
UPSCALE_MAX = Fraction(105, 100)  # two meters of class 1 and sensors of a few percent: more is no calibration


class NodeState(StrEnum):
    """What a node did in the interval."""

    RUNNING = "running"
    PARKED = "parked"  # switched off on purpose: its BMC and supplies still take something
    BOOT = "boot"  # from power on to the first pod that may run


class Heading(StrEnum):
    """Headings of the account ``unallocated``."""

    IDLE = "idle"  # GPUs that no pod held
    HOST = "host"  # a node beside its GPUs and its pods' processors
    PARKED = "parked"
    BOOT = "boot"
    FEED = "feed"  # between the meter of the feed and those of its nodes
    NO_JOB = "no_job"  # pods that belong to no job


@dataclass(frozen=True, slots=True)
class GpuUse:
    """Energy of one GPU while ``pod`` (namespace/name) held it, or nobody; by DCGM or NVML."""

    uuid: str
    pod: str | None
    energy_mj: int


@dataclass(frozen=True, slots=True)
class NodeReadings:
    """What was measured of one node; None is not measured, never zero."""

    name: str
    meter_mj: int | None = None  # BMC, Redfish or outlet
    state: NodeState = NodeState.RUNNING
    gpus: tuple[GpuUse, ...] = ()
    pod_cpu_mj: Mapping[str, int] = field(default_factory=dict)  # Kepler: processors and memory of each pod
    node_cpu_mj: int | None = None  # Kepler: of the node
    pod_gpu_mj: Mapping[str, int] = field(default_factory=dict)  # Kepler (experimental): GPUs of each pod


@dataclass(frozen=True, slots=True)
class NodeAccount:
    """One node after reconciliation. Everything that it was given stands in the accounts of pods or unallocated."""

    name: str
    energy_mj: int
    scale: float | None  # energy over its own meter; None where it has none
    component_scale: float  # 1, or less where its components claimed more than it has
    residual_mj: int  # its energy without its components
    kepler_gpu_share: float | None  # Kepler's GPU figure over DCGM's; None where one of them is not there


@dataclass(frozen=True, slots=True)
class Reconciled:
    """One feed and one interval: ``pods`` and ``unallocated`` together are ``meter_mj``, exactly."""

    feed: str
    meter_mj: int
    scale: float | None  # of the nodes' meters; None where the feed has no meter, or they are all zero
    residual_mj: int  # the feed's meter less the nodes' own figures, unscaled; negative where they claim more
    pods: Mapping[str, int]
    unallocated: Mapping[Heading, int]
    nodes: tuple[NodeAccount, ...]
    without_meter: tuple[str, ...]  # nodes


@dataclass(frozen=True, slots=True)
class ByJob:
    """Energy of each job, and what belongs to none; together the meter's figure."""

    jobs: Mapping[str, int]
    unallocated: Mapping[Heading, int]


def reconcile(feed: str, meter_mj: int | None, nodes: Sequence[NodeReadings]) -> Reconciled:
    """Give out what the feed's meter says. Without that meter the nodes' own figures are the truth.

    Raises DataError for a negative energy, a node that is named twice, and where nothing at all was measured.
    """
    _check(feed, meter_mj, nodes)
    own = [_own_mj(node) for node in nodes]
    total_mj = sum(own)
    if meter_mj is None and all(node.meter_mj is None for node in nodes) and total_mj == 0:
        raise DataError("neither the feed nor a node of it was measured", where=feed, hint="see the meters of the site")
    whole_mj = total_mj if meter_mj is None else meter_mj
    given_mj = min(whole_mj, int(total_mj * UPSCALE_MAX))
    pods: dict[str, int] = {}
    unallocated: dict[Heading, int] = {}
    accounts = [
        _settle(node, energy_mj, pods, unallocated)
        for node, energy_mj in zip(nodes, apportion(given_mj, own), strict=True)
    ]
    _add(unallocated, Heading.FEED, whole_mj - given_mj)
    return Reconciled(
        feed,
        whole_mj,
        given_mj / total_mj if total_mj and meter_mj is not None else None,
        whole_mj - total_mj,
        pods,
        unallocated,
        tuple(accounts),
        tuple(node.name for node in nodes if node.meter_mj is None),
    )


def by_job(feeds: Iterable[Reconciled], job_of: Mapping[str, str]) -> ByJob:
    """Jobs' energy over some feeds or intervals; ``job_of`` is by pod. A pod of no job is unallocated, by name."""
    jobs: dict[str, int] = {}
    unallocated: dict[Heading, int] = {}
    for one in feeds:
        for heading, energy_mj in one.unallocated.items():
            _add(unallocated, heading, energy_mj)
        for pod, energy_mj in one.pods.items():
            if pod in job_of:
                jobs[job_of[pod]] = jobs.get(job_of[pod], 0) + energy_mj
            else:
                _add(unallocated, Heading.NO_JOB, energy_mj)
    return ByJob(jobs, unallocated)


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """Whole shares of ``total`` in proportion to ``weights``, which sum to it exactly (largest remainder, Hamilton).

    With no weight at all every share is 0, so that ``total`` must be 0. Raises ValueError otherwise.
    """
    whole = sum(weights)
    if whole == 0:
        if total:
            raise ValueError(f"{total} is to be shared by nobody")
        return [0] * len(weights)
    shares = [total * weight // whole for weight in weights]
    by_rest = sorted(range(len(weights)), key=lambda index: (-(total * weights[index] % whole), index))
    for index in by_rest[: total - sum(shares)]:
        shares[index] += 1
    return shares


def mj_of_wh(energy_wh: float) -> int:
    """Whole millijoules of an energy in Wh."""
    return round(energy_wh * MJ_PER_WH)


def wh_of_mj(energy_mj: int) -> float:
    """Wh of an energy in millijoules."""
    return energy_mj / MJ_PER_WH


def _settle(node: NodeReadings, energy_mj: int, pods: dict[str, int], unallocated: dict[Heading, int]) -> NodeAccount:
    """Give out one node's energy."""
    parts = _components(node)
    claimed_mj = sum(part for _, part in parts)
    given_mj = min(claimed_mj, energy_mj)
    shares = apportion(given_mj, [part for _, part in parts])
    rest = {NodeState.PARKED: Heading.PARKED, NodeState.BOOT: Heading.BOOT}.get(node.state)
    for (pod, _), share in zip(parts, shares, strict=True):
        if pod is None:
            _add(unallocated, rest or Heading.IDLE, share)
        else:
            pods[pod] = pods.get(pod, 0) + share
    _add(unallocated, rest or Heading.HOST, energy_mj - given_mj)
    dcgm_mj, kepler_mj = sum(gpu.energy_mj for gpu in node.gpus if gpu.pod), sum(node.pod_gpu_mj.values())
    return NodeAccount(
        node.name,
        energy_mj,
        energy_mj / node.meter_mj if node.meter_mj else None,
        given_mj / claimed_mj if claimed_mj else 1.0,
        energy_mj - given_mj,
        kepler_mj / dcgm_mj if dcgm_mj and node.pod_gpu_mj else None,
    )


def _components(node: NodeReadings) -> list[tuple[str | None, int]]:
    """What was measured inside a node, with the pod that it belongs to."""
    gpus: list[tuple[str | None, int]] = [(gpu.pod, gpu.energy_mj) for gpu in node.gpus]
    if not node.gpus:
        gpus = list(node.pod_gpu_mj.items())
    names, energies = list(node.pod_cpu_mj), list(node.pod_cpu_mj.values())
    if node.node_cpu_mj is not None and sum(energies) > node.node_cpu_mj:
        energies = apportion(node.node_cpu_mj, energies)
    return [*gpus, *zip(names, energies, strict=True)]


def _own_mj(node: NodeReadings) -> int:
    """A node's own figure: its meter, else the sum of what was measured inside it."""
    if node.meter_mj is not None:
        return node.meter_mj
    pods_mj = sum(energy_mj for _, energy_mj in _components(node))
    idle_cpu_mj = max((node.node_cpu_mj or 0) - sum(node.pod_cpu_mj.values()), 0)
    return pods_mj + idle_cpu_mj


def _check(feed: str, meter_mj: int | None, nodes: Sequence[NodeReadings]) -> None:
    names = [node.name for node in nodes]
    if len(set(names)) != len(names):
        raise DataError("a node is named twice", where=feed)
    for node in nodes:
        figures = [node.meter_mj, node.node_cpu_mj, *(gpu.energy_mj for gpu in node.gpus)]
        figures += [*node.pod_cpu_mj.values(), *node.pod_gpu_mj.values()]
        if any(figure is not None and figure < 0 for figure in figures):
            hint = "a counter that began again: leave the interval out"
            raise DataError("a negative energy", where=f"{feed}, {node.name}", hint=hint)
    if meter_mj is not None and meter_mj < 0:
        raise DataError("a negative energy", where=feed, hint="a counter that began again: leave the interval out")


def _add(account: dict[Heading, int], heading: Heading, energy_mj: int) -> None:
    if energy_mj:
        account[heading] = account.get(heading, 0) + energy_mj
