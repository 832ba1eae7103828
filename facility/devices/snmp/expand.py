"""From the columns that an agent has to concrete points: the instances of a template, the rows of a described table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from facility.described import FLAG, Unit, full_name, sanitise, unit_of, without_repeats
from facility.devices.snmp.value import NO_VALUE, number_of, text_of
from facility.profile_point import ProfilePoint
from facility.profile_snmp import Described, OidTest, Setpoint

Values = Mapping[str, Any]
"""Values by OID, of all columns that were walked and all scalars that were read."""

_RANGE = re.compile(r"min\s+(-?\d+).*?max\s+(-?\d+)")


def prefix_of(oid: str) -> str:
    """The column to walk: what stands before the first ``*``."""
    return oid.partition(".*")[0]


def fill(oid: str, met: Sequence[str]) -> str:
    """``oid`` with each ``*`` replaced by what the point's own ``*`` met, in order."""
    parts, left = [], list(met)
    for part in oid.split("."):
        parts.append(left.pop(0) if part == "*" else part)
    return ".".join(parts)


def instances_of(template: ProfilePoint, values: Values) -> list[ProfilePoint]:
    """The points that a template stands for; one whose scale the agent does not tell is none."""
    found = []
    for met in _met(template.oid, values):
        if template.where is not None and not _passes(template.where, met, values):
            continue
        scale = _divided(template.scale, template.decimals_oid, template.divisor_oid, met, values)
        if scale is not None and _unit_is_known(template, met, values):
            found.append(_instance(template, met, scale, values))
    return found


def _unit_is_known(template: ProfilePoint, met: Sequence[str], values: Values) -> bool:
    test = template.fahrenheit
    return test is None or number_of(values.get(fill(test.oid, met))) is not None


def _instance(template: ProfilePoint, met: Sequence[str], scale: float, values: Values) -> ProfilePoint:
    offset = template.offset
    if template.fahrenheit is not None and _passes(template.fahrenheit, met, values):
        scale, offset = scale * 5 / 9, (offset - 32) * 5 / 9
    status = template.status
    if status is not None:
        status = status.model_copy(update={"oid": fill(status.oid, met)})
    settled = {"scale": scale, "offset": offset, "status": status, "where": None, "fahrenheit": None}
    concrete = template.model_copy(update=settled)
    return concrete.instance(met, oid=fill(template.oid, met), decimals_oid="", divisor_oid="")


def _met(oid: str, values: Values) -> list[tuple[str, ...]]:
    """What the ``*`` of ``oid`` meet among the values, in the order of the numbers; () for an OID without ``*``."""
    pattern = re.compile(re.escape(oid).replace(r"\*", r"(\d+)"))
    matches = (pattern.fullmatch(key) for key, value in values.items() if not isinstance(value, NO_VALUE))
    return sorted((match.groups() for match in matches if match), key=lambda met: tuple(map(int, met)))


def _passes(test: OidTest, met: Sequence[str], values: Values) -> bool:
    return test.passes(number_of(values.get(fill(test.oid, met))))


def _divided(scale: float, decimals_oid: str, divisor_oid: str, met: Sequence[str], values: Values) -> float | None:
    if decimals_oid:
        decimals = number_of(values.get(fill(decimals_oid, met)))
        if decimals is None or not 0 <= decimals <= 9:
            return None
        scale /= 10.0**decimals
    if divisor_oid:
        divisor = number_of(values.get(fill(divisor_oid, met)))
        if not divisor:
            return None
        scale /= divisor
    return scale


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of a described table."""

    met: tuple[str, ...]
    name: str  # the device's
    base: str  # sanitised
    unit: Unit
    scale: float  # raw to the device's unit
    limits: tuple[float, float] | None  # raw


def rows_of(table: Described, values: Values) -> list[ProfilePoint]:
    """The points of a table that describes its own."""
    rows = [row for met in _met(table.oid, values) if (row := _row(table, met, values)) is not None]
    names = {
        (met[0], text_of(values.get(fill(table.name_oid, met)))): met  # a name may stand in several devices
        for met in _met(table.name_oid, values)
    }
    return without_repeats((_point(table, row, names, values), row.unit.rank) for row in rows)


def _row(table: Described, met: tuple[str, ...], values: Values) -> _Row | None:
    name = text_of(values.get(fill(table.name_oid, met)))
    base = sanitise(re.sub(r"\.Value$", "", name))
    scale = _factor(table, met, values)
    if not base or scale is None or any(fnmatchcase(name, pattern) for pattern in table.skip):
        return None
    if not all(_passes(test, met, values) for test in table.where):
        return None
    unit_text = text_of(values.get(fill(table.unit_oid, met)))
    if not unit_text and number_of(values.get(fill(table.oid, met))) is None:
        return None  # a text, not a quantity without unit
    limits = _limits(text_of(values.get(fill(table.range_oid, met)))) if table.range_oid else None
    unit = FLAG if not unit_text and limits == (0.0, 1.0) else unit_of(unit_text, base)
    return _Row(met, name, base, unit, scale, limits)


def _factor(table: Described, met: Sequence[str], values: Values) -> float | None:
    scale = _divided(1.0, "", table.divisor_oid, met, values)
    if scale is None or not table.factor_oid:
        return scale
    factor = number_of(values.get(fill(table.factor_oid, met)))
    if factor is None:
        return None
    return scale * factor if factor > 0 else scale / -factor if factor < 0 else scale


def _limits(text: str) -> tuple[float, float] | None:
    match = _RANGE.search(text)
    return (float(match[1]), float(match[2])) if match else None


def _point(
    table: Described, row: _Row, names: Mapping[tuple[str, str], tuple[str, ...]], values: Values
) -> ProfilePoint:
    valid = [row.unit.applied_to(raw * row.scale) for raw in row.limits] if row.limits else [None, None]
    setpoint = _setpoint(table, row, values)
    prefix = re.sub(r"\{(\d)\}", lambda mark: row.met[int(mark[1]) - 1], table.prefix)
    return ProfilePoint(
        name=full_name(prefix, row.base, row.unit),
        kind=row.unit.kind,
        unit=row.unit.unit,
        description=row.name,
        oid=fill(table.oid, row.met),
        scale=row.scale * row.unit.scale,
        offset=row.unit.offset,
        sentinels=table.sentinels,
        valid_min=valid[0],
        valid_max=valid[1],
        status=_status(table, row, names),
        writable=setpoint is not None,
        min=setpoint.min if setpoint else None,
        max=setpoint.max if setpoint else None,
        max_step=setpoint.max_step if setpoint else None,
    )


def _setpoint(table: Described, row: _Row, values: Values) -> Setpoint | None:
    if not table.access_oid or number_of(values.get(fill(table.access_oid, row.met))) not in table.access:
        return None
    return next((setpoint for setpoint in table.setpoint if fnmatchcase(row.name, setpoint.name)), None)


def _status(table: Described, row: _Row, names: Mapping[tuple[str, str], tuple[str, ...]]) -> OidTest | None:
    """The row beside this one that tells whether its values are there."""
    group = row.name.rpartition(".")[0]
    met = names.get((row.met[0], f"{group}.{table.status_name}")) if table.status_name and group else None
    return None if met is None else OidTest(oid=fill(table.oid, met), none_of=table.status_none_of)


def columns_of(templates: Iterable[ProfilePoint], tables: Iterable[Described]) -> tuple[list[str], list[str]]:
    """What must be read before points are known: prefixes of columns to walk, and OIDs of scalars to get."""
    oids: list[str] = []
    for point in templates:
        tests = [test.oid for test in (point.where, point.fahrenheit) if test is not None]
        oids += [point.oid, point.decimals_oid, point.divisor_oid, *tests]
    for table in tables:
        oids += [table.oid, table.name_oid, table.unit_oid, table.divisor_oid, table.factor_oid]
        oids += [table.range_oid, table.access_oid, *(test.oid for test in table.where)]
    known = list(dict.fromkeys(oid for oid in oids if oid))
    columns = list(dict.fromkeys(prefix_of(oid) for oid in known if "*" in oid))
    return columns, [oid for oid in known if "*" not in oid]
