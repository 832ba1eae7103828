"""The controller's configuration file: the cluster's settings, its grid, and where its meters are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from apps.providers import Feed, open_provider
from facility.errors import ConfigError, DataError, DeviceError
from facility.site import StrictModel, load_toml, validate
from facility.site.carbon import CarbonProvider
from scheduler.cluster.metering import Meter, Usage
from scheduler.cluster.prometheus_meter import PrometheusMeter, PrometheusSettings
from scheduler.cluster.settings import ClusterSettings
from twin.signals import read_electricity_maps
from twin.signals.series import Series


class ControllerConfig(StrictModel):
    """``controller.toml``; every part has a default, and without carbon nothing is deferred."""

    cluster: ClusterSettings = ClusterSettings()
    carbon: CarbonProvider | None = None  # a service
    carbon_files: tuple[Path, ...] = ()  # recorded intensity, Electricity Maps CSV
    meter: PrometheusSettings | None = None


def load_config(path: Path | None) -> ControllerConfig:
    """The file's content, or the defaults without one; raises ConfigError that names the key."""
    config = ControllerConfig() if path is None else validate(ControllerConfig, load_toml(path), str(path))
    if config.carbon is not None and config.carbon_files:
        raise ConfigError("[carbon] and carbon_files exclude each other", where=str(path), hint="take one away")
    return config


def carbon_source(config: ControllerConfig, folder: Path) -> Callable[[datetime], Series]:
    """The newest published intensity at a moment; ``folder`` keeps what a service has said."""
    if config.carbon_files:
        series = read_electricity_maps([str(path) for path in config.carbon_files])
        return lambda now: series
    if config.carbon is None:
        return _no_carbon
    feed = Feed(open_provider(config.carbon), folder)
    return lambda now: feed.update(now).series


def _no_carbon(now: datetime) -> Series:

    raise DataError("no carbon intensity is configured", where="controller.toml", hint="add [carbon] or carbon_files")


def meter_of(config: ControllerConfig) -> Meter:
    """The meter that is configured."""
    if config.meter is None:
        return NoMeter()
    return PrometheusMeter(config.meter, config.cluster.host_w_per_gpu)


class NoMeter:
    """Where no meter is configured: receipts are made, and say that nothing was measured."""

    def usage(self, namespace: str, pods: Sequence[str], start: datetime, end: datetime) -> Usage:
        """Raises DeviceError always."""
        raise DeviceError("no meter is configured", where="controller.toml", hint="add [meter] with url of Prometheus")
