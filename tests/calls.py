"""The calls that several test files make, and what they read, named in one place."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

import psycopg

Connection = psycopg.Connection[Any]
UNITS = ("day", "week", "month")


def rows(db: Connection, text: str, *arguments: object) -> list[Any]:
    return db.execute(text.encode(), arguments).fetchall()


def one(db: Connection, text: str, *arguments: object) -> Any:
    return db.execute(text.encode(), arguments).fetchone()


# Jobs


def fold(db: Connection) -> None:
    db.execute("call tally.fold()")


def fold_tenant(db: Connection, tenant: UUID) -> int:
    """In the caller's transaction."""
    return one(db, "select tally.fold_tenant(%s)", tenant)[0]


FOLD = "select tally.fold_tenant(%s)"


def finalize(db: Connection, *units: str) -> None:
    for unit in units or UNITS:
        db.execute("call tally.finalize(%s)", (unit,))


def rebuild(db: Connection, tenant: UUID, start: datetime | str = "-infinity") -> Any:
    """Days and changed rows."""
    return one(db, "call tally.rebuild(%s, %s)", tenant, start)


def rebuild_day(db: Connection, tenant: UUID, at: datetime) -> int:
    """In the caller's transaction."""
    return one(db, "select tally.rebuild_range(%s, %s, %s)", tenant, at, at)[0]


def retain(db: Connection, tenant: UUID, limit: int = 10_000) -> None:
    """Moves the bounds; removes what is behind them, except with limit 0."""
    while one(db, "select tally.retention_apply(%s, %s)", tenant, limit)[0]:
        pass


def drop_expired(db: Connection) -> int:
    return one(db, "select tally.partition_drop_expired()")[0]


def make_partition(db: Connection, at: datetime) -> int:
    return one(db, "select tally.partition_create(%s)", at)[0]


def verify(db: Connection, tenant: UUID) -> list[Any]:
    """Period type, event type and detail of each difference."""
    return rows(db, "select period_type, event_type, detail from tally.verify(%s)", tenant)


# Tenants


def keep_events(db: Connection, tenant: UUID, days: int, quarter_hours: int | None = None) -> None:
    db.execute(
        """
        update tally.tenants
        set event_retention = make_interval(days => %s),
          quarter_hour_retention = make_interval(days => %s)
        where tenant_id = %s
        """,
        (days, quarter_hours, tenant),
    )


def kept_from(db: Connection, tenant: UUID) -> Any:
    """From when events and quarter hours are complete; None where they always were."""
    return one(
        db,
        """
        select nullif(events_kept_from, '-infinity'), nullif(quarter_hours_kept_from, '-infinity')
        from tally.tenant_state where tenant_id = %s
        """,
        tenant,
    )


def set_calendar(db: Connection, tenant: UUID, zone: str, week_start: int = 1) -> None:
    db.execute("select tally.tenant_set_calendar(%s, %s, %s)", (tenant, zone, week_start))


# Questions


def summary(
    db: Connection, tenant: UUID, on: date, unit: str = "day", event_type: str = "a"
) -> Any:
    """Figure, final, revision of the period that holds a date."""
    return one(
        db,
        """
        select s.value, s.final, s.revision
        from api.summary_list(%s, %s, p_period_start => %s::date::text, p_event_type => %s) as s
        """,
        tenant, unit, on, event_type,
    )  # fmt: skip


def changes(
    db: Connection, tenant: UUID, since: datetime | str = "-infinity", limit: int = 1000
) -> list[Any]:
    """Event type, period type, figure and time of each change."""
    return rows(
        db,
        "select event_type, period_type, event_count, updated_at"
        " from api.summary_changes(%s, %s::text, %s)",
        tenant, since, limit,
    )  # fmt: skip
