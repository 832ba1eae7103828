"""What the loop expects: carbon of the site's provider and by the learned model where there is one, weather, price."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

from apps.providers import Feed, open_provider
from apps.run_config import Sources
from facility.errors import ConfigError, EcoError
from facility.records import Forecasts
from facility.site import Site
from twin.forecast import HORIZON_H, STEP_S, issue_each
from twin.forecasting.files import load_inputs
from twin.forecasting.inputs import Inputs
from twin.forecasting.kinds import kind_of
from twin.forecasting.live import LiveForecast
from twin.signals import Signals


class Outlook:
    """Forecasts of every tick, each from what is public by then."""

    def __init__(
        self,
        signals: Signals,
        *,
        feed: Feed | None = None,
        learned: LiveForecast | None = None,
        inputs: Inputs | None = None,
    ) -> None:
        """``inputs`` are what ``learned`` looks at; with a ``feed``, its carbon stands in place of theirs."""
        self.signals = signals  # the newest of each, with which energy is accounted
        self._feed = feed
        self._learned = learned
        self._inputs = inputs or Inputs(signals.carbon) if learned is not None else None

    def issue(self, at: datetime) -> tuple[Forecasts, list[str]]:
        """All that can be forecast at ``at``, and in words what cannot or is not what it should be."""
        said = self._ask(at)
        forecasts, problems = issue_each(self.signals, at)
        said += [str(problem) for problem in problems]
        if self._learned is None or self._inputs is None:
            return forecasts, said
        inputs = replace(self._inputs, carbon=self.signals.carbon) if self._feed is not None else self._inputs
        try:
            outcome = self._learned.issue(inputs, at, HORIZON_H, STEP_S)
        except EcoError as error:  # the plain forecast, if there is one, has been issued above
            return forecasts, [*said, str(error)]
        return {**forecasts, outcome.forecast.quantity: outcome.forecast}, [*said, *filter(None, [outcome.words])]

    def close(self) -> None:
        """Close the provider's connections."""
        if self._feed is not None:
            self._feed.provider.close()

    def _ask(self, at: datetime) -> list[str]:
        if self._feed is None:
            return []
        try:
            update = self._feed.update(at)
        except EcoError as error:
            return [str(error)]
        self.signals = replace(self.signals, carbon=update.series)
        return [update.words] if update.words else []


def open_outlook(sources: Sources, site: Site, signals: Signals, folder: Path) -> Outlook:
    """The outlook of a run; a provider's answers are kept in ``folder``.

    Raises ConfigError where provider, files and model do not fit one another, DataError where a model cannot be read.
    """
    feed = _feed(sources, site, folder)
    if not sources.carbon_model:
        return Outlook(signals, feed=feed)
    learned = LiveForecast(Path(sources.carbon_model))
    kind = kind_of(signals.carbon) if feed is None else feed.provider.kind
    if learned.kind != kind:
        raise ConfigError(
            f"the model forecasts {learned.kind} intensity, the run counts {kind}",
            where=sources.carbon_model,
            hint=f"fit one with `eco forecast fit --kind {kind.scope}`",
        )
    if feed is None and sources.carbon:
        files = [Path(path) for path in sources.carbon]
        prices = [Path(path) for path in sources.price] or None
        return Outlook(signals, learned=learned, inputs=load_inputs(files, prices, None, kind.scope).inputs)
    return Outlook(signals, feed=feed, learned=learned)


def _feed(sources: Sources, site: Site, folder: Path) -> Feed | None:
    if site.carbon is None:
        return None
    if site.site.emulated or sources.carbon:
        raise ConfigError(
            "a provider tells of today's grid: it does not go with carbon files or with an emulated building's clock",
            where="[carbon]",
            hint="leave the table [carbon] or --carbon away",
        )
    return Feed(open_provider(site.carbon), folder)
