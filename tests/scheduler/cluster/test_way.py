"""A job's way from manifest to receipt, against the real API server."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from scheduler.cluster import names
from scheduler.cluster.api import path_of
from scheduler.cluster.kinds import JOB
from tests.peers.kube_cluster import Truth, asks, set_suspend, training_job
from tests.peers.kube_rig import START, Rig

HOUR = 3600.0
CONTRACT = {"checkpoint": "sigterm", "checkpoint_time": "20s", "restart_time": "60s"}
ASK = {"estimated_duration": "3h", "max_delay": "20h"}


def phase(rig: Rig, name: str) -> str:
    return str(json.loads(rig.note(name, names.LEDGER) or "{}").get("phase"))


def reasons(rig: Rig, name: str) -> list[str]:
    return [reason for reason, _ in rig.events(name)]


def test_from_manifest_to_receipt(rig: Rig) -> None:
    said = asks(**ASK, **CONTRACT, total_steps="9000", receipt_path="team/model/receipt.json")
    rig.sim.submit(training_job("train", said), Truth(3 * HOUR, restart_s=60.0, steps=9000.0))
    rig.advance(14 * HOUR)
    wanted = ["EcoHeld", "EcoProfiling", "EcoProfiled", "EcoSuspended", "EcoResumed", "EcoCapped", "EcoReceipt"]
    assert reasons(rig, "train") == wanted
    messages = dict(rig.events("train"))
    assert messages["EcoProfiled"].startswith("339 W a GPU, compute-bound, speed 0.83 at 240 W")
    receipt = json.loads(rig.note("train", names.RECEIPT) or "")
    assert json.loads((rig.folder / "receipts/team/model/receipt.json").read_text()) == receipt
    assert receipt["job"]["outcome"] == "succeeded"
    assert receipt["job"]["late_s"] == 0.0
    meters = rig.sim.meters
    assert receipt["energy"]["it_wh"] == pytest.approx(meters.total_wh - meters.unallocated_wh, rel=0.01)
    assert receipt["energy"]["wh_per_step"] == pytest.approx(receipt["energy"]["it_wh"] / 9000.0, rel=0.01)
    carbon, saved = receipt["carbon"], receipt["saving"]
    assert carbon["location_g"] == pytest.approx(
        receipt["energy"]["it_wh"] / 1000.0 * carbon["pue"] * carbon["intensity_g_kwh"], rel=1e-4
    )
    assert carbon["market_g"] == pytest.approx(receipt["energy"]["it_wh"] / 1000.0 * 1.2 * 50.0, rel=1e-4)
    assert saved["g"] == pytest.approx(saved["shift_g"] + saved["power_g"], rel=1e-3)
    assert saved["low_g"] < saved["g"] < saved["high_g"]
    assert receipt["sci"]["unit"] == "step"
    # No budget outlives the job, and the second job of the recipe is not measured again.
    assert all(not one["spec"].get("pods") for one in rig.view.budgets().values())
    rig.sim.submit(training_job("again", said), Truth(3 * HOUR))
    rig.advance(0.5 * HOUR)
    assert "EcoProfiling" not in reasons(rig, "again")


def test_placement_is_preferred_before_the_first_start_and_kept(rig: Rig) -> None:
    rig.sim.submit(training_job("train", asks(**ASK, **CONTRACT)), Truth(3 * HOUR))
    rig.look()
    rig.advance(0.25 * HOUR)
    spec = rig.job("train")["spec"]["template"]["spec"]
    (term,) = spec["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    (one,) = term["preference"]["matchExpressions"]
    assert (one["key"], one["values"]) == ("kubernetes.io/hostname", ["node-000"])
    rig.advance(11 * HOUR)
    assert rig.job("train")["spec"]["template"]["spec"] == spec


def test_without_a_delay_a_job_starts_at_once_and_gets_its_receipt(rig: Rig) -> None:
    rig.sim.submit(training_job("plain", asks(estimated_duration="1h")), Truth(HOUR))
    rig.advance(2 * HOUR)
    assert rig.sim.truths["default", "plain"].ended_at == START + timedelta(hours=1, minutes=15)
    assert reasons(rig, "plain") == ["EcoCapped", "EcoReceipt"] or reasons(rig, "plain") == ["EcoReceipt"]


@pytest.mark.parametrize(
    ("said", "more", "reason", "what_to_do"),
    [
        ({"estimated_duration": "soon", "max_delay": "8h"}, {}, "EcoBadInput", "write for example 90s"),
        ({"max_delay": "8h"}, {}, "EcoBadInput", "estimated-duration"),
        ({**ASK, "policy": "nowhere"}, {}, "EcoBadInput", "make that EnergyPolicy"),
        ({**ASK, "receipt_path": "../../etc/passwd"}, {}, "EcoBadInput", "below the receipts folder"),
        ({**ASK, "checkpoint": "magic"}, {}, "EcoBadInput", "sigterm or periodic"),
        ({"estimated_duration": "5h", "deadline": "2h"}, {}, "EcoDeadlineImpossible", "could be kept"),
        (ASK, {"gpus": 0}, "EcoBadInput", "resources.limits"),
        (ASK, {"product": "NVIDIA-Unheard-Of"}, "EcoNoCurve", "[[gpu]]"),
    ],
)
def test_bad_input_is_told_and_the_job_runs_as_plain(
    rig: Rig, said: dict[str, str], more: dict[str, object], reason: str, what_to_do: str
) -> None:
    body = training_job("odd", asks(**said), gpus=int(str(more.get("gpus", 8))))
    if "product" in more:
        body["spec"]["template"]["spec"]["nodeSelector"] = {names.GPU_PRODUCT: more["product"]}
    rig.sim.submit(body, Truth(HOUR))
    rig.advance(HOUR / 2)
    ((told, message),) = rig.events("odd")
    assert told == reason
    assert what_to_do in message
    assert "as plain Kubernetes would" in message
    job = rig.job("odd")
    assert not job["spec"].get("suspend")
    assert {"EcoNotManaged"} <= {one["type"] for one in job["status"]["conditions"]}
    rig.advance(2 * HOUR)
    assert rig.sim.truths["default", "odd"].ended_at == START + timedelta(minutes=15 + 60)
    assert rig.note("odd", names.RECEIPT)


def test_no_contract_is_never_paused(rig: Rig) -> None:
    rig.sim.submit(training_job("train", asks(**ASK)), Truth(3 * HOUR))
    rig.look()
    rig.advance(15 * HOUR)
    told = reasons(rig, "train")
    assert told[:2] == ["EcoHeld", "EcoNoCheckpoint"]
    assert "EcoSuspended" not in told
    assert rig.sim.truths["default", "train"].runs == 1
    assert told[-1] == "EcoReceipt"


def test_a_grace_period_too_short_is_no_contract(rig: Rig) -> None:
    said = asks(**ASK, checkpoint="sigterm", checkpoint_time="5m")
    rig.sim.submit(training_job("train", said), Truth(3 * HOUR))
    rig.advance(HOUR / 4)
    messages = dict(rig.events("train"))
    assert "terminationGracePeriodSeconds to at least 300" in messages["EcoNoCheckpoint"]


def test_a_user_who_resumes_is_not_overruled(rig: Rig) -> None:
    rig.sim.submit(training_job("train", asks(**ASK)), Truth(3 * HOUR))
    rig.advance(HOUR)
    assert rig.job("train")["spec"]["suspend"] is True
    set_suspend(rig.kube, "train", False)
    rig.advance(2 * HOUR)
    job = rig.job("train")
    assert job["spec"]["suspend"] is False
    assert names.SUSPENDED_BY not in job["metadata"]["annotations"]
    assert "EcoUserOverride" in {one["type"] for one in job["status"]["conditions"]}
    assert "EcoUserOverride" in reasons(rig, "train")
    rig.advance(3 * HOUR)
    receipt = json.loads(rig.note("train", names.RECEIPT) or "")
    assert receipt["override"] == "suspend"


def test_a_user_who_suspends_is_not_overruled_and_may_hand_back(rig: Rig) -> None:
    rig.sim.submit(training_job("train", asks(estimated_duration="3h", max_delay="1h", **CONTRACT)), Truth(3 * HOUR))
    rig.advance(HOUR)
    assert rig.job("train")["spec"]["suspend"] is False
    set_suspend(rig.kube, "train", True)
    rig.advance(12 * HOUR)
    assert rig.job("train")["spec"]["suspend"] is True
    assert phase(rig, "train") == "released"
    set_suspend(rig.kube, "train", False)
    rig.kube.patch(
        path_of(JOB, "default", "train"),
        {"metadata": {"annotations": asks(max_delay="30h")}},
        "application/merge-patch+json",
    )
    rig.advance(HOUR / 4)
    assert phase(rig, "train") in ("running", "suspended")


def test_a_cap_by_hand_stands(rig: Rig) -> None:
    rig.sim.submit(training_job("train", asks(estimated_duration="4h")), Truth(4 * HOUR))
    rig.advance(HOUR / 2)
    mine = {"metadata": {"annotations": {names.GPU_CAP_W: "333"}}}
    rig.kube.patch(path_of(JOB, "default", "train"), mine, "application/merge-patch+json")
    rig.advance(HOUR)
    assert rig.note("train", names.GPU_CAP_W) == "333"
    (budget,) = [one for one in rig.view.budgets().values() if one["spec"].get("pods")]
    assert budget["spec"]["pods"][0]["gpuCapWatts"] == 333
    conditions = {one["type"]: one for one in rig.job("train")["status"]["conditions"]}
    assert "333 W" in conditions["EcoUserOverride"]["message"]


def test_a_label_taken_away_lets_the_job_go(rig: Rig) -> None:
    rig.sim.submit(training_job("train", asks(**ASK)), Truth(3 * HOUR))
    rig.advance(HOUR / 4)
    gone = {"metadata": {"labels": {names.MANAGED: None}}}
    rig.kube.patch(path_of(JOB, "default", "train"), gone, "application/merge-patch+json")
    rig.advance(HOUR / 4)
    assert rig.job("train")["spec"]["suspend"] is False


def test_a_label_taken_away_while_nobody_looked(rig: Rig) -> None:
    rig.sim.submit(training_job("train", asks(**ASK)), Truth(3 * HOUR))
    rig.advance(HOUR / 4)
    rig.view.stop()
    gone = {"metadata": {"labels": {names.MANAGED: None}}}
    rig.kube.patch(path_of(JOB, "default", "train"), gone, "application/merge-patch+json")
    rig.restart()
    rig.advance(HOUR / 4)
    assert rig.job("train")["spec"]["suspend"] is False


def test_a_budget_that_will_be_exceeded_is_told_early(rig: Rig) -> None:
    said = asks(estimated_duration="8h", max_delay="2h", carbon_budget_kg="2", **CONTRACT)
    rig.sim.submit(training_job("train", said), Truth(8 * HOUR))
    rig.advance(1.5 * HOUR)
    messages = dict(rig.events("train"))
    assert "against a budget of 2 kg" in messages["EcoCarbonBudget"]
    for word in ("a later deadline", "fewer steps", "quantisation or pruning"):
        assert word in messages["EcoCarbonBudget"]
    assert reasons(rig, "train").count("EcoCarbonBudget") == 1
    rig.advance(9 * HOUR)
    receipt = json.loads(rig.note("train", names.RECEIPT) or "")
    assert receipt["budget"]["kept"] is False


def test_an_energy_policy_completes_what_is_not_said(rig: Rig) -> None:
    spec = {"maxDelay": "20h", "powerCapWatts": 250, "checkpoint": {"kind": "sigterm", "time": "20s"}}
    body = {"apiVersion": "eco-orchestrator.io/v1alpha1", "kind": "EnergyPolicy", "metadata": {"name": "green"}}
    path = "/apis/eco-orchestrator.io/v1alpha1/namespaces/default/energypolicies"
    rig.kube.create(path, {**body, "spec": spec})
    rig.sim.submit(training_job("train", asks(estimated_duration="2h", policy="green")), Truth(2 * HOUR))
    rig.advance(12 * HOUR)
    told = reasons(rig, "train")
    assert "EcoHeld" in told
    assert "EcoSuspended" in told
    assert "held to 250 W" in dict(rig.events("train"))["EcoCapped"]
