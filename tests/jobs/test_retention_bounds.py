"""The moments from which on events and quarter hours are complete."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from tests import calls
from tests.brute_force import Event, day_start, ingest, local_day

DAY = timedelta(days=1)
NOW = datetime.now(UTC)


def test_a_longer_retention_does_not_bring_back_what_is_gone(db, new_tenant):
    tenant = new_tenant()
    ingest(db, tenant, [Event(NOW - n * DAY, UUID(int=n), "a") for n in range(60)])
    calls.fold(db)
    calls.keep_events(db, tenant, 10, 10)
    calls.retain(db, tenant)
    before = calls.kept_from(db, tenant)
    assert all(NOW - 13 * DAY < at < NOW - 10 * DAY for at in before)
    calls.keep_events(db, tenant, 40, 40)
    calls.retain(db, tenant)
    assert calls.kept_from(db, tenant) == before
    assert calls.verify(db, tenant) == []


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
def test_after_a_change_of_zone_events_are_complete_from_a_midnight_of_the_new_one(
    db, new_tenant, zone
):
    tenant = new_tenant("Asia/Kathmandu")
    ingest(db, tenant, [Event(NOW - n * DAY / 2, UUID(int=n), "a") for n in range(60)])
    calls.fold(db)
    calls.keep_events(db, tenant, 10)
    calls.retain(db, tenant)
    before, _ = calls.kept_from(db, tenant)
    calls.set_calendar(db, tenant, zone)
    after, _ = calls.kept_from(db, tenant)
    assert before <= after < before + DAY
    assert after == day_start(local_day(after, zone), zone)
    days, changed = calls.rebuild(db, tenant, after)
    assert (days > 0, changed) == (True, 0)
    with pytest.raises(psycopg.Error, match="erase history"):
        calls.rebuild(db, tenant, after - timedelta(microseconds=1))
