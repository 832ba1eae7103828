"""NVML: each GPU of this machine, read, and its power limit and highest clock set.

GPUs are numbered from 1, as all equipment: ``node-3/gpu-1`` is NVML index 0 of node-3. NVML is started with the first
read, and again after the driver has failed.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import pynvml

from facility.clock import Clock
from facility.devices.base import check_limits
from facility.devices.blocking import Blocking
from facility.devices.nvml.identity import GpuIdentity, identity_of
from facility.devices.nvml.limits import Limit, limits_of
from facility.devices.nvml.quantities import QUANTITIES, Quantity
from facility.errors import DeviceError, Reason
from facility.records import Command, Point, Quality, Reading, Verdict, VerdictKind

log = logging.getLogger("eco.nvml")

START_ERRORS = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: ("the library libnvidia-ml.so.1 is missing", "install the NVIDIA driver"),
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: ("the NVIDIA driver is not loaded", "modprobe nvidia, then look at dmesg"),
    pynvml.NVML_ERROR_NO_PERMISSION: ("no permission to use the GPUs", "check the access to /dev/nvidia*"),
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: ("library and driver are of different versions", "reboot the node"),
}
LOST = (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED)  # this GPU is gone, others may do
DRIVER_GONE = (pynvml.NVML_ERROR_UNINITIALIZED, pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
MIG = ("mig_mode", "the GPU is in MIG mode: its limits would be those of every instance")
WRITES_OFF = ("writes_off", "setting limits is switched off: see allow_gpu_writes in the site file")
NO_PERMISSION = ("no_permission", "no permission to set limits: run the agent as root, or with CAP_SYS_ADMIN")
XID_HINT = "see dmesg for Xid"

T = TypeVar("T")


class NvmlDevice:
    """The GPUs of this machine; ``name`` is that of the node."""

    restores = True  # a limit goes back to the value that stood before: an operator's own stays

    def __init__(self, name: str, clock: Clock, deadline_s: float = 3.0, *, may_write: bool = False) -> None:
        """Sends nothing; the deadline is for one read or write, in wall seconds. ``may_write``: limits may be set."""
        self.name = name
        self._may_write = may_write
        self._clock = clock
        self._blocking = Blocking(name, deadline_s, "the driver may hang: see dmesg")
        self._gpus: dict[str, Any] = {}  # handles by equipment; none while NVML is not started
        self._reads: dict[str, tuple[Quantity, Any]] = {}
        self._limits: dict[str, Limit] = {}
        self._points: dict[str, Point] = {}
        self._may_set = True
        self._in_mig: frozenset[str] = frozenset()  # GPUs
        self._lost: dict[str, str] = {}  # by GPU: the error

    @property
    def points(self) -> Mapping[str, Point]:
        """Every quantity and limit of every GPU; none before the first read."""
        return self._points

    async def identify(self) -> dict[str, GpuIdentity]:
        """Who each GPU is, by its equipment name. Raises DeviceError where NVML does not start, or a GPU is lost."""

        def ask() -> dict[str, GpuIdentity]:
            return {name: identity_of(gpu, _is_mig(gpu)) for name, gpu in self._gpus.items()}

        return await self._blocking.run(lambda: self._guarded(ask))

    async def read(self, points: Sequence[str] | None = None) -> list[Reading]:
        """Read some or all points; what a GPU does not support, and all of a GPU that is lost, has no value.

        Raises DeviceError where NVML does not start, or every GPU is lost.
        """
        return await self._blocking.run(lambda: self._guarded(lambda: self._read_all(points)))

    def _read_all(self, points: Sequence[str] | None) -> list[Reading]:
        self._in_mig = frozenset(name for name, gpu in self._gpus.items() if _is_mig(gpu))
        names = list(self._points) if points is None else list(points)
        known, self._lost = self._lost, {}
        readings = [self._get(name) for name in names]
        if self._lost and len(self._lost) == len({_gpu_of(name) for name in names}):
            gpu, said = next(iter(self._lost.items()))
            raise DeviceError(said, where=gpu, hint=XID_HINT)
        for gpu in self._lost.keys() - known.keys():
            log.warning("%s: %s (%s)", gpu, self._lost[gpu], XID_HINT)
        return readings

    def _get(self, name: str) -> Reading:
        if name not in self._points:
            raise DeviceError("the node has no such point", where=name)
        value: float | None = None
        try:
            if _gpu_of(name) not in self._lost:
                value = self._call(name)
        except pynvml.NVMLError as error:
            if error.value in DRIVER_GONE:
                raise
            if error.value in LOST:
                self._lost[_gpu_of(name)] = f"NVML error {error.value}: {error}"
        quality = Quality.BAD if value is None else Quality.GOOD
        return Reading(name, value, self._points[name].unit, self._clock.now(), quality, self.name)

    def _call(self, name: str) -> float | None:
        if name in self._limits:
            return self._limits[name].get()
        quantity, gpu = self._reads[name]
        return quantity.get(gpu)

    def check(self, command: Command) -> Verdict:
        """What the GPU takes: within its own range, not while it is in MIG mode, not without permission."""
        if not self._may_write and command.point in self._limits:
            return Verdict(command, VerdictKind.REJECTED, None, *WRITES_OFF)
        verdict = check_limits(self._points, command)
        if verdict.kind is VerdictKind.REJECTED:
            return verdict
        if not self._may_set:
            return Verdict(command, VerdictKind.REJECTED, None, *NO_PERMISSION)
        if _gpu_of(command.point) in self._in_mig:
            return Verdict(command, VerdictKind.REJECTED, None, *MIG)
        return verdict

    async def write(self, command: Command) -> None:
        """Set one limit, which must be within range; a value of None lifts it. Raises DeviceError."""
        value = command.value
        if value is None:
            await self.release([command.point])
            return
        verdict = self.check(command)
        if verdict.kind is not VerdictKind.ACCEPTED:
            raise DeviceError(f"not written: {verdict.detail}", where=command.point)
        await self._blocking.run(lambda: self._guarded(lambda: self._set(command.point, value)))

    def _set(self, name: str, value: float) -> None:
        with self._explained(name, f"the GPU does not take {value:g}"):
            self._limits[name].set(value)

    async def read_back(self, command: Command) -> Reading:
        """The value now in force."""
        (reading,) = await self.read([command.point])
        return reading

    async def release(self, points: Sequence[str] | None = None) -> None:
        """Put some or all limits back to the GPU's defaults: NVML keeps no former value.

        A GPU that fails does not keep the others from theirs. Raises DeviceError with the first failure, and where an
        earlier run set limits that this one may not.
        """
        if not self._may_write:
            if points:
                raise DeviceError(WRITES_OFF[1], where=points[0], reason=Reason.CONFIG)
            return
        await self._blocking.run(lambda: self._guarded(lambda: self._lift(points)))

    def _lift(self, points: Sequence[str] | None) -> None:
        errors = []
        for name, limit in self._limits.items():
            if self._points[name].writable and (points is None or name in points):
                try:
                    with self._explained(name, "the limit is not lifted"):
                        limit.lift()
                except DeviceError as error:
                    errors.append(error)
        if errors:
            raise errors[0]

    async def close(self) -> None:
        """Shut NVML down; limits stay."""
        if self._gpus:
            await self._blocking.run(self._stop)

    # Start and failures -------------------------------------------------------------------------------------------

    def _guarded(self, work: Callable[[], T]) -> T:
        """``work`` with NVML started; where the driver has gone, it is started again with the next call."""
        if not self._gpus:
            self._start()
        try:
            return work()
        except pynvml.NVMLError as error:
            self._stop()
            raise DeviceError(f"NVML error {error.value}: {error}", where=self.name, hint=XID_HINT) from error

    def _start(self) -> None:
        try:
            pynvml.nvmlInit()
            handles = [_handle(index) for index in range(pynvml.nvmlDeviceGetCount())]
        except pynvml.NVMLError as error:
            what, hint = START_ERRORS.get(error.value, (f"NVML does not start: {error}", "try nvidia-smi"))
            raise DeviceError(f"{what} (NVML error {error.value})", where=self.name, hint=hint) from error
        gpus = {f"{self.name}/gpu-{number}": gpu for number, gpu in enumerate(handles, start=1) if gpu is not None}
        if not gpus:
            raise DeviceError("the driver has no GPU that works", where=self.name, hint=XID_HINT)
        self._reads = {f"{at}/{one.name}": (one, gpu) for at, gpu in gpus.items() for one in QUANTITIES}
        self._limits = {f"{at}/{one.name}": one for at, gpu in gpus.items() for one in limits_of(gpu)}
        readable = (_point(name, one) for name, (one, _) in self._reads.items())
        limits = (_point(name, one, _bounds(one), self._may_write) for name, one in self._limits.items())
        self._points = {point.name: point for point in (*readable, *limits)}
        self._gpus, self._may_set = gpus, True

    def _stop(self) -> None:
        self._gpus = {}
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()

    @contextlib.contextmanager
    def _explained(self, name: str, what: str) -> Iterator[None]:
        """A setting that is refused, as an error; one for which we have no permission is not tried again."""
        try:
            yield
        except pynvml.NVMLError as error:
            if error.value in DRIVER_GONE:
                raise
            if error.value == pynvml.NVML_ERROR_NO_PERMISSION:
                self._may_set = False
                what = NO_PERMISSION[1]
            hint = XID_HINT if error.value in LOST else ""
            raise DeviceError(f"{what} (NVML error {error.value}: {error})", where=name, hint=hint) from error


def _gpu_of(point: str) -> str:
    return point.rpartition("/")[0]


def _point(
    name: str, one: Quantity | Limit, bounds: tuple[float, float] | None = None, may_write: bool = False
) -> Point:
    low, high = bounds or (None, None)
    about = (name, one.kind, one.unit, _gpu_of(name), one.description)
    return Point(*about, writable=may_write and bounds is not None, min=low, max=high)


def _handle(index: int) -> Any:
    """The GPU at an index of NVML's; None where it is lost."""
    try:
        return pynvml.nvmlDeviceGetHandleByIndex(index)
    except pynvml.NVMLError as error:
        if error.value not in LOST:
            raise
        log.warning("NVML index %d: error %d: %s (%s)", index, error.value, error, XID_HINT)
        return None


def _bounds(limit: Limit) -> tuple[float, float] | None:
    """The range of a limit; None where the GPU or the driver does not have it."""
    try:
        return limit.bounds()
    except (pynvml.NVMLError, ValueError):  # no clock in a list
        return None


def _is_mig(gpu: Any) -> bool:
    try:
        current, _ = pynvml.nvmlDeviceGetMigMode(gpu)
    except pynvml.NVMLError:  # GPUs and drivers without it
        return False
    return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)
