"""Leadership over a real Lease, on steady clocks that a test moves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from scheduler.cluster.api import Kube
from scheduler.cluster.lease import Leadership, NotLeader

NAMESPACE = "eco-system"
PATH = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/probe"


@dataclass
class Steady:
    """A clock that is moved."""

    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Steady:
    return Steady()


@pytest.fixture
def pair(kube: Kube, clock: Steady) -> Iterator[tuple[Leadership, Leadership]]:
    def one(name: str) -> Leadership:
        return Leadership(kube, NAMESPACE, name, duration_s=15.0, name="probe", steady=clock)

    yield one("first"), one("second")
    kube.delete(PATH)


def test_one_leads_and_the_other_stands_by(pair: tuple[Leadership, Leadership], clock: Steady) -> None:
    first, second = pair
    assert first.try_lead()
    for _ in range(10):
        assert not second.try_lead()
        clock.now_s += 5.0
        assert first.try_lead()
    first.check()
    with pytest.raises(NotLeader, match="not renewed"):
        second.check()


def test_a_leader_that_is_silent_is_followed(pair: tuple[Leadership, Leadership], clock: Steady, kube: Kube) -> None:
    first, second = pair
    first.try_lead()
    second.try_lead()
    clock.now_s += 14.0
    assert not second.try_lead()
    clock.now_s += 1.5
    assert second.try_lead()
    with pytest.raises(NotLeader):
        first.check()
    assert kube.get(PATH)["spec"]["leaseTransitions"] == 1


def test_a_lease_taken_over_is_seen_before_the_next_write(
    pair: tuple[Leadership, Leadership], clock: Steady, kube: Kube
) -> None:
    first, _ = pair
    first.try_lead()
    lease = kube.get(PATH)
    lease["spec"]["holderIdentity"] = "somebody"
    kube.replace(PATH, lease)
    assert first.is_leader  # by its own clock
    with pytest.raises(NotLeader, match="somebody holds"):
        first.check()
    assert not first.is_leader


def test_times_of_the_other_side_are_not_believed(
    pair: tuple[Leadership, Leadership], clock: Steady, kube: Kube
) -> None:
    """A leader whose clock is two minutes behind keeps its Lease: only that it changes counts."""
    first, second = pair
    first.try_lead()
    lease = kube.get(PATH)
    lease["spec"]["renewTime"] = "2001-01-01T00:00:00.000000Z"
    kube.replace(PATH, lease)
    assert not second.try_lead()
    clock.now_s += 10.0
    assert not second.try_lead()


def test_who_resigns_is_followed_at_once(pair: tuple[Leadership, Leadership]) -> None:
    first, second = pair
    first.try_lead()
    assert not second.try_lead()
    first.resign()
    assert second.try_lead()
