"""The loop's forecasts: by a fitted model, from files and from a provider that fails and comes back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from apps.outlook import Outlook, open_outlook
from apps.providers import Feed, open_provider
from apps.run_config import Sources
from facility.errors import ConfigError
from facility.site import CarbonProvider, load_site
from tests.peers.carbon_service import Service
from twin.forecasting import model as settings
from twin.forecasting.boost import Growth
from twin.forecasting.inputs import Inputs
from twin.forecasting.issue import fit
from twin.forecasting.live import LiveForecast
from twin.forecasting.model_file import save_model
from twin.signals import Signals, synthetic_signals

START = datetime(2025, 1, 1, tzinfo=UTC)
UNTIL = START + timedelta(days=210)
NOW = UNTIL + timedelta(days=20, hours=9)
CARBON = "carbon_intensity_g_kwh"


@pytest.fixture(scope="module")
def signals() -> Signals:
    made = synthetic_signals("DE", START, 260, 3)
    return replace(made, carbon=replace(made.carbon, synthetic=False))


@pytest.fixture(scope="module")
def model(signals: Signals, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "carbon.json"
    with pytest.MonkeyPatch.context() as patch:
        small = Growth(12, 0.2)
        few = tuple(replace(part, centre=small, width=small) for part in settings.SETTINGS)
        patch.setattr(settings, "SETTINGS", few)
        save_model(fit(Inputs(signals.carbon), UNTIL), path)
    return path


@pytest.fixture
def service(signals: Signals) -> Iterator[Service]:
    server = Service()

    def answer(path: str, query: dict[str, str], headers: dict[str, str]) -> tuple[int, str]:
        first, last = (datetime.fromisoformat(query[name].replace("Z", "+00:00")) for name in ("start", "end"))
        hours = [first + timedelta(hours=hour) for hour in range(int((last - first).total_seconds() // 3600))]
        rows = [
            {"zone": "DE", "datetime": f"{hour:%FT%TZ}", "carbonIntensity": float(signals.carbon.at(hour))}
            for hour in hours
        ]
        return 200, json.dumps({"zone": "DE", "data": rows})

    server.answer = answer
    yield server
    server.close()


def fed(service: Service, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Feed:
    monkeypatch.setenv("EM_KEY", "secret")
    config = CarbonProvider(provider="electricity-maps", zone="DE", key="env:EM_KEY", url=service.url)
    return Feed(open_provider(config), folder)


def test_a_model_stands_in_for_the_daily_profile(signals: Signals, model: Path) -> None:
    plain, said = Outlook(signals).issue(NOW)
    assert said == []
    learned, said = Outlook(signals, learned=LiveForecast(model)).issue(NOW)
    assert said == []
    assert learned[CARBON].source.startswith("learned")
    assert learned[CARBON].start == plain[CARBON].start
    assert learned[CARBON].value.shape == plain[CARBON].value.shape
    assert set(learned) == set(plain)


def test_a_provider_that_fails_costs_certainty_and_no_tick(
    signals: Signals, model: Path, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    invented = replace(signals, carbon=replace(signals.carbon, value=np.full_like(signals.carbon.value, 1.0)))
    outlook = Outlook(invented, feed=fed(service, tmp_path, monkeypatch), learned=LiveForecast(model))
    fresh, said = outlook.issue(NOW)
    assert said == []
    assert outlook.signals.carbon.at(NOW - timedelta(hours=3)) == signals.carbon.at(NOW - timedelta(hours=3))
    assert fresh[CARBON].source.startswith("learned")
    service.answer = lambda *_: (401, "no")
    day_later, said = outlook.issue(NOW + timedelta(hours=30))
    assert any("kept carbon" in words for words in said)
    assert day_later[CARBON].source.startswith("learned")  # 30 h old carbon still bears one
    old, said = outlook.issue(NOW + timedelta(hours=60))
    assert any("with a wider band" in words for words in said)
    assert old[CARBON].issued_at == NOW + timedelta(hours=30)
    usual, said = outlook.issue(NOW + timedelta(days=9))
    assert any("climatology" in words for words in said)
    assert np.isfinite(usual[CARBON].value).all()
    outlook.close()


def test_what_does_not_fit_is_refused(signals: Signals, model: Path, tmp_path: Path) -> None:
    sources = Sources(carbon_model=str(model))
    direct = replace(signals, carbon=replace(signals.carbon, kind="direct"))
    with pytest.raises(ConfigError, match="forecasts lifecycle average intensity, the run counts direct"):
        open_outlook(sources, load_site(), direct, tmp_path)
    provider = CarbonProvider(provider="uk-carbon-intensity", scope="direct")
    emulated = load_site().model_copy(update={"carbon": provider})
    with pytest.raises(ConfigError, match="a provider tells of today's grid"):
        open_outlook(Sources(), emulated, signals, tmp_path)
