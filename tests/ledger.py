"""An invoicing system that follows the final figures of a tenant, and forgives no contradiction."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from tests import calls

CHANGES = """
  select period_type, event_type, period_on, period_start, event_count, final, revision, updated_at
  from api.summary_changes(%s, %s::text, 10000)
"""
FIGURES = """
  select u.unit, k.kind, s.period_on, s.period_start, s.event_count, s.final, s.revision
  from unnest(array['day', 'week', 'month']) as u (unit)
  cross join unnest(array['a', 'b']) as k (kind)
  cross join lateral api.summary_list(%s, u.unit, '2024-01-20', '2024-04-20', k.kind) as s
"""


def figures(db: calls.Connection, tenant: UUID) -> list[Any]:
    """All of the types a and b around March 2024, final or not."""
    return calls.rows(db, FIGURES, tenant)


@dataclass
class Ledger:
    """Keeps every final figure that it has read, applies every change that it hears of with the same
    or a larger revision, and tells periods apart by their first instant or by their date."""

    by: str
    # Asks for all changes each time, not only for those since the last time.
    forgets: bool = False
    since: datetime | str = "-infinity"
    figures: dict[Any, tuple[int, int]] = field(default_factory=dict)
    # All that was ever final: two figures under one revision must never meet.
    seen: dict[Any, int] = field(default_factory=dict)

    def key(self, unit: str, kind: str, on: object, start: object) -> Any:
        return (unit, kind, on if self.by == "date" else start)

    def note(self, key: Any, revision: int, figure: int) -> None:
        assert self.seen.setdefault((key, revision), figure) == figure, (self.by, key, revision)

    def poll(self, db: calls.Connection, tenant: UUID) -> None:
        """Hears of changes, and then finds nothing final that differs from what it holds."""
        known_to = self.since
        changes = calls.rows(db, CHANGES, tenant, "-infinity" if self.forgets else known_to)
        for *period, figure, final, revision, self.since in changes:
            key = self.key(*period)
            # What was told before may have begun under another date then.
            if final and (isinstance(known_to, str) or self.since > known_to):
                self.note(key, revision, figure)
            if revision >= self.figures.get(key, (0,))[0]:
                self.figures[key] = (revision, figure)
        for *period, figure, final, revision in figures(db, tenant):
            if final:
                key = self.key(*period)
                self.note(key, revision, figure)
                known = self.figures.setdefault(key, (revision, figure))
                assert known[1] == figure, f"stale: {self.by} {key} {known} {(revision, figure)}"
