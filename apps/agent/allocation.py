"""Which pod holds which GPU.

A GPU that is cut into instances, or handed to several containers in turns, has one power limit for all of them: such
a GPU is named as refused, with the reason. Device names are those of NVIDIA's device plugin.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

VENDOR = "nvidia.com/"
GPU, MIG = "GPU-", "MIG-"
REPLICA = "::"  # GPU-uuid::3: the fourth of several who share it in time slices or by MPS


@dataclass(frozen=True, slots=True, order=True)
class Holder:
    """The container that holds a GPU."""

    namespace: str
    pod: str
    container: str

    @property
    def where(self) -> str:
        """namespace/pod."""
        return f"{self.namespace}/{self.pod}"


@dataclass(frozen=True, slots=True)
class Device:
    """One device of one container, by the name that its plugin gave it."""

    holder: Holder
    resource: str
    device_id: str


@dataclass(frozen=True, slots=True)
class Allocation:
    """Who holds each GPU, by UUID; ``refused`` says of the GPUs (or devices) that cannot be capped why."""

    holders: Mapping[str, Holder]
    refused: Mapping[str, str]


def allocation_of(devices: Iterable[Device]) -> Allocation:
    """Whole GPUs with their one holder, and what is shared or cannot be told."""
    holders: dict[str, Holder] = {}
    refused: dict[str, str] = {}
    for device in devices:
        if not device.resource.startswith(VENDOR):
            continue
        uuid, replica, _ = device.device_id.partition(REPLICA)
        if replica:
            refused[uuid] = "it is shared in time slices: a cap would be that of every pod on it"
        elif uuid.startswith(MIG):
            refused[uuid] = "it is an instance (MIG): a cap would be that of the whole GPU"
        elif not uuid.startswith(GPU):
            refused[uuid] = "its device plugin names no UUID: which GPU it is cannot be told"
        elif uuid in holders and holders[uuid].where != device.holder.where:
            refused[uuid] = f"{holders[uuid].where} and {device.holder.where} both hold it"
        holders.setdefault(uuid, device.holder)
    return Allocation({uuid: one for uuid, one in holders.items() if uuid not in refused}, refused)
