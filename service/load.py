"""Loads many events straight into the database, through the same ingest function as the service."""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from service.decoding import Batch
from service.events import INGEST

BATCH = 5_000


def ensure_partitions(connection: psycopg.Connection[Any], first: datetime, last: datetime) -> None:
    """Makes the weekly partitions from first to last, so that no event waits in the default one."""
    at = first
    while at < last + timedelta(days=7):
        # On a busy table the default partition takes the events; tally.maintain moves them.
        with contextlib.suppress(psycopg.errors.LockNotAvailable):
            connection.execute("select tally.partition_create(%s::timestamptz)", (at,))
        at += timedelta(days=7)


def batches(rows: Iterable[Sequence[Any]]) -> Iterable[Batch]:
    """Groups rows (occurred_at, event_id, type, value, actor, session, data bytes) into batches."""
    batch = Batch([], [], [], [], [], [], [], [], [])
    for number, row in enumerate(rows):
        at, event_id, event_type, value, actor, session, data = row
        batch.index.append(number)
        batch.occurred_at.append(at)
        batch.event_id.append(event_id)
        batch.event_type.append(event_type)
        batch.value.append(value)
        batch.actor_id.append(actor)
        batch.session_id.append(session)
        batch.data.append(Jsonb(data, dumps=lambda raw: raw))
        if len(batch.index) == BATCH:
            yield batch
            batch = Batch([], [], [], [], [], [], [], [], [])
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
        result = connection.execute(INGEST, batch.parameters(tenant), binary=True).fetchone()
        accepted += result[0] if result else 0
        duplicates += result[1] if result else 0
        progress(len(batch.index))
    return accepted, duplicates
