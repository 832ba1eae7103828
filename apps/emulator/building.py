"""The building: plant, cluster, weather, instruments and the hand-over of each device, on explicit time."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from apps.emulator.airside import NodeLoad
from apps.emulator.nominal import draw_truth
from apps.emulator.persist import fill, restore, snapshot
from apps.emulator.plant import STEP_S, Plant, Setpoints
from apps.emulator.remote import RemoteControl
from apps.emulator.sensing import Instruments, true_values
from apps.emulator.world import World
from facility.errors import DataError, EcoError
from facility.records import Job
from facility.site import Hall
from scheduler.cluster.codec import ClusterState
from scheduler.cluster.curves import hall_curves
from scheduler.cluster.emulated import EmulatedCluster

log = logging.getLogger(__name__)

FINISHED_KEPT = 200  # finished jobs in the saved state: nobody asks for older ones
STEPS_A_CALL = 3_000  # a longer backlog is worked off in several calls, so that devices keep answering
LOCAL_CRAH = {"supply_air_setpoint_c": 18.0, "fan_speed_setpoint_pct": 100.0}
LOCAL_CHILLER = {"chw_supply_setpoint_c": 7.0, "economizer_enable_flag": 0.0}
LOCAL_TOWER = {"basin_setpoint_c": 18.0}


class Building:
    """Everything behind the sockets. It keeps no clock: ``advance`` says how late it is."""

    def __init__(self, hall: Hall, world: World, start: datetime, seed: int) -> None:
        self.hall, self.seed, self.at = hall, seed, start
        self.plant = Plant(draw_truth(hall, seed), seed)
        self.cluster = EmulatedCluster.from_hall(hall, (), start)
        self.instruments = Instruments(seed)
        self.weather = world.weather
        self.remotes = {f"crah-{i + 1}": RemoteControl(dict(LOCAL_CRAH)) for i in range(hall.crah.count)}
        self.remotes |= {"chiller-1": RemoteControl(dict(LOCAL_CHILLER)), "tower-1": RemoteControl(dict(LOCAL_TOWER))}
        self._coming = sorted(world.jobs, key=lambda job: job.submitted_at, reverse=True)
        self._admit()
        self._sense()

    @property
    def now_s(self) -> float:
        """The building's time as seconds, for what must be compared and saved."""
        return self.at.timestamp()

    def advance(self, to: datetime) -> bool:
        """Step until less than one step is missing to ``to``; says whether it got there within one call."""
        for _ in range(STEPS_A_CALL):
            if self.at + timedelta(seconds=STEP_S) > to:
                return True
            self._step()
        return False

    def _step(self) -> None:
        for remote in self.remotes.values():
            remote.tick(self.now_s)
        self.at += timedelta(seconds=STEP_S)
        self.cluster.advance(self.at)
        self._admit()
        loads = [
            NodeLoad(node.mean_busy_w, node.mean_busy_gpus, node.mean_idle_gpus) for node in self.cluster.gpu_power_w()
        ]
        drybulb_c, rh_pct = self.weather.at(self.at)
        self.plant.step(loads, self._setpoints(), drybulb_c, rh_pct)
        self._sense()

    def _sense(self) -> None:
        drybulb_c, rh_pct = self.weather.at(self.at)
        self.instruments.update(true_values(self.plant, drybulb_c, rh_pct), STEP_S)

    def _setpoints(self) -> Setpoints:
        crahs = [self.remotes[f"crah-{i + 1}"] for i in range(self.hall.crah.count)]
        chiller, tower = self.remotes["chiller-1"], self.remotes["tower-1"]
        basin = "basin_setpoint_c"
        return Setpoints(
            supply_air_c=[crah.in_force("supply_air_setpoint_c") for crah in crahs],
            fan_pct=[crah.in_force("fan_speed_setpoint_pct") for crah in crahs],
            chw_c=chiller.in_force("chw_supply_setpoint_c"),
            economizer_on=chiller.in_force("economizer_enable_flag") >= 0.5,
            basin_c=tower.in_force(basin) if tower.is_remote(basin) else None,
            local_basin_c=tower.local[basin],
        )

    def _admit(self) -> None:
        """Hand the cluster the jobs whose time has come."""
        while self._coming and self._coming[-1].submitted_at <= self.at:
            self._submit(self._coming.pop())

    def _submit(self, job: Job) -> None:
        # A later world may use an earlier one's names again.
        for name in (job.name, f"{job.name}-{job.submitted_at:%Y%m%d%H%M}"):
            try:
                self.cluster.submit(replace(job, name=name))
                return
            except EcoError as error:
                problem = error
        log.warning("a job was left out: %s", problem)

    def limit_node(self, node: str, total_w: float, gpu_w: Sequence[float]) -> None:
        """A BMC holds its GPUs to ``total_w`` together and to ``gpu_w`` each."""
        self.cluster.limit_node(node, min(total_w / len(gpu_w), *gpu_w))

    def cluster_state(self) -> ClusterState:
        """Jobs and nodes as the cluster's interface reports them."""
        return ClusterState(self.at, self.cluster.statuses(), self.cluster.nodes())

    def values(self, device: str) -> dict[str, float]:
        """All that one device reports, by the names of its profile."""
        prefix = f"{device}/"
        measured = self.instruments.values
        values = {point.removeprefix(prefix): value for point, value in measured.items() if point.startswith(prefix)}
        if device in self.remotes:
            values |= self.remotes[device].registers()
        return values | self._computed(device)

    def _computed(self, device: str) -> dict[str, float]:
        """What a device knows without a sensor: counters, setpoints in force, states."""
        kind, _, number = device.partition("-")
        plant, chiller, tower = self.plant, self.plant.water.chiller, self.plant.water.tower
        if kind == "crah":
            crah = plant.air.crahs[int(number) - 1]
            return {
                "fan_energy_wh": self._energy_wh(device, device),
                "supply_air_effective_c": crah.supply_sp.value,
                "fan_speed_effective_pct": crah.fan_sp.value,
            }
        if kind == "chiller":
            return {
                "energy_wh": self._energy_wh(device, "chiller", "chw_pump"),
                "chw_supply_effective_c": chiller.chw_sp.value,
                "economizer_active_flag": float(chiller.economizing),
            }
        if kind == "tower":
            return {
                "energy_wh": self._energy_wh(device, "tower_fan", "cw_pump"),
                "basin_effective_c": tower.basin_sp.value,
                "makeup_water_l": float(int(plant.state.water_kg)),
            }
        return self._computed_meter(device, kind, number)

    def _computed_meter(self, device: str, kind: str, number: str) -> dict[str, float]:
        if kind == "meter":
            return {"energy_wh": self._energy_wh(device, "facility")}
        if kind == "pdu":
            first = (int(number) - 1) * self.hall.nodes_per_rack
            outlets = range(self.hall.nodes_per_rack)
            energies = {
                f"outlet-{j + 1}/energy_wh": self._energy_wh(f"{device}/outlet-{j + 1}", f"node-{first + j + 1}")
                for j in outlets
            }
            return {"inlet-1/energy_wh": self._energy_wh(f"{device}/inlet-1", device), **energies}
        return {"battery_charge_pct": 100.0}

    def _energy_wh(self, meter: str, *parts: str) -> float:
        counted = sum(self.plant.energy_wh(part) for part in parts)
        return float(int(counted * self.instruments.gain(f"{meter}/energy_wh")))

    def write(self, device: str, point: str, value: float) -> None:
        """A register was written; its range has been checked."""
        self.remotes[device].write(point, value, self.now_s)

    def truth(self) -> dict[str, float]:
        """Noise-free values by point, and what no instrument shows; for tests and honest comparisons only."""
        plant = self.plant
        drybulb_c, rh_pct = self.weather.at(self.at)
        values = true_values(plant, drybulb_c, rh_pct)
        values |= {f"power_w/{name}": power_w for name, power_w in plant.power_w.items()}
        values |= {f"energy_wh/{name}": plant.energy_wh(name) for name in plant.state.energy_j}
        for device, remote in self.remotes.items():
            values |= {f"{device}/{name}": value for name, value in remote.registers().items()}
            values |= {f"{device}/{name}": value for name, value in self._computed(device).items()}
        return values | {"fouling_share": plant.fouling, "pue": plant.power_w["facility"] / plant.power_w["it"]}

    def to_dict(self) -> dict[str, Any]:
        """The state as JSON types; jobs that have not come yet are left to the world's file."""
        cluster = self.cluster.to_dict()
        cluster["finished"] = cluster["finished"][-FINISHED_KEPT:]
        return {
            "at": self.at.isoformat(),
            "seed": self.seed,
            "plant": snapshot(self.plant),
            "remotes": {name: asdict(remote) for name, remote in self.remotes.items()},
            "cluster": cluster,
        }

    @classmethod
    def resumed(cls, hall: Hall, world: World, data: Mapping[str, Any]) -> Building:
        """The building that ``to_dict`` described; raises DataError where that is not of this hall.

        The world's jobs submitted until then are part of what was saved, or over.
        """
        try:
            building = cls(hall, world, datetime.fromisoformat(data["at"]), data["seed"])
            fill(building.plant, data["plant"])
            for name, remote in building.remotes.items():
                restore(remote, data["remotes"][name])
            building.cluster = EmulatedCluster.from_dict(data["cluster"], hall_curves(hall))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"not a saved building of this hall: {error!r}", where="emulator.json") from error
        return building
