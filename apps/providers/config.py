"""Which provider a site asks, as configuration; keys are references to the environment or a file, never the key."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

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
from facility.site import SecretRef, StrictModel, resolve_secret
from twin.forecasting.kinds import CarbonKind, Scope

Name = Literal["electricity-maps", "entsoe", "eia", "uk-carbon-intensity", "watttime"]
URLS: dict[str, str] = {
    "electricity-maps": ELECTRICITY_MAPS_URL,
    "entsoe": ENTSOE_URL,
    "eia": EIA_URL,
    "uk-carbon-intensity": UK_URL,
    "watttime": WATTTIME_URL,
}


class ProviderConfig(StrictModel):
    """One service, one zone in the service's own spelling, one kind of intensity."""

    provider: Name
    zone: str = "GB"
    scope: Scope = Scope.LIFECYCLE
    key: SecretRef | None = None
    user: SecretRef | None = None  # WattTime: name and password (key)
    url: str | None = None  # another address of the same service, such as a proxy

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.provider != "uk-carbon-intensity" and self.key is None:
            raise ValueError(f"{self.provider} needs a key, written as env:NAME or file:PATH")
        if self.provider == "watttime" and self.user is None:
            raise ValueError("watttime needs a user beside its key (the password)")
        if self.provider in ("uk-carbon-intensity", "watttime") and self.scope is not Scope.DIRECT:
            raise ValueError(f"{self.provider} has direct intensity only: say scope = 'direct'")
        if self.provider == "entsoe" and self.zone not in AREAS:
            raise ValueError(f"entsoe knows {', '.join(AREAS)}, not {self.zone!r}")
        return self


def open_provider(config: ProviderConfig) -> Provider:
    """The provider that ``config`` names; nothing is asked yet. Raises ConfigError where a key is not there."""
    http = Http(config.url or URLS[config.provider])
    kind = CarbonKind(config.scope)
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
