"""Somebody holds a lock: nobody else is delayed, nothing hangs, and whoever it is is named."""

import time
import typing
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from pgtally.endpoints.health import Trouble
from psycopg.conninfo import make_conninfo

from tests.brute_force import Event, ingest
from tests.conftest import wait_for
from tests.races.test_races import in_thread

YESTERDAY = datetime.now(UTC) - timedelta(days=1)
LOCK = "select from tally.tenant_state where tenant_id = %s for no key update"


@pytest.fixture
def holder(dsn):
    """A session in a transaction, that others wait for."""
    with psycopg.connect(make_conninfo(dsn, application_name="psql of eve")) as connection:
        yield connection


@pytest.fixture
def tenants(db, new_tenant):
    """Five tenants with an event each; the lock of the first is what the tests hold."""
    found = [new_tenant() for _ in range(5)]
    for tenant in found:
        ingest(db, tenant, [Event(YESTERDAY, UUID(int=1), "a")])
    return found


def one(db, text, *arguments):
    return db.execute(text, arguments).fetchone()


def waiting(db):
    return {
        tenant for (tenant,) in db.execute("select distinct tenant_id from tally.summary_deltas")
    }


def test_a_locked_tenant_delays_no_other_and_the_error_names_who_locks_it(db, dsn, holder, tenants):
    first = tenants[0]
    for lock in (
        LOCK,
        "update tally.tenant_state set events_kept_from = '-infinity' where tenant_id = %s",
    ):
        holder.execute(lock, (first,))
        started = time.monotonic()
        pid, running = in_thread(dsn, "call tally.fold()")
        wait_for(lambda: waiting(db) == {first}, 3)
        assert running.result(15)[2] == 1
        assert time.monotonic() - started < 10
        status, error = one(
            db, "select status, error from tally.job_runs where backend_pid = %s", pid
        )
        assert status == "failed"
        assert error.startswith(
            f"tenant {first} is locked by pid {holder.info.backend_pid} (psql of eve, user "
        )
        assert "idle in transaction, for " in error
        told = dict(
            db.execute("select check_name, message from tally.doctor() where status = 'failed'")
        )
        assert str(holder.info.backend_pid) in told["job fold"]
        holder.rollback()
        assert one(db, "call tally.fold()") == (1, 1, 0)
        for tenant in tenants:
            ingest(db, tenant, [Event(YESTERDAY, UUID(int=2), "a")])


@pytest.mark.parametrize("job", ["fold()", "finalize('day')", "verify_recent()", "maintain()"])
def test_a_tenant_that_is_free_again_before_the_others_are_done_is_not_left_out(
    db, dsn, holder, tenants, job
):
    db.execute("update tally.tenants set event_retention = '10 years'")
    holder.execute(LOCK, (tenants[0],))
    _, running = in_thread(dsn, f"call tally.{job}")
    time.sleep(1)
    assert not running.done() or job == "verify_recent()"
    holder.rollback()
    running.result(15)
    assert one(db, "select status, error from tally.job_runs order by 1 desc limit 1") == (
        "done",
        None,
    )
    if job.startswith("final"):
        days = "select count(distinct days_finalized_to) from tally.tenant_state"
        assert one(db, days) == (1,)
        assert one(db, "select tenant_count from tally.job_runs where job = 'finalize day'") == (5,)


def test_tenants_that_are_locked_share_the_time_that_a_run_waits(db):
    def patience(seconds, left):
        until = "clock_timestamp() + make_interval(secs => %s)"
        return int(one(db, f"select tally.lock_patience({until}, %s)", seconds, left)[0])

    assert 4900 < patience(5, 1) <= 5000
    assert 400 < patience(5, 10) <= 500
    assert patience(5, 1000) == patience(-5, 3) == 50
    assert one(db, "select tally.lock_patience('-infinity', 3)") == ("50",)


@pytest.mark.parametrize(
    "table", ["events", "summary_deltas", "job_runs", "tenants", "tenant_state", "summaries"]
)
def test_doctor_and_readiness_hang_on_no_lock_and_name_who_holds_it(db, holder, tenants, table):
    db.execute("update tally.tenants set created_at = now() - interval '1 year'")
    holder.execute(f"lock table tally.{table}".encode())
    time.sleep(1.1)
    started = time.monotonic()
    told = db.execute("select status, message from tally.doctor()").fetchall()
    (trouble,) = one(db, "select trouble from api.service_status()")
    db.execute("select * from api.service_details()")
    assert time.monotonic() - started < 3
    name = f"by pid {holder.info.backend_pid} (psql of eve"
    assert any(name in message for status, message in told if status in ("failed", "late"))
    assert trouble == (["locked"] if table in ("job_runs", "tenants") else ["jobs late"])
    assert set(trouble) <= set(typing.get_args(Trouble))


def test_a_lock_that_is_held_for_long_is_found_before_a_job_is_late(db, holder, tenants):
    holders = "select tally.lock_holders(p_older_than => %s)"
    holder.execute(LOCK, (tenants[0],))
    assert one(db, holders, "5 minutes") == (None,)
    assert one(db, holders, "0")[0].startswith(f"pid {holder.info.backend_pid} ")
    assert one(db, "select status from tally.doctor() where check_name = 'locks'") == ("ok",)
    assert one(db, "select tally.lock_holders(%s)", tenants[1]) == (None,)
    # Who runs the jobs is no superuser, and sees it too.
    db.execute("set role tally_jobs")
    assert "idle in transaction, for" in one(db, "select tally.lock_holders(%s)", tenants[0])[0]
    # As ingest does: this holds up no job.
    holder.rollback()
    ingest(holder, tenants[0], [Event(YESTERDAY, UUID(int=3), "a")])
    assert one(db, holders, "0") == (None,)
