"""Nobody who asks for changes, or reads raw events, misses what another transaction does meanwhile."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from tests import calls
from tests.brute_force import Event, ingest
from tests.conftest import wait_for
from tests.races.test_races import blocked, in_thread

DAY = timedelta(days=1)
NOW = datetime.now(UTC)
AT = NOW - 40 * DAY


def erase(db, tenant):
    db.execute("select * from api.actor_erase(%s, 'ann')", (tenant,))


FINALIZE = "select * from tally.finalize_tenant(%s, %s)"
CHANGING = {
    "fold": calls.fold_tenant,
    "rebuild": lambda db, tenant: calls.rebuild_day(db, tenant, AT),
    "erase": erase,
}


@pytest.mark.parametrize("change", CHANGING)
def test_a_change_by_a_transaction_that_began_before_what_a_reader_has_seen_is_told(
    db, dsn, new_tenant, change
):
    tenant = new_tenant()
    ingest(db, tenant, [Event(AT, UUID(int=1), "a"), Event(AT, UUID(int=2), "b", 1, "ann")])
    calls.finalize(db)
    with psycopg.connect(dsn) as older:
        older.execute("select now()")
        ingest(db, tenant, [Event(AT, UUID(int=3), "a")])
        calls.fold(db)
        seen = calls.changes(db, tenant)
        assert {metric for metric, *_ in seen} == {"a"}
        ingest(db, tenant, [Event(AT, UUID(int=4), "b", 2, "ann")])
        CHANGING[change](older, tenant)
    told = {(metric, unit) for metric, unit, _, _ in calls.changes(db, tenant, seen[-1][3])}
    assert told == {("b", unit) for unit in calls.UNITS}


def final_changes(db, tenant, since="-infinity"):
    return calls.rows(
        db,
        "select event_type, period_type, final, updated_at from api.summary_changes(%s, %s::text)",
        tenant, since,
    )  # fmt: skip


def test_a_figure_made_final_by_a_transaction_that_began_before_what_a_reader_has_seen_is_told(
    db, dsn, new_tenant
):
    tenant = new_tenant()
    ingest(db, tenant, [Event(AT, UUID(int=1), "a")])
    calls.finalize(db)
    with psycopg.connect(dsn) as older:
        older.execute("select now()")
        ingest(db, tenant, [Event(AT, UUID(int=2), "a")])
        calls.fold(db)
        seen = final_changes(db, tenant)
        assert [final for _, _, final, _ in seen] == [False] * 3
        for unit in calls.UNITS:
            calls.one(older, FINALIZE, tenant, unit)
    told = final_changes(db, tenant, seen[-1][3])
    assert {row[:3] for row in told} == {("a", unit, True) for unit in calls.UNITS}


def test_a_figure_made_final_after_a_wait_is_told_after_what_it_waited_for(db, dsn, new_tenant):
    """A reader who has seen the change that finalize waited for still hears of the final figure."""
    tenant = new_tenant()
    ingest(db, tenant, [Event(AT, UUID(int=1), "a"), Event(AT + DAY, UUID(int=2), "b")])
    calls.finalize(db)
    ingest(db, tenant, [Event(AT, UUID(int=3), "a")])
    calls.fold(db)
    with psycopg.connect(dsn) as first:
        first.execute(
            "select from tally.tenant_state where tenant_id = %s for no key update", (tenant,)
        )
        pid, second = in_thread(dsn, FINALIZE, tenant, "day")
        wait_for(lambda: blocked(db, pid))
        ingest(db, tenant, [Event(AT + DAY, UUID(int=4), "b")])
        calls.fold_tenant(first, tenant)
        seen = final_changes(first, tenant)[-1]
        assert seen[0] == "b"
    second.result()
    told = [row[:3] for row in final_changes(db, tenant, seen[3])]
    assert set(told) == {("a", "day", True), ("b", "day", True)}


def test_changes_are_told_in_the_order_of_their_commits_also_after_a_wait(db, dsn, new_tenant):
    """The clock is read under the tenant's lock, not before it."""
    tenant = new_tenant()
    ingest(db, tenant, [Event(AT, UUID(int=1), "a"), Event(AT, UUID(int=2), "b")])
    calls.finalize(db)
    ingest(db, tenant, [Event(AT, UUID(int=3), "a")])
    with psycopg.connect(dsn) as first:
        first.execute(
            "select from tally.tenant_state where tenant_id = %s for no key update", (tenant,)
        )
        pid, second = in_thread(dsn, calls.FOLD, tenant)
        wait_for(lambda: blocked(db, pid))
        calls.fold_tenant(first, tenant)
        ingest(db, tenant, [Event(AT, UUID(int=4), "b")])
    assert second.result() == (1,)
    assert [metric for metric, *_ in calls.changes(db, tenant)] == ["a"] * 3 + ["b"] * 3


def test_a_reader_whose_snapshot_is_older_than_a_drop_is_told_to_try_again(db, dsn, new_tenant):
    tenant = new_tenant()
    old = (NOW - 100 * DAY).replace(minute=1)
    ingest(db, tenant, [Event(old, UUID(int=1), "a"), Event(NOW, UUID(int=2), "a")])
    calls.make_partition(db, old)
    calls.keep_events(db, tenant, 30)
    questions = (
        "select * from api.event_page(%s)",
        "select * from api.event_list(%s)",
        f"select * from api.event_count(%s, '{old}', '{old + timedelta(minutes=2)}')",
    )
    readers = [psycopg.connect(dsn) for _ in questions]
    for reader in readers:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("select from tally.tenants")
    # As maintain does: the bound first, then whole partitions.
    calls.retain(db, tenant, 0)
    assert calls.drop_expired(db) == 1
    for reader, question in zip(readers, questions, strict=True):
        with reader, pytest.raises(psycopg.errors.SerializationFailure):
            reader.execute(question.encode(), (tenant,))
    assert len(calls.rows(db, questions[0], tenant)) == 1
