"""The baseline of the arena: first come, first served, with EASY backfilling, at full power."""

from __future__ import annotations

from scheduler.arena.view import ArenaAction, ArenaView


class ArenaFcfs:
    """Starts whatever fits, in order of arrival; looks at no forecast, parks nothing."""

    name = "fcfs"

    def decide(self, view: ArenaView) -> ArenaAction:
        """Everybody may run."""
        return ArenaAction(run=view.is_present)
