from __future__ import annotations

import pytest

from scheduler.placement import place


def test_a_small_gang_takes_the_fullest_node_that_has_room() -> None:
    assert place(2, {"a": 8, "b": 3, "c": 1}) == (("b", 2),)
    assert place(2, {"a": 1, "b": 1}) is None  # never spread over nodes
    assert place(2, {"a": 4, "b": 4}) == (("a", 2),)


def test_a_large_gang_takes_whole_nodes_first_then_those_with_most_room() -> None:
    assert place(20, {"a": 4, "b": 8, "c": 8, "d": 6}) == (("b", 8), ("c", 8), ("a", 4))
    assert place(16, {"a": 8, "b": 7, "c": 8}) == (("a", 8), ("c", 8))
    assert place(16, {"a": 8, "b": 5, "c": 7}) == (("a", 8), ("c", 7), ("b", 1))
    assert place(16, {"a": 8, "b": 7}) is None
    assert place(12, {"a": 8, "b": 8}) == (("a", 8), ("b", 4))


def test_a_gang_has_gpus() -> None:
    with pytest.raises(ValueError, match="at least one"):
        place(0, {"a": 8})
