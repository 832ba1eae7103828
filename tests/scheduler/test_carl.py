"""The agent as it runs: what it sees, what it changes, and its arrays; all but the training without torch."""

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
from scheduler.arena import Arena
from scheduler.arena.controls import ACTIONS
from scheduler.arena.pool import REFERENCE, random_windows
from scheduler.arena.reward import Preference
from scheduler.arena.rule import RuleParams, decide
from scheduler.carl import INPUTS, Carl, PolicyArrays
from scheduler.score import score
from tests.scheduler.arena_pool import pool
from twin.signals import Signals, synthetic_signals
from twin.traces import Trace, synthetic_trace

NEEDS_TRAIN = "the extra [train] is not installed"


def signals(days: float = 120.0) -> Signals:
    return synthetic_signals("US-CAL-CISO", datetime(2023, 5, 1, tzinfo=UTC), days, seed=1)


def trace() -> Trace:
    return synthetic_trace(seed=1, jobs=200)


def network(seed: int = 0, size: float = 0.3, centre: RuleParams | None = None) -> PolicyArrays:
    rng, widths = np.random.default_rng(seed), (len(INPUTS), 8, len(ACTIONS))
    weights = tuple(size * rng.standard_normal((a, b)).astype(np.float32) for a, b in pairwise(widths))
    return PolicyArrays(weights, tuple(np.zeros(b, np.float32) for b in widths[1:]), centre or RuleParams())


def test_a_policy_survives_its_file(tmp_path: Path) -> None:
    seen = np.random.default_rng(1).standard_normal((50, len(INPUTS))).astype(np.float32)
    made = network(centre=RuleParams(kappa=0.7, cap_memory_w=310.0))
    made.save(tmp_path / "p.npz")
    loaded = PolicyArrays.load(tmp_path / "p.npz")
    assert loaded.centre == made.centre
    np.testing.assert_array_equal(loaded.act(seen), made.act(seen))
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


def test_a_policy_of_other_inputs_is_refused(tmp_path: Path) -> None:
    network().save(tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz") as file:
        arrays = dict(file)
    for name in ("inputs", "actions", "reach"):
        np.savez(tmp_path / "q.npz", **(arrays | {name: arrays[name][::-1]}))
        with pytest.raises(ConfigError, match="other inputs or actions"):
            PolicyArrays.load(tmp_path / "q.npz")
    with pytest.raises(ConfigError, match="no network"):
        PolicyArrays((np.zeros((4, 3), np.float32),), (np.zeros(3, np.float32),), RuleParams())


def test_a_network_of_zeros_decides_as_the_rule() -> None:
    world, scales = pool().rows(np.array([0, 1]))
    view = Arena(world).view()
    centre = RuleParams(kappa=0.5)
    carl = Carl(network(size=0.0, centre=centre), world, scales, Preference.same(2))
    told, rule = carl.decide(view), decide(view, centre)
    np.testing.assert_array_equal(told.run, rule.run)
    np.testing.assert_array_equal(told.warm_nodes, rule.warm_nodes)
    assert told.residual is None


def test_a_policy_that_does_nothing_scores_as_the_rule() -> None:
    hall = load_site().hall
    judged = random_windows([signals()], trace(), hall.gpus, 2, 0, REFERENCE)
    rows = {row.policy: row for row in score(network(size=0.0), hall, judged)}
    assert rows["carl"].carbon_kg == rows["quantile"].carbon_kg
    assert rows["carl"].saving_vs_rule_pct == 0.0
    assert rows["quantile"].saving_vs_fcfs_pct > 5.0
    assert rows["fcfs"].windows == 2
    for row in rows.values():
        product = row.it_kwh * row.pue * row.effective_ci_g_kwh / 1e3
        assert row.carbon_kg == pytest.approx(product)


def test_signals_too_short_to_learn_from_are_refused() -> None:
    with pytest.raises(DataError, match="days of signals"):
        random_windows([signals(20.0)], trace(), 64, 1, 0, REFERENCE)


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

    from scheduler.env import JointEnv
    from scheduler.training import HALLS, exported, make_model

    model = make_model(JointEnv(pool(), HALLS), seed=3)
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.mul_(3.0).add_(0.05)  # away from the tiny first actions
    seen = 0.5 * np.random.default_rng(0).standard_normal((200, len(INPUTS))).astype(np.float32)
    told, _ = model.policy.predict(seen, deterministic=True)
    assert np.ptp(told) > 0.5
    np.testing.assert_allclose(exported(model, RuleParams()).act(seen), told, atol=1e-6)


def test_a_small_training_writes_a_policy_and_its_record(tmp_path: Path) -> None:
    pytest.importorskip("stable_baselines3", reason=NEEDS_TRAIN)
    from scheduler.training import train

    hall, told = load_site().hall, list[float]()
    small = {"steps": 8000, "seed": 5, "windows": 1, "unseen": 1}
    record = train(signals(), trace(), hall, out=tmp_path / "carl.npz", progress=told.append, **small)
    assert record.synthetic
    assert record.steps >= 8000
    assert told[-1] == 1.0
    assert len(record.curve) == 1
    kept = json.loads((tmp_path / "carl.json").read_text(encoding="utf-8"))
    assert kept["jobs_sha256"] == record.jobs_sha256
    assert [row["policy"] for row in kept["score"]] == ["fcfs", "quantile", "carl"]
    assert np.abs(PolicyArrays.load(tmp_path / "carl.npz").weights[0]).max() > 0.0
    again = train(signals(), trace(), hall, out=tmp_path / "again.npz", **small)
    assert again.policy_sha256 == record.policy_sha256  # the same inputs and seed, the same arrays
    assert again.score == record.score


def test_a_policy_goes_only_where_it_can_be_written(tmp_path: Path) -> None:
    pytest.importorskip("stable_baselines3", reason=NEEDS_TRAIN)
    from scheduler.training import train

    for out in (tmp_path / "carl.pt", tmp_path / "absent" / "carl.npz"):
        with pytest.raises(ConfigError):
            train(signals(), trace(), load_site().hall, steps=1, seed=0, out=out)


def test_without_the_extra_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command, "find_spec", lambda _: None)
    with pytest.raises(EcoError, match=r"pip install 'eco-orchestrator\[train\]'"):
        command.train(out=tmp_path / "carl.npz")


def test_half_a_place_is_refused() -> None:
    with pytest.raises(ConfigError, match="go together"):
        command._signals([Path("carbon.csv")], None, load_site())
    assert command._signals(None, None, load_site()).synthetic
