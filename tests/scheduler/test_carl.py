"""The agent as it runs: what it sees, what it changes, and its arrays; all without torch but the last two."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from apps.commands import train as command
from facility.errors import ConfigError, DataError, EcoError
from facility.site import load_site
from scheduler.carl import OBSERVATIONS, RESIDUALS, PolicyArrays, corrected
from scheduler.score import score
from scheduler.trial import STEPS_WEEK, World
from twin.air import Weather
from twin.hall import HallParams
from twin.plant import rule
from twin.signals import Signals, synthetic_signals

NEEDS_TRAIN = "the extra [train] is not installed"


def signals(days: float = 60.0) -> Signals:
    return synthetic_signals("US-CAL-CISO", datetime(2023, 5, 1, tzinfo=UTC), days, seed=1)


def network(seed: int = 0, size: float = 0.3, base: str = "rule") -> PolicyArrays:
    rng, widths = np.random.default_rng(seed), (len(OBSERVATIONS), 8, len(RESIDUALS))
    weights = tuple(size * rng.standard_normal((a, b)).astype(np.float32) for a, b in pairwise(widths))
    return PolicyArrays(weights, tuple(np.zeros(b, np.float32) for b in widths[1:]), base)


def test_a_policy_survives_its_file(tmp_path: Path) -> None:
    seen = np.random.default_rng(1).standard_normal((50, len(OBSERVATIONS))).astype(np.float32)
    network().save(tmp_path / "p.npz")
    loaded = PolicyArrays.load(tmp_path / "p.npz")
    assert loaded.base == "rule"
    np.testing.assert_array_equal(loaded.act(seen), network().act(seen))
    assert np.abs(network(size=9.0).act(seen)).max() == 1.0  # held to the range of the action


def test_a_file_that_is_no_policy_is_refused(tmp_path: Path) -> None:
    for name, content in (("text.npz", b"no arrays"), ("empty.npz", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError, match="no policy file"):
            PolicyArrays.load(tmp_path / name)
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(ConfigError, match="no policy file"):
        PolicyArrays.load(tmp_path / "other.npz")
    with pytest.raises(ConfigError, match="no such policy"):
        PolicyArrays.load(tmp_path / "absent.npz")


def test_a_policy_of_other_observations_is_refused(tmp_path: Path) -> None:
    network().save(tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz") as file:
        arrays = dict(file)
    arrays["observations"] = arrays["observations"][::-1]
    np.savez(tmp_path / "q.npz", **arrays)
    with pytest.raises(ConfigError, match="other observations"):
        PolicyArrays.load(tmp_path / "q.npz")
    with pytest.raises(ConfigError, match="no network"):
        PolicyArrays((np.zeros((4, 3), np.float32),), (np.zeros(3, np.float32),))


def test_residuals_keep_to_the_machines_limits() -> None:
    hall = load_site().hall
    params = HallParams.from_site(hall)
    base = rule(hall).action(np.array([1.0e4, 3.0e4]), Weather.of(np.array([10.0, 30.0]), np.array([50.0, 50.0])))
    for sign in (-5.0, 5.0):  # beyond the range: clipped first
        changed = corrected(params, base, np.full((2, 3), sign))
        assert np.all(changed.supply_air_c == np.clip(24.0 + np.sign(sign) * 2.0, 0, params.crah.supply_max_c))
        assert np.all((changed.fan_speed >= params.crah.min_speed) & (changed.fan_speed <= 1.0))
        assert np.all(changed.chw_supply_c <= params.chw.supply_max_c)
        assert changed.tower_c is base.tower_c
    np.testing.assert_array_equal(corrected(params, base, np.zeros((2, 3))).chw_supply_c, base.chw_supply_c)


def test_a_policy_that_does_nothing_scores_as_its_base() -> None:
    world = World.of(signals())
    weeks = world.unseen_weeks()
    assert weeks[0] == world.split
    assert weeks[-1] + STEPS_WEEK <= len(world.hour_utc)
    rows = {row.control: row for row in score(network(size=0.0, base="rule"), load_site().hall, world)}
    assert rows["carl"].carbon_kg == rows["rule"].carbon_kg
    assert rows["carl"].saving_vs_rule_pct == 0.0
    assert rows["optimum"].saving_vs_rule_pct > 1.0
    assert rows["rule"].weeks == len(weeks) >= 2


def test_signals_too_short_to_learn_from_are_refused() -> None:
    with pytest.raises(DataError, match="20 days in common"):
        World.of(signals(20.0))


def test_the_agent_runs_without_the_extra() -> None:
    """Neither torch nor gymnasium is imported on the way to a score."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('torch', 'gymnasium', 'stable_baselines3')));"
        "import scheduler.score, apps.commands.train"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_arrays_say_what_the_network_says() -> None:
    pytest.importorskip("stable_baselines3", reason=NEEDS_TRAIN)
    import torch

    from scheduler.plant_env import PlantEnv
    from scheduler.training import HALLS, exported, make_model

    model = make_model(PlantEnv(load_site().hall, World.of(signals()), HALLS, "rule"), seed=3)
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.mul_(3.0).add_(0.05)  # away from the tiny first actions
    seen = 0.5 * np.random.default_rng(0).standard_normal((200, len(OBSERVATIONS))).astype(np.float32)
    told, _ = model.policy.predict(seen, deterministic=True)
    assert np.ptp(told) > 0.5
    np.testing.assert_allclose(exported(model, "rule").act(seen), told, atol=1e-6)


def test_a_small_training_writes_a_policy_and_its_record(tmp_path: Path) -> None:
    pytest.importorskip("stable_baselines3", reason=NEEDS_TRAIN)
    from scheduler.training import train

    hall, told = load_site().hall, list[float]()
    out = tmp_path / "carl.npz"
    record = train(signals(), hall, steps=4000, seed=5, out=out, progress=told.append, base="rule")
    assert record.synthetic
    assert record.steps >= 4000
    assert told[-1] == 1.0
    assert len(record.curve) == 1
    kept = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert kept["signals_sha256"] == record.signals_sha256
    assert [row["control"] for row in kept["score"]] == ["rule", "optimum", "carl"]
    again = train(signals(), hall, steps=4000, seed=5, out=tmp_path / "again.npz", base="rule")
    assert again.policy_sha256 == record.policy_sha256  # the same inputs and seed, the same arrays
    assert again.score == record.score
    loaded = PolicyArrays.load(out)
    assert tuple(score(loaded, hall, World.of(signals()), seed=5)) == record.score


def test_a_policy_goes_only_where_it_can_be_written(tmp_path: Path) -> None:
    pytest.importorskip("stable_baselines3", reason=NEEDS_TRAIN)
    from scheduler.training import train

    for out in (tmp_path / "carl.pt", tmp_path / "absent" / "carl.npz"):
        with pytest.raises(ConfigError):
            train(signals(), load_site().hall, steps=1, seed=0, out=out)


def test_without_the_extra_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command, "find_spec", lambda _: None)
    with pytest.raises(EcoError, match=r"pip install 'eco-orchestrator\[train\]'"):
        command.train(out=tmp_path / "carl.npz")


def test_half_a_place_is_refused() -> None:
    with pytest.raises(ConfigError, match="go together"):
        command._signals([Path("carbon.csv")], None, load_site())
    assert command._signals(None, None, load_site()).synthetic
