"""site.toml -> Site: the hall, its devices, its tariff and what the loop may do."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, model_validator

from facility.site.base import SecretRef, StrictModel, load_toml, validate
from facility.site.carbon import CarbonProvider
from facility.site.hall import Hall
from facility.site.report import ReportFacts
from facility.site.service import ServiceSettings


def _known_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError("not a time zone; write it as America/Los_Angeles") from error
    return name


class Place(StrictModel):
    """Where the site is and on which grid."""

    name: str
    description: str = ""
    zone: str  # carbon zone, as Electricity Maps writes it
    latitude_deg: float = Field(ge=-90, le=90)
    longitude_deg: float = Field(ge=-180, le=180)
    altitude_m: float = 0.0
    timezone: Annotated[str, AfterValidator(_known_timezone)] = "UTC"
    emulated: bool = False  # the devices are the emulated building of `eco up`


class SnmpAuth(StrictModel):
    """SNMP credentials; v3 has user and keys, v2c a community. All are references."""

    version: Literal["2c", "3"] = "2c"
    community: SecretRef | None = None
    user: str | None = None
    auth_key: SecretRef | None = None
    priv_key: SecretRef | None = None
    auth_protocol: Literal["SHA", "SHA256", "SHA512"] = "SHA256"
    priv_protocol: Literal["AES", "AES256"] = "AES"
    context: str = ""
    allow_v2c_writes: bool = False

    @model_validator(mode="after")
    def _complete(self) -> SnmpAuth:
        if self.version == "2c" and self.community is None:
            raise ValueError("SNMP v2c needs 'community' (a reference)")
        if self.version == "3" and (self.user is None or self.auth_key is None or self.priv_key is None):
            raise ValueError("SNMP v3 needs 'user', 'auth_key' and 'priv_key' (references)")
        return self


class Login(StrictModel):
    """User and password of a BMC, as references."""

    user: str
    password: SecretRef


class Http(StrictModel):
    """How an HTTP device (Redfish, Prometheus) is reached; the certificate is verified unless said otherwise."""

    scheme: Literal["https", "http"] = "https"
    user: str = ""
    password: SecretRef | None = None
    token: SecretRef | None = None  # bearer token
    ca_file: str = ""  # PEM bundle to trust instead of the system's; a path, or "env:NAME" of a variable with one
    verify: bool = True

    @model_validator(mode="after")
    def _complete(self) -> Http:
        if bool(self.user) != (self.password is not None):
            raise ValueError("'user' and 'password' go together")
        return self


class Bacnet(StrictModel):
    """Which BACnet device it is, and at which priority commands are written."""

    instance: int = Field(ge=0, le=4194302)
    priority: int = Field(default=13, ge=7, le=16)  # 1 to 6 belong to life safety and to the device itself
    local_address: str = ""  # "10.0.0.5/24:47809"; empty: any address, a free port
    cov_lifetime_s: int = Field(default=0, ge=0, le=86400)  # subscribe to changes for so long, renewed; 0: poll alone
    cov_poll_s: float = Field(default=60.0, gt=0)  # with subscriptions, points are polled no more often than this


class Device(StrictModel):
    """One device: how to reach it and which profile explains it. ``name`` is the equipment part of its points."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9./-]*$")
    protocol: Literal["modbus", "snmp", "ipmi", "redfish", "bacnet", "prometheus", "hwmon", "nvml", "stalls", "replay"]
    profile: str = ""  # name of a file in facility/profiles, or a path to one
    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)
    unit_id: int = Field(default=1, ge=0, le=255)
    poll_s: float = Field(default=60.0, gt=0)
    deadline_s: float = Field(default=3.0, gt=0)
    snmp: SnmpAuth | None = None
    ipmi: Login | None = None
    http: Http | None = None  # redfish and prometheus
    bacnet: Bacnet | None = None
    allow_gpu_writes: bool = False  # nvml: power limits and clocks may be set
    root: str = "/sys/class/hwmon"  # hwmon: folder of the chips
    cgroup_root: str = ""  # stalls: folder of cgroup v2; empty: where the system has it mounted
    stall_source: Literal["psi", "ebpf"] = "psi"  # stalls: how the node's are measured
    recording: str = ""  # replay: folder or Parquet file

    @model_validator(mode="after")
    def _reachable(self) -> Device:
        needs = [name for name in _NEEDS[self.protocol] if not getattr(self, name)]
        if needs:
            wanted = " and ".join(repr(name) for name in needs)
            raise ValueError(f"device {self.name!r}: {_ARTICLE[self.protocol]} device needs {wanted}")
        return self


_NEEDS: Mapping[str, tuple[str, ...]] = {
    "modbus": ("port", "profile"),
    "snmp": ("port", "profile", "snmp"),
    "ipmi": ("port", "profile", "ipmi"),
    "redfish": ("port", "profile", "http"),
    "bacnet": ("port", "profile", "bacnet"),
    "prometheus": ("port", "profile", "http"),
    "hwmon": ("profile",),
    "nvml": (),
    "stalls": (),
    "replay": ("recording",),
}
_ARTICLE: Mapping[str, str] = {
    name: f"{'an' if name in ('snmp', 'ipmi', 'hwmon', 'nvml') else 'a'} {name}" for name in _NEEDS
}


Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Window(StrictModel):
    """Local hours in which the site's devices may be commanded; one that ends before it starts lasts past midnight."""

    days: tuple[Day, ...] = DAYS
    start: time
    end: time

    def holds(self, local: datetime) -> bool:
        """Whether the window is open at a local time; it belongs to the day on which it starts."""
        today, before = DAYS[local.weekday()], DAYS[local.weekday() - 1]
        now = local.time()
        if self.start < self.end:
            return today in self.days and self.start <= now < self.end
        return (today in self.days and now >= self.start) or (before in self.days and now < self.end)


class Control(StrictModel):
    """What the loop does and how often."""

    tick_s: float = Field(default=900.0, gt=0)
    heartbeat_s: float = Field(default=30.0, gt=0)
    fallback_timeout_min: float = Field(default=5.0, gt=0)
    max_age_s: float = Field(default=300.0, gt=0)  # older than this is stale: nothing is written on it
    inlet_limit_c: float = Field(default=32.0, gt=0)  # ASHRAE TC 9.9 (2021), class A1 allowable: 15 to 32 C
    policy: str = "wait-awhile"
    plant: Literal["legacy", "rule", "optimum"] = "rule"
    window: tuple[Window, ...] = ()  # none: commands are allowed at any hour


class Roles(StrictModel):
    """Which points mean what: the meters of the account, the sensors of safety, the setpoints of the plant."""

    facility_power_w: str = ""
    facility_energy_wh: str = ""
    it_power_w: tuple[str, ...] = ()  # at the IT inlet, server fans included: PUE category 3
    it_energy_wh: tuple[str, ...] = ()
    rack_inlet_c: tuple[str, ...] = ()
    drybulb_c: str = ""
    rh_pct: str = ""
    supply_air_setpoint_c: tuple[str, ...] = ()
    fan_speed_setpoint_pct: tuple[str, ...] = ()
    chw_supply_setpoint_c: tuple[str, ...] = ()
    economizer_enable_flag: tuple[str, ...] = ()
    tower_water_setpoint_c: tuple[str, ...] = ()


class Tariff(StrictModel):
    """How a bill is made of energy, peak and fees; a part that is not known makes the cost unknown."""

    energy_adder_usd_kwh: float | None = None  # network and taxes on top of the wholesale price
    demand_charge_usd_kw_month: float | None = None
    fixed_usd_month: float | None = None
    source: str = ""


class Site(StrictModel):
    """All that is configured about one site."""

    site: Place
    hall: Hall
    control: Control = Control()
    roles: Roles = Roles()
    tariff: Tariff = Tariff()
    carbon: CarbonProvider | None = None  # asked while the service runs; without it, files or their stand-in
    report: ReportFacts = ReportFacts()
    service: ServiceSettings = ServiceSettings()
    device: tuple[Device, ...] = ()

    @model_validator(mode="after")
    def _unique_devices(self) -> Site:
        names = [device.name for device in self.device]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"device names are used twice: {', '.join(twice)}")
        return self


def load_site(path: Path | str | None = None) -> Site:
    """Read a site file; None gives the reference hall that ships with the product."""
    if path is None:
        with as_file(files("data") / "site.toml") as shipped:
            return validate(Site, load_toml(shipped), "data/site.toml")
    path = Path(path)
    return validate(Site, load_toml(path), path)
