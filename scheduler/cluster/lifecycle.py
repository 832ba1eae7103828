"""A job's way as pure functions: first sight, what somebody changed by hand, what was asked anew.

Each returns the Change that is due, or None. Nothing here reads a clock or the network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from scheduler.cluster import names
from scheduler.cluster.ask import Ask, read_ask
from scheduler.cluster.change import Change, Condition, Notice
from scheduler.cluster.ledger import Account, Baseline, Ledger, Phase
from scheduler.cluster.profiler import Profile
from scheduler.cluster.settings import GpuType
from scheduler.cluster.workload import Pod, Workload

PLAIN = "it runs as plain Kubernetes would"


@dataclass(frozen=True, slots=True)
class Scene:
    """What is known around one workload."""

    now: datetime
    pods: Sequence[Pod]
    policy: Mapping[str, Any] | None  # the EnergyPolicy object that it names
    gpu: GpuType | None  # None: no curve of its type
    product: str
    profile: Profile | None
    race_s: float


def ask_of(workload: Workload, scene: Scene) -> Ask:
    """Its owner's wishes."""
    ledger = workload.kept.ledger
    since = ledger.submitted_at if ledger is not None else workload.created_at(scene.now)
    return read_ask(workload.annotations, since, scene.policy, workload.grace_s)


def work_s(ask: Ask, profile: Profile | None) -> float | None:
    """Run time at full power: as its owner says, else its steps at the measured rate; None is not known."""
    if ask.duration_s is not None:
        return ask.duration_s
    if ask.steps is not None and profile is not None and profile.steps_per_s:
        return ask.steps / profile.steps_per_s
    return None


def first_sight(workload: Workload, scene: Scene, baseline: Baseline | None) -> Change | None:
    """What becomes of a labelled workload without a ledger; None where it is not ours to look at."""
    owner = workload.foreign_owner
    if workload.outcome or (owner and owner != "Kueue"):
        return None
    ask = ask_of(workload, scene)
    ledger = _new_ledger(workload, scene, ask, baseline)
    if workload.kept.problem:
        return release(workload, ledger, scene.now, names.EVENT_BAD_INPUT, workload.kept.problem)
    if owner == "Kueue":
        text = "Kueue decides when it runs: nothing is held or resumed, it gets its receipt"
        return release(workload, ledger, scene.now, names.EVENT_RELEASED, text)
    if workload.is_suspended and not workload.is_ours_to_resume:
        return None  # its owner holds it: it is looked at when they let it go
    refusal = _refusal(workload, scene, ask, ledger)
    if refusal is not None:
        return release(workload, ledger, scene.now, *refusal)
    return _admit(workload, scene, ask, ledger)


def _new_ledger(workload: Workload, scene: Scene, ask: Ask, baseline: Baseline | None) -> Ledger:
    submitted_at = workload.created_at(scene.now)
    return Ledger(
        submitted_at=submitted_at,
        phase=Phase.HELD,
        fingerprint=ask.fingerprint,
        account=Account(until=submitted_at),
        work_s=work_s(ask, scene.profile),
        suspend=workload.is_suspended,
        cap_w=cap_said(workload)[0],
        changed_at=scene.now,
        baseline=baseline,
    )


def _refusal(workload: Workload, scene: Scene, ask: Ask, ledger: Ledger) -> tuple[str, str] | None:
    """Why nothing can be planned for it: the reason of the Event, and what to do."""
    if ask.problems:
        return names.EVENT_BAD_INPUT, "; ".join(ask.problems)
    if not workload.gpus:
        return names.EVENT_BAD_INPUT, f"its pods ask for no {names.GPU}: set it in resources.limits, or drop the label"
    if ledger.work_s is None:
        text = f"write {names.DURATION} (run time of the whole gang at full power), for example 6h"
        return names.EVENT_BAD_INPUT, text
    if scene.gpu is None:
        known = f"GPU type {scene.product!r}" if scene.product else "its GPU type"
        text = f"no power curve of {known}: the operator adds it as [[gpu]] in the controller's settings"
        return names.EVENT_NO_CURVE, text
    latest = ask.latest_end(ledger.submitted_at, ledger.work_s)
    soonest = scene.now + timedelta(seconds=ledger.work_s)
    if latest is not None and latest < soonest:
        text = f"{ledger.work_s / 3600:.2g} h of work cannot end by {latest:%Y-%m-%d %H:%M} UTC: it starts at once;"
        return names.EVENT_IMPOSSIBLE, f"{text} a deadline after {soonest:%Y-%m-%d %H:%M} UTC could be kept"
    return None


def _admit(workload: Workload, scene: Scene, ask: Ask, ledger: Ledger) -> Change:
    """Hold it for planning, or take it on as it runs where holding would cost work, or no delay was offered."""
    now = scene.now
    if ask.latest_end(ledger.submitted_at, ledger.work_s or 0.0) is None:
        text = f"no {names.DEADLINE} and no {names.MAX_DELAY}: it starts at once"
        change = Change(workload, replace(ledger.turned(now, Phase.RUNNING, text), suspend=False), False)
    elif not workload.is_suspended and (workload.kind.is_pod or _runs_long(scene)):
        change = Change(workload, ledger.turned(now, Phase.RUNNING, "it ran already when it was first seen"))
    else:
        text = "held for planning: it starts in time for its deadline"
        held = replace(ledger.turned(now, Phase.HELD, text), suspend=True)
        change = Change(workload, held, True, {names.REASON: text}).saying(Notice(names.EVENT_HELD, text))
    for reason, text in ask.warnings:
        change = change.saying(Notice(reason, text, is_warning=True), once=True)
    return change


def _runs_long(scene: Scene) -> bool:
    """Whether its pods have run for longer than the race of first sight: stopping them would cost work."""
    begun = [pod.started_at for pod in scene.pods if pod.started_at is not None and pod.phase == "Running"]
    return bool(begun) and (scene.now - min(begun)).total_seconds() > scene.race_s


def release(workload: Workload, ledger: Ledger, now: datetime, reason: str, text: str) -> Change:
    """Leave a workload to plain Kubernetes: resumed where we hold it, metered to its end, never touched again."""
    resume = workload.is_suspended and workload.is_ours_to_resume and reason != names.EVENT_USER_OVERRIDE
    suspend = False if resume else workload.is_suspended
    ledger = replace(ledger.turned(now, Phase.RELEASED, text), suspend=suspend)
    if not suspend and ledger.started_at is None:
        ledger = replace(ledger, started_at=now)
    said = text if reason == names.EVENT_USER_OVERRIDE else f"{text}; {PLAIN}"
    return Change(
        workload,
        ledger,
        False if resume else None,
        {names.REASON: text},
        notices=(Notice(reason, said, is_warning=reason not in (names.EVENT_RELEASED, names.EVENT_USER_OVERRIDE)),),
        conditions=(Condition(names.CONDITION_NOT_MANAGED, True, reason, said),),
    )


def by_hand(workload: Workload, ledger: Ledger, now: datetime) -> Change | None:
    """What somebody changed since the last write of ours: it stands, with a Condition and an Event."""
    if ledger.phase in (Phase.RELEASED, Phase.DONE):
        return None
    if ledger.suspend is not None and workload.is_suspended != ledger.suspend:
        did = "suspended" if workload.is_suspended else "resumed"
        text = f"somebody {did} it by hand: that stands; change an annotation that asks for something to hand it back"
        change = release(workload, replace(ledger, override="suspend"), now, names.EVENT_USER_OVERRIDE, text)
        marks = {**change.annotations, names.SUSPENDED_BY: None}
        condition = Condition(names.CONDITION_USER_OVERRIDE, True, "SuspendChanged", text)
        return replace(change, annotations=marks, conditions=(*change.conditions, condition))
    return _cap_by_hand(workload, ledger, now)


def _cap_by_hand(workload: Workload, ledger: Ledger, now: datetime) -> Change | None:
    cap_w, problem = cap_said(workload)
    if cap_w == ledger.cap_w and not (problem and "cap" not in ledger.override):
        return None
    if problem:
        notice = Notice(names.EVENT_BAD_INPUT, f"{problem}; no cap is held", is_warning=True)
    else:
        said = "took the cap away" if cap_w is None else f"set the cap to {cap_w:g} W"
        notice = Notice(names.EVENT_USER_OVERRIDE, f"somebody {said} by hand: that stands")
    changed = replace(ledger.noted(now, "cap", notice.message), cap_w=cap_w, override="cap")
    condition = Condition(names.CONDITION_USER_OVERRIDE, True, "CapChanged", notice.message)
    return Change(workload, changed, notices=(notice,), conditions=(condition,))


def cap_said(workload: Workload) -> tuple[float | None, str]:
    """The cap that its annotation holds, and what is wrong with it."""
    text = workload.annotations.get(names.GPU_CAP_W)
    if text is None:
        return None, ""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0.0):
        return None, f"{names.GPU_CAP_W} is {text!r}: write watts, for example 300"
    return value, ""


def asked_anew(workload: Workload, ledger: Ledger, scene: Scene, ask: Ask) -> Change | None:
    """The owner changed what is asked: taken over where it can be; one that was released may come back."""
    if ledger.phase in (Phase.DONE, Phase.PROFILING):
        return None
    if ask.fingerprint == ledger.fingerprint:
        return None
    fresh = replace(ledger, fingerprint=ask.fingerprint, work_s=work_s(ask, scene.profile), said=(), override="")
    refusal = _refusal(workload, scene, ask, fresh)
    if refusal is not None and ledger.phase is not Phase.RELEASED:
        return release(workload, fresh, scene.now, *refusal)
    if refusal is not None or workload.foreign_owner or (workload.is_suspended and not workload.is_ours_to_resume):
        note = "; ".join(refusal) if refusal else "still decided by others"
        return Change(workload, fresh.noted(scene.now, "asked anew", note))
    fresh = fresh.noted(scene.now, "asked anew", "taken over")
    if ledger.phase is Phase.RELEASED:
        phase = Phase.SUSPENDED if workload.is_suspended else Phase.RUNNING
        fresh = replace(fresh.turned(scene.now, phase, "handed back by its owner"), suspend=workload.is_suspended)
    done = Condition(names.CONDITION_NOT_MANAGED, False, "Managed", "planned by its annotations")
    return Change(workload, fresh, conditions=(done,))
