"""Loads many events straight into the database, through the same ingest function as the service."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

import psycopg

from pgtally.ingest.events import Batch
from pgtally.ingest.store import INGEST

BATCH = 5_000


def make_partitions(connection: psycopg.Connection[Any], weeks: Iterable[datetime]) -> None:
    """Makes the weekly partitions that hold these moments, so that no event has to move later."""
    for at in weeks:
        # On a busy table the default partition takes the events; tally.maintain moves them.
        with contextlib.suppress(psycopg.errors.LockNotAvailable):
            connection.execute("select tally.partition_create(%s::timestamptz)", (at,))


def full_weeks(times: Iterable[datetime]) -> list[datetime]:
    """A moment in each week that holds enough of the times to deserve a partition."""
    days = Counter(at.astimezone(UTC).date() for at in times)
    weeks: Counter[date] = Counter()
    for day, count in days.items():
        weeks[day - timedelta(days=day.weekday())] += count
    return [datetime.combine(week, time(), UTC) for week, count in weeks.items() if count >= 1000]


def batches(rows: Iterable[Sequence[Any]]) -> Iterable[Batch]:
    """Groups rows (occurred_at, event_id, type, value, actor, session, data bytes) into batches."""
    batch = Batch()
    for number, row in enumerate(rows):
        batch.add(number, *row)
        if len(batch.index) == BATCH:
            yield batch
            batch = Batch()
    if batch.index:
        yield batch


def load(
    connection: psycopg.Connection[Any],
    tenant: UUID,
    rows: Iterable[Sequence[Any]],
    progress: Callable[[int], None],
) -> tuple[int, int]:
    """Loads rows of one tenant; returns how many were new and how many were there already."""
    accepted = duplicates = 0
    for batch in batches(rows):
        result = connection.execute(
            INGEST, {**batch.arguments(), "tenant": tenant}, binary=True
        ).fetchone()
        accepted += result[0] if result else 0
        duplicates += result[1] if result else 0
        progress(len(batch.index))
    return accepted, duplicates
