"""A GPU node as its BMC shows it: NVIDIA's names of chassis and sensors, and power limits that bite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from apps.emulator.redfish_tree import CHASSIS, OFF, ON, ROOT, Json, Tree, collection

SYSTEMS = f"{ROOT}/Systems"
HOST, BOARD = f"{CHASSIS}/Chassis_0", f"{CHASSIS}/HGX_Chassis_0"
GPU_SYSTEM = f"{SYSTEMS}/HGX_Baseboard_0"
TOTAL_LIMIT = f"{BOARD}/Controls/TotalGPU_Power_0"
SUPPLIES = 4
SUPPLY_RATED_W = 3300.0
SUPPLY_EFFICIENCY = 0.96  # at half load: 80 PLUS Titanium
LINE_V = 208.0
STANDBY_W = 40.0  # the BMC and one fan, the host being off
GPU_K_W = 0.045  # from inlet air to a GPU's silicon: 700 W at 25 degC inlet make 56 degC


@dataclass(frozen=True, slots=True)
class NodeNumbers:
    """What a node would draw were nothing limited by its BMC."""

    gpu_w: tuple[float, ...]
    node_w: float  # at the IT inlet, GPUs and supplies included
    energy_wh: float
    inlet_c: float


@dataclass(slots=True)
class NodeSettings:
    """What somebody has set at a BMC."""

    total_w: float
    gpu_w: tuple[float, ...]
    is_on: bool = True

    def limited(self, numbers: NodeNumbers) -> NodeNumbers:
        """The numbers with these settings in force."""
        if not self.is_on:
            return replace(numbers, gpu_w=(0.0,) * len(numbers.gpu_w), node_w=STANDBY_W)
        each = [min(watts, limit) for watts, limit in zip(numbers.gpu_w, self.gpu_w, strict=True)]
        share = min(1.0, self.total_w / sum(each)) if sum(each) > 0.0 else 1.0
        gpu_w = tuple(watts * share for watts in each)
        return replace(numbers, gpu_w=gpu_w, node_w=numbers.node_w - sum(numbers.gpu_w) + sum(gpu_w))


@dataclass(frozen=True, slots=True)
class NodePlate:
    """What does not change: how many GPUs, and what limits each takes."""

    gpus: int
    gpu_min_w: float
    gpu_max_w: float


class NodeTree(Tree):
    """The resources of one node; readings are taken when somebody asks, ``changed_to`` is told what was set."""

    def __init__(
        self,
        plate: NodePlate,
        read: Callable[[], NodeNumbers],
        changed_to: Callable[[NodeSettings], None] = lambda _: None,
    ) -> None:
        super().__init__(node_resources(plate))
        self._plate, self._read, self._changed_to = plate, read, changed_to

    @property
    def settings(self) -> NodeSettings:
        """What is set now."""
        limits = (self.resources[_processor(gpu)]["PowerLimitWatts"]["SetPoint"] for gpu in self._numbers)
        is_on = self.resources[f"{SYSTEMS}/System_0"]["PowerState"] == "On"
        return NodeSettings(float(self.resources[TOTAL_LIMIT]["SetPoint"]), tuple(map(float, limits)), is_on)

    @property
    def _numbers(self) -> range:
        return range(1, self._plate.gpus + 1)

    def get(self, path: str) -> Json:
        """One resource with the readings of now."""
        self._measure(self.settings.limited(self._read()))
        return super().get(path)

    def changed(self, path: str) -> None:
        """Somebody has set something."""
        self._changed_to(self.settings)

    def _measure(self, now: NodeNumbers) -> None:
        for path, way, value in _readings(now):
            part = self.resources[path]
            for step in way:
                part = part[step]
            part["Reading"] = round(value, 3)


def _readings(now: NodeNumbers) -> list[tuple[str, tuple[str, ...], float]]:
    """Every measured number: resource, excerpt in it, value."""
    found: list[tuple[str, tuple[str, ...], float]] = [
        (f"{HOST}/Sensors/Chassis_0_TotalHSC_Power_0", (), now.node_w),
        (f"{HOST}/Sensors/Chassis_0_Front_IO_Temp_0", (), now.inlet_c),
        (f"{HOST}/EnvironmentMetrics", ("PowerWatts",), now.node_w),
        (f"{HOST}/EnvironmentMetrics", ("EnergykWh",), now.energy_wh / 1000.0),
        (f"{HOST}/ThermalSubsystem/ThermalMetrics", ("TemperatureSummaryCelsius", "Intake"), now.inlet_c),
        (f"{BOARD}/Sensors/HGX_Chassis_0_TotalGPU_Power_0", (), sum(now.gpu_w)),
        (TOTAL_LIMIT, ("Sensor",), sum(now.gpu_w)),
    ]
    for gpu, watts in enumerate(now.gpu_w, start=1):
        silicon_c = now.inlet_c + GPU_K_W * watts
        found += [
            (f"{_gpu(gpu)}/EnvironmentMetrics", ("PowerWatts",), watts),
            (_processor(gpu), ("PowerWatts",), watts),
            (f"{_gpu(gpu)}/Sensors/HGX_GPU_{gpu}_TEMP_0", (), silicon_c),
        ]
    share_w = now.node_w / SUPPLIES
    for supply in range(SUPPLIES):
        metrics = f"{_supply(supply)}/Metrics"
        found += [
            (metrics, ("InputPowerWatts",), share_w),
            (metrics, ("OutputPowerWatts",), share_w * SUPPLY_EFFICIENCY),
            (metrics, ("InputCurrentAmps",), share_w / LINE_V),
        ]
    return found


# The resources ----------------------------------------------------------------------------------------------------


def node_resources(plate: NodePlate) -> dict[str, Json]:
    """All resources of a node, readings still missing."""
    resources = {**_systems(plate), **_host(), **_board(plate)}
    for gpu in range(1, plate.gpus + 1):
        resources |= _gpu_resources(gpu, plate)
    chassis = [path for path in resources if path.startswith(CHASSIS) and path.count("/") == 4]
    return {CHASSIS: collection(CHASSIS, "ChassisCollection", chassis), **resources}


def _gpu(number: int) -> str:
    return f"{CHASSIS}/HGX_GPU_{number}"


def _processor(number: int) -> str:
    return f"{GPU_SYSTEM}/Processors/GPU_{number}/EnvironmentMetrics"


def _supply(number: int) -> str:
    return f"{HOST}/PowerSubsystem/PowerSupplies/PSU_{number}"


def _resource(path: str, version: str, links: tuple[str, ...] = (), **more: Json) -> dict[str, Json]:
    """One resource; ``version`` as in Control.v1_3_0, ``links`` are what lies below it."""
    name = path.rpartition("/")[2]
    kind = version.partition(".")[0]
    return {
        "@odata.id": path,
        "@odata.type": f"#{version}.{kind}",
        "Id": name,
        "Name": name.replace("_", " "),
        **{link: {"@odata.id": f"{path}/{link}"} for link in links},
        **more,
    }


def _ok() -> dict[str, Json]:
    return {"State": "Enabled", "Health": "OK"}


def _sensors(chassis: str, kinds: Mapping[str, tuple[str, str]]) -> dict[str, Json]:
    """Sensors by name: reading type and unit of each."""
    sensors = {
        f"{chassis}/Sensors/{name}": _resource(
            f"{chassis}/Sensors/{name}",
            "Sensor.v1_7_0",
            Reading=None,
            ReadingType=kind,
            ReadingUnits=unit,
            Status=_ok(),
        )
        for name, (kind, unit) in kinds.items()
    }
    return {f"{chassis}/Sensors": collection(f"{chassis}/Sensors", "SensorCollection", sensors), **sensors}


def _systems(plate: NodePlate) -> dict[str, Json]:
    host = f"{SYSTEMS}/System_0"
    reset = {"target": f"{host}/Actions/ComputerSystem.Reset", "ResetType@Redfish.AllowableValues": [*ON, *OFF]}
    processors = [f"{GPU_SYSTEM}/Processors/GPU_{gpu}" for gpu in range(1, plate.gpus + 1)]
    actions = {"#ComputerSystem.Reset": reset}
    return {
        SYSTEMS: collection(SYSTEMS, "ComputerSystemCollection", (host, GPU_SYSTEM)),
        host: _resource(host, "ComputerSystem.v1_22_0", PowerState="On", AssetTag="", Status=_ok(), Actions=actions),
        GPU_SYSTEM: _resource(GPU_SYSTEM, "ComputerSystem.v1_22_0", ("Processors",), Status=_ok()),
        f"{GPU_SYSTEM}/Processors": collection(f"{GPU_SYSTEM}/Processors", "ProcessorCollection", processors),
    }


def _host() -> dict[str, Json]:
    below = ("EnvironmentMetrics", "PowerSubsystem", "Sensors", "ThermalSubsystem")
    power, thermal = f"{HOST}/PowerSubsystem", f"{HOST}/ThermalSubsystem"
    metrics: dict[str, Json] = {"PowerWatts": {"Reading": None}, "EnergykWh": {"Reading": None}}
    supplies = f"{power}/PowerSupplies"
    resources = {
        HOST: _resource(HOST, "Chassis.v1_22_0", below, ChassisType="RackMount", AssetTag="", Status=_ok()),
        f"{HOST}/EnvironmentMetrics": _resource(f"{HOST}/EnvironmentMetrics", "EnvironmentMetrics.v1_3_0", **metrics),
        power: _resource(power, "PowerSubsystem.v1_1_0", ("PowerSupplies",), CapacityWatts=SUPPLIES * SUPPLY_RATED_W),
        supplies: collection(supplies, "PowerSupplyCollection", map(_supply, range(SUPPLIES))),
        thermal: _resource(thermal, "ThermalSubsystem.v1_3_0", ("ThermalMetrics",), Status=_ok()),
        f"{thermal}/ThermalMetrics": _resource(
            f"{thermal}/ThermalMetrics",
            "ThermalMetrics.v1_0_0",
            TemperatureSummaryCelsius={"Intake": {"Reading": None}},
        ),
    }
    for number in range(SUPPLIES):
        resources |= _supply_resources(_supply(number))
    kinds = {"TotalHSC_Power_0": ("Power", "W"), "Front_IO_Temp_0": ("Temperature", "Cel")}
    return {**resources, **_sensors(HOST, {f"Chassis_0_{name}": kind for name, kind in kinds.items()})}


def _supply_resources(path: str) -> dict[str, Json]:
    measured: dict[str, Json] = {
        name: {"Reading": None} for name in ("InputPowerWatts", "OutputPowerWatts", "InputCurrentAmps")
    }
    measured["InputVoltage"] = {"Reading": LINE_V}
    return {
        path: _resource(path, "PowerSupply.v1_5_0", ("Metrics",), PowerCapacityWatts=SUPPLY_RATED_W, Status=_ok()),
        f"{path}/Metrics": _resource(f"{path}/Metrics", "PowerSupplyMetrics.v1_0_1", **measured),
    }


def _limit(low_w: float, high_w: float) -> dict[str, Json]:
    return {
        "SetPoint": high_w,
        "DefaultSetPoint": high_w,
        "AllowableMin": low_w,
        "AllowableMax": high_w,
        "ControlMode": "Automatic",
    }


def _clear(path: str) -> dict[str, Json]:
    name = "NvidiaEnvironmentMetrics.ClearOOBSetPoint"
    return {"Oem": {f"#{name}": {"target": f"{path}/Actions/Oem/{name}"}}}


def _board(plate: NodePlate) -> dict[str, Json]:
    limit = _limit(plate.gpus * plate.gpu_min_w, plate.gpus * plate.gpu_max_w)
    total, metrics = "HGX_Chassis_0_TotalGPU_Power_0", f"{BOARD}/EnvironmentMetrics"
    sensor = {"DataSourceUri": f"{BOARD}/Sensors/{total}", "Reading": None}
    below = ("Controls", "EnvironmentMetrics", "Sensors")
    return {
        BOARD: _resource(BOARD, "Chassis.v1_22_0", below, ChassisType="Zone", AssetTag="", Status=_ok()),
        f"{BOARD}/Controls": collection(f"{BOARD}/Controls", "ControlCollection", (TOTAL_LIMIT,)),
        TOTAL_LIMIT: _resource(
            TOTAL_LIMIT,
            "Control.v1_3_0",
            ControlType="Power",
            SetPointUnits="W",
            Sensor=sensor,
            Status=_ok(),
            **limit,
        ),
        metrics: _resource(
            metrics,
            "EnvironmentMetrics.v1_3_0",
            PowerLimitWatts={"DataSourceUri": TOTAL_LIMIT, **limit},
            Actions=_clear(metrics),
        ),
        **_sensors(BOARD, {total: ("Power", "W")}),
    }


def _gpu_resources(number: int, plate: NodePlate) -> dict[str, Json]:
    chassis, metrics = _gpu(number), _processor(number)
    below = ("EnvironmentMetrics", "Sensors")
    power: dict[str, Json] = {"PowerWatts": {"Reading": None}}
    own, system = f"{chassis}/EnvironmentMetrics", metrics.rpartition("/")[0]
    return {
        chassis: _resource(chassis, "Chassis.v1_22_0", below, ChassisType="Component", AssetTag="", Status=_ok()),
        own: _resource(own, "EnvironmentMetrics.v1_3_0", **power),
        **_sensors(chassis, {f"HGX_GPU_{number}_TEMP_0": ("Temperature", "Cel")}),
        system: _resource(system, "Processor.v1_20_0", ("EnvironmentMetrics",), ProcessorType="GPU", Status=_ok()),
        metrics: _resource(
            metrics,
            "EnvironmentMetrics.v1_3_0",
            PowerLimitWatts=_limit(plate.gpu_min_w, plate.gpu_max_w),
            Actions=_clear(metrics),
            PowerWatts={"Reading": None},
        ),
    }
