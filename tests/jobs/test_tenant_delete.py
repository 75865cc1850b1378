"""A tenant is deleted: marked first, then in steps that may be cut off anywhere, and a certificate stays."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.brute_force import Event, ingest
from tests.calls import finalize, fold, one, rows, verify

START = datetime(2024, 3, 8, tzinfo=UTC)
# What stays of a deleted tenant: certificates, and who did what.
STAYS = {"tally.tenant_deletions": 1, "tally.erasures": 1}


def some_events(count=40, start=START):
    return [
        Event(start + timedelta(hours=7 * n), UUID(int=n), "abc"[n % 3], n, f"actor {n % 7}")
        for n in range(count)
    ]


@pytest.fixture
def full(db, new_tenant):
    """A tenant with rows in every table, and another with the same, which nothing may touch."""

    def fill(tenant):
        one(
            db,
            "select * from api.share_create(%s, 'x', '{}', now() + interval '1 day')",
            tenant,
        )
        one(db, "select * from api.meter_create(%s, 'by type', p_by => '{type,actorId}')", tenant)
        ingest(db, tenant, some_events())
        fold(db)
        finalize(db)
        ingest(db, tenant, [Event(START + timedelta(days=1), uuid4(), "late")])
        one(db, "select api.key_create(%s, 'second')", tenant)
        one(db, "select * from api.tenant_update(%s, %s)", tenant, f"named {tenant}")
        one(db, "select * from api.actor_erase(%s, 'actor 3')", tenant)
        one(
            db,
            """
            select * from api.events_ingest_request(
              %s, '{}', '{}', '{}', '{}', '{}', '{}', '{}',
              '[{"source": "bulk", "event": "{}", "errors": [], "replayable": true}]', 'key')
            """,
            tenant,
        )
        one(db, "select * from api.rate_take(%s, 60, 1)", f"{tenant}:ingest")
        (key,) = one(db, "select key_id from tally.api_keys where tenant_id = %s limit 1", tenant)
        one(db, "select * from api.rate_take(%s, 60, 1)", f"{key}:bulk")
        ingest(db, tenant, [Event(START + timedelta(days=2), uuid4(), "not folded")])
        return tenant

    other = fill(new_tenant("Asia/Tokyo"))
    return fill(new_tenant("America/New_York")), other


def tables(db):
    """Every table with rows of tenants."""
    return [
        name
        for (name,) in rows(
            db,
            """
            select c.oid::regclass::text from pg_class as c
            join pg_attribute as a on a.attrelid = c.oid and a.attname = 'tenant_id'
            where c.relnamespace = 'tally'::regnamespace and c.relkind in ('r', 'p')
              and not c.relispartition
            """,
        )
    ]


def counts(db, tenant):
    found = {}
    for table in tables(db):
        (found[table],) = one(db, f"select count(*) from {table} where tenant_id = %s", tenant)
    del found["tally.audit_log"]
    return {table: count for table, count in found.items() if count}


def name_of(db, tenant):
    found = one(db, "select name from tally.tenants where tenant_id = %s", tenant)
    return found[0] if found else ""


def delete(db, tenant, limit=10_000, name=None):
    """State, events and summaries removed so far."""
    return one(
        db,
        "select state, event_count, summary_count from tally.tenant_remove(%s, %s, %s)",
        tenant, name_of(db, tenant) if name is None else name, limit,
    )  # fmt: skip


def delete_all(db, tenant, limit=10_000):
    for _ in range(1000):
        found = delete(db, tenant, limit)
        if found[0] == "done":
            return found
    raise AssertionError(found)


def test_everything_of_a_tenant_goes_and_nothing_of_another(db, full):
    tenant, other = full
    before, of_other = counts(db, tenant), counts(db, other)
    assert set(tables(db)) - set(before) == {"tally.audit_log", "tally.tenant_deletions"}
    times = one(db, "select min(occurred_at), max(occurred_at) from tally.events where tenant_id = %s", tenant)  # fmt: skip
    assert delete_all(db, tenant) == ("done", before["tally.events"], before["tally.summaries"])
    assert counts(db, tenant) == STAYS
    assert counts(db, other) == of_other
    assert verify(db, other) == []
    fold(db)
    assert verify(db, other) == []
    certificate = one(
        db,
        """
        select first_occurred_at, last_occurred_at, login, key_id, finished_at > requested_at
        from tally.tenant_deletions where tenant_id = %s
        """,
        tenant,
    )
    assert certificate == (*times, "postgres", None, True)
    (buckets,) = one(db, "select count(*) from tally.rate_buckets")
    assert buckets == 2


def test_the_name_is_nowhere_afterwards(db, full):
    tenant, _ = full
    name = name_of(db, tenant)
    delete_all(db, tenant)
    for table in tables(db):
        found = rows(db, f"select t::text from {table} as t")
        assert not [row for row in found if name in row[0]], table
    told = rows(db, "select action, details from tally.audit_log where tenant_id = %s order by audit_id", tenant)  # fmt: skip
    assert [action for action, _ in told][-2:] == ["tenant.delete", "tenant.deleted"]
    assert not [details for _, details in told if "name" in details]
    assert told[-1][1]["events"] > 30


def test_steps_are_bounded_and_may_be_cut_off_anywhere(db, dsn, full):
    """Between two steps the connection is lost, and inside each the transaction once is."""
    tenant, other = full
    before = counts(db, tenant)
    assert delete(db, tenant)[0] == "marked"
    left = sum(before.values())
    steps = 0
    while True:
        with psycopg.connect(dsn) as cut_off:
            delete(cut_off, tenant, 3)
            cut_off.rollback()
        with psycopg.connect(dsn, autocommit=True) as another:
            state, events, _ = delete(another, tenant, 3)
        steps += 1
        if state == "done":
            break
        now = sum(counts(db, tenant).values())
        assert left - 3 <= now <= left + 1
        left = now
    assert steps > 30
    assert events == before["tally.events"]
    assert counts(db, tenant) == STAYS
    assert verify(db, other) == []


def test_events_of_one_moment_are_removed_in_steps_too(db, new_tenant):
    tenant = new_tenant()
    ingest(db, tenant, [Event(START, UUID(int=n), "a") for n in range(25)])
    delete(db, tenant)
    found = [delete(db, tenant, 10)[1] for _ in range(8)]
    assert found[0] == 0
    assert {b - a for a, b in pairwise(found)} <= set(range(11))
    assert len(set(found)) >= 3
    assert delete_all(db, tenant)[1] == 25


def refused(connection, text, *arguments):
    with pytest.raises(psycopg.Error) as caught:
        connection.execute(text.encode(), arguments)
    return caught.value.sqlstate


def test_a_marked_tenant_is_gone_for_everybody_at_once(db, full):
    tenant, _ = full
    delete(db, tenant)
    event = '[{"type": "a", "occurredAt": "2024-01-01T00:00:00Z"}]'
    calls = {
        "select * from api.event_count(%s)": (),
        "select * from api.event_list(%s)": (),
        "select * from api.summary_list(%s, 'day')": (),
        "select * from api.events_ingest_json(%s, %s)": (event,),
        "select * from api.rejected_replay(%s)": (),
        "select * from api.rejected_list(%s)": (),
        "select * from api.receipt_find(%s, 'key')": (),
        "select * from api.actor_erase(%s, 'actor 1')": (),
        "select * from api.key_create(%s, 'x')": (),
        "select * from api.key_rotate(%s, gen_random_uuid())": (),
        "select * from api.tenant_update(%s, 'x')": (),
        "select * from api.tenant_list(p_tenant => %s)": (),
        "select * from tally.bi_role_create(%s, 'x')": (),
        "select * from tally.verify(%s)": (),
        "select * from tally.tenant_set_calendar(%s, 'UTC')": (),
        "select * from tally.rebuild_range(%s, '2024-01-01', '2024-01-02')": (),
        "call tally.rebuild(%s)": (),
    }
    for state in ("marked", "done"):
        for text, more in calls.items():
            assert refused(db, text, tenant, *more) == "TY410", (state, text)
        assert tenant not in [row[0] for row in rows(db, "select tenant_id from api.tenant_list()")]
        delete_all(db, tenant)


def test_jobs_pass_a_marked_tenant_by_and_maintain_finishes_it(db, full):
    tenant, other = full
    delete(db, tenant)
    ingest(db, other, [Event(START, uuid4(), "a")])
    assert one(db, "call tally.fold()") == (2, 1, 0)
    assert counts(db, tenant)["tally.summary_deltas"] == 1
    for unit in ("day", "week", "month"):
        assert one(db, "call tally.finalize(%s)", unit)[3] == 0
    assert one(db, "call tally.verify_recent(4000)") == (1, 0, 0)
    assert one(
        db, "select max(value) from api.metrics() where name = 'tenant_deletions_waiting'"
    ) == (1,)
    # A list that was made before the mark.
    found = one(db, "call tally.each_tenant('fold', %s, null)", [tenant, other])
    assert (found[3], found[4]) == (0, None)
    removed = one(db, "call tally.maintain()")[3]
    assert removed > 100
    assert counts(db, tenant) == STAYS
    assert rows(db, "select distinct status from tally.job_runs") == [("done",)]
    assert one(
        db, "select max(value) from api.metrics() where name = 'tenant_deletions_waiting'"
    ) == (0,)
    assert delete(db, tenant)[0] == "done"


def test_the_name_has_to_be_repeated(db, new_tenant):
    tenant, other = new_tenant(), new_tenant()
    for name in ("", "tenant 2", "Tenant 1", "tenant 1 "):
        assert refused(db, "select tally.tenant_remove(%s, %s)", tenant, name) == "TY400"
    assert refused(db, "select tally.tenant_remove(%s, 'x')", uuid4()) == "TY404"
    assert refused(db, "select tally.tenant_remove(%s, 'tenant 1', 0)", tenant) == "TY400"
    assert len(rows(db, "select * from api.tenant_list()")) == 2
    assert rows(db, "select * from tally.tenant_deletions") == []
    assert delete_all(db, other)[0] == "done"


def test_a_step_for_a_tenant_that_nobody_marked_is_refused(db, new_tenant):
    tenant = new_tenant()
    ingest(db, tenant, some_events())
    assert refused(db, "select tally.tenant_remove_step(%s)", tenant) == "TY409"
    assert counts(db, tenant)["tally.events"] == 40


def test_bi_logins_are_shut_out_with_the_mark_and_dropped_with_the_first_step(db, dsn, full):
    tenant, other = full
    names = {}
    for one_of in full:
        names[one_of] = one(db, "select * from tally.bi_role_create(%s, 'superset')", one_of)
    name, password = names[tenant]
    with psycopg.connect(make_conninfo(dsn, user=name, password=password)) as bi:
        assert bi.execute("select count(*) from bi.daily_summaries").fetchone()[0] > 0
        delete(db, tenant)
        with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
            psycopg.connect(make_conninfo(dsn, user=name, password=password))
        delete(db, tenant)
        with pytest.raises(psycopg.OperationalError):
            bi.execute("select 1")
    left = one(db, "select logins_left from tally.tenant_deletion(%s)", tenant)
    assert left == ([],)
    assert rows(db, "select role_name from tally.bi_role_list() where tenant_id is not null") == [
        (names[other][0],)
    ]
    db.execute("call tally.bi_role_drop(%s)", (names[other][0],))


def test_logins_that_could_not_be_dropped_are_named_and_doctor_finds_them(db, full):
    tenant, _ = full
    (name,) = one(db, "select role_name from tally.bi_role_create(%s, 'left')", tenant)
    db.execute("set role tally_owner")
    for _ in range(10):
        delete(db, tenant)
    db.execute("reset role")
    found = one(db, "select state, logins_left from tally.tenant_deletion(%s)", tenant)
    assert found == ("done", [name])
    check = "select status, remedy from tally.doctor() where check_name = 'BI logins of deleted tenants'"
    assert one(db, check) == ("failed", f"call tally.bi_role_drop('{name}')")
    # Who may drop roles asks again.
    delete(db, tenant)
    assert one(db, check) == ("ok", None)


def test_doctor_tells_of_a_deletion_that_does_not_come_to_its_end(db, full):
    tenant, _ = full
    check = "select status, message from tally.doctor() where check_name = 'deletions of tenants'"
    assert one(db, check) == ("ok", "none is under way")
    delete(db, tenant)
    assert one(db, check)[0] == "ok"
    db.execute("update tally.tenant_deletions set requested_at = now() - interval '4 hours'")
    status, message = one(db, check)
    assert status == "late"
    assert "still open" in message
    delete_all(db, tenant)
    assert one(db, check)[0] == "ok"


def test_the_service_deletes_on_behalf_of_an_installation_key_only(db, service_dsn, full):
    tenant, other = full
    name = name_of(db, tenant)
    (key,) = one(db, "select key_id from tally.installation_key_create('k')")
    (old,) = one(db, "select key_id from tally.installation_key_create('old')")
    one(db, "select tally.installation_key_revoke(%s)", old)
    (own,) = one(db, "select key_id from tally.api_keys where tenant_id = %s limit 1", tenant)
    text = "select state from api.tenant_delete(%s, %s, %s)"
    with psycopg.connect(service_dsn, autocommit=True) as service:
        for by in (own, old, uuid4(), UUID(int=0)):
            assert refused(service, text, tenant, name, by) == "TY403"
        assert refused(service, "select tally.tenant_remove(%s, %s)", tenant, name) == "42501"
        states = {one(service, text, tenant, name, key)[0] for _ in range(10)}
        assert states == {"marked", "removing", "done"}
        assert one(service, "select state from api.tenant_deletion_find(%s)", tenant) == ("done",)
        assert rows(service, "select * from api.tenant_deletion_find(%s)", other) == []
    assert one(
        db, "select login, key_id from tally.tenant_deletions where tenant_id = %s", tenant
    ) == ("tally_service", key)
    assert rows(
        db, "select action, key_id from tally.audit_log where action like 'tenant.delete%%'"
    ) == [("tenant.delete", key), ("tenant.deleted", key)]


def test_a_bi_login_and_another_tenant_see_no_certificate(db, dsn, full):
    tenant, other = full
    delete_all(db, tenant)
    with psycopg.connect(dsn) as connection:
        connection.execute("set role tally_tenant")
        connection.execute(f"set tally.tenant_id = '{other}'")
        assert rows(connection, "select * from tally.tenant_deletions") == []
