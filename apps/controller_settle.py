"""What jobs used, written into their ledgers, and the receipts of those that have ended."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from facility.errors import DeviceError, EcoError
from scheduler.cluster import names
from scheduler.cluster.change import Change, Condition, Notice
from scheduler.cluster.fleet import Record
from scheduler.cluster.kinds import dig
from scheduler.cluster.ledger import Ledger, Phase
from scheduler.cluster.metering import Meter, Outlook, Usage, settle
from scheduler.cluster.receipts import make_receipt, receipt_text, summary
from scheduler.cluster.settings import ClusterSettings
from scheduler.cluster.workload import Workload, moment

log = logging.getLogger("eco.controller")


class Bookkeeper:
    """Settles accounts and makes receipts; blocking calls. Remembers pods only from one settlement to the next."""

    def __init__(self, meter: Meter, outlook: Outlook, settings: ClusterSettings, receipts: Path | None) -> None:
        """``receipts`` is the folder below which jobs may name a file; None: annotations only."""
        self._meter, self._outlook, self._settings, self._receipts = meter, outlook, settings, receipts
        self._seen: dict[str, set[str]] = {}
        self.problem = ""  # why the meter did not answer in this pass; it is asked again in the next one

    def look(self, record: Record) -> None:
        """Take note of a job's pods: one that comes and goes between two settlements counts too."""
        if record.pods:
            self._seen.setdefault(record.key, set()).update(pod.name for pod in record.pods if pod.node)

    def begin(self, known: Mapping[str, object]) -> None:
        """A new pass: the meter may be asked again, and workloads that are gone are forgotten."""
        self.problem = ""
        self._seen = {key: pods for key, pods in self._seen.items() if key in known}

    def is_due(self, record: Record, now: datetime) -> bool:
        """Whether use should be written down: new pods, or too long ago."""
        seen = self._seen.get(record.key, set())
        if record.ledger.phase is Phase.DONE or not (seen or record.ledger.pods):
            return False
        is_old = (now - record.ledger.account.until).total_seconds() >= self._settings.settle_s
        return is_old or not seen <= set(record.ledger.pods)

    def settled(self, record: Record, ledger: Ledger, until: datetime) -> Ledger:
        """The ledger with its account up to ``until``; raises EcoError where the meter does not answer.

        A meter that did not answer in this pass is not asked again in it: thousands of jobs must not wait for it.
        """
        account = ledger.account
        pods = tuple(sorted(self._seen.get(record.key, set()) | set(ledger.pods)))
        now_there = tuple(sorted(pod.name for pod in record.pods if pod.node))
        if until <= account.until:
            return ledger
        if not pods:
            return replace(ledger, account=replace(account, until=until))
        usage = self._asked(record.workload.namespace, pods, account.until, until)
        gpu_s = sum(slot.covered_s for slot in usage.slots) * record.workload.gpus
        after = settle(account, usage, until, self._outlook, gpu_s, self._settings.market_g_kwh)
        return replace(ledger, account=after, pods=now_there)

    def _asked(self, namespace: str, pods: tuple[str, ...], start: datetime, end: datetime) -> Usage:
        if self.problem:
            raise DeviceError(self.problem)
        try:
            return self._meter.usage(namespace, pods, start, end)
        except EcoError as error:
            self.problem = str(error)
            raise

    def note(self, record: Record, now: datetime) -> Change | None:
        """Use written down; None where the meter does not answer: it is asked again."""
        try:
            ledger = self.settled(record, record.progressed(now), now)
        except EcoError as error:
            log.debug("%s: not settled: %s", record.key, error)
            return None
        self._seen[record.key] = {pod.name for pod in record.pods if pod.node}
        return Change(record.workload, ledger)

    def finish(self, record: Record, now: datetime) -> Change | None:
        """The receipt of a job that has ended; None while the meter does not answer, for a while."""
        ended_at = min(end_of(record.workload) or now, now)
        ledger = replace(record.progressed(now), ended_at=ended_at)
        try:
            ledger = self.settled(record, ledger, max(ended_at, ledger.account.until))
        except EcoError as error:
            if (now - ended_at).total_seconds() < self._settings.settle_s:
                log.debug("%s: no receipt yet: %s", record.key, error)
                return None
            ledger = ledger.noted(now, "meter", f"the last use is not metered: {error}")
        ledger = replace(ledger.turned(now, Phase.DONE, record.workload.outcome), suspend=None, pods=())
        receipt = make_receipt(record.workload, ledger, record.ask, ended_at, self._settings)
        text = receipt_text(receipt)
        change = Change(
            record.workload,
            replace(ledger, entries=()),  # they are in the receipt
            None,
            {names.RECEIPT: text},
            notices=(Notice(names.EVENT_RECEIPT, summary(receipt)),),
        )
        return self._filed(change, record.ask.receipt_path, text)

    def over_budget(self, record: Record, ledger: Ledger, words: str, now: datetime) -> Change:
        """Say once that the projection exceeds the carbon budget."""
        condition = Condition(names.CONDITION_OVER_BUDGET, True, "Projected", words)
        change = Change(record.workload, ledger.noted(now, "budget", words), conditions=(condition,))
        return change.saying(Notice(names.EVENT_OVER_BUDGET, words, is_warning=True), once=True)

    def _filed(self, change: Change, path: str, text: str) -> Change:
        """The receipt as a file too, where the job names one; what stands in the way is told, and is no failure."""
        if not path:
            return change
        try:
            if self._receipts is None:
                raise OSError("the controller has no receipts folder: start it with --receipts")
            write_below(self._receipts, path, text)
        except OSError as error:
            message = f"the receipt could not be written to {path}: {error}; it is in {names.RECEIPT}"
            return change.saying(Notice(names.EVENT_BAD_INPUT, message, is_warning=True))
        return change


def write_below(folder: Path, path: str, text: str) -> None:
    """Write a file below ``folder``, in one step; raises OSError, also where a link leads out of the folder."""
    root = folder.resolve()
    target = root / path
    parent = target.parent.resolve()
    if not parent.is_relative_to(root) or target.is_symlink():
        raise OSError("it leads out of the receipts folder")
    parent.mkdir(parents=True, exist_ok=True)
    draft = parent / f".{target.name}.draft"
    draft.write_text(text + "\n", encoding="utf-8")
    draft.replace(parent / target.name)


def end_of(workload: Workload) -> datetime | None:
    """When it ended, as its status says."""
    done = moment(dig(workload.obj, ("status", "completionTime"))) or moment(dig(workload.obj, ("status", "endTime")))
    if done is not None:
        return done
    ends = [
        moment(dig(one, ("state", "terminated", "finishedAt")))
        for one in dig(workload.obj, ("status", "containerStatuses")) or ()
    ]
    wanted = {*workload.kind.succeeded, *workload.kind.failed}
    conditions = dig(workload.obj, ("status", "conditions")) or ()
    ends += [moment(one.get("lastTransitionTime")) for one in conditions if one.get("type") in wanted]
    return max((one for one in ends if one is not None), default=None)
