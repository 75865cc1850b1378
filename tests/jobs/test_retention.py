"""Retention, zones, erasure, changes, doctor: history stays right when rows go."""

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.brute_force import Event, buckets, ingest, measure, period, same

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def one(db, text, *arguments):
    return db.execute(text, arguments).fetchone()


def some_events(days: int = 60, count: int = 400, seed: int = 1) -> list[Event]:
    chance = random.Random(seed)
    return [
        Event(
            NOW - timedelta(seconds=chance.randrange(days * 86_400)), UUID(int=n), chance.choice("abc"),
            chance.choice([None, chance.randrange(100)]), f"actor {chance.randrange(30)}",
        )
        for n in range(count)
    ]  # fmt: skip


def test_events_past_their_retention_go_and_answers_snap_outward_and_say_so(db, new_tenant):
    tenant = new_tenant("America/New_York")
    events = some_events()
    ingest(db, tenant, events)
    other = new_tenant()
    ingest(db, other, events)
    db.execute("call tally.finalize('day')")
    before = one(db, "select total from api.event_count(%s)", tenant)
    db.execute(
        "update tally.tenants set event_retention = '20 days' where tenant_id = %s", (tenant,)
    )
    removed = one(db, "call tally.maintain()")[3]
    (kept,) = one(
        db, "select events_kept_from from tally.tenant_state where tenant_id = %s", tenant
    )
    assert NOW - 22.1 * DAY < kept < NOW - 21 * DAY
    assert removed == len([e for e in events if e.at < kept]) > 100
    assert one(db, "select count(*) from tally.events where tenant_id = %s", other) == (
        len(events),
    )
    assert one(db, "select total from api.event_count(%s)", tenant) == before
    for _ in range(20):
        start, end = sorted(event.at for event in random.sample(events, 2))
        total, low, high = one(
            db,
            "select total, resolved_from, resolved_to from api.event_count(%s, %s::text, %s::text)",
            tenant,
            start,
            end,
        )
        assert (low is None) == (start >= kept or start.timestamp() % 900 == 0)
        low, high = low or start, high or end
        assert start - timedelta(minutes=15) < low <= start
        assert end <= high < end + timedelta(minutes=15)
        assert total == len([e for e in events if low <= e.at < high])
    with pytest.raises(psycopg.Error, match="are kept from"):
        one(db, "select * from api.event_count(%s, p_actor => 'actor 1')", tenant)
    assert one(db, "call tally.finalize('day')")[2] == 0
    assert db.execute("select * from tally.verify(%s)", (tenant,)).fetchall() == []
    with pytest.raises(psycopg.Error, match="erase history"):
        db.execute("call tally.rebuild(%s)", (tenant,))
    assert (
        db.execute("select * from api.event_page(%s, p_limit => 10000)", (tenant,)).rowcount
        == len(events) - removed
    )


def test_quarter_hours_past_their_retention_go_and_ranges_snap_to_days(db, new_tenant):
    tenant = new_tenant("Asia/Kathmandu")
    events = some_events()
    ingest(db, tenant, events)
    db.execute("call tally.fold()")
    db.execute(
        "update tally.tenants set event_retention = '10 days', quarter_hour_retention = '20 days'"
    )
    db.execute("call tally.maintain()")
    start, end = NOW - 50.3 * DAY, NOW - 30.7 * DAY
    total, low, high = one(
        db,
        "select total, resolved_from, resolved_to from api.event_count(%s, %s::text, %s::text)",
        tenant,
        start,
        end,
    )
    assert low == period(start, "day", "Asia/Kathmandu", 1)[0]
    assert high == period(end, "day", "Asia/Kathmandu", 1)[1]
    assert total == len([e for e in events if low <= e.at < high])
    rows = db.execute(
        "select bucket_start, total, resolved_from from api.event_timeline(%s, 'day', %s::text, %s::text)",
        (tenant, start, end),
    ).fetchall()
    assert [at for at, _, _ in rows] == buckets(low, high, "day", "Asia/Kathmandu", 1)
    assert sum(total for _, total, _ in rows) == total
    assert rows[0][2] == low
    with pytest.raises(psycopg.Error, match="quarter-hour rows"):
        db.execute(
            "select * from api.event_timeline(%s, 'hour', %s::text, %s::text)", (tenant, start, end)
        )
    with pytest.raises(psycopg.Error, match="cannot be cut anew"):
        one(db, "select tally.tenant_set_calendar(%s, 'UTC')", tenant)


def test_partitions_that_no_tenant_needs_are_dropped_whole(db, new_tenant):
    tenant, keeper = new_tenant(), new_tenant()
    events = some_events(days=100)
    ingest(db, tenant, events)
    ingest(db, keeper, [Event(NOW - 60 * DAY, UUID(int=1), "a")])
    for week in range(16):
        one(db, "select tally.partition_create(%s)", NOW - 7 * week * DAY)
    before = one(db, "select total from api.event_count(%s)", tenant)
    db.execute(
        "update tally.tenants set event_retention = '30 days' where tenant_id = %s", (tenant,)
    )
    _, _, dropped, removed = one(db, "call tally.maintain()")
    assert dropped >= 5
    assert 0 < removed < len([e for e in events if e.at < NOW - 30 * DAY])
    assert one(db, "select total from api.event_count(%s)", tenant) == before
    assert one(
        db,
        'select total from api.event_count(%s, p_filters => \'[{"key": "x", "op": "!=", "value": "1"}]\')',
        keeper,
    ) == (1,)
    assert one(
        db,
        "select count(*) from tally.events where occurred_at < now() - interval '33 days' and tenant_id = %s",
        tenant,
    ) == (0,)


@settings(max_examples=25)
@given(
    st.sampled_from(["UTC", "Asia/Kathmandu", "America/Havana", "Australia/Lord_Howe"]),
    st.sampled_from(["America/St_Johns", "Pacific/Chatham", "America/Sao_Paulo", "UTC"]),
    st.integers(1, 7), st.booleans(), st.integers(1, 10_000),
)  # fmt: skip
def test_a_new_calendar_gives_the_same_days_as_if_it_had_always_been(
    db, new_tenant, old, new, week_start, raw_gone, seed
):
    tenant = new_tenant(old)
    events = some_events(count=120, seed=seed)
    ingest(db, tenant, events)
    db.execute("select tally.fold_tenant(%s, 40)", (tenant,))
    if raw_gone:
        db.execute(
            "update tally.tenants set event_retention = '5 days' where tenant_id = %s", (tenant,)
        )
        while one(db, "select tally.retention_apply(%s)", tenant) != (0,):
            pass
    db.execute("select tally.tenant_set_calendar(%s, %s, %s)", (tenant, new, week_start))
    for unit in ("day", "week", "month"):
        rows = db.execute(
            "select period_start, event_type, event_count, value_sum, unique_actors from bi.period_summaries where tenant_id = %s and period_type = %s",
            (tenant, unit),
        ).fetchall()
        expected = {}
        for event in events:
            expected.setdefault(
                (period(event.at, unit, new, week_start)[0], event.type), []
            ).append(event)
        assert {(start, kind) for start, kind, *_ in rows} == set(expected)
        for start, kind, count, total, actors in rows:
            found = expected[start, kind]
            assert (count, total or 0, actors) == (
                len(found),
                measure("sum", found),
                measure("uniqueActors", found),
            )
    for unit in ("day", "week", "month"):
        (_, _, healed, failures) = one(db, "call tally.finalize(%s)", unit)
        assert (healed, failures) == (0, 0)
    assert db.execute("select * from tally.verify(%s)", (tenant,)).fetchall() == []


def test_erasing_an_actor_corrects_every_summary_and_keeps_a_certificate(db, new_tenant):
    tenant = new_tenant("America/New_York", 7)
    events = some_events()
    ingest(db, tenant, events)
    for unit in ("day", "week", "month"):
        db.execute("call tally.finalize(%s)", (unit,))
    mine = [e for e in events if e.actor == "actor 3"]
    erasure, done, count = one(
        db,
        "select erasure_id, done, event_count from api.actor_erase(%s, 'actor 3', p_limit => 4)",
        tenant,
    )
    steps = 1
    while not done:
        assert db.execute("select * from tally.verify(%s)", (tenant,)).fetchall() == []
        done, count = one(
            db,
            "select done, event_count from api.actor_erase(%s, 'actor 3', %s, 4)",
            tenant,
            erasure,
        )
        steps += 1
    assert count == len(mine)
    assert steps > 2
    assert one(db, "select first_occurred_at, last_occurred_at from tally.erasures") == (
        min(e.at for e in mine),
        max(e.at for e in mine),
    )
    assert "actor 3" not in str(db.execute("select * from tally.erasures").fetchall())
    left = [e for e in events if e.actor != "actor 3"]
    for name in ("count", "uniqueActors", "sum", "min", "max"):
        assert same(
            one(db, "select total from api.event_count(%s, p_measure => %s)", tenant, name)[0],
            measure(name, left),
        )
    assert db.execute("select * from tally.verify(%s)", (tenant,)).fetchall() == []
    assert one(db, "select event_count, done from api.actor_erase(%s, 'actor 3')", tenant) == (
        0,
        True,
    )


def test_which_final_figures_moved_is_told_also_when_nothing_is_left(db, new_tenant):
    tenant = new_tenant()
    at = NOW - 40 * DAY
    ingest(
        db, tenant, [Event(at, UUID(int=1), "a", 5, "ann"), Event(at, UUID(int=2), "b", 7, "bob")]
    )
    for unit in ("day", "week", "month"):
        db.execute("call tally.finalize(%s)", (unit,))
    changes = "select event_type, period_type, event_count, final, revision, updated_at from api.summary_changes(%s, %s::text)"
    assert db.execute(changes, (tenant, "-infinity")).fetchall() == []
    ingest(db, tenant, [Event(at, UUID(int=3), "a", 1, "ann")])
    db.execute("call tally.fold()")
    found = db.execute(changes, (tenant, "-infinity")).fetchall()
    assert {row[:5] for row in found} == {
        ("a", unit, 2, False, 2) for unit in ("day", "week", "month")
    }
    last = found[-1][5]
    assert db.execute(changes, (tenant, last)).fetchall() == []
    for unit in ("day", "week", "month"):
        db.execute("call tally.finalize(%s)", (unit,))
    db.execute("select * from api.actor_erase(%s, 'bob')", (tenant,))
    found = db.execute(changes, (tenant, last)).fetchall()
    assert {row[:5] for row in found} == {
        row
        for unit in ("day", "week", "month")
        for row in (("a", unit, 2, True, 2), ("b", unit, 0, False, 2))
    }
    assert db.execute("select event_type from api.event_by_type(%s)", (tenant,)).fetchall() == [
        ("a",)
    ]
    assert db.execute(
        "select distinct event_type from bi.period_summaries where tenant_id = %s", (tenant,)
    ).fetchall() == [("a",)]
    assert db.execute("select * from tally.verify(%s)", (tenant,)).fetchall() == []
    for unit in ("day", "week", "month"):
        assert one(db, "call tally.finalize(%s)", unit)[0] == 1
    assert {row[3] for row in db.execute(changes, (tenant, "-infinity"))} == {True}


def test_pages_hold_every_event_once_in_order(db, new_tenant):
    tenant = new_tenant()
    events = some_events(count=250) + [
        Event(NOW - DAY, UUID(int=1000 + n), "same time") for n in range(30)
    ]
    ingest(db, tenant, events)
    seen, after = [], ("-infinity", UUID(int=0))
    while True:
        page = db.execute(
            "select occurred_at, event_id from api.event_page(%s, p_after_at => %s, p_after_id => %s, p_limit => 17)",
            (tenant, *after),
        ).fetchall()
        seen += page
        if len(page) < 17:
            break
        after = page[-1]
    assert seen == sorted((e.at, e.id) for e in events)


def test_verify_recent_heals_quarter_hours_that_finalize_does_not_look_at(db, new_tenant):
    tenant = new_tenant()
    ingest(db, tenant, [Event(NOW - DAY, UUID(int=1), "a")])
    db.execute("call tally.fold()")
    db.execute("update tally.summaries set event_count = 9 where period_type = 'quarter_hour'")
    assert one(db, "call tally.verify_recent()") == (1, 1, 0)
    assert one(db, "call tally.verify_recent()") == (1, 0, 0)


def doctor(db):
    return dict(
        db.execute("select check_name, status from tally.doctor() where status <> 'ok'").fetchall()
    )


def test_doctor_says_what_is_wrong_and_what_to_run(db, new_tenant):
    for text in (
        "fold()",
        "finalize('day')",
        "finalize('week')",
        "finalize('month')",
        "verify_recent()",
        "maintain()",
    ):
        db.execute(f"call tally.{text}".encode())
    # The databases of the tests are not pg_cron's.
    assert doctor(db) == {"extension pg_cron": "missing"}
    new_tenant()
    db.execute("update tally.tenants set created_at = now() - interval '1 year'")
    db.execute("update tally.job_runs set finished_at = now() - interval '40 days'")
    db.execute("alter table tally.summaries disable row level security")
    ingest(
        db,
        one(db, "select tenant_id from tally.tenants")[0],
        [Event(datetime(1990, 1, 1, tzinfo=UTC), UUID(int=1), "a")],
    )
    db.execute("drop policy own_tenant on tally.events")
    found = doctor(db)
    assert found["job fold"] == found["job verify"] == "late"
    assert found["row security of summaries"] == found["row security of events"] == "missing"
    assert one(db, "select remedy from tally.doctor() where check_name = 'job fold'")[0].startswith(
        "call tally.fold()"
    )
    db.execute("update tally.tenants set time_zone = 'Nowhere'")
    db.execute("call tally.fold()")
    assert doctor(db)["job fold"] == "failed"
    told = db.execute("select * from api.service_details()").fetchall()
    assert told == db.execute("select * from tally.doctor()").fetchall()
    assert any("call tally.maintain()" in remedy for *_, remedy in told if remedy)
