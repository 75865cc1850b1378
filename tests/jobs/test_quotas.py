"""Storage quotas: what counts, what is refused, what goes, and whom it concerns."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests import calls
from tests.brute_force import Event, ingest

DAY = timedelta(days=1)
NOW = datetime.now(UTC)


def set_quotas(db, tenant, **quotas):
    db.execute("select * from api.tenant_update(%s, p_quotas => %s)", (tenant, Jsonb(quotas)))


def usage(db, tenant):
    return calls.one(db, "select usage from api.tenant_list(p_tenant => %s)", tenant)[0]


def events(count, first=0, at=NOW - DAY, **fields):
    return [Event(at, UUID(int=first + n), "a", **fields) for n in range(count)]


def reject(db, tenant, *texts):
    for text in texts:
        told = [{"source": "bulk", "event": text, "errors": [], "replayable": True}]
        db.execute("select tally.reject_events(%s, %s)", (tenant, Jsonb(told)))


def test_events_are_refused_from_the_quota_on_and_only_those_of_that_tenant(db, new_tenant):
    tenant, other = new_tenant(), new_tenant()
    set_quotas(db, tenant, events=3)
    ingest(db, tenant, events(2))
    calls.fold(db)
    # Below, one batch may go over.
    assert ingest(db, tenant, events(4, 10)) == (4, 0)
    assert ingest(db, tenant, events(1, 20)) == (1, 0)
    calls.fold(db)
    assert usage(db, tenant)["events"] == 7
    with pytest.raises(psycopg.Error, match="7 of 3 are stored") as refused:
        ingest(db, tenant, events(1, 30))
    assert refused.value.sqlstate == "TYQUO"
    assert ingest(db, other, events(9)) == (9, 0)
    set_quotas(db, tenant, events=8)
    assert ingest(db, tenant, events(1, 30)) == (1, 0)
    calls.fold(db)
    with pytest.raises(psycopg.Error, match="8 of 8 are stored"):
        ingest(db, tenant, events(1, 40))
    set_quotas(db, tenant)
    assert ingest(db, tenant, events(1, 40)) == (1, 0)
    assert usage(db, tenant) == {}


def test_what_is_not_folded_counts(db, new_tenant):
    tenant = new_tenant()
    set_quotas(db, tenant, events=5)
    ingest(db, tenant, events(5))
    calls.one(db, "select tally.usage_measure(%s)", tenant)
    assert usage(db, tenant)["events"] == 5
    calls.fold(db)
    assert usage(db, tenant)["events"] == 5


def test_retention_and_erasure_make_room(db, new_tenant):
    tenant = new_tenant("Asia/Tokyo")
    set_quotas(db, tenant, events=10)
    ingest(db, tenant, events(6, at=NOW - 90 * DAY))
    ingest(db, tenant, events(4, 10, actor="ann"))
    calls.fold(db)
    with pytest.raises(psycopg.Error, match="quota"):
        ingest(db, tenant, events(1, 20))
    calls.keep_events(db, tenant, 10)
    calls.retain(db, tenant)
    calls.fold(db)
    (stored,) = calls.one(db, "select count(*) from tally.events where tenant_id = %s", tenant)
    assert usage(db, tenant)["events"] == stored == 4
    db.execute("select * from api.actor_erase(%s, 'ann')", (tenant,))
    calls.fold(db)
    assert usage(db, tenant)["events"] == 0
    # Their figures are still there.
    assert calls.one(db, "select total from api.event_count(%s)", tenant) == (6,)


def test_beyond_their_quota_the_oldest_rejected_events_go(db, new_tenant):
    tenant, other = new_tenant(), new_tenant()
    kept = "select array_agg(event order by rejected_id) from tally.rejected_events where tenant_id = %s"
    for one in (tenant, other):
        reject(db, one, "1111", "22", "333", "4")
    set_quotas(db, tenant, rejected=3)
    calls.fold(db)
    assert calls.one(db, kept, tenant) == (["22", "333", "4"],)
    set_quotas(db, tenant, rejectedBytes=4)
    calls.fold(db)
    assert calls.one(db, kept, tenant) == (["333", "4"],)
    assert usage(db, tenant) == {"events": 0, "rejected": 2, "rejectedBytes": 4, "receipts": 0}
    assert calls.one(db, kept, other) == (["1111", "22", "333", "4"],)


def test_beyond_their_quota_the_oldest_receipts_go(db, new_tenant):
    tenant, other = new_tenant(), new_tenant()
    for one in (tenant, other):
        for n in range(5):
            db.execute(
                "insert into tally.receipts (tenant_id, idempotency_key, fingerprint, response, created_at)"
                " values (%s, %s, '', '{}', now() - make_interval(hours => %s))",
                (one, f"key {n}", n),
            )
    set_quotas(db, tenant, receipts=2)
    calls.fold(db)
    kept = "select array_agg(idempotency_key order by 1) from tally.receipts where tenant_id = %s"
    assert calls.one(db, kept, tenant) == (["key 0", "key 1"],)
    assert len(calls.one(db, kept, other)[0]) == 5


@pytest.mark.parametrize(
    "quotas", [{"events": -1}, {"events": 0.5}, {"days": 1}, [], {"events": "1"}]
)
def test_what_are_no_quotas_is_refused(db, new_tenant, quotas):
    tenant = new_tenant()
    with pytest.raises(psycopg.Error, match="quotas are") as refused:
        db.execute("select * from api.tenant_update(%s, p_quotas => %s)", (tenant, Jsonb(quotas)))
    assert refused.value.diag.column_name == "p_quotas"


def test_monitoring_sees_how_much_of_a_quota_is_used(db, new_tenant):
    tenant, _ = new_tenant(), new_tenant()
    set_quotas(db, tenant, events=8)
    ingest(db, tenant, events(6))
    calls.fold(db)
    told = "select label, value from api.metrics() where name = 'tenant_events_quota_used_ratio'"
    assert calls.rows(db, told) == [(str(tenant), 0.75)]


def test_in_a_shared_commit_only_the_tenant_over_its_quota_is_refused(db, new_tenant):
    tenant, other = new_tenant(), new_tenant()
    set_quotas(db, tenant, events=0)
    calls.fold(db)
    rows = calls.rows(
        db,
        """
        select accepted, error_state from api.events_ingest_each(
          array[%s, %s]::uuid[], array[now(), now()], array[gen_random_uuid(), gen_random_uuid()],
          '{a,a}', '{1,1}', '{a,a}', '{a,a}', '{"{}","{}"}')
        """,
        tenant, other,
    )  # fmt: skip
    assert rows == [(None, "TYQUO"), (True, None)]
