"""What counts as healed: rows that summaries and deltas together had wrong, and nothing else."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from tests import calls
from tests.brute_force import Event, ingest

DAY = timedelta(days=1)
NOW = datetime.now(UTC)
AT = NOW - 40 * DAY


def healed(db):
    """What job_runs holds, and what the doctor makes of it."""
    (count,) = calls.one(db, "select coalesce(sum(healed_count), 0) from tally.job_runs")
    (status,) = calls.one(
        db, "select status from tally.doctor() where check_name = 'healed summaries'"
    )
    return count, status


def some(start, *numbers, kind="a"):
    return [Event(start, UUID(int=n), kind, n, f"actor {n}") for n in numbers]


JOBS = {
    "rebuild": lambda db, tenant: calls.rebuild(db, tenant),
    "finalize": lambda db, tenant: calls.finalize(db),
    "verify": lambda db, tenant: db.execute("call tally.verify_recent(60)"),
}


@pytest.mark.parametrize("job", JOBS)
def test_an_event_not_yet_folded_is_nothing_to_heal(db, new_tenant, job):
    tenant = new_tenant("America/New_York")
    ingest(db, tenant, some(AT, 1, 2))
    calls.fold(db)
    ingest(db, tenant, some(AT, 3, 4) + some(AT + DAY, 5) + some(AT, 6, kind="b"))
    JOBS[job](db, tenant)
    assert healed(db) == (0, "ok")
    assert calls.verify(db, tenant) == []
    assert calls.rebuild(db, tenant) == (2, 0)


def test_what_was_damaged_is_counted_also_where_events_wait_to_be_folded(db, new_tenant):
    tenant = new_tenant()
    ingest(db, tenant, some(AT, 1, 2))
    calls.fold(db)
    ingest(db, tenant, some(AT, 3))
    db.execute("update tally.summaries set event_count = 7 where period_type = 'q'")
    assert calls.rebuild(db, tenant) == (1, 1)
    assert healed(db) == (1, "failed")
    assert calls.verify(db, tenant) == []


def test_what_was_healed_is_told_until_it_is_acknowledged_and_then_anew(db, new_tenant):
    tenant = new_tenant()
    ingest(db, tenant, some(AT, 1))
    calls.fold(db)
    metric = "select value from api.metrics() where name = 'healed_summaries_30d'"

    def damage(status):
        db.execute("update tally.summaries set event_count = 7 where period_type = 'q'")
        calls.rebuild(db, tenant)
        count, told = healed(db)
        assert (told, calls.one(db, metric)) == (status, (1.0,))
        return count

    assert calls.one(db, "select tally.healed_acknowledge('nothing yet')") == (0,)
    assert damage("failed") == 1
    with pytest.raises(psycopg.Error, match="why"):
        db.execute("select tally.healed_acknowledge(' ')")
    assert calls.one(db, "select tally.healed_acknowledge('a restore by hand')") == (1,)
    assert healed(db) == (1, "ok")
    assert calls.one(db, metric) == (0.0,)
    # The next one is told again, and only it.
    assert damage("failed") == 2
    assert calls.one(db, "select tally.healed_acknowledge('another')") == (1,)
    kept = db.execute(
        "select subject, details ->> 'rows' from tally.audit_log where action = 'healed.acknowledge'"
    ).fetchall()
    assert kept == [("a restore by hand", "1"), ("another", "1")]


def test_a_run_that_ends_while_others_are_acknowledged_is_told_all_the_same(db, dsn, new_tenant):
    tenant = new_tenant()
    ingest(db, tenant, some(AT, 1))
    calls.fold(db)
    db.execute("update tally.summaries set event_count = 7 where period_type = 'q'")
    calls.rebuild(db, tenant)
    with psycopg.connect(dsn) as other:
        # It has ended, and nobody sees it yet.
        other.execute(
            "insert into tally.job_runs (job, status, finished_at, healed_count) "
            "values ('verify', 'done', clock_timestamp(), 5)"
        )
        assert calls.one(db, "select tally.healed_acknowledge('known')") == (1,)
    assert calls.one(db, "select tally.healed_rows()") == (5,)


@pytest.mark.parametrize("waiting", [True, False])
def test_a_late_event_starts_one_revision_whether_fold_or_rebuild_takes_it(db, new_tenant, waiting):
    tenant = new_tenant()
    ingest(db, tenant, some(AT, 1))
    calls.finalize(db)
    ingest(db, tenant, some(AT, 2))
    if not waiting:
        calls.fold(db)
    assert calls.rebuild(db, tenant) == (1, 0)
    for unit in calls.UNITS:
        assert calls.summary(db, tenant, AT.date(), unit) == (2, False, 2)


def test_finalize_counts_what_was_damaged_not_what_is_left_to_fold(db, new_tenant):
    """It folds 20,000 deltas and leaves the rest, in periods that it may have to rebuild."""
    tenant = new_tenant()
    ingest(db, tenant, some(AT, 1))
    calls.fold(db)
    db.execute("update tally.summaries set event_count = 7 where period_type = 'd' and kind = 'e'")
    hours = [AT.replace(minute=15 * n, second=0, microsecond=0) for n in range(4)]
    for kind, count in (("b", 20_000), ("c", 50)):
        db.execute(
            """
            with added as (
              insert into tally.events (tenant_id, occurred_at, event_id, event_type)
              select %(tenant)s, (%(hours)s::timestamptz[])[n %% 4 + 1], gen_random_uuid(), %(kind)s
              from generate_series(1, %(count)s) as n
              returning *
            )
            insert into tally.summary_deltas (
              tenant_id, quarter_hour, event_type, event_count, value_count)
            select tenant_id, occurred_at, event_type, 1, 0 from added
            """,
            {"tenant": tenant, "hours": hours, "kind": kind, "count": count},
        )
    assert calls.one(db, "call tally.finalize('day')")[2] == 1
    assert healed(db) == (1, "failed")
    assert calls.verify(db, tenant) == []
