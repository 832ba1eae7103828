"""Who is in command of a device: its own local setpoints, or a remote controller that must keep giving signs of life.

A setpoint that was written is in force while ``remote_enable_flag`` is 1 and the heartbeat changes (or a setpoint is
written) within ``fallback_timeout_min``. Silence, or an enable of 0, gives the device back to its local setpoints and
forgets what was written. Setpoints may be written first and enabled afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field

ENABLE, HEARTBEAT, TIMEOUT, ACTIVE = (
    "remote_enable_flag",
    "heartbeat_count",
    "fallback_timeout_min",
    "remote_active_flag",
)
LOCAL = "local_"  # prefix of the local setpoints' names
DEFAULT_TIMEOUT_MIN = 5.0


@dataclass(slots=True)
class RemoteControl:
    """Registers of the hand-over and the setpoints of one device; times are seconds of the building's clock."""

    local: dict[str, float]  # setpoints of the device itself, by name
    written: dict[str, float] = field(default_factory=dict)  # by a controller or an operator, and not given back yet
    enabled: bool = False
    heartbeat: float = 0.0
    timeout_min: float = DEFAULT_TIMEOUT_MIN
    last_sign_s: float = 0.0
    active: bool = False

    def tick(self, now_s: float) -> None:
        """Fall back where the controller has been silent too long."""
        if self.active and now_s - self.last_sign_s > self.timeout_min * 60.0:
            self._give_back()

    def write(self, name: str, value: float, now_s: float) -> None:
        """A register was written; range and access are checked before."""
        if name == ENABLE:
            self._enable(value >= 0.5, now_s)
        elif name == HEARTBEAT:
            if value != self.heartbeat:  # a master that repeats one number is stuck, not alive
                self._sign(now_s)
            self.heartbeat = value
        elif name == TIMEOUT:
            self.timeout_min = value
        elif name.startswith(LOCAL):
            self.local[name.removeprefix(LOCAL)] = value
        else:
            self.written[name] = value
            self._sign(now_s)

    def in_force(self, name: str) -> float:
        """The setpoint that the device's own loop shall hold."""
        return self.written.get(name, self.local[name]) if self.active else self.local[name]

    def is_remote(self, name: str) -> bool:
        """Whether a remote value is in force for this setpoint."""
        return self.active and name in self.written

    def registers(self) -> dict[str, float]:
        """Values of all registers by name; a setpoint reads back as written, or the local one where none is."""
        return {
            ENABLE: float(self.enabled),
            HEARTBEAT: self.heartbeat,
            TIMEOUT: self.timeout_min,
            ACTIVE: float(self.active),
            **{name: self.written.get(name, value) for name, value in self.local.items()},
            **{LOCAL + name: value for name, value in self.local.items()},
        }

    def _enable(self, wanted: bool, now_s: float) -> None:
        if not wanted:
            self._give_back()
            self.enabled = False
            return
        if not self.enabled:
            self.enabled = True
            self._sign(now_s)

    def _sign(self, now_s: float) -> None:
        self.last_sign_s = now_s
        self.active = self.enabled

    def _give_back(self) -> None:
        self.active = False
        self.written.clear()
