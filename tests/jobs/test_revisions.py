"""Revisions and final marks: which figures are told to have changed, and which are not."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from tests import calls
from tests.brute_force import Event, ingest

DAY = timedelta(days=1)
AT = datetime.now(UTC) - 40 * DAY


@pytest.mark.parametrize("unit", calls.UNITS)
def test_the_first_event_of_the_running_period_starts_no_revision(db, new_tenant, unit):
    tenant = new_tenant()
    ingest(db, tenant, [Event(AT, UUID(int=1), "a")])
    calls.finalize(db, unit)
    now = datetime.now(UTC)
    ingest(db, tenant, [Event(now, UUID(int=2), "a")])
    calls.fold(db)
    assert calls.summary(db, tenant, now.date(), unit) == (1, False, 1)
    assert calls.changes(db, tenant) == []


@pytest.mark.parametrize("unit", calls.UNITS)
def test_nor_does_a_rebuild_of_the_running_period(db, new_tenant, unit):
    tenant = new_tenant()
    ingest(db, tenant, [Event(AT, UUID(int=1), "a")])
    calls.finalize(db, unit)
    now = datetime.now(UTC)
    ingest(db, tenant, [Event(now, UUID(int=2), "a")])
    calls.rebuild_day(db, tenant, now)
    assert calls.summary(db, tenant, now.date(), unit) == (1, False, 1)
    assert calls.changes(db, tenant) == []


def test_a_page_of_changes_is_not_cut_between_those_of_one_moment(db, new_tenant):
    """A client that asks next with the last moment it has seen would never hear of the rest."""
    tenant = new_tenant()
    ingest(db, tenant, [Event(AT, UUID(int=1), "a")])
    calls.finalize(db)
    ingest(db, tenant, [Event(AT, UUID(int=2), "a")])
    calls.fold(db)
    ingest(db, tenant, [Event(AT, UUID(int=3), "b")])
    calls.fold(db)
    page = calls.changes(db, tenant, limit=1)
    assert {(metric, unit) for metric, unit, _, _ in page} == {("a", unit) for unit in calls.UNITS}
    page = calls.changes(db, tenant, page[-1][3], limit=1)
    assert {(metric, unit) for metric, unit, _, _ in page} == {("b", unit) for unit in calls.UNITS}
    assert calls.changes(db, tenant, page[-1][3], limit=1) == []


@pytest.mark.parametrize("unit", calls.UNITS)
@pytest.mark.parametrize("metric", ["a", "never seen"])
def test_no_period_of_a_new_calendar_is_final_before_it_was_checked(db, new_tenant, unit, metric):
    tenant = new_tenant()
    ingest(db, tenant, [Event(AT, UUID(int=1), "a")])
    calls.finalize(db)
    assert calls.summary(db, tenant, AT.date(), unit, metric)[1]
    calls.set_calendar(db, tenant, "UTC", 4)
    assert not calls.summary(db, tenant, AT.date(), unit, metric)[1]
    calls.finalize(db)
    assert calls.summary(db, tenant, AT.date(), unit, metric)[1]
