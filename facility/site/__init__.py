"""site.toml as pydantic models that refuse unknown keys."""

from facility.site.base import SecretRef, StrictModel, load_toml, resolve_path, resolve_secret, validate
from facility.site.carbon import CarbonProvider
from facility.site.hall import Hall
from facility.site.report import ReportFacts
from facility.site.service import AlarmSettings, ApiSettings, HistorySettings, ServiceSettings
from facility.site.site import (
    Bacnet,
    Control,
    Device,
    Http,
    Login,
    Place,
    Roles,
    Site,
    SnmpAuth,
    Tariff,
    Window,
    load_site,
)

__all__ = [
    "AlarmSettings",
    "ApiSettings",
    "Bacnet",
    "CarbonProvider",
    "Control",
    "Device",
    "Hall",
    "HistorySettings",
    "Http",
    "Login",
    "Place",
    "ReportFacts",
    "Roles",
    "SecretRef",
    "ServiceSettings",
    "Site",
    "SnmpAuth",
    "StrictModel",
    "Tariff",
    "Window",
    "load_site",
    "load_toml",
    "resolve_path",
    "resolve_secret",
    "validate",
]
