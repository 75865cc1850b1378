"""A tenant is deleted while others store, fold and delete: nothing is ever stored again."""

import contextlib
import random
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.brute_force import Event, ingest
from tests.calls import one, rows, verify
from tests.conftest import wait_for
from tests.races.test_races import BALANCE, GRAINS, blocked, in_thread

START = datetime(2024, 3, 8, tzinfo=UTC)
DELETE = """
  select d.state, d.event_count
  from tally.tenants as t
  cross join lateral tally.tenant_remove(t.tenant_id, t.name, %s) as d
  where t.tenant_id = %s
"""


def delete(db, tenant, limit=1000):
    """State, and events removed so far."""
    done = "select state, event_count from tally.tenant_deletion(%s)"
    return one(db, DELETE, limit, tenant) or one(db, done, tenant)


def stored(db, tenant):
    return one(
        db,
        """
        select (select count(*) from tally.events where tenant_id = %(t)s)
          + (select count(*) from tally.summary_deltas where tenant_id = %(t)s)
          + (select count(*) from tally.summaries where tenant_id = %(t)s)
          + (select count(*) from tally.receipts where tenant_id = %(t)s)
          + (select count(*) from tally.rejected_events where tenant_id = %(t)s)
        """.replace("%(t)s", f"'{tenant}'"),
    )[0]


def delete_all(db, tenant, limit=1000):
    found = ("", 0)
    for _ in range(2000):
        found = delete(db, tenant, limit)
        if found[0] == "done":
            break
    assert found[0] == "done"
    return found[1]


def refused(call, *arguments):
    with pytest.raises(psycopg.Error) as caught:
        call(*arguments)
    return caught.value.sqlstate


def test_ingest_in_progress_ends_before_anything_is_removed_and_goes_too(db, dsn, new_tenant):
    tenant = new_tenant()
    ingest(db, tenant, [Event(START, UUID(int=1), "a")])
    with psycopg.connect(dsn) as writer:
        ingest(writer, tenant, [Event(START, UUID(int=2), "a")])
        for _ in range(3):
            # The mark waits for nobody, and nobody for it.
            assert delete(db, tenant) == ("marked", 0)
        assert refused(ingest, db, tenant, [Event(START, UUID(int=3), "a")]) == "TY410"
        assert refused(ingest, writer, tenant, [Event(START, UUID(int=4), "a")]) == "TY410"
        writer.rollback()
        ingest_again = psycopg.connect(dsn)
        assert refused(ingest, ingest_again, tenant, [Event(START, UUID(int=5), "a")]) == "TY410"
        ingest_again.close()
    assert delete_all(db, tenant) == 1
    assert stored(db, tenant) == 0


def test_what_ingest_in_progress_commits_after_the_mark_is_removed(db, dsn, new_tenant):
    tenant = new_tenant()
    with psycopg.connect(dsn) as writer:
        ingest(writer, tenant, [Event(START, UUID(int=2), "a")])
        assert delete(db, tenant) == ("marked", 0)
        assert delete(db, tenant) == ("marked", 0)
        writer.commit()
    assert stored(db, tenant) > 0
    assert delete_all(db, tenant) == 1
    assert stored(db, tenant) == 0


def test_an_ingest_whose_snapshot_is_older_than_the_mark_sees_it_once_it_has_the_lock(
    db, dsn, new_tenant
):
    tenant = new_tenant()
    with psycopg.connect(dsn) as holder, psycopg.connect(dsn, autocommit=True) as writer:
        holder.execute("select pg_advisory_xact_lock(tally.ingest_lock(%s))", (tenant,))
        with ThreadPoolExecutor(1) as pool:
            late = pool.submit(ingest, writer, tenant, [Event(START, UUID(int=1), "a")])
            wait_for(lambda: blocked(db, writer.info.backend_pid))
            assert delete(db, tenant) == ("marked", 0)
            holder.commit()
            assert late.exception().sqlstate == "TY410"
    assert delete_all(db, tenant) == 0


def test_one_snapshot_for_a_whole_transaction_stores_nothing(db, dsn, new_tenant):
    tenant = new_tenant()
    calls = (
        'select * from api.events_ingest_json(%s, \'[{"type": "a"}]\')',
        "select * from api.rejected_replay(%s)",
        "select * from tally.tenant_remove_step(%s)",
        "select * from api.events_ingest_request(%s, '{}', '{}', '{}', '{}', '{}', '{}', '{}',"
        ' \'[{"source": "bulk", "event": "{}", "errors": [], "replayable": true}]\', \'key\')',
    )
    for level in ("repeatable read", "serializable"):
        for call in calls:
            with psycopg.connect(dsn) as old:
                old.execute(f"set transaction isolation level {level}".encode())
                assert refused(old.execute, call.encode(), (tenant,)) == "TY409"


def test_a_mark_that_is_not_committed_removes_nothing(db, dsn, new_tenant):
    tenant = new_tenant()
    ingest(db, tenant, [Event(START, UUID(int=1), "a")])
    with psycopg.connect(dsn) as both:
        for _ in range(4):
            assert delete(both, tenant) == ("marked", 0)
        # Others do not see it yet, and store.
        ingest(db, tenant, [Event(START, UUID(int=2), "a")])
        both.commit()
    assert delete_all(db, tenant) == 2
    assert stored(db, tenant) == 0


def test_a_step_does_not_wait_for_a_fold_that_began_before(db, dsn, new_tenant):
    tenant = new_tenant()
    ingest(db, tenant, [Event(START, UUID(int=1), "a")])
    with psycopg.connect(dsn) as folding:
        assert one(folding, "select tally.fold_tenant(%s)", tenant) == (1,)
        assert delete(db, tenant) == ("marked", 0)
        assert delete(db, tenant) == ("marked", 0)
        step = one(db, "select * from tally.tenant_remove_step(%s)", tenant)
        assert step == (0, True, True)
        folding.commit()
    assert delete_all(db, tenant) == 1
    assert stored(db, tenant) == 0


def test_a_fold_that_waited_for_a_step_finds_the_tenant_gone(db, dsn, new_tenant):
    tenant = new_tenant()
    ingest(db, tenant, [Event(START, UUID(int=n), f"type {n}") for n in range(5)])
    delete(db, tenant)
    delete(db, tenant)
    with psycopg.connect(dsn) as removing:
        delete(removing, tenant, 2)
        pid, fold = in_thread(dsn, "select tally.fold_tenant(%s)", tenant)
        wait_for(lambda: blocked(db, pid))
        removing.commit()
        assert fold.exception().sqlstate == "TY410"
    assert delete_all(db, tenant) == 5


def test_two_who_delete_at_once_do_not_wait_for_each_other(db, dsn, new_tenant):
    tenant = new_tenant()
    ingest(db, tenant, [Event(START, UUID(int=n), "a") for n in range(10)])
    delete(db, tenant)
    delete(db, tenant)
    with psycopg.connect(dsn) as first:
        assert delete(first, tenant, 4)[0] == "removing"
        state, removed = delete(db, tenant, 4)
        assert (state, removed) == ("removing", 0)
        first.commit()
    with ThreadPoolExecutor(4) as pool:

        def work(_):
            with psycopg.connect(dsn, autocommit=True) as connection:
                return delete_all(connection, tenant, 2)

        assert list(pool.map(work, range(4))) == [10] * 4


def test_a_key_that_is_being_made_does_not_outlive_the_tenant(db, dsn, new_tenant):
    tenant = new_tenant()
    with psycopg.connect(dsn) as making:
        making.execute("select api.key_create(%s, 'x')", (tenant,))
        for _ in range(5):
            state, _ = delete(db, tenant)
        assert state == "removing"
        making.commit()
    delete_all(db, tenant)
    assert rows(db, "select * from tally.api_keys where tenant_id = %s", tenant) == []
    with psycopg.connect(dsn) as making:
        assert refused(making.execute, "select api.key_create(%s, 'x')", (tenant,)) == "TY410"


def test_events_of_a_marked_tenant_in_a_shared_commit_leave_the_others_alone(db, new_tenant):
    tenant, other = new_tenant(), new_tenant()
    delete(db, tenant)
    found = rows(
        db,
        """
        select accepted, error_state from api.events_ingest_each(
          %s, array_fill(now(), array[3]), array[gen_random_uuid(), gen_random_uuid(), gen_random_uuid()],
          '{a,b,c}', '{1,2,3}', '{a,b,c}', '{a,b,c}', '{"{}","{}","{}"}')
        """,
        [other, tenant, other],
    )
    assert found == [(True, None), (None, "TY410"), (True, None)]


def test_events_that_got_past_the_lock_are_found_by_their_deltas(db, new_tenant):
    """What an ingest does that was loaded before there was such a lock."""
    tenant = new_tenant()
    ingest(db, tenant, [Event(START + timedelta(hours=n), UUID(int=n), "a") for n in range(20)])
    while one(db, "select event_count from tally.tenant_deletion(%s)", tenant) in (None, (0,)):
        delete(db, tenant, 8)
    db.execute(
        """
        insert into tally.events (tenant_id, occurred_at, event_id, event_type)
        values (%(t)s, %(at)s, gen_random_uuid(), 'a');
        """.replace("%(t)s", f"'{tenant}'")
        .replace("%(at)s", f"'{START}'")
        .encode()
    )
    db.execute(
        """
        insert into tally.summary_deltas (tenant_id, quarter_hour, event_type, event_count, value_count)
        values (%s, %s, 'a', 1, 0)
        """,
        (tenant, START),
    )
    assert delete_all(db, tenant, 8) == 21
    assert stored(db, tenant) == 0


def test_under_load_every_acknowledged_event_is_on_the_certificate_and_none_is_left(
    db, dsn, new_tenant
):
    """Writers of two tenants, jobs and moves of partitions; one tenant is deleted by backends that
    are killed again and again."""
    tenant, other = new_tenant("America/New_York"), new_tenant("Asia/Tokyo")
    until = time.monotonic() + 10
    problems: list[object] = []
    answers: set[str | None] = set()

    def write(number: int, into: UUID) -> int:
        chance = random.Random(number)
        acknowledged = 0
        with psycopg.connect(dsn, autocommit=True) as connection:
            while time.monotonic() < until:
                batch = [
                    Event(
                        START + timedelta(seconds=chance.randrange(40 * 86_400)), uuid4(),
                        chance.choice("ab"), chance.randrange(100), f"actor {chance.randrange(50)}",
                    )
                    for _ in range(chance.randrange(1, 60))
                ]  # fmt: skip
                try:
                    acknowledged += ingest(connection, into, batch)[0]
                except psycopg.errors.DeadlockDetected:
                    continue
                except psycopg.Error as error:
                    answers.add(error.sqlstate)
                    if into == other:
                        problems.append(error)
        return acknowledged

    def repeat(*statements: str) -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            while time.monotonic() < until:
                for statement in statements:
                    with contextlib.suppress(psycopg.errors.LockNotAvailable):
                        connection.execute(statement.encode())

    def delete_and_be_killed() -> int:
        time.sleep(3)
        kills = 0
        chance = random.Random(7)
        while time.monotonic() < until - 1:
            connection = psycopg.connect(dsn, autocommit=True)
            pid = connection.info.backend_pid

            def work(connection=connection):
                while delete(connection, tenant, 20)[0] != "done":
                    pass

            with ThreadPoolExecutor(1) as pool:
                running = pool.submit(work)
                time.sleep(chance.random() * 0.05)
                db.execute("select pg_terminate_backend(%s)", (pid,))
                kills += running.exception() is not None
            connection.close()
        return kills

    with ThreadPoolExecutor(8) as pool:
        mine = [pool.submit(write, number, tenant) for number in range(2)]
        others = [pool.submit(write, number, other) for number in range(2, 4)]
        jobs = [
            pool.submit(repeat, "call tally.fold()", "call tally.finalize('day')"),
            pool.submit(repeat, *(
                f"select tally.partition_create('2024-03-08'::timestamptz + interval '{n} weeks')"
                for n in range(6)
            )),
        ]  # fmt: skip
        kills = pool.submit(delete_and_be_killed)
        for future in jobs:
            future.result()
        acknowledged = sum(future.result() for future in mine)
        of_other = sum(future.result() for future in others)
    assert not problems, problems[:3]
    assert kills.result() > 5
    assert answers == {"TY410"}
    assert delete_all(db, tenant) == acknowledged > 1000
    assert stored(db, tenant) == 0
    raw, grains = one(db, BALANCE.replace("%(t)s", "%s"), *[other] * BALANCE.count("%(t)s"))
    assert grains == [raw] * GRAINS
    assert one(db, "select count(*) from tally.events") == (of_other,)
    assert verify(db, other) == []
    assert one(db, "select sum(healed_count) from tally.job_runs") == (0,)
    assert rows(db, "select error from tally.job_runs where status = 'failed'") == []
