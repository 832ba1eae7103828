"""The minutes in which a new kind of job is measured, as changes: begin, lower the cap, conclude."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from scheduler.cluster import names
from scheduler.cluster.change import Change, Notice
from scheduler.cluster.fleet import Record
from scheduler.cluster.ledger import Phase
from scheduler.cluster.profiler import Profile, low_cap_w, profile_seconds
from scheduler.cluster.settings import ClusterSettings, GpuType
from scheduler.placement import Placement

PATIENCE = 4.0  # times its length that a profile may take until it is given up


@dataclass(frozen=True, slots=True)
class Halves:
    """The two spans of a profile; the second is None until the cap was lowered."""

    high: tuple[datetime, datetime]
    low: tuple[datetime, datetime] | None


def is_wanted(record: Record, profile: Profile | None, settings: ClusterSettings) -> bool:
    """Whether a held job should be measured first: only one that can be stopped again without harm."""
    if not settings.profiling or profile is not None or record.ledger.phase is not Phase.HELD or record.pods:
        return False
    can_stop = record.may_pause(settings.max_pauses) and record.ledger.started_at is None
    return can_stop and profile_seconds(record.ledger.work_s, settings) is not None


def begin(record: Record, placement: Placement, settings: ClusterSettings, now: datetime) -> Change:
    """Start it for the time of a profile."""
    seconds = profile_seconds(record.ledger.work_s, settings) or settings.profile_s
    reason = f"runs for {seconds / 60:.0f} min to be measured: nothing is known yet of its image and arguments"
    ledger = replace(
        record.ledger.turned(now, Phase.PROFILING, reason), suspend=False, started_at=now, placement=placement
    )
    nodes = tuple(node for node, _ in placement)
    notice = Notice(names.EVENT_PROFILING, reason)
    return Change(record.workload, ledger, False, {names.REASON: reason}, nodes, (notice,))


def halves(record: Record, settings: ClusterSettings) -> Halves | None:
    """The spans as far as they are known; None until all pods run."""
    if not record.is_running:
        return None
    begun = max((pod.started_at for pod in record.pods if pod.started_at is not None), default=None)
    if begun is None:
        return None
    half = timedelta(seconds=(profile_seconds(record.ledger.work_s, settings) or settings.profile_s) / 2)
    restart = timedelta(seconds=0.0 if record.ask.checkpoint is None else record.ask.checkpoint.restart_s)
    first = begun + restart
    lowered = next((entry.at for entry in reversed(record.ledger.entries) if entry.what == "cap"), None)
    if lowered is None:
        return Halves((first, first + half), None)
    held = lowered + timedelta(seconds=settings.cap_delay_s)
    return Halves((first, first + half), (held, held + half))


def lower(record: Record, gpu: GpuType, now: datetime) -> Change:
    """The second half: under the lower cap."""
    cap_w = low_cap_w(gpu, record.ask.floor_w)
    reason = f"profile, second half: {cap_w:g} W a GPU"
    ledger = replace(record.progressed(now).noted(now, "cap", reason), cap_w=cap_w)
    return Change(record.workload, ledger, None, {names.GPU_CAP_W: f"{cap_w:g}", names.REASON: reason})


def conclude(record: Record, profile: Profile | None, why: str, now: datetime) -> Change:
    """Run on uncapped; what comes next is planned with what is now known."""
    if profile is None:
        text = f"not measured: {why}"
    else:
        speed = "" if profile.speed_ratio is None else f", speed {profile.speed_ratio:.2f} at {profile.low_cap_w:g} W"
        text = f"{profile.high_w:.0f} W a GPU, {profile.work_class.value.replace('_', '-')}{speed}"
    ledger = replace(record.progressed(now).turned(now, Phase.RUNNING, text), cap_w=None, changed_at=None)
    marks = {names.GPU_CAP_W: None, names.REASON: text}
    return Change(record.workload, ledger, None, marks, notices=(Notice(names.EVENT_PROFILED, text),))


def is_given_up(record: Record, settings: ClusterSettings, now: datetime) -> bool:
    """Whether a profile takes too long: its pods found no place, or died."""
    seconds = profile_seconds(record.ledger.work_s, settings) or settings.profile_s
    restart_s = 0.0 if record.ask.checkpoint is None else record.ask.checkpoint.restart_s
    since = record.ledger.changed_at or now
    return (now - since).total_seconds() > PATIENCE * (seconds + restart_s) + settings.pass_s
