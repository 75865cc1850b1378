"""Rebuild walks from day to day that holds anything, and reaches every summary that there is."""

import time
from datetime import date, timedelta
from uuid import UUID

import pytest

from tests import calls
from tests.brute_force import Event, day_start, ingest

DAY = timedelta(days=1)
ZONE = "America/New_York"


def at(on, hour=12):
    return day_start(on, ZONE) + timedelta(hours=hour)


def notices(db):
    found = []
    db.add_notice_handler(lambda notice: found.append(notice.message_primary))
    return found


def test_days_without_anything_are_skipped_and_the_progress_counts_them(db, new_tenant):
    tenant = new_tenant(ZONE)
    days = [date(1997, 3, 1) + n * timedelta(days=33) for n in range(300)]
    ingest(db, tenant, [Event(at(on), UUID(int=n), "a") for n, on in enumerate(days)])
    calls.fold(db)
    db.execute("update tally.summaries set event_count = 7")
    said = notices(db)
    started = time.monotonic()
    days_rebuilt, changed = calls.rebuild(db, tenant)
    # 3 minutes when every day was visited.
    assert time.monotonic() - started < 40
    assert (days_rebuilt, changed > 300) == (300, True)
    assert calls.verify(db, tenant) == []
    total = (days[-1] - days[0]).days + 1
    assert said[0] == f"rebuilt {(days[10] - days[0]).days} of {total} days"
    assert said[-1] == f"rebuilt {total} of {total} days"
    assert len(said) == 30
    assert calls.one(db, "select row_count from tally.job_runs where job = 'rebuild'") == (300,)


def test_the_progress_of_days_in_a_row_ends_at_their_number(db, new_tenant):
    tenant = new_tenant(ZONE)
    first = date(2024, 3, 1)
    ingest(db, tenant, [Event(at(first + n * DAY), UUID(int=n), "a") for n in range(25)])
    said = notices(db)
    assert calls.rebuild(db, tenant) == (25, 0)
    assert said == [f"rebuilt {n} of 25 days" for n in (10, 20, 25)]


def test_deltas_are_days_to_visit_as_well(db, new_tenant):
    """Their events were deleted past the functions, so nothing else is left of that day."""
    tenant = new_tenant(ZONE)
    ingest(db, tenant, [Event(at(date(2024, 3, 1)), UUID(int=1), "a")])
    calls.fold(db)
    ingest(db, tenant, [Event(at(date(2024, n, 10)), UUID(int=n), "a") for n in (1, 2, 5)])
    db.execute("delete from tally.events where occurred_at <> %s", (at(date(2024, 3, 1)),))
    assert calls.verify(db, tenant) != []
    assert calls.rebuild(db, tenant)[0] == 4
    assert calls.verify(db, tenant) == []
    assert calls.one(db, "select count(*) from tally.summary_deltas") == (0,)
    assert calls.one(db, "select total from api.event_count(%s)", tenant) == (1,)


STRAY = """
  insert into tally.summaries (
    tenant_id, period_type, kind, period_start, event_type, event_count, value_count,
    local_start)
  values (%s, %s::"char", %s::"char", %s, %s, 1, 0, now())
"""


@pytest.mark.parametrize(
    ("unit", "kind"),
    [("quarter_hour", "event_type"), *((u, k) for u in calls.UNITS for k in ("event_type", "all"))],
)
# Before the first event, between two, in a week or month that has events, after the last.
@pytest.mark.parametrize(
    "on", [date(2023, 5, 1), date(2024, 1, 1), date(2024, 4, 1), date(2024, 12, 2)]
)
def test_a_stray_summary_in_empty_days_is_found_and_healed(db, new_tenant, unit, kind, on):
    tenant = new_tenant(ZONE)
    days = (date(2023, 8, 16), date(2024, 1, 3), date(2024, 1, 4), date(2024, 6, 19))
    ingest(db, tenant, [Event(at(day), UUID(int=1), "a") for day in days])
    calls.fold(db)
    # The week and the month of 2024-01-01 have rows of their own already.
    start = calls.one(db, "select tally.period_start(%s, %s, %s, 1)", at(on), unit, ZONE)[0]
    db.execute(
        STRAY + " on conflict do nothing", (tenant, unit, kind, start, "" if kind == "all" else "z")
    )
    damaged = calls.verify(db, tenant)
    rebuilt, changed = calls.rebuild(db, tenant)
    assert changed == len(damaged)
    assert calls.verify(db, tenant) == []
    assert len(days) <= rebuilt <= len(days) + 1
    assert calls.rebuild(db, tenant) == (len(days), 0)


@pytest.mark.parametrize("unit", calls.UNITS)
def test_a_range_of_empty_days_heals_the_periods_that_it_touches(db, new_tenant, unit):
    tenant = new_tenant(ZONE)
    for month in (1, 12):
        ingest(db, tenant, [Event(at(date(2024, month, 15)), UUID(int=1), "a")])
    calls.fold(db)
    on = date(2024, 6, 12)
    start = calls.one(db, "select tally.period_start(%s, %s, %s, 1)", at(on), unit, ZONE)[0]
    db.execute(STRAY, (tenant, unit, "event_type", start, "z"))
    assert len(calls.verify(db, tenant)) == 1
    assert calls.one(db, "call tally.rebuild(%s, %s, %s)", tenant, at(on), at(on, 13)) == (1, 1)
    assert calls.verify(db, tenant) == []
