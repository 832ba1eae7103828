"""Who says how much carbon the grid's energy holds, while the service runs."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from facility.site.base import SecretRef, StrictModel

DIRECT_ONLY = ("uk-carbon-intensity", "watttime")


class CarbonProvider(StrictModel):
    """One service on the network, one zone in its own spelling, one kind of intensity."""

    provider: Literal["electricity-maps", "entsoe", "eia", "uk-carbon-intensity", "watttime"]
    zone: str = "GB"
    scope: Literal["direct", "lifecycle"] = "lifecycle"
    key: SecretRef | None = None
    user: SecretRef | None = None  # WattTime: name and password (key)
    url: str | None = None  # another address of the same service, such as a proxy

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.provider != "uk-carbon-intensity" and self.key is None:
            raise ValueError(f"{self.provider} needs a key, written as env:NAME or file:PATH")
        if self.provider == "watttime" and self.user is None:
            raise ValueError("watttime needs a user beside its key (the password)")
        if self.provider in DIRECT_ONLY and self.scope != "direct":
            raise ValueError(f"{self.provider} has direct intensity only: say scope = 'direct'")
        return self
