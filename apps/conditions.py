"""What can be wrong with a site, told from its state: sensors, meters, capacity, and savings that are not taken.

Limits: rack inlets by ASHRAE TC 9.9 (2021), recommended up to 27 C; the site's own limit where control is given back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from facility.alarms import AlarmKind, Condition, Severity
from facility.records import PointState, Quality, State
from facility.site import Site
from scheduler.joint import WATTS

RECOMMENDED_C = 27.0  # ASHRAE TC 9.9 (2021), upper end of the recommended envelope
NEARLY_FULL = 0.9  # of a rating
NO_RESERVE_PCT = 98.0  # fan speed
METERS_AGREE = 0.98  # the main meter may read so much less than the sum behind it before one of them is wrong
STALE_TIMES = 2.0  # of ``max_age_s``: the guard stops at once, a person is called when it goes on


def conditions(state: State, site: Site, max_age_s: float) -> list[Condition]:
    """All that is wrong in ``state``; readings older than ``max_age_s`` are not used for judgement."""
    return [
        *_sensors(state, site, max_age_s),
        *_heat(state, site, max_age_s),
        *_power(state, site, max_age_s),
        *_air(state, site, max_age_s),
    ]


def missed(kwh: float, limit_kwh: float, why: str) -> list[Condition]:
    """Savings that were predicted in the last day and not taken."""
    if kwh <= limit_kwh:
        return []
    cause = f"{kwh:.0f} kWh that decisions of the last 24 h would have saved were not: {why}"
    action = "see /v1/query/decisions; set mode advisory or active where the site allows it"
    return [Condition(AlarmKind.MISSED_SAVINGS, "loop", Severity.INFO, cause, action)]


def drifted(point: str, counted_kwh: float, integrated_kwh: float, share: float) -> list[Condition]:
    """A meter whose counter and whose power tell different energies of the same time."""
    larger = max(abs(counted_kwh), abs(integrated_kwh))
    if larger <= 0.0 or abs(counted_kwh - integrated_kwh) <= share * larger:
        return []
    cause = f"its counter says {counted_kwh:.1f} kWh, its power {integrated_kwh:.1f} kWh for the same time"
    action = "check transformer ratio, scale and unit of the meter's profile; have it calibrated"
    return [Condition(AlarmKind.DRIFT, point, Severity.WARNING, cause, action)]


def watched_points(site: Site) -> tuple[str, ...]:
    """Points that the loop depends on: those of the roles that are measured."""
    roles = site.roles
    single = (roles.facility_power_w, roles.drybulb_c, roles.rh_pct)
    return (*filter(None, single), *roles.it_power_w, *roles.rack_inlet_c)


def _sensors(state: State, site: Site, max_age_s: float) -> Iterator[Condition]:
    for name in watched_points(site):
        point = state.points.get(name)
        if point is None or point.age_s > STALE_TIMES * max_age_s:
            cause = "it was never read" if point is None else f"its last reading is {point.age_s / 60.0:.0f} min old"
            action = "check that the device answers (`eco site check`), its network and its power"
            yield Condition(AlarmKind.STALE, name, Severity.WARNING, cause, action)
        elif point.value is None or point.quality is Quality.BAD:
            cause = f"the device gives no good value (quality {point.quality.value})"
            action = "replace or reconnect the sensor; until then the loop does without it"
            yield Condition(AlarmKind.SENSOR_FAULT, name, Severity.WARNING, cause, action)


def _heat(state: State, site: Site, max_age_s: float) -> Iterator[Condition]:
    limit_c = site.control.inlet_limit_c
    for name in site.roles.rack_inlet_c:
        inlet_c = _value(state, name, max_age_s)
        if inlet_c is None or inlet_c <= RECOMMENDED_C:
            continue
        is_over = inlet_c > limit_c
        cause = f"{inlet_c:.1f} C at the rack inlet; recommended is up to {RECOMMENDED_C:g} C, the limit {limit_c:g} C"
        action = "look for a failed air handler, a high setpoint, open panels; move load away where it goes on"
        severity = Severity.CRITICAL if is_over else Severity.WARNING
        yield Condition(AlarmKind.CAPACITY, name, severity, cause, action, is_urgent=is_over)


def _power(state: State, site: Site, max_age_s: float) -> Iterator[Condition]:
    it_w = _sum_w(state, site.roles.it_power_w, max_age_s)
    facility_w = _sum_w(state, (site.roles.facility_power_w,), max_age_s)
    rated_w = site.hall.ups.rated_w * site.hall.ups.modules
    if it_w is not None and it_w > NEARLY_FULL * rated_w:
        cause = f"IT draws {it_w / 1000.0:.1f} kW of the {rated_w / 1000.0:.1f} kW that the UPS can give"
        severity = Severity.CRITICAL if it_w > rated_w else Severity.WARNING
        yield Condition(AlarmKind.CAPACITY, "ups", severity, cause, "cap GPUs or hold jobs back; see `eco event`")
    if it_w is not None and facility_w is not None and facility_w < METERS_AGREE * it_w:
        cause = (
            f"the main meter reads {facility_w / 1000.0:.1f} kW, less than the {it_w / 1000.0:.1f} kW of IT behind it"
        )
        action = "one of the meters is wrong: compare with a clamp meter, and check the scale in its profile"
        yield Condition(AlarmKind.DRIFT, site.roles.facility_power_w, Severity.WARNING, cause, action)


def _air(state: State, site: Site, max_age_s: float) -> Iterator[Condition]:
    points = site.roles.fan_speed_setpoint_pct
    speeds = [_value(state, point, max_age_s) for point in points]
    hot = [_value(state, point, max_age_s) for point in site.roles.rack_inlet_c]
    is_warm = any(inlet_c is not None and inlet_c > RECOMMENDED_C for inlet_c in hot)
    if points and is_warm and all(speed is not None and speed >= NO_RESERVE_PCT for speed in speeds):
        cause = "every air handler is at full speed and an inlet is above the recommended range"
        action = "bring a stand-by air handler in, or take load away"
        yield Condition(AlarmKind.CAPACITY, "air handlers", Severity.WARNING, cause, action)


def _value(state: State, name: str, max_age_s: float) -> float | None:
    point = state.points.get(name)
    return point.value if point is not None and point.is_usable(max_age_s) else None


def _sum_w(state: State, names: Sequence[str], max_age_s: float) -> float | None:
    """Watts of all; None where one is missing, old, or of no unit of power."""
    points = [state.points.get(name) for name in names if name]
    watts = [_watts(point, max_age_s) for point in points]
    known = [value for value in watts if value is not None]
    return sum(known) if known and len(known) == len(watts) else None


def _watts(point: PointState | None, max_age_s: float) -> float | None:
    if point is None or point.value is None or not point.is_usable(max_age_s) or point.unit not in WATTS:
        return None
    return WATTS[point.unit] * point.value
