"""Who a GPU is: what its driver, the kubelet and the exporters call it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pynvml


@dataclass(frozen=True, slots=True)
class GpuIdentity:
    """One GPU; ``uuid`` begins with ``GPU-`` and is its name among the kubelet's devices."""

    uuid: str
    model: str
    is_mig: bool  # cut into instances: its limits would be those of all of them


def identity_of(gpu: Any, is_mig: bool) -> GpuIdentity:
    """What NVML says of a GPU. Raises NVMLError."""
    return GpuIdentity(_text(pynvml.nvmlDeviceGetUUID(gpu)), _text(pynvml.nvmlDeviceGetName(gpu)), is_mig)


def _text(said: str | bytes) -> str:
    """Older bindings answer bytes."""
    return said.decode() if isinstance(said, bytes) else said
