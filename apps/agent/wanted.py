"""Which limits each GPU should have now, and which GPUs are left alone, with the reason in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from apps.agent.allocation import Allocation
from apps.agent.budget import REST, PodBudget, lowest
from facility.devices.nvml import GpuIdentity
from facility.records import Command

POWER, CLOCK = "power_limit_w", "sm_clock_limit_mhz"
MIG = "it is in MIG mode: a cap would be that of every instance"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Limits by point, and the GPUs that are not limited although a pod on them has a budget, with the reason."""

    commands: Mapping[str, Command] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)


def wanted(
    gpus: Mapping[str, GpuIdentity],
    allocation: Allocation,
    budgets: Mapping[str, PodBudget],
    stalled: frozenset[str],
) -> Wanted:
    """``gpus`` by equipment name, ``budgets`` by namespace/pod, ``stalled`` likewise.

    A GPU of no pod, or of one without a budget, has that of the REST, where there is one.
    """
    commands: dict[str, Command] = {}
    refused: dict[str, str] = {}
    for name, gpu in gpus.items():
        why = MIG if gpu.is_mig else allocation.refused.get(gpu.uuid, "")
        if why:
            refused[name] = why
            continue
        holder = allocation.holders.get(gpu.uuid)
        budget = budgets.get(REST if holder is None else holder.where, budgets.get(REST))
        if budget is not None:
            found = _limits(name, budget, budget.where in stalled)
            commands |= {command.point: command for command in found}
    return Wanted(commands, refused)


def _limits(name: str, budget: PodBudget, is_stalled: bool) -> list[Command]:
    whose = budget.where or "GPUs that no budget names"
    commands = []
    if budget.cap_w is not None:
        commands.append(Command(f"{name}/{POWER}", budget.cap_w, "W", f"cap of {whose}"))
    stall_mhz = budget.stall_clock_mhz if is_stalled else None
    clock_mhz = lowest(budget.clock_mhz, stall_mhz)
    if clock_mhz is not None:
        reason = f"{whose} waits for data" if clock_mhz == stall_mhz else f"clock of {whose}"
        commands.append(Command(f"{name}/{CLOCK}", clock_mhz, "MHz", reason))
    return commands
