"""Electric power from chip to main meter: GPUs, hosts, server fans, leakage, supplies, PDUs and UPS.

Watts throughout; arrays broadcast, so the same function serves one node, racks (B, R) or a whole batch.
IT power is metered at the IT inlet: GPUs, hosts, leakage, server fans and supply loss (PUE category 3,
ISO/IEC 30134-2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facility.records import FloatArray
from facility.site import hall as site

Value = float | FloatArray


@dataclass(frozen=True, slots=True)
class LossParams:
    """``rated_w x (no_load + proportional x l + square x l^2)`` with l the load over the rating."""

    rated_w: Value
    no_load: Value
    proportional: Value
    square: Value

    @classmethod
    def from_site(cls, curve: site.LossCurve) -> LossParams:
        """Of a configured converter."""
        return cls(curve.rated_w, curve.no_load, curve.proportional, curve.square)


@dataclass(frozen=True, slots=True)
class NodeParams:
    """One node type."""

    gpus: int
    gpu_idle_w: Value
    gpu_max_w: Value
    gpu_cap_min_w: float
    gpu_cap_max_w: float
    host_idle_w: Value
    host_full_w: Value
    fan_rated_w: Value
    fan_airflow_m3_s: Value
    fan_rated_inlet_c: Value
    fan_limit_c: Value
    fan_min_speed: Value
    fan_exponent: Value
    leakage_per_k: Value
    leakage_reference_c: Value
    leakage_limit_c: Value
    psu: LossParams

    @classmethod
    def from_site(cls, node: site.Node) -> NodeParams:
        """Of a configured node."""
        gpu, fans = node.gpu, node.fans
        return cls(
            gpus=gpu.per_node,
            gpu_idle_w=gpu.idle_w,
            gpu_max_w=gpu.max_w,
            gpu_cap_min_w=gpu.cap_min_w,
            gpu_cap_max_w=gpu.cap_max_w,
            host_idle_w=sum(part.idle_w for part in node.host),
            host_full_w=sum(part.full_w for part in node.host),
            fan_rated_w=fans.rated_w,
            fan_airflow_m3_s=fans.rated_airflow_m3_s,
            fan_rated_inlet_c=fans.rated_inlet_c,
            fan_limit_c=fans.limit_c,
            fan_min_speed=fans.min_speed,
            fan_exponent=fans.exponent,
            leakage_per_k=node.leakage_per_k,
            leakage_reference_c=node.leakage_reference_c,
            leakage_limit_c=node.leakage_limit_c,
            psu=LossParams.from_site(node.psu),
        )

    @property
    def rated_dc_w(self) -> Value:
        """DC power of a node with every GPU at its maximum, without fans."""
        return self.gpus * self.gpu_max_w + self.host_full_w


def conversion_loss_w(load_w: FloatArray, curve: LossParams, units: Value = 1.0) -> FloatArray:
    """Loss of ``units`` equal converters that share ``load_w`` of output."""
    load = load_w / (units * curve.rated_w)
    return np.asarray(units * curve.rated_w * (curve.no_load + load * (curve.proportional + load * curve.square)))


def gpu_power_w(node: NodeParams, utilisation: FloatArray, cap_w: Value) -> FloatArray:
    """Board power of one GPU that wants ``utilisation`` (0..1) of its dynamic power; caps keep to the site's range."""
    wanted = node.gpu_idle_w + (node.gpu_max_w - node.gpu_idle_w) * utilisation
    return np.asarray(np.minimum(wanted, np.clip(cap_w, node.gpu_cap_min_w, node.gpu_cap_max_w)))


def host_power_w(node: NodeParams, utilisation: FloatArray) -> FloatArray:
    """DC power of a node without GPUs and fans; ``utilisation`` is the share of its GPUs that are busy."""
    return np.asarray(node.host_idle_w + (node.host_full_w - node.host_idle_w) * utilisation)


def node_it_w(node: NodeParams, busy_gpu_w: FloatArray, busy_gpus: FloatArray) -> FloatArray:
    """DC power of a node without fans: ``busy_gpu_w`` summed over its busy GPUs, its idle GPUs and its host."""
    idle_gpus = node.gpus - busy_gpus
    return busy_gpu_w + idle_gpus * node.gpu_idle_w + host_power_w(node, busy_gpus / node.gpus)


def server_fan_speed(node: NodeParams, dc_w: FloatArray, servers: FloatArray, inlet_c: FloatArray) -> FloatArray:
    """Fan speed (0..1) of ``servers`` that share ``dc_w``: flow follows heat over (limit - inlet)."""
    heat = dc_w / (np.maximum(servers, 1e-9) * node.rated_dc_w)
    headroom = np.maximum(node.fan_limit_c - inlet_c, 1.0)
    wanted = heat * ((node.fan_limit_c - node.fan_rated_inlet_c) / headroom)
    return np.clip(wanted, node.fan_min_speed, 1.0)


def leakage_w(node: NodeParams, dc_w: FloatArray, inlet_c: FloatArray) -> FloatArray:
    """Added chip leakage against the reference inlet; negative where it is colder."""
    return dc_w * (node.leakage_per_k * (np.minimum(inlet_c, node.leakage_limit_c) - node.leakage_reference_c))
