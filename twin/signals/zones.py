"""Bidding and carbon zones: the names a zone goes by, where it lies and which clock its market keeps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Zone:
    """One zone. The box (degrees, outer bounds of the territory) tells whether weather can be of the same place."""

    name: str  # as Electricity Maps writes it
    aliases: tuple[str, ...]
    south_deg: float
    north_deg: float
    west_deg: float
    east_deg: float
    timezone: str
    dip_tolerance_h: float | None = (
        None  # midday dip against solar noon over half a year; None where it was not studied
    )

    @property
    def solar_noon_utc_h(self) -> float:
        """Mean solar noon at the middle of the zone, in hours UTC."""
        return (12.0 - (self.west_deg + self.east_deg) / 2.0 / 15.0) % 24.0

    def contains(self, latitude_deg: float, longitude_deg: float, margin_deg: float = 1.0) -> bool:
        """Whether a place lies in the zone's box, within ``margin_deg``."""
        return (
            self.south_deg - margin_deg <= latitude_deg <= self.north_deg + margin_deg
            and self.west_deg - margin_deg <= longitude_deg <= self.east_deg + margin_deg
        )


# Boxes from the territories' outer bounds, rounded outwards to 0.5 degrees; clocks from the IANA time zone database.
ZONES: tuple[Zone, ...] = (
    Zone(
        "US-CAL-CISO",
        ("CISO", "CAISO", "US-CA", "US-CAISO", "California"),
        32.5,
        42.0,
        -124.5,
        -114.0,
        "America/Los_Angeles",
        1.0,
    ),
    Zone("US-TEX-ERCO", ("ERCO", "ERCOT"), 25.5, 36.5, -107.0, -93.5, "America/Chicago"),
    Zone("US-NY-NYIS", ("NYIS", "NYISO"), 40.5, 45.0, -80.0, -71.5, "America/New_York"),
    Zone("US-NE-ISNE", ("ISNE", "ISO-NE"), 41.0, 47.5, -73.5, -67.0, "America/New_York"),
    Zone("US-MIDA-PJM", ("PJM",), 35.5, 42.5, -90.5, -73.5, "America/New_York"),
    Zone("US-MIDW-MISO", ("MISO",), 29.0, 49.5, -104.5, -82.0, "America/Chicago"),
    Zone("DE", ("DE-LU", "DE_LU", "DE-AT-LU", "Germany"), 47.0, 55.5, 5.5, 15.5, "Europe/Berlin", 1.0),
    Zone("FR", ("France",), 41.0, 51.5, -5.5, 10.0, "Europe/Paris"),
    Zone("GB", ("UK", "Great Britain"), 49.5, 61.0, -8.5, 2.0, "Europe/London"),
    Zone("IE", ("Ireland",), 51.0, 55.5, -10.5, -5.5, "Europe/Dublin"),
    Zone("NL", ("Netherlands",), 50.5, 54.0, 3.0, 7.5, "Europe/Amsterdam"),
    Zone("BE", ("Belgium",), 49.0, 52.0, 2.0, 6.5, "Europe/Brussels"),
    Zone("AT", ("Austria",), 46.0, 49.5, 9.5, 17.5, "Europe/Vienna"),
    Zone("CH", ("Switzerland",), 45.5, 48.0, 5.5, 10.5, "Europe/Zurich"),
    Zone("ES", ("Spain",), 36.0, 44.0, -9.5, 3.5, "Europe/Madrid"),
    Zone("PL", ("Poland",), 49.0, 55.0, 14.0, 24.5, "Europe/Warsaw"),
    Zone("IN-WE", ("IN-MH",), 15.5, 25.0, 68.0, 84.5, "Asia/Kolkata"),
    Zone("SG", ("Singapore",), 1.0, 1.5, 103.5, 104.5, "Asia/Singapore"),
    Zone("AU-NSW", ("NSW", "NSW1"), -37.5, -28.0, 140.5, 154.0, "Australia/Sydney"),
)

_BY_ALIAS = {alias.casefold(): zone for zone in ZONES for alias in (zone.name, *zone.aliases)}


def find_zone(name: str) -> Zone | None:
    """The zone that ``name`` or one of its aliases stands for; None where it is not listed."""
    return _BY_ALIAS.get(name.strip().casefold())


def canonical_zone(name: str) -> str:
    """The one name for a zone and its aliases (DE-LU is DE); a zone that is not listed keeps its own name."""
    zone = find_zone(name)
    return zone.name if zone is not None else name.strip()
