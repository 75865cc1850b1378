"""Revisions and final marks: which figures are told to have changed, and which are not."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
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
    calls.fold(db)
    # Lost by an accident, so that rebuild makes it anew.
    db.execute(
        'delete from tally.summaries where period_type = %s::"char" and final_at is null', (unit,)
    )
    assert calls.rebuild_day(db, tenant, now) == 2
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


def test_a_corrected_figure_is_told_when_it_moves_and_again_when_it_is_final(db, new_tenant):
    tenant = new_tenant()
    told = """
      select event_type, period_type, event_count, final, revision, updated_at
      from api.summary_changes(%s, %s::text)
    """
    ingest(db, tenant, [Event(AT, UUID(int=1), "a"), Event(AT, UUID(int=2), "b")])
    calls.finalize(db)
    assert calls.rows(db, told, tenant, "-infinity") == []
    last = "-infinity"
    for revision in (2, 3):
        ingest(db, tenant, [Event(AT, UUID(int=10 + revision), "a")])
        for final in (False, True):
            if final:
                calls.finalize(db)
            else:
                calls.fold(db)
            page = calls.rows(db, told, tenant, last)
            assert {row[:5] for row in page} == {
                ("a", unit, revision, final, revision) for unit in calls.UNITS
            }
            last = page[-1][5]
            assert calls.rows(db, told, tenant, last) == []
    calls.finalize(db)
    assert calls.rows(db, told, tenant, last) == []


@pytest.mark.parametrize("unit", calls.UNITS)
def test_no_event_in_a_final_figure_was_received_after_the_moment_it_holds_for(
    db, dsn, new_tenant, unit
):
    tenant = new_tenant()
    ingest(db, tenant, [Event(AT, UUID(int=1), "a")])
    with psycopg.connect(dsn) as finalizing:
        finalizing.execute("select now(), pg_sleep(0.05)")
        ingest(db, tenant, [Event(AT, UUID(int=2), "a")])
        calls.one(finalizing, "select * from tally.finalize_tenant(%s, %s)", tenant, unit)
    (count, final, as_of) = calls.one(
        db,
        """
        select event_count, final, as_of
        from api.summary_list(%s, %s, p_period_start => %s::text, p_event_type => 'a')
        """,
        tenant, unit, AT.date(),
    )  # fmt: skip
    assert (count, final) == (2, True)
    (received,) = calls.one(db, "select max(received_at) from api.event_page(%s)", tenant)
    assert as_of >= received
