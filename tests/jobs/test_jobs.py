"""fold, finalize, rebuild, maintain: what they say, and that they may be run again."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from tests.brute_force import Event, ingest

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def one(db, text, *arguments):
    return db.execute(text, arguments).fetchone()


def summary(db, tenant, on, unit="day"):
    return one(
        db,
        """
        select s.value, s.final, s.revision
        from api.summary_list(%s, %s, p_event_type => 'a', p_period_start => %s::date::text) as s
        """,
        tenant, unit, on,
    )  # fmt: skip


def test_fold_says_what_it_did_and_finds_nothing_the_second_time(db, new_tenant):
    for _ in range(2):
        ingest(db, new_tenant(), [Event(NOW, UUID(int=i), "a") for i in range(3)])
    assert one(db, "call tally.fold()") == (2, 2, 0)
    assert one(db, "call tally.fold()") == (0, 0, 0)
    assert db.execute("select job, status, tenant_count, row_count from tally.job_runs where job = 'fold' order by 1, job_run_id").fetchall() == [
        ("fold", "done", 2, 2),
        ("fold", "done", 0, 0),
    ]  # fmt: skip


def test_fold_goes_on_with_a_busy_tenant_and_leaves_the_others_to_the_next_minute(
    db, dsn, new_tenant
):
    busy, quiet = new_tenant(), new_tenant()
    insert = """
      insert into tally.summary_deltas (tenant_id, quarter_hour, event_type, event_count, value_count)
      select %s, date_bin('15 minutes', now(), 'epoch'), 'a', 1, 0 from generate_series(1, %s)
    """
    waiting = "select tenant_id, count(*) from tally.summary_deltas group by 1 order by 2"
    db.execute(insert, (busy, 1))
    with psycopg.connect(dsn, autocommit=True) as other, ThreadPoolExecutor() as pool:
        running = pool.submit(one, other, "call tally.fold('3 s')")
        while db.execute(waiting).fetchall():
            time.sleep(0.01)
        db.execute(insert, (busy, 2000))
        db.execute(insert, (quiet, 1999))
        assert running.result() == (2001, 1, 0)
    assert db.execute(waiting).fetchall() == [(quiet, 1999)]
    last = "select status, tenant_count, row_count from tally.job_runs order by job_run_id desc"
    assert one(db, last) == ("done", 1, 2001)


def test_a_tenant_who_brings_more_than_can_be_folded_does_not_keep_the_others_waiting(
    db, new_tenant
):
    endless, other = new_tenant(), new_tenant()
    for tenant, deltas in ((endless, 3), (other, 1)):
        for n in range(deltas):
            ingest(db, tenant, [Event(NOW, UUID(int=n), "a")])
    db.execute(
        f"""
        create or replace function tally.fold_tenant(p_tenant uuid, p_limit integer default 20000)
        returns integer language plpgsql volatile strict as $$
        begin
          delete from tally.summary_deltas
          where tenant_id = p_tenant
            and delta_id = (select min(delta_id) from tally.summary_deltas where tenant_id = p_tenant);
          if p_tenant = '{other}' then
            return 1;
          end if;
          perform pg_sleep(2.6);
          insert into tally.summary_deltas (tenant_id, quarter_hour, event_type, event_count, value_count)
          values (p_tenant, date_bin('15 minutes', now(), 'epoch'), 'a', 1, 0);
          return p_limit;
        end
        $$
        """.encode()
    )
    # A turn ends with the second step, after 5 s. What waited at the beginning takes two turns; what
    # came meanwhile is for the next run.
    assert one(db, "call tally.fold()") == (4 * 20_000 + 1, 2, 0)
    (left,) = one(db, "select count(*) from tally.summary_deltas where tenant_id = %s", endless)
    assert left == 3


def test_fold_ends_at_once_where_nothing_waits(db):
    assert one(db, "call tally.fold('1 hour')") == (0, 0, 0)


def test_a_day_becomes_final_when_it_has_ended_and_only_then(db, new_tenant):
    tenant = new_tenant("Pacific/Auckland")
    (today,) = one(db, "select tally.local_date(now(), 'Pacific/Auckland')")
    (start,) = one(db, "select tally.day_start(%s, 'Pacific/Auckland')", today)
    ingest(
        db,
        tenant,
        [Event(start, UUID(int=1), "a"), Event(start - timedelta(seconds=1), UUID(int=2), "a")],
    )
    assert summary(db, tenant, today - DAY) == (1, False, 1)
    assert one(db, "call tally.finalize('day')")[0] == 1
    assert summary(db, tenant, today - DAY) == (1, True, 1)
    assert summary(db, tenant, today) == (1, False, 1)
    assert one(db, "call tally.finalize('day')") == (0, 0, 0, 0)


def test_finalize_waits_for_no_tenant_that_is_finalized(db, dsn, new_tenant):
    tenant = new_tenant()
    ingest(db, tenant, [Event(NOW - 3 * DAY, UUID(int=1), "a")])
    assert one(db, "call tally.finalize('day')")[0] == 1
    with psycopg.connect(dsn) as other:
        other.execute("select tally.tenant_lock(%s)", (tenant,))
        assert one(db, "call tally.finalize('day')") == (0, 0, 0, 0)
        assert one(db, "call tally.fold()") == (0, 0, 0)
    ingest(db, tenant, [Event(NOW - 3 * DAY, UUID(int=2), "a")])
    assert one(db, "call tally.finalize('day')")[0] == 1


def test_a_final_nothing_is_told_from_a_day_not_yet_finalized(db, new_tenant):
    tenant = new_tenant()
    # Not NOW: midnight may have passed since this file was read.
    today = datetime.now(UTC).date()
    yesterday = today - DAY
    assert summary(db, tenant, yesterday) == (0, False, 1)
    db.execute("call tally.finalize('day')")
    assert summary(db, tenant, yesterday) == (0, True, 1)
    assert summary(db, tenant, today) == (0, False, 1)


@pytest.mark.parametrize("unit", ["day", "week", "month"])
def test_a_late_event_reopens_a_final_period_and_starts_a_new_revision(db, new_tenant, unit):
    tenant = new_tenant()
    at = NOW - timedelta(days=70)
    ingest(db, tenant, [Event(at, UUID(int=1), "a")])
    db.execute("call tally.finalize(%s)", (unit,))
    assert summary(db, tenant, at.date(), unit) == (1, True, 1)
    ingest(db, tenant, [Event(at, UUID(int=2), "a")])
    assert summary(db, tenant, at.date(), unit) == (2, False, 1)
    db.execute("call tally.fold()")
    assert summary(db, tenant, at.date(), unit) == (2, False, 2)
    assert one(db, "call tally.finalize(%s)", unit)[0] == 1
    assert summary(db, tenant, at.date(), unit) == (2, True, 2)


def test_a_duplicate_does_not_reopen_a_final_period(db, new_tenant):
    tenant = new_tenant()
    event = Event(NOW - 3 * DAY, UUID(int=1), "a")
    ingest(db, tenant, [event])
    db.execute("call tally.finalize('day')")
    ingest(db, tenant, [event])
    db.execute("call tally.fold()")
    assert summary(db, tenant, event.at.date()) == (1, True, 1)


def test_finalize_catches_up_whatever_ended_meanwhile(db, new_tenant):
    tenant = new_tenant("America/New_York")
    ingest(db, tenant, [Event(NOW - n * DAY, UUID(int=n), "a") for n in range(1, 100)])
    periods = one(db, "call tally.finalize('day')")[0]
    assert periods in (98, 99)
    (days, closed) = one(
        db,
        "select count(*), count(final_at) from tally.summaries where period_type = 'day' and kind = 'all'",
    )
    assert (closed, days) in ((98, 99), (99, 99))


@pytest.mark.parametrize(
    "damage",
    [
        "update tally.summaries set event_count = event_count + 1 where period_type = 'day'",
        "update tally.summaries set value_sum = 0 where period_type = 'week'",
        "update tally.summaries set actors = public.hll_empty(14, 5) where period_type = 'month'",
        "update tally.summaries set event_count = event_count + 1 where kind = 'all'",
        "update tally.summaries set actors = null where kind = 'all' and period_type = 'week'",
        "delete from tally.summaries where kind = 'all' and period_type = 'month'",
        "insert into tally.summaries (tenant_id, period_type, period_start, kind, event_type, event_count, value_count, local_start) select tenant_id, 'day', period_start + interval '2 days', 'all', '', 1, 0, local_start from tally.summaries where period_type = 'day' and kind = 'all'",
        "delete from tally.summaries",
        "insert into tally.summaries (tenant_id, period_type, kind, period_start, event_type, event_count, value_count, local_start) select tenant_id, 'day', 'event_type', period_start, 'ghost', 1, 0, local_start from tally.summaries where period_type = 'day' and kind = 'all'",
    ],
)  # fmt: skip
def test_a_damaged_summary_is_found_healed_and_counted(db, new_tenant, damage):
    tenant = new_tenant()
    ingest(db, tenant, [Event(NOW - 70 * DAY, UUID(int=1), "a", 5, "ann")])
    db.execute("call tally.fold()")
    db.execute(damage)
    assert db.execute("select * from tally.verify(%s)", (tenant,)).fetchall() != []
    healed = sum(one(db, "call tally.finalize(%s)", unit)[2] for unit in ("day", "week", "month"))
    assert healed > 0
    assert db.execute("select * from tally.verify(%s)", (tenant,)).fetchall() == []
    (counted,) = one(db, "select sum(healed_count) from tally.job_runs")
    assert counted == healed


def test_rebuild_recomputes_everything_and_takes_the_deltas_with_it(db, new_tenant):
    tenant = new_tenant("Asia/Kathmandu", 7)
    ingest(db, tenant, [Event(NOW - n * DAY, UUID(int=n), "a", n, f"actor {n}") for n in range(10)])
    db.execute("call tally.fold()")
    ingest(db, tenant, [Event(NOW - n * DAY, UUID(int=100 + n), "b") for n in range(10)])
    db.execute("update tally.summaries set event_count = 77")
    days, changed = one(db, "call tally.rebuild(%s)", tenant)
    assert days == 10
    assert changed > 20
    assert one(db, "select count(*) from tally.summary_deltas") == (0,)
    assert db.execute("select * from tally.verify(%s)", (tenant,)).fetchall() == []
    assert one(db, "call tally.rebuild(%s)", tenant) == (10, 0)


def test_rebuild_refuses_where_raw_events_are_gone(db, new_tenant):
    tenant = new_tenant()
    ingest(db, tenant, [Event(NOW - 10 * DAY, UUID(int=1), "a")])
    db.execute("update tally.tenant_state set events_kept_from = now() - interval '5 days'")
    with pytest.raises(psycopg.Error, match="would erase history") as error:
        db.execute("call tally.rebuild(%s)", (tenant,))
    assert error.value.sqlstate == "TY409"


def test_one_tenants_failure_is_recorded_and_does_not_stop_the_others(db, new_tenant):
    bad, good = sorted([new_tenant(), new_tenant()])
    for tenant in (bad, good):
        ingest(db, tenant, [Event(NOW, UUID(int=1), "a")])
    db.execute("update tally.tenants set time_zone = 'Nowhere' where tenant_id = %s", (bad,))
    assert one(db, "call tally.fold()") == (1, 2, 1)
    assert one(db, "select status from tally.job_runs where job = 'fold'") == ("failed",)
    db.execute("update tally.tenants set time_zone = 'UTC'")
    assert one(db, "call tally.fold()") == (1, 1, 0)


def test_a_run_whose_backend_died_is_marked_interrupted_by_the_next(db, dsn):
    with psycopg.connect(dsn, autocommit=True) as other:
        other.execute("select tally.job_start('fold')")
    db.execute("select pg_sleep(0.1)")
    db.execute("call tally.fold()")
    states = db.execute(
        "select status from tally.job_runs where job = 'fold' order by job_run_id"
    ).fetchall()
    assert states == [("interrupted",), ("done",)]


def test_an_unknown_period_type_is_refused(db):
    with pytest.raises(psycopg.Error, match="unknown period type"):
        db.execute("call tally.finalize('year')")


def test_events_without_a_partition_wait_in_the_default_and_move_without_loss(db, new_tenant):
    tenant = new_tenant()
    ingest(
        db,
        tenant,
        [Event(datetime(2001, 1, 1, tzinfo=UTC) + n * DAY, UUID(int=n), "a") for n in range(20)],
    )
    assert one(db, "select count(*) from tally.events_default") == (20,)
    for week in range(3):
        one(
            db,
            "select tally.partition_create(%s)",
            datetime(2001, 1, 1, tzinfo=UTC) + 7 * week * DAY,
        )
    assert one(db, "select count(*) from tally.events_default") == (0,)
    assert one(db, "select count(*) from tally.events") == (20,)
    assert ingest(db, tenant, [Event(datetime(2001, 1, 1, tzinfo=UTC), UUID(int=0), "a")]) == (0, 1)


def test_maintain_moves_full_weeks_only_so_that_nobody_can_make_thousands_of_partitions(
    db, new_tenant
):
    tenant = new_tenant()
    full = datetime(2001, 1, 1, tzinfo=UTC)
    ingest(
        db, tenant, [Event(full + timedelta(seconds=n), UUID(int=n), "a") for n in range(10_000)]
    )
    ingest(db, tenant, [Event(full + 7 * n * DAY, UUID(int=n), "a") for n in range(1, 500)])
    ingest(db, tenant, [Event(NOW - 8 * DAY, UUID(int=1), "a")])
    assert one(db, "call tally.maintain()") == (2, 10_001, 0, 0)
    assert one(db, "call tally.maintain()") == (0, 0, 0, 0)
    assert db.execute("select * from tally.verify(%s)", (tenant,)).fetchall() == []


def test_maintain_gives_up_at_once_when_the_table_is_busy_and_does_it_next_time(
    db, dsn, new_tenant
):
    ingest(db, new_tenant(), [Event(NOW - 8 * DAY, UUID(int=1), "a")])
    with psycopg.connect(dsn) as reader:
        reader.execute("select count(*) from tally.events")
        started = datetime.now(UTC)
        assert one(db, "call tally.maintain()")[1] == 0
        assert datetime.now(UTC) - started < timedelta(seconds=2)
        assert one(db, "select status from tally.job_runs order by job_run_id desc limit 1") == (
            "failed",
        )
    assert one(db, "call tally.maintain()")[1] == 1


def test_an_aborted_move_does_not_alarm_readers_for_ever(db, dsn, new_tenant):
    tenant = new_tenant()
    ingest(db, tenant, [Event(NOW - 8 * DAY, UUID(int=1), "a")])
    with psycopg.connect(dsn) as aborted:
        assert aborted.execute(
            "select tally.partition_create(now() - interval '8 days')"
        ).fetchone() == (1,)
        aborted.rollback()
    db.execute("call tally.maintain()")
    with psycopg.connect(dsn) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        question = "select count(*) from api.event_page(%s)"
        assert reader.execute(question, (tenant,)).fetchone() == (1,)


def test_nothing_that_was_final_starts_a_new_revision_when_an_event_comes(db, new_tenant):
    tenant = new_tenant()
    ingest(db, tenant, [Event(NOW - 3 * DAY, UUID(int=1), "b")])
    db.execute("call tally.finalize('day')")
    on = (NOW - 3 * DAY).date()
    assert summary(db, tenant, on) == (0, True, 1)
    ingest(db, tenant, [Event(NOW - 3 * DAY, UUID(int=2), "a")])
    db.execute("call tally.finalize('day')")
    assert summary(db, tenant, on) == (1, True, 2)
    assert db.execute(
        "select event_type, event_count from api.summary_changes(%s)", (tenant,)
    ).fetchall() == [("a", 1)]


def test_pages_of_summaries_neither_overlap_nor_miss_a_period(db, new_tenant):
    tenant = new_tenant("UTC", 3)
    ingest(
        db,
        tenant,
        [Event(datetime(2024, 1, 1, tzinfo=UTC) + n * DAY, UUID(int=n), "a") for n in range(200)],
    )
    for unit in ("day", "week", "month"):
        whole = db.execute(
            "select period_on, value from api.summary_list(%s, %s, '2023-12-01', '2024-09-01', 'a')",
            (tenant, unit),
        ).fetchall()
        parts = []
        at = datetime(2023, 12, 1).date()
        while at < datetime(2024, 9, 1).date():
            following = min(at + timedelta(days=17), datetime(2024, 9, 1).date())
            parts += db.execute(
                "select period_on, value from api.summary_list(%s, %s, %s::text, %s::text, 'a')",
                (tenant, unit, at, following),
            ).fetchall()
            at = following
        assert parts == whole
        assert sum(value for _, value in whole) == 200
    assert (
        db.execute(
            "select * from api.summary_list(%s, 'month', '2024-03-20', '2024-03-20', 'a')",
            (tenant,),
        ).fetchall()
        == []
    )


def test_verify_works_through_decades(db, new_tenant):
    tenant = new_tenant("America/New_York")
    ingest(
        db,
        tenant,
        [
            Event(datetime(year, 7, 1, tzinfo=UTC), UUID(int=year), "a")
            for year in (1981, 2000, 2024)
        ],
    )
    assert db.execute("select * from tally.verify(%s)", (tenant,)).fetchall() == []
    db.execute("call tally.fold()")
    assert db.execute("select * from tally.verify(%s)", (tenant,)).fetchall() == []
    db.execute("update tally.summaries set event_count = 2")
    assert len(db.execute("select * from tally.verify(%s)", (tenant,)).fetchall()) == 12 + 9


def test_partitions_are_made_four_weeks_ahead(db):
    (ahead,) = one(
        db,
        """
        select count(*) from pg_inherits as i
        join pg_class as c on c.oid = i.inhrelid
        where i.inhparent = 'tally.events'::regclass
          and c.relname > 'events_' || to_char(now(), 'YYYYMMDD')
        """,
    )
    # The default partition sorts after all dates.
    assert ahead == 5


def test_folding_a_backlog_costs_the_same_a_delta_however_long_it_is(db, new_tenant):
    """A plan made while the queue looked empty once made this quadratic: minutes for 60,000."""
    tenant = new_tenant()
    ingest(db, tenant, [Event(NOW, UUID(int=1), "a")])
    db.execute("vacuum analyze tally.summary_deltas")
    for _ in range(6):
        db.execute("call tally.fold()")
    db.execute("vacuum analyze tally.summary_deltas")
    seconds = []
    for count in (6_000, 60_000):
        db.execute(
            """
            insert into tally.summary_deltas (tenant_id, quarter_hour, event_type, event_count, value_count)
            select %s, date_bin('15 minutes', now(), timestamptz 'epoch') - n %% 5000 * interval '15 minutes', 'a', 1, 0
            from generate_series(1, %s) as n
            """,
            (tenant, count),
        )
        started = datetime.now(UTC)
        assert one(db, "call tally.fold()")[0] == count
        seconds.append((datetime.now(UTC) - started).total_seconds())
    assert seconds[1] < 30 * seconds[0] + 1


def test_fold_does_not_wait_for_the_disk_and_finalize_does(db, new_tenant):
    """What a crash takes back of a fold waits as deltas again; what finalize told must stay."""
    db.execute("set synchronous_commit = on")
    db.execute(
        """
        create table tally.seen (value text);
        grant all on tally.seen to public;
        create function tally.see() returns trigger language plpgsql as $$
        begin
          insert into tally.seen values (current_setting('synchronous_commit'));
          return null;
        end $$;
        create trigger see after insert or update on tally.summaries
        for each statement execute function tally.see()
        """
    )
    ingest(db, new_tenant(), [Event(NOW - 3 * DAY, UUID(int=1), "a")])
    assert one(db, "call tally.fold()") == (1, 1, 0)
    assert set(db.execute("select value from tally.seen")) == {("off",)}
    db.execute("delete from tally.seen")
    assert one(db, "call tally.finalize('day')") == (1, 1, 0, 0)
    assert set(db.execute("select value from tally.seen")) == {("on",)}
