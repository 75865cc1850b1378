"""What concurrent transactions do to each other. At every moment: summaries + deltas = events."""

import contextlib
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from tests import calls
from tests.brute_force import Event, ingest
from tests.conftest import wait_for
from tests.ledger import Ledger

START = datetime(2024, 3, 8, tzinfo=UTC)

# One statement, one snapshot: raw events against summaries plus deltas, at every grain.
BALANCE = """
  with grains as (
    select period_type, kind
    from unnest('{q,d,w,m}'::"char"[]) as period_type,
      unnest('{e,a}'::"char"[]) as kind
    where (period_type, kind) <> ('q', 'a')
  )
  select
    (select (count(*), coalesce(sum(value), 0))::text from tally.events where tenant_id = %(t)s),
    array(
      select (coalesce(sum(x.n), 0), coalesce(sum(x.v), 0))::text
      from grains
      left join (
        select period_type, kind, event_count as n, value_sum as v
        from tally.summaries where tenant_id = %(t)s
        union all
        select period_type, kind, event_count, value_sum
        from tally.summary_deltas cross join grains where tenant_id = %(t)s
      ) as x using (period_type, kind)
      group by grains.period_type, grains.kind)
"""
GRAINS = 7


def blocked(db, pid):
    return db.execute(
        "select 1 from pg_stat_activity where pid = %s and wait_event_type = 'Lock'", (pid,)
    ).fetchone()


def in_thread(dsn, text, *arguments):
    """Runs a statement on a connection of its own; returns its backend and the future."""
    connection = psycopg.connect(dsn, autocommit=True)
    pool = ThreadPoolExecutor(1)

    def work():
        with connection:
            cursor = connection.execute(text, arguments)
            return cursor.fetchone() if cursor.description else None

    return connection.info.backend_pid, pool.submit(work)


def test_no_moment_at_which_summaries_and_deltas_differ_from_events(db, dsn, new_tenant):
    """Four writers with late and duplicate events, folds, finalizes and rebuilds, and a reader."""
    tenant = new_tenant("America/New_York")
    until = time.monotonic() + 8
    problems: list[object] = []
    sent: list[set[tuple[datetime, UUID]]] = [set() for _ in range(4)]

    def write(number: int) -> None:
        chance = random.Random(number)
        with psycopg.connect(dsn, autocommit=True) as connection:
            while time.monotonic() < until:
                batch = [
                    Event(
                        START + timedelta(seconds=chance.randrange(4 * 86_400)),
                        UUID(int=chance.randrange(300)), chance.choice("ab"), chance.randrange(100),
                        f"actor {chance.randrange(50)}",
                    )
                    for _ in range(chance.randrange(1, 60))
                ]  # fmt: skip
                ingest(connection, tenant, batch)
                sent[number].update((event.at, event.id) for event in batch)

    def repeat(*statements: str) -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            while time.monotonic() < until:
                for statement in statements:
                    try:
                        connection.execute(statement.encode())
                    except psycopg.errors.LockNotAvailable:
                        pass
                    except psycopg.Error as error:
                        problems.append(error)

    def read() -> int:
        checks = 0
        with psycopg.connect(dsn, autocommit=True) as connection:
            while time.monotonic() < until:
                raw, grains = connection.execute(BALANCE, {"t": tenant}).fetchone()
                if grains != [raw] * GRAINS:
                    problems.append((raw, grains))
                checks += 1
        return checks

    with ThreadPoolExecutor(9) as pool:
        work = [pool.submit(write, number) for number in range(4)]
        work.append(pool.submit(repeat, "call tally.fold()"))
        work.append(
            pool.submit(repeat, "call tally.finalize('day')", "call tally.finalize('week')")
        )
        work.append(
            pool.submit(
                repeat,
                f"call tally.rebuild('{tenant}')",
                "select tally.partition_create('2024-03-08')",
            )
        )
        checks = pool.submit(read)
        for future in work:
            future.result()
    assert not problems, problems[:3]
    assert checks.result() > 20
    (count,) = db.execute(
        "select count(*) from tally.events where tenant_id = %s", (tenant,)
    ).fetchone()
    assert count == len(set().union(*sent))
    assert db.execute("select * from tally.verify(%s)", (tenant,)).fetchall() == []
    db.execute("call tally.fold()")
    assert db.execute("select * from tally.verify(%s)", (tenant,)).fetchall() == []
    assert db.execute("select sum(healed_count) from tally.job_runs").fetchone() == (0,)


def test_two_folds_at_once_fold_each_delta_once(db, dsn, new_tenant):
    tenant = new_tenant()
    for n in range(5):
        ingest(db, tenant, [Event(START, UUID(int=n), "a")])
    with psycopg.connect(dsn) as first:
        assert first.execute("select tally.fold_tenant(%s)", (tenant,)).fetchone() == (5,)
        pid, second = in_thread(dsn, "select tally.fold_tenant(%s)", tenant)
        wait_for(lambda: blocked(db, pid))
        first.commit()
        assert second.result() == (0,)
    assert db.execute("select * from tally.verify(%s)", (tenant,)).fetchall() == []


def test_rebuild_waits_for_a_fold_and_sees_what_it_did(db, dsn, new_tenant):
    tenant = new_tenant()
    ingest(db, tenant, [Event(START, UUID(int=1), "a")])
    with psycopg.connect(dsn) as first:
        first.execute("select tally.fold_tenant(%s)", (tenant,))
        pid, second = in_thread(
            dsn, "select tally.rebuild_range(%s, %s, %s)", tenant, START, START + timedelta(days=1)
        )
        wait_for(lambda: blocked(db, pid))
        first.commit()
        assert second.result() == (0,)
    assert db.execute("select * from tally.verify(%s)", (tenant,)).fetchall() == []


def test_an_event_that_commits_during_a_rebuild_brings_its_own_delta(db, dsn, new_tenant):
    tenant = new_tenant()
    ingest(db, tenant, [Event(START, UUID(int=1), "a")])
    with psycopg.connect(dsn) as writer:
        ingest(writer, tenant, [Event(START, UUID(int=2), "a")])
        db.execute("call tally.rebuild(%s)", (tenant,))
        writer.commit()
    assert db.execute("select * from tally.verify(%s)", (tenant,)).fetchall() == []
    assert db.execute("select count(*) from tally.summary_deltas").fetchone() == (1,)


def test_an_event_that_commits_after_a_finalize_reopens_the_day(db, dsn, new_tenant):
    tenant = new_tenant()
    ingest(db, tenant, [Event(START, UUID(int=1), "a")])
    with psycopg.connect(dsn) as writer:
        ingest(writer, tenant, [Event(START, UUID(int=2), "a")])
        assert db.execute("call tally.finalize('day')").fetchone()[2] == 0
        writer.commit()
    question = (
        "select value, final, revision from api.summary_list(%s, 'day', %s::text, %s::text, 'a')"
    )
    arguments = (tenant, START.date(), START.date() + timedelta(days=1))
    assert db.execute(question, arguments).fetchone() == (2, False, 1)
    assert db.execute("call tally.finalize('day')").fetchone()[0] == 1
    assert db.execute(question, arguments).fetchone() == (2, True, 2)


def test_a_retry_that_overtakes_its_first_try_waits_and_is_a_duplicate(db, dsn, new_tenant):
    tenant = new_tenant()
    events = [Event(START, UUID(int=n), "a") for n in range(3)]
    with psycopg.connect(dsn) as first, ThreadPoolExecutor(1) as pool:
        assert ingest(first, tenant, events) == (3, 0)
        with psycopg.connect(dsn, autocommit=True) as retry:
            second = pool.submit(ingest, retry, tenant, events)
            wait_for(lambda: blocked(db, retry.info.backend_pid))
            first.commit()
            assert second.result() == (0, 3)


def test_a_retry_whose_first_try_failed_stores_the_events(db, dsn, new_tenant):
    tenant = new_tenant()
    events = [Event(START, UUID(int=n), "a") for n in range(3)]
    with psycopg.connect(dsn) as first, ThreadPoolExecutor(1) as pool:
        ingest(first, tenant, events)
        with psycopg.connect(dsn, autocommit=True) as retry:
            second = pool.submit(ingest, retry, tenant, events)
            wait_for(lambda: blocked(db, retry.info.backend_pid))
            first.rollback()
            assert second.result() == (3, 0)


def test_batches_with_the_same_events_in_opposite_order_both_succeed(db, dsn, new_tenant):
    tenant = new_tenant()
    events = [Event(START + timedelta(minutes=n), UUID(int=n), "a") for n in range(2000)]
    barrier = threading.Barrier(2)

    def send(batch):
        with psycopg.connect(dsn, autocommit=True) as connection:
            barrier.wait()
            return ingest(connection, tenant, batch)

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(send, [events, events[::-1]]))
    assert sum(accepted for accepted, _ in results) == 2000
    assert sum(duplicates for _, duplicates in results) == 2000
    assert db.execute("select * from tally.verify(%s)", (tenant,)).fetchall() == []


def test_a_partition_made_while_writers_use_the_default_loses_nothing(db, dsn, new_tenant):
    tenant = new_tenant()
    until = time.monotonic() + 3
    start = datetime(1999, 1, 4, tzinfo=UTC)

    def write(number: int) -> int:
        count = 0
        with psycopg.connect(dsn, autocommit=True) as connection:
            while time.monotonic() < until:
                at = start + timedelta(days=random.randrange(100), microseconds=number)
                count += ingest(connection, tenant, [Event(at, UUID(int=count), "a")])[0]
        return count

    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(write, number) for number in range(3)]
        week = start
        while time.monotonic() < until:
            with contextlib.suppress(psycopg.errors.LockNotAvailable):
                db.execute("select tally.partition_create(%s)", (week,))
                week += timedelta(days=7)
        written = sum(writer.result() for writer in writers)
    assert db.execute("select count(*) from tally.events").fetchone() == (written,)
    assert db.execute("select * from tally.verify(%s)", (tenant,)).fetchall() == []


def test_a_backend_killed_in_the_middle_of_a_job_leaves_everything_right(db, dsn, new_tenant):
    tenant = new_tenant()
    for n in range(40):
        ingest(
            db,
            tenant,
            [
                Event(
                    START + timedelta(days=n, seconds=i),
                    UUID(int=i),
                    f"t{i % 9}",
                    i,
                    "ann" if i % 10 == 0 else f"actor {i}",
                )
                for i in range(50)
            ],
        )
    db.execute(
        "update tally.tenants set quarter_hour_retention = '2 years', event_retention = '2 years'"
    )
    jobs = (
        "call tally.fold()",
        "call tally.finalize('day')",
        f"call tally.rebuild('{tenant}')",
        "call tally.verify_recent(2000)",
        f"select * from api.actor_erase('{tenant}', 'nobody')",
        f"select * from api.actor_erase('{tenant}', 'ann')",
        f"select tally.tenant_set_calendar('{tenant}', 'Asia/Tokyo', 7)",
        "call tally.maintain()",
    )
    for job in jobs:
        for delay in (0.002, 0.01, 0.03):
            pid, running = in_thread(dsn, job)
            time.sleep(delay)
            db.execute("select pg_terminate_backend(%s)", (pid,))
            running.exception()
            assert db.execute("select * from tally.verify(%s)", (tenant,)).fetchall() == []
        db.execute(job.encode())
        assert db.execute("select * from tally.verify(%s)", (tenant,)).fetchall() == []
        (total,) = db.execute("select total from api.event_count(%s)", (tenant,)).fetchone()
        # Erasure takes 5 of the 50 events a day; retention none from the summaries.
        assert total == 2000 or (total == 1800 and jobs.index(job) >= 5), job
    assert total == 1800
    assert db.execute("select count(*) from tally.events").fetchone() == (0,)


def test_a_reader_whose_snapshot_is_older_than_a_move_is_told_to_try_again(db, dsn, new_tenant):
    tenant = new_tenant()
    ingest(db, tenant, [Event(datetime(1998, 5, 5, 0, 5, tzinfo=UTC), UUID(int=1), "a")])
    question = """
      select c.total from pg_sleep(1) as s
      cross join lateral api.event_count(%s, '1998-05-05', '1998-05-05T00:10:00Z', case when s is null then '{}' else '{}' end::text[]) as c
    """
    pid, running = in_thread(dsn, question, tenant)
    wait_for(
        lambda: db.execute(
            "select 1 from pg_stat_activity where pid = %s and wait_event = 'PgSleep'", (pid,)
        ).fetchone()
    )
    assert db.execute("select tally.partition_create('1998-05-05')").fetchone() == (1,)
    assert isinstance(running.exception(), psycopg.errors.SerializationFailure)
    assert db.execute(question.replace("pg_sleep(1)", "pg_sleep(0)"), (tenant,)).fetchone() == (1,)


def test_an_event_of_an_actor_that_commits_during_its_erasure_stays_and_counts(db, dsn, new_tenant):
    tenant = new_tenant()
    ingest(db, tenant, [Event(START, UUID(int=1), "a", 1, "ann")])
    with psycopg.connect(dsn) as writer:
        ingest(writer, tenant, [Event(START, UUID(int=2), "a", 1, "ann")])
        assert db.execute(
            "select event_count, done from api.actor_erase(%s, 'ann')", (tenant,)
        ).fetchone() == (1, True)
        writer.commit()
    assert db.execute("select * from tally.verify(%s)", (tenant,)).fetchall() == []
    assert db.execute("select total from api.event_count(%s)", (tenant,)).fetchone() == (1,)
    db.execute("select * from api.actor_erase(%s, 'ann')", (tenant,))
    assert db.execute("select total from api.event_count(%s)", (tenant,)).fetchone() == (0,)


def test_a_zone_change_and_a_fold_wait_for_each_other(db, dsn, new_tenant):
    tenant = new_tenant()
    ingest(db, tenant, [Event(START, UUID(int=1), "a")])
    db.execute("call tally.fold()")
    ingest(db, tenant, [Event(START + timedelta(hours=20), UUID(int=2), "a")])
    for first_call, second_call in (
        ("select tally.tenant_set_calendar(%s, 'Asia/Tokyo', 7)", "select tally.fold_tenant(%s)"),
        (
            "select tally.fold_tenant(%s)",
            "select tally.tenant_set_calendar(%s, 'America/New_York', 3)",
        ),
    ):
        with psycopg.connect(dsn) as first:
            first.execute(first_call, (tenant,))
            pid, second = in_thread(dsn, second_call, tenant)
            wait_for(lambda pid=pid: blocked(db, pid))
            assert db.execute("select * from tally.verify(%s)", (tenant,)).fetchall() == []
            first.commit()
            second.result()
        assert db.execute("select * from tally.verify(%s)", (tenant,)).fetchall() == []
        ingest(db, tenant, [Event(START + timedelta(hours=21), UUID(int=3), "a")])


def test_readers_see_the_old_calendar_or_the_new_never_half(db, dsn, new_tenant):
    tenant = new_tenant()
    ingest(
        db, tenant, [Event(START + timedelta(hours=n), UUID(int=n), "a") for n in range(24 * 60)]
    )
    db.execute("call tally.fold()")
    until = time.monotonic() + 3

    def change() -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            while time.monotonic() < until:
                for zone in ("Asia/Tokyo", "America/New_York"):
                    connection.execute("select tally.tenant_set_calendar(%s, %s)", (tenant, zone))

    with ThreadPoolExecutor(1) as pool:
        changing = pool.submit(change)
        while time.monotonic() < until:
            (total,) = db.execute("select total from api.event_count(%s)", (tenant,)).fetchone()
            assert total == 24 * 60
            days = db.execute(
                "select total from api.event_timeline(%s, 'day')", (tenant,)
            ).fetchall()
            assert sum(total for (total,) in days) == 24 * 60
        changing.result()


def test_an_invoice_beside_changes_of_calendar_late_events_and_finalizes(db, dsn, new_tenant):
    """In every snapshot summaries + deltas = events, and a ledger that follows changes is right."""
    tenant = new_tenant()
    ingest(
        db,
        tenant,
        [Event(START + timedelta(hours=n), UUID(int=n), "ab"[n % 2]) for n in range(500)],
    )
    calls.finalize(db)
    until = time.monotonic() + 5

    def write() -> None:
        chance = random.Random(1)
        with psycopg.connect(dsn, autocommit=True) as connection:
            for number in range(1000, 1_000_000):
                at = START + timedelta(hours=chance.randrange(500))
                ingest(connection, tenant, [Event(at, UUID(int=number), chance.choice("ab"), 1)])
                if time.monotonic() > until:
                    break

    def repeat(*statements: str) -> int:
        runs = 0
        with psycopg.connect(dsn, autocommit=True) as connection:
            while time.monotonic() < until:
                for statement in statements:
                    with contextlib.suppress(psycopg.errors.LockNotAvailable):
                        connection.execute(statement.encode())
                        runs += 1
        return runs

    with ThreadPoolExecutor(3) as pool:
        work = [
            pool.submit(write),
            pool.submit(
                repeat,
                f"select tally.tenant_set_calendar('{tenant}', 'Asia/Tokyo', 1)",
                f"select tally.tenant_set_calendar('{tenant}', 'Asia/Tokyo', 4)",
                f"select tally.tenant_set_calendar('{tenant}', 'America/New_York', 1)",
                f"select tally.tenant_set_calendar('{tenant}', 'UTC', 1)",
            ),
            pool.submit(
                repeat, "call tally.fold()", *(f"call tally.finalize('{u}')" for u in calls.UNITS)
            ),
        ]
        ledgers = [Ledger("start"), Ledger("date")]
        polls = 0
        with psycopg.connect(dsn) as reader:
            reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            while time.monotonic() < until:
                with reader.transaction():
                    raw, grains = reader.execute(BALANCE, {"t": tenant}).fetchone()
                    assert grains == [raw] * GRAINS
                    for ledger in ledgers:
                        ledger.poll(reader, tenant)
                polls += 1
        for future in work:
            future.result()
    assert polls > 5
    assert work[1].result() > 4
    assert db.execute("select * from tally.verify(%s)", (tenant,)).fetchall() == []
    calls.finalize(db)
    assert db.execute("select sum(healed_count) from tally.job_runs").fetchone() == (0,)
    for ledger in ledgers:
        ledger.poll(db, tenant)


def test_a_repeatable_read_transaction_older_than_a_move_is_told_too(db, dsn, new_tenant):
    tenant = new_tenant()
    ingest(db, tenant, [Event(datetime(1998, 5, 5, 0, 5, tzinfo=UTC), UUID(int=1), "a")])
    with psycopg.connect(dsn) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("select 1 from tally.tenants")
        db.execute("select tally.partition_create('1998-05-05')")
        with pytest.raises(psycopg.errors.SerializationFailure):
            reader.execute(
                "select * from api.event_count(%s, '1998-05-05', '1998-05-05T00:10:00Z')", (tenant,)
            )


def test_finalize_ends_although_late_events_keep_coming(db, dsn, new_tenant):
    tenant = new_tenant()
    start = datetime.now(UTC) - timedelta(days=9)
    ingest(db, tenant, [Event(start + timedelta(hours=n), UUID(int=n), "a") for n in range(200)])
    stop = threading.Event()

    def late() -> None:
        number = 1000
        with psycopg.connect(dsn, autocommit=True) as connection:
            while not stop.is_set():
                number += 1
                at = start + timedelta(hours=number % 200)
                ingest(connection, tenant, [Event(at, UUID(int=number), "a")])

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(late) for _ in range(2)]
        try:
            started = time.monotonic()
            db.execute("call tally.finalize('day')")
            assert time.monotonic() - started < 10
        finally:
            stop.set()
        for writer in writers:
            writer.result()
    assert db.execute("select * from tally.verify(%s)", (tenant,)).fetchall() == []
