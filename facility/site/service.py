"""How the service may act and be reached: the table ``[service]`` of a site file."""

from __future__ import annotations

from pydantic import Field, model_validator

from facility.site.base import SecretRef, StrictModel

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class ApiSettings(StrictModel):
    """Where the API listens, and what it bears. Beyond the loopback interface it speaks TLS alone."""

    host: str = "127.0.0.1"
    tls_cert: str = ""  # PEM chain
    tls_key: str = ""  # PEM key
    body_max_mb: float = Field(default=16.0, gt=0)
    requests_per_s: float = Field(default=50.0, gt=0)  # of one token or address, lasting
    burst: int = Field(default=200, ge=1)  # at once

    @model_validator(mode="after")
    def _guarded(self) -> ApiSettings:
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ValueError("'tls_cert' and 'tls_key' go together")
        if self.host not in LOOPBACK and not self.tls_cert:
            raise ValueError("a host beyond the loopback interface needs 'tls_cert' and 'tls_key'")
        return self


class AlarmSettings(StrictModel):
    """When a condition becomes an alarm, and who is told."""

    after_s: float = Field(default=300.0, ge=0)  # so long a condition lasts before it is an alarm
    clear_s: float = Field(default=600.0, ge=0)  # and so long it is gone before the alarm is
    webhook: SecretRef | None = None  # URL: an address with a key in it is a secret
    missed_savings_kwh: float = Field(default=100.0, gt=0)  # predicted and not realised within a day


class HistorySettings(StrictModel):
    """How long readings are kept in the database; what leaves it is in the Parquet segments."""

    raw_days: float = Field(default=30.0, ge=1)
    minute_days: float = Field(default=400.0, ge=1)  # means of one minute
    quarter_days: float = Field(default=3660.0, ge=1)  # means of a quarter of an hour


class ServiceSettings(StrictModel):
    """All of it. ``allow_active`` is the site's consent to be commanded; a named person and an expiry come on top."""

    allow_active: bool = False
    active_max_h: float = Field(default=24.0 * 31, gt=0)  # the longest that active mode may be granted for
    api: ApiSettings = ApiSettings()
    alarms: AlarmSettings = AlarmSettings()
    history: HistorySettings = HistorySettings()
