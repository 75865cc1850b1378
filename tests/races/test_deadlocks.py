"""Batches of one tenant that hold the same events in different orders: they wait for each other, never in
a circle, and none fails."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import psycopg
import pytest
from pgtally.ingest.store import INGEST_EACH
from psycopg.types.json import Jsonb

from tests.brute_force import Event, ingest
from tests.conftest import wait_for
from tests.races.test_races import START, blocked

# Set by the superuser of the tests: who has it is never the victim of a deadlock.
NEVER = "-c deadlock_timeout=1h -c statement_timeout=20s"
EVENTS = [Event(START + timedelta(minutes=n), UUID(int=n), "a") for n in range(2000)]


def hold(dsn, tenant, event):
    """A transaction that has stored this event by hand and may yet undo it."""
    connection = psycopg.connect(dsn)
    connection.execute(
        "insert into tally.events (tenant_id, occurred_at, event_id, event_type) "
        "values (%s, %s, %s, 'held')",
        (tenant, event.at, event.id),
    )
    return connection


def balanced(db, tenant, count):
    assert db.execute("select count(*) from tally.events").fetchone() == (count,)
    assert db.execute("select * from tally.verify(%s)", (tenant,)).fetchall() == []


@pytest.mark.parametrize("sides", [2, 6])
def test_batches_in_opposite_orders_all_succeed_however_many_there_are(db, dsn, new_tenant, sides):
    tenant = new_tenant()
    barrier = threading.Barrier(sides)
    middle = hold(dsn, tenant, EVENTS[1000])

    def send(batch):
        # Each would hold something when the middle is free, so in the orders given a deadlock were
        # certain; and nobody would end it.
        with psycopg.connect(dsn, autocommit=True, options=NEVER) as connection:
            barrier.wait()
            return ingest(connection, tenant, batch)

    with ThreadPoolExecutor(sides) as pool:
        sent = pool.map(send, [EVENTS, EVENTS[::-1]] * (sides // 2))
        wait_for(
            lambda: db.execute(
                "select count(*) = %s from pg_locks where not granted", (sides,)
            ).fetchone()[0]
        )
        middle.rollback()
        results = list(sent)
    middle.close()
    assert sum(accepted for accepted, _ in results) == len(EVENTS)
    assert sum(duplicates for _, duplicates in results) == (sides - 1) * len(EVENTS)
    balanced(db, tenant, len(EVENTS))


def flush(connection, tenants, events):
    count = len(events)
    arguments = {
        "tenant": tenants, "occurred_at": [e.at for e in events],
        "event_id": [e.id for e in events], "event_type": ["a"] * count,
        "value": [None] * count, "actor_id": [None] * count, "session_id": [None] * count,
        "data": [Jsonb({"n": e.id.int}) for e in events],
    }  # fmt: skip
    return connection.execute(INGEST_EACH, arguments, binary=True).fetchall()


def test_in_a_flush_a_tenant_waits_for_a_lock_once_and_the_others_are_stored(db, dsn, new_tenant):
    locked, other = new_tenant(), new_tenant()
    gate = hold(dsn, locked, EVENTS[5])
    tenants = [locked, other] * 10
    events = [event for event in EVENTS[:10] for _ in range(2)]
    ingest(db, locked, EVENTS[:1])
    with psycopg.connect(dsn, autocommit=True, options="-c lock_timeout=1s") as connection:
        began = time.monotonic()
        told = flush(connection, tenants, events)
        assert time.monotonic() - began < 1.9
    gate.close()
    assert [row[0] for row in told[1::2]] == [True] * 10
    assert [row[2] for row in told[::2]] == ["55P03"] * 10
    balanced(db, locked, 1 + 10)
    balanced(db, other, 1 + 10)


def test_flushes_that_share_events_in_different_orders_do_not_meet_in_a_deadlock(
    db, dsn, new_tenant
):
    tenant = new_tenant()
    first, middle, last = EVENTS[:3]
    gate = hold(dsn, tenant, middle)

    with (
        psycopg.connect(dsn, autocommit=True, options=NEVER) as one,
        psycopg.connect(dsn, autocommit=True, options=NEVER) as two,
        ThreadPoolExecutor(2) as pool,
    ):
        forwards = pool.submit(flush, one, [tenant] * 3, [first, middle, last])
        wait_for(lambda: blocked(db, one.info.backend_pid))
        backwards = pool.submit(flush, two, [tenant] * 3, [last, middle, first])
        wait_for(lambda: blocked(db, two.info.backend_pid))
        gate.rollback()
        assert [row[0] for row in forwards.result()] == [True] * 3
        # The answers are in the order of the questions.
        told = backwards.result()
    gate.close()
    assert [row[0] for row in told] == [False] * 3
    assert ['"n": 2' in row[1] for row in told] == [True, False, False]
    balanced(db, tenant, 3)
