"""The answers that pgtally must give, computed from a list of events in plain Python."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg
from pgtally.ingest.store import INGEST
from psycopg.types.json import Jsonb


@dataclass(frozen=True)
class Event:
    at: datetime
    id: UUID
    type: str
    value: Decimal | None = None
    actor: str | None = None
    data: tuple[tuple[str, Any], ...] = field(default=())


def ingest(
    connection: psycopg.Connection[Any], tenant: UUID, events: list[Event]
) -> tuple[int, int]:
    """Stores events as the service does; returns accepted and duplicates."""
    return connection.execute(
        INGEST,
        {
            "tenant": tenant,
            "occurred_at": [e.at for e in events],
            "event_id": [e.id for e in events],
            "event_type": [e.type for e in events],
            "value": [e.value for e in events],
            "actor_id": [e.actor for e in events],
            "session_id": [None for _ in events],
            "data": [Jsonb(dict(e.data)) for e in events],
        },
        binary=True,
    ).fetchone()[:2]


@cache
def day_start(on: date, zone: str) -> datetime:
    """The first instant whose local clock reads midnight of the date or later."""
    tz = ZoneInfo(zone)
    midnight = datetime(on.year, on.month, on.day)
    # No clock has been set back by more than four hours since 1980, nor off the quarter hours.
    at = midnight.replace(tzinfo=tz).astimezone(UTC) - timedelta(hours=4)
    assert at.astimezone(tz).replace(tzinfo=None) < midnight
    while at.astimezone(tz).replace(tzinfo=None) < midnight:
        at += timedelta(minutes=15)
    return at


def first_date(on: date, unit: str, week_start: int) -> date:
    if unit == "week":
        return on - timedelta(days=(on.isoweekday() - week_start) % 7)
    return on.replace(day=1) if unit == "month" else on


def next_date(on: date, unit: str) -> date:
    if unit == "month":
        return (on.replace(day=28) + timedelta(days=4)).replace(day=1)
    return on + timedelta(days=7 if unit == "week" else 1)


def local_day(at: datetime, zone: str) -> date:
    on = at.astimezone(ZoneInfo(zone)).date() + timedelta(days=1)
    while day_start(on, zone) > at:
        on -= timedelta(days=1)
    return on


def period(at: datetime, unit: str, zone: str, week_start: int) -> tuple[datetime, datetime]:
    """The period of the unit that holds the instant."""
    on = local_day(at, zone)
    if unit == "hour":
        begin = day_start(on, zone)
        start = begin + (at - begin) // timedelta(hours=1) * timedelta(hours=1)
        return start, min(start + timedelta(hours=1), day_start(on + timedelta(days=1), zone))
    first = first_date(on, unit, week_start)
    return day_start(first, zone), day_start(next_date(first, unit), zone)


def buckets(
    start: datetime, end: datetime, unit: str, zone: str, week_start: int
) -> list[datetime]:
    """The starts of the periods that touch a range."""
    found = []
    at = start
    while at < end:
        begin, at = period(at, unit, zone, week_start)
        found.append(begin)
    return found


def measure(name: str, events: Iterable[Event]) -> Decimal | None:
    events = list(events)
    values = [e.value for e in events if e.value is not None]
    match name:
        case "count":
            return Decimal(len(events))
        case "uniqueActors":
            return Decimal(len({e.actor for e in events if e.actor is not None}))
        case "sum":
            return sum(values, Decimal(0))
        case "avg":
            return sum(values, Decimal(0)) / len(values) if values else None
        case "min":
            return min(values, default=None)
        case "max":
            return max(values, default=None)
    raise ValueError(name)


def same(got: Decimal | None, wanted: Decimal | None) -> bool:
    """Exactly equal; averages, which no decimal number may hold exactly, to 12 digits."""
    if got is None or wanted is None:
        return got is wanted
    return got == wanted or abs(got - wanted) < Decimal("1e-12") * max(1, abs(wanted))
