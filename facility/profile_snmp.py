"""What a profile says beyond single points: how a device is known, self-described tables, tests on other objects."""

from __future__ import annotations

from pydantic import Field

from facility.site.base import StrictModel


class OidTest(StrictModel):
    """An object whose number decides something about a point; its ``*`` take what the point's own met."""

    oid: str = Field(pattern=r"^\d+(\.(\d+|\*))+$")
    any_of: tuple[int, ...] = ()  # passes with one of these; empty: with any number
    none_of: tuple[int, ...] = ()  # and with none of these

    def passes(self, raw: float | None) -> bool:
        """Whether the object's number passes; an object without a number does not."""
        return raw is not None and (not self.any_of or raw in self.any_of) and raw not in self.none_of


class Setpoint(StrictModel):
    """A described point that may be written: the device's name for it (shell wildcards), limits in the mapped unit."""

    name: str
    min: float
    max: float
    max_step: float | None = Field(default=None, gt=0)


class Described(StrictModel):
    """A table in which the agent describes its own points: a row is a point, a column a property (snmp).

    Each column is an OID whose ``*`` are the row's indices. The name is made of the row's text and the unit's suffix;
    the unit is mapped to the project's (facility.described).
    """

    oid: str = Field(pattern=r"^\d+(\.(\d+|\*))+$")  # the values
    name_oid: str
    unit_oid: str
    divisor_oid: str = ""  # raw is divided by this
    factor_oid: str = ""  # above 0 raw is multiplied by this, below 0 divided by its amount, 0 is 1
    range_oid: str = ""  # text with "min N" and "max N", raw: outside the reading is uncertain
    access_oid: str = ""  # writable only where this passes...
    access: tuple[int, ...] = ()  # ... with one of these numbers
    where: tuple[OidTest, ...] = ()  # only rows that pass all of them
    skip: tuple[str, ...] = ()  # names of rows that are no points, with shell wildcards
    prefix: str = Field(default="", pattern=r"^[a-z0-9_./{}-]*$")  # before the name; ``{1}`` is the first index
    status_name: str = ""  # the row "GROUP.status_name" tells whether the values of "GROUP.*" are there
    status_none_of: tuple[int, ...] = ()  # its numbers with which they are not
    sentinels: tuple[float, ...] = ()
    setpoint: tuple[Setpoint, ...] = ()


class Identify(StrictModel):
    """How discovery knows a device of this family, from what it says of itself; SunSpec by the models of [modbus]."""

    sys_object_id: tuple[str, ...] = ()  # snmp: beginnings
    sys_descr: tuple[str, ...] = ()  # snmp: beginnings; with sys_object_id both must fit
    has_oid: tuple[str, ...] = ()  # snmp: one of these subtrees must be there
    modbus_vendor: tuple[str, ...] = ()  # modbus: parts of the vendor's name (function 0x2B/0x0E), any case
