"""The provider that a site asks."""

from __future__ import annotations

from apps.providers.eia import URL as EIA_URL
from apps.providers.eia import Eia
from apps.providers.electricity_maps import URL as ELECTRICITY_MAPS_URL
from apps.providers.electricity_maps import ElectricityMaps
from apps.providers.entsoe import AREAS, Entsoe
from apps.providers.entsoe import URL as ENTSOE_URL
from apps.providers.http import Http
from apps.providers.port import Provider
from apps.providers.uk import URL as UK_URL
from apps.providers.uk import UkCarbonIntensity
from apps.providers.watttime import URL as WATTTIME_URL
from apps.providers.watttime import WattTime
from facility.errors import ConfigError
from facility.site import CarbonProvider, resolve_secret
from twin.forecasting.kinds import CarbonKind, Scope

URLS: dict[str, str] = {
    "electricity-maps": ELECTRICITY_MAPS_URL,
    "entsoe": ENTSOE_URL,
    "eia": EIA_URL,
    "uk-carbon-intensity": UK_URL,
    "watttime": WATTTIME_URL,
}


def open_provider(config: CarbonProvider) -> Provider:
    """The provider that ``config`` names; nothing is asked yet.

    Raises ConfigError where a key is not there, or ENTSO-E does not know the zone.
    """
    if config.provider == "entsoe" and config.zone not in AREAS:
        raise ConfigError(
            f"entsoe does not know {config.zone!r}", where="[carbon] zone", hint=f"it knows {', '.join(AREAS)}"
        )
    http = Http(config.url or URLS[config.provider])
    kind = CarbonKind(Scope(config.scope))
    if config.provider == "uk-carbon-intensity" or config.key is None:
        return UkCarbonIntensity(http)
    key = resolve_secret(config.key)
    if config.provider == "watttime" and config.user is not None:
        return WattTime(http, config.zone, resolve_secret(config.user), key)
    if config.provider == "entsoe":
        return Entsoe(http, config.zone, kind, key)
    if config.provider == "eia":
        return Eia(http, config.zone, kind, key)
    return ElectricityMaps(http, config.zone, kind, key)
