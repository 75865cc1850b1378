"""An insert that waits while the week of its events gets a partition of its own."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from tests import calls
from tests.brute_force import Event, ingest
from tests.conftest import wait_for
from tests.races.test_races import blocked

AT = datetime(1999, 5, 5, tzinfo=UTC)


def attach(db, at):
    """By hand, as a DBA might: unlike partition_create it leaves tally.events itself open, so that an
    insert has chosen the default partition before it waits."""
    db.execute("create table tally.by_hand (like tally.events including all)")
    db.execute(
        f"""
        alter table tally.events attach partition tally.by_hand
        for values from ('{at - timedelta(days=1)}') to ('{at + timedelta(days=1)}')
        """
    )


@pytest.mark.parametrize("make", [calls.make_partition, attach])
def test_a_batch_that_waits_for_a_new_partition_is_stored_there(db, dsn, new_tenant, make):
    tenant = new_tenant()
    # In this session it is known, and planned, that the default partition takes this week.
    with psycopg.connect(dsn, autocommit=True) as writer, ThreadPoolExecutor(1) as pool:
        ingest(writer, tenant, [Event(AT - timedelta(days=30), UUID(int=1), "a")])
        with psycopg.connect(dsn) as maker:
            make(maker, AT)
            batch = [
                Event(AT, UUID(int=2), "a", 5),
                Event(AT - timedelta(days=30), UUID(int=3), "a"),
            ]
            stored = pool.submit(ingest, writer, tenant, batch)
            wait_for(lambda: blocked(db, writer.info.backend_pid))
        assert stored.result() == (2, 0)
    found = calls.rows(
        db, "select tableoid::regclass::text from tally.events where occurred_at = %s", AT
    )
    assert found not in ([], [("tally.events_default",)])
    assert calls.verify(db, tenant) == []
