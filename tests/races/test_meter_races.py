"""What meters and concurrent transactions do to each other: whatever interleaves, each event is counted
exactly once, by a meter as by the summaries."""

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from uuid import UUID

import psycopg
import pytest

from tests.brute_force import Event, ingest
from tests.calls import fold, one, verify
from tests.conftest import wait_for
from tests.functions.test_meters import COUNT, ORIGIN, ask, create, store
from tests.races.test_races import blocked, in_thread

HOUR = 3_600_000_000
DAY = 24 * HOUR
CREATE = "select version from api.meter_create(%s, 'by k', p_by => '{data.k}', p_max_groups => 1)"
DELETE = "select versions from api.meter_delete(%s, 'by k')"
FILL_DAY = "select tally.fill_meters(%s, '0')"
FINALIZE = "select periods, healed from tally.finalize_tenant(%s, 'day')"
ERASE = "select done from api.actor_erase(%s, 'ann')"


def drawn(n, group="a", actor=None, at=None):
    """Event number n; by default all are of one day."""
    return (n * 1_000_000 if at is None else at, n, "sale", None, actor, (("k", group),))


def send(db, tenant, stored, *events):
    store(db, tenant, stored, events)


def settle(db, tenant, stored, source="meter by k"):
    """Right now, and after every job."""
    assert verify(db, tenant) == []
    ask(db, tenant, stored, COUNT)
    for step in ("call tally.fill()", "call tally.fold()", "call tally.finalize('day')"):
        db.execute(step.encode())
        assert verify(db, tenant) == [], step
        ask(db, tenant, stored, COUNT)
    assert one(db, "select sum(healed_count), count(error) from tally.job_runs") == (0, 0)
    assert ask(db, tenant, stored, COUNT) == source
    for low, high in ((0, DAY), (-9 * DAY, 9 * DAY), (HOUR, 5 * HOUR)):
        for grouped in (True, False):
            ask(db, tenant, stored, ("by k", low, high, "count", 2, grouped))


@pytest.fixture
def tenant(new_tenant):
    return new_tenant()


@pytest.fixture
def stored(db, tenant):
    """Three events on three days, two of them of the same."""
    found: dict = {}
    send(db, tenant, found, drawn(1), drawn(2, "b", "ann"), drawn(3, "a", None, -3 * DAY))
    return found


@pytest.fixture
def metered(db, tenant, stored):
    create(db, tenant, "by k", 1)
    db.execute("call tally.fill()")
    return stored


# Creation


def test_a_creation_waits_for_a_batch_under_way_and_counts_it_once(db, dsn, tenant, stored):
    with psycopg.connect(dsn) as writer:
        send(writer, tenant, stored, drawn(10))
        pid, creation = in_thread(dsn, CREATE, tenant)
        wait_for(lambda: blocked(db, pid))
        assert one(db, "select count(*) from tally.meters") == (0,)
        writer.commit()
        assert creation.result() == (1,)
    settle(db, tenant, stored)


def test_a_batch_waits_for_a_creation_under_way_and_is_counted_as_it_arrives(
    db, dsn, tenant, stored
):
    with psycopg.connect(dsn) as creator, psycopg.connect(dsn, autocommit=True) as writer:
        create(creator, tenant, "by k", 1)
        with ThreadPoolExecutor(1) as pool:
            batch = pool.submit(send, writer, tenant, stored, drawn(10))
            wait_for(lambda: blocked(db, writer.info.backend_pid))
            creator.commit()
            batch.result()
    assert one(db, "select count(*) from tally.meter_deltas") == (1,)
    settle(db, tenant, stored)


def test_a_batch_waits_for_a_creation_that_fails_and_is_stored(db, dsn, tenant, stored):
    with psycopg.connect(dsn) as creator, psycopg.connect(dsn, autocommit=True) as writer:
        create(creator, tenant, "by k", 1)
        with ThreadPoolExecutor(1) as pool:
            batch = pool.submit(send, writer, tenant, stored, drawn(10))
            wait_for(lambda: blocked(db, writer.info.backend_pid))
            creator.rollback()
            batch.result()
    settle(db, tenant, stored, "events")


def test_a_creation_that_waits_for_a_job_does_not_hold_up_ingest(db, dsn, tenant, stored):
    with psycopg.connect(dsn) as job:
        job.execute(
            "select from tally.tenant_state where tenant_id = %s for no key update", (tenant,)
        )
        pid, creation = in_thread(dsn, CREATE, tenant)
        wait_for(lambda: blocked(db, pid))
        db.execute("set statement_timeout = '5s'")
        send(db, tenant, stored, drawn(10))
        db.execute("reset statement_timeout")
        job.commit()
        assert creation.result() == (1,)
    settle(db, tenant, stored)


def test_batches_before_and_after_a_creation_are_counted_once_when_its_days_are_filled(
    db, dsn, tenant, stored
):
    """Between the creation and the filling; and a batch that began with a meter list of before."""
    with psycopg.connect(dsn) as writer:
        writer.execute("select from tally.tenants")
        create(db, tenant, "by k", 1)
        send(writer, tenant, stored, drawn(10), drawn(11, "b", None, -5 * DAY))
    fold(db)
    send(db, tenant, stored, drawn(12, "c"))
    settle(db, tenant, stored)


def test_two_creations_of_one_name_make_one_meter(db, dsn, tenant, stored):
    with psycopg.connect(dsn) as creator:
        create(creator, tenant, "by k", 1)
        _, second = in_thread(dsn, CREATE, tenant)
        time.sleep(0.2)
        creator.commit()
        assert second.exception().sqlstate == "TY409"
    settle(db, tenant, stored)


def test_a_creation_gives_up_after_a_bounded_time_while_somebody_stores_without_end(
    db, dsn, tenant, stored
):
    with psycopg.connect(dsn) as writer:
        send(writer, tenant, stored, drawn(10))
        started = time.monotonic()
        with pytest.raises(psycopg.Error) as error:
            create(db, tenant, "by k", 1)
        # 30 tries of 100 ms, with 50 ms between them.
        assert error.value.sqlstate == "TY503"
        assert time.monotonic() - started < 20
        # Nothing stays behind it: another batch passes, also while it tries.
        pid, creation = in_thread(dsn, CREATE, tenant)
        wait_for(lambda: blocked(db, pid))
        send(db, tenant, stored, drawn(11))
        assert not creation.done()
    assert creation.result() == (1,)
    settle(db, tenant, stored)


@pytest.mark.parametrize(
    "level", [psycopg.IsolationLevel.REPEATABLE_READ, psycopg.IsolationLevel.SERIALIZABLE]
)
def test_a_batch_with_a_snapshot_of_its_own_is_refused(db, dsn, tenant, metered, level):
    with psycopg.connect(dsn) as writer:
        writer.isolation_level = level
        writer.execute("select from tally.tenants")
        with pytest.raises(psycopg.Error) as error:
            ingest(writer, tenant, [Event(ORIGIN, UUID(int=9), "sale")])
        assert error.value.sqlstate == "TY409"
    settle(db, tenant, metered)


# A batch that is open while something else happens to its day

OTHERS = {
    "fill": FILL_DAY,
    "fold": "select tally.fold_tenant(%s)",
    "finalize": FINALIZE,
    "rebuild": "select tally.rebuild_range(%s, '2024-03-30', '2024-03-31')",
    "erase": ERASE,
    "delete": DELETE,
}


def forget(stored, sql):
    if sql == ERASE:
        for key in [key for key, event in stored.items() if event.actor == "ann"]:
            del stored[key]


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("filled", [True, False])
def test_a_batch_that_commits_after_what_passed_it_is_counted_once(
    db, dsn, tenant, stored, other, filled
):
    create(db, tenant, "by k", 1)
    if filled:
        db.execute("call tally.fill()")
    with psycopg.connect(dsn) as writer:
        send(writer, tenant, stored, drawn(10, "b"), drawn(11, "new"), drawn(12, "a", None, -DAY))
        one(db, OTHERS[other], tenant)
        forget(stored, OTHERS[other])
        writer.commit()
    settle(db, tenant, stored, "events" if other == "delete" else "meter by k")


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("filled", [True, False])
def test_a_batch_that_commits_before_what_it_passed_does_is_counted_once(
    db, dsn, tenant, stored, other, filled
):
    create(db, tenant, "by k", 1)
    if filled:
        db.execute("call tally.fill()")
    with psycopg.connect(dsn) as job:
        one(job, OTHERS[other], tenant)
        forget(stored, OTHERS[other])
        send(db, tenant, stored, drawn(10, "b"), drawn(11, "new"), drawn(12, "a", None, -DAY))
        job.commit()
    settle(db, tenant, stored, "events" if other == "delete" else "meter by k")


JOBS = [name for name in OTHERS if name != "rebuild"]


# A meter is deleted once: its name is gone.
@pytest.mark.parametrize(
    ("first", "second"), [pair for pair in product(JOBS, JOBS) if pair != ("delete", "delete")]
)
def test_two_that_change_a_day_of_a_meter_wait_for_each_other(
    db, dsn, tenant, stored, first, second
):
    create(db, tenant, "by k", 1)
    send(db, tenant, stored, drawn(10, "b"), drawn(11, "new", "ann"))
    with psycopg.connect(dsn) as holder:
        one(holder, OTHERS[first], tenant)
        pid, waiting = in_thread(dsn, OTHERS[second], tenant)
        wait_for(lambda: blocked(db, pid))
        holder.commit()
        waiting.result()
    forget(stored, OTHERS[first])
    forget(stored, OTHERS[second])
    settle(db, tenant, stored, "events" if "delete" in (first, second) else "meter by k")


# Versions


def test_a_batch_under_way_while_a_new_version_takes_over_is_counted_by_it(
    db, dsn, tenant, metered
):
    assert create(db, tenant, "by k", 3, replace=True) == 2
    with psycopg.connect(dsn) as writer:
        send(writer, tenant, metered, drawn(10, "b"), drawn(11, "new", None, -3 * DAY))
        db.execute("call tally.fill()")
        states = "select array_agg(state order by version) from api.meter_list(%s)"
        assert one(db, states, tenant) == (["retired", "complete"],)
    settle(db, tenant, metered)
    assert one(db, "select count(*) from tally.meter_deltas") == (0,)


def test_a_batch_while_a_new_version_is_about_to_take_over_is_counted_by_it(
    db, dsn, tenant, metered
):
    create(db, tenant, "by k", 3, replace=True)
    with psycopg.connect(dsn) as job:
        one(job, "select tally.fill_meters(%s)", tenant)
        send(db, tenant, metered, drawn(10, "b"), drawn(11, "new", None, -3 * DAY))
        ask(db, tenant, metered, COUNT)
    settle(db, tenant, metered)


def test_no_moment_at_which_meters_and_events_differ(db, dsn, tenant, stored):
    """Writers, while a meter is created, changed, deleted, filled, folded, finalized; and a reader."""
    until = time.monotonic() + 4
    problems: list[object] = []
    lock = threading.Lock()

    def write(number):
        count = 0
        with psycopg.connect(dsn, autocommit=True) as connection:
            while time.monotonic() < until:
                count += 1
                batch = [
                    drawn(1000 * number + 100_000 * n + count, "abcde"[n % 5], None, n * 7 * HOUR)
                    for n in range(8)
                ]
                mine: dict = {}
                store(connection, tenant, mine, batch)
                with lock:
                    stored.update(mine)

    def repeat(*statements):
        with psycopg.connect(dsn, autocommit=True) as connection:
            while time.monotonic() < until:
                for statement in statements:
                    try:
                        with contextlib.suppress(psycopg.errors.LockNotAvailable):
                            connection.execute(statement.replace("%s", f"'{tenant}'").encode())
                    except psycopg.Error as error:
                        if error.sqlstate != "TY503":
                            problems.append(error)

    with ThreadPoolExecutor(7) as pool:
        work = [
            *(pool.submit(write, number) for number in (1, 2)),
            pool.submit(repeat, CREATE, FILL_DAY, FILL_DAY, FILL_DAY, DELETE),
            pool.submit(repeat, "call tally.fold()"),
            pool.submit(repeat, "call tally.finalize('day')", "call tally.fill()"),
        ]
        checks = 0
        while time.monotonic() < until:
            problems += verify(db, tenant)
            checks += 1
        for future in work:
            future.result()
    # The last round may have ended with a creation that gave up, and nothing to delete.
    problems = [p for p in problems if getattr(p, "sqlstate", "") not in ("TY404", "TY409")]
    assert not problems, problems[:3]
    assert checks > 5
    with contextlib.suppress(psycopg.Error):
        create(db, tenant, "by k", 1)
    settle(db, tenant, stored)
