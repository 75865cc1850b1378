"""What BI tools read: a time axis that is right whatever the session's zone, sums that equal the API's,
raw events, the tenant, distinct actors."""

import random
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.brute_force import Event, ingest
from tests.calls import keep_events, retain

SESSION_ZONES = ("UTC", "Asia/Tokyo", "America/Los_Angeles", "Pacific/Apia")
# A zone, and a stretch in which its clock does something: Havana passes midnight to one o'clock twice
# on 2023-11-05, and skips it on 2023-03-12; Sao Paulo had no midnight on 2018-11-04; St. John's was
# set back from 00:01 to 23:01 of the day before on 2009-11-01; Apia left out 2011-12-30.
ZONES = {
    "UTC": date(2023, 11, 4),
    "Asia/Tokyo": date(2023, 11, 4),
    "Asia/Kathmandu": date(2023, 11, 4),
    "America/Havana": date(2023, 11, 4),
    "America/Sao_Paulo": date(2018, 11, 3),
    "America/St_Johns": date(2009, 10, 31),
    "Pacific/Apia": date(2011, 12, 29),
}


@pytest.fixture
def logged_in(dsn, db):
    """Connects as the BI login of a tenant, one session at a time; the logins are dropped in the end."""
    names, connections = {}, []

    def connect(tenant, zone=None):
        if tenant not in names:
            made = db.execute("select * from tally.bi_role_create(%s, 'tool')", (tenant,))
            names[tenant] = made.fetchone()
        name, password = names[tenant]
        for earlier in connections:
            earlier.close()
        parts = {"user": name, "password": password}
        if zone:
            parts["options"] = f"-c timezone={zone}"
        connections.append(psycopg.connect(make_conninfo(dsn, **parts), autocommit=True))
        return connections[-1]

    yield connect
    for connection in connections:
        connection.close()
    for name, _ in names.values():
        db.execute("call tally.bi_role_drop(%s)", (name,))


def some_events(first, days=4, count=400):
    draw = random.Random(7)
    begin = datetime(first.year, first.month, first.day, tzinfo=UTC) - timedelta(days=1)
    return [
        Event(
            begin + timedelta(minutes=draw.randrange(days * 24 * 60)), UUID(int=n),
            draw.choice(["sale", "visit"]), draw.randrange(100), f"actor {draw.randrange(40)}",
        )
        for n in range(count)
    ]  # fmt: skip


def stored(db, tenant, events):
    """Two thirds folded, the rest not."""
    ingest(db, tenant, events[: len(events) * 2 // 3])
    db.execute("select tally.fold_tenant(%s)", (tenant,))
    ingest(db, tenant, events[len(events) * 2 // 3 :])


def api(db, tenant, interval, measure="count"):
    return db.execute(
        "select bucket_on, total from api.event_timeline(%s, %s, p_measure => %s) where total > 0",
        (tenant, interval, measure),
    ).fetchall()


@pytest.mark.parametrize("zone", ZONES)
def test_what_tools_make_of_the_time_columns_is_what_the_api_answers_in_any_session(
    db, new_tenant, logged_in, zone
):
    tenant = new_tenant(zone, 7)
    stored(db, tenant, some_events(ZONES[zone]))
    for unit, view in (("day", "daily"), ("week", "weekly"), ("month", "monthly")):
        answer = api(db, tenant, unit)
        assert len(answer) >= {"day": 4, "week": 1, "month": 1}[unit]
        for session_zone in (None, *SESSION_ZONES):
            session = logged_in(tenant, session_zone)
            for axis in ("period_on", "local_start::date", "date_trunc('day', period_on)::date"):
                found = session.execute(
                    f"select {axis}, sum(event_count) from bi.{view}_summaries group by 1 order by 1".encode()
                )
                assert found.fetchall() == answer, (unit, session_zone, axis)
    days = api(db, tenant, "day")
    for session_zone in (None, *SESSION_ZONES):
        session = logged_in(tenant, session_zone)
        for axis, source, total in (
            ("DATE_TRUNC('day', local_start)", "bi.quarter_hour_summaries", "sum(event_count)"),
            ("DATE_TRUNC('day', period_on)", "bi.quarter_hour_summaries", "sum(event_count)"),
            ("DATE_TRUNC('day', local_time)", "bi.events", "count(*)"),
            ("occurred_on", "bi.events", "count(*)"),
        ):
            found = session.execute(
                f"select ({axis})::date, {total} from {source} group by 1 order by 1".encode()
            )
            assert found.fetchall() == days, (session_zone, axis)


def test_each_stored_local_time_is_that_of_its_period_and_a_change_of_zone_moves_it(
    db, new_tenant, logged_in
):
    tenant = new_tenant("Asia/Tokyo")
    stored(db, tenant, some_events(date(2023, 11, 4)))
    wrong = """
      select s.* from tally.summaries as s join tally.tenants as t using (tenant_id)
      where local_start is distinct from tally.local_time(period_start, t.time_zone)
        or period_on is distinct from tally.local_date(period_start, t.time_zone)
    """
    logged_in(tenant)
    for zone in ("America/Havana", "Asia/Kathmandu", "UTC"):
        assert db.execute(wrong.encode()).fetchall() == []
        db.execute("select tally.tenant_set_calendar(%s, %s)", (tenant, zone))
        session = logged_in(tenant)
        assert session.execute("show timezone").fetchone() == (zone,)
        found = session.execute(
            "select date_trunc('day', local_start)::date, sum(event_count)"
            " from bi.quarter_hour_summaries group by 1 order by 1"
        ).fetchall()
        assert found == api(db, tenant, "day"), zone
    db.execute("call tally.rebuild(%s)", (tenant,))
    assert db.execute(wrong.encode()).fetchall() == []


def test_a_zone_that_a_login_lost_is_named_by_doctor(db, new_tenant, logged_in):
    tenant = new_tenant("Asia/Tokyo")
    session = logged_in(tenant)
    (name,) = session.execute("select session_user").fetchone()
    check = (
        "select status, message, remedy from tally.doctor() "
        "where check_name = 'BI logins: time zones'"
    )
    assert db.execute(check).fetchone()[0] == "ok"
    session.execute("set default_transaction_read_only = off")
    session.execute(f"alter role {name} set timezone = 'UTC'".encode())
    status, message, remedy = db.execute(check).fetchone()
    assert (status, message) == ("advice", f"not that of the tenant for {name}")
    db.execute(remedy.encode())
    assert logged_in(tenant).execute("show timezone").fetchone() == ("Asia/Tokyo",)
    assert db.execute(check).fetchone()[0] == "ok"


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/Havana", "Africa/Monrovia"])
def test_unique_actors_of_any_range_are_those_of_the_api(db, new_tenant, logged_in, zone):
    tenant, other = new_tenant(zone), new_tenant(zone)
    events = some_events(date(2023, 11, 4), days=90, count=900)
    stored(db, tenant, events)
    ingest(db, other, [Event(e.at, e.id, "sale", 1, f"other {n}") for n, e in enumerate(events)])
    session = logged_in(tenant)
    draw = random.Random(1)
    ranges = [(date(1960, 1, 1), date(1970, 1, 1)), (date(1960, 1, 1), date(2023, 12, 1))]
    for _ in range(30):
        first = date(2023, 11, 1) + timedelta(days=draw.randrange(90))
        ranges.append((first, first + timedelta(days=draw.randrange(60))))
    for first, end in ranges:
        for types in ([], ["sale"], ["sale", "visit"], ["no such"]):
            (answer,) = db.execute(
                "select total from api.event_count(%s, %s, %s, %s, 'uniqueActors')",
                (tenant, str(first), str(end), types),
            ).fetchone()
            found = session.execute(
                "select bi.unique_actors(%s, %s, %s::text[])", (first, end, types)
            ).fetchone()
            assert found == (answer,), (first, end, types)
    assert session.execute("select bi.unique_actors()").fetchone() == (40,)
    assert session.execute(
        "select sum(unique_actors) > bi.unique_actors() from bi.daily_summaries"
    ).fetchone() == (True,)
    with pytest.raises(psycopg.Error) as refusal:
        session.execute("select bi.unique_actors('2024-01-02', '2024-01-01')")
    assert refusal.value.sqlstate == "TY400"


METER_COLUMNS = """
  part, {values}, period_on, event_count, value_count, value_sum, value_min, value_max, value_errors,
  unique_count, {final}, revision
"""


def meter_rows_of_the_api(db, tenant, meter, unit, first):
    values = "group_values[1], group_values[2], group_values[3]"
    return db.execute(
        f"""
        select {METER_COLUMNS.format(values=values, final="final")}
        from api.meter_summary_list(%s, %s, %s, %s, '2024-06-01') order by 5, 1, 2, 3, 4
        """.encode(),
        (tenant, meter, unit, str(first)),
    ).fetchall()


def meter_rows_of_bi(session, meter, unit, first):
    values = "dimension_1, dimension_2, dimension_3"
    return session.execute(
        f"""
        select {METER_COLUMNS.format(values=values, final="is_final")}
        from bi.meter_{unit}s where meter = %s and period_on >= %s order by 5, 1, 2, 3, 4
        """.encode(),
        (meter, first),
    ).fetchall()


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/Havana", "Pacific/Apia"])
def test_views_of_meters_are_what_the_api_answers_also_of_earlier_versions_and_waiting_deltas(
    db, new_tenant, logged_in, zone
):
    tenant, other = new_tenant(zone, 7), new_tenant(zone)
    draw = random.Random(3)
    events = [
        Event(
            e.at, e.id, e.type, e.value, e.actor,
            (("k", draw.choice("abcde")),) if draw.random() < 0.9 else (),
        )
        for e in some_events(date(2023, 11, 4), days=90, count=900)
    ]  # fmt: skip
    stored(db, tenant, events[:700])
    stored(db, other, events)
    make = "select * from api.meter_create(%s, %s, '{}', '[]', %s, p_max_groups => 2)"
    for owner in (tenant, other):
        for name, by in (("k", ["data.k"]), ("k and type", ["data.k", "type"]), ("all", [])):
            db.execute(make, (owner, name, by))
    db.execute("call tally.fill()")
    db.execute("call tally.finalize('day')")
    # Raw events go; another version counts the rest, while late ones reopen days and wait.
    kept = (datetime.now(UTC) - datetime(2023, 12, 20, tzinfo=UTC)).days
    keep_events(db, tenant, kept)
    retain(db, tenant)
    db.execute(
        "select * from api.meter_create(%s, 'k', '{}', '[]', '{data.k}', p_max_groups => 3,"
        " p_replace => true)",
        (tenant,),
    )
    db.execute("call tally.fill()")
    ingest(db, tenant, [e for e in events[700:] if e.at.date() > date(2023, 12, 22)])
    db.execute("select tally.fold_tenant(%s)", (tenant,))
    late = Event(
        datetime(2024, 1, 20, 3, tzinfo=UTC), UUID(int=5000), "sale", 7, "late", (("k", "z"),)
    )
    ingest(db, tenant, [late])
    waiting = "select count(*) > 0 from tally.meter_deltas where tenant_id = %s"
    assert db.execute(waiting, (tenant,)).fetchone() == (True,)
    session = logged_in(tenant)
    seen = set()
    for name in ("k", "k and type", "all"):
        for unit, first in (
            ("day", date(2023, 11, 3)), ("week", date(2023, 11, 5)), ("month", date(2023, 11, 1))
        ):  # fmt: skip
            answer = meter_rows_of_the_api(db, tenant, name, unit, first)
            assert answer
            assert meter_rows_of_bi(session, name, unit, first) == answer, (name, unit)
            seen |= {row[0] for row in answer}
            seen |= {("final", row[-2]) for row in answer} | {
                ("moved", row[-1] > 1) for row in answer
            }
    assert seen == {
        "group", "missing", "other", "total", ("final", True), ("final", False), ("moved", True),
        ("moved", False),
    }  # fmt: skip
    for view in ("days", "weeks", "months"):
        found = session.execute(f"select distinct tenant_id from bi.meter_{view}".encode())
        assert found.fetchall() == [(tenant,)]


def test_views_of_meters_show_no_period_that_is_not_filled_as_a_whole(db, new_tenant, logged_in):
    tenant = new_tenant("Asia/Tokyo")
    db.execute("select * from api.meter_create(%s, 'k', '{}', '[]', '{data.k}')", (tenant,))
    stored(db, tenant, some_events(date(2023, 11, 10), days=30))
    session = logged_in(tenant)
    for view in ("days", "weeks", "months"):
        assert session.execute(f"select count(*) from bi.meter_{view}".encode()).fetchone() == (0,)
    db.execute(
        "update tally.meters set filled_from = timestamptz '2023-11-15 00:00 Asia/Tokyo' where tenant_id = %s",
        (tenant,),
    )
    for view, first in (
        ("days", date(2023, 11, 15)), ("weeks", date(2023, 11, 20)), ("months", date(2023, 12, 1))
    ):  # fmt: skip
        found = session.execute(f"select min(period_on) from bi.meter_{view}".encode())
        assert found.fetchone() == (first,), view


def test_nobody_but_a_bi_login_asks_for_the_unique_actors_of_a_login(db, service_dsn):
    with pytest.raises(psycopg.Error, match="belongs to no tenant"):
        db.execute("select bi.unique_actors()")
    with psycopg.connect(service_dsn) as service, pytest.raises(psycopg.Error) as refusal:
        service.execute("select bi.unique_actors()")
    assert refusal.value.sqlstate == "42501"


def test_the_tenant_and_its_raw_events_are_its_own(db, new_tenant, logged_in):
    tenant, other = new_tenant("Asia/Kathmandu", 7), new_tenant()
    at = datetime(2024, 1, 1, 20, tzinfo=UTC)
    for owner, name in ((tenant, "mine"), (other, "other")):
        ingest(db, owner, [Event(at, UUID(int=1), name, 5, name, (("plan", "pro"),))])
    session = logged_in(tenant, "UTC")
    assert session.execute(
        "select tenant_id, name, time_zone, week_start, events_kept_from from bi.tenant"
    ).fetchall() == [(tenant, "tenant 1", "Asia/Kathmandu", 7, None)]
    assert session.execute(
        "select event_type, occurred_at, occurred_on, local_time, value, actor_id, data ->> 'plan'"
        " from bi.events"
    ).fetchall() == [("mine", at, date(2024, 1, 2), datetime(2024, 1, 2, 1, 45), 5, "mine", "pro")]


def test_tools_that_ask_what_they_may_read_are_told_of_our_views_and_nothing_they_cannot_read(
    db, new_tenant, logged_in
):
    session = logged_in(new_tenant())
    listed = {
        f"{schema}.{name}"
        for schema, name in session.execute(
            "select table_schema, table_name from information_schema.tables"
            " where table_schema not in ('information_schema', 'pg_catalog')"
        )
    }
    readable = {
        name
        for (name,) in session.execute(
            "select nspname || '.' || relname from pg_class as c"
            " join pg_namespace as n on n.oid = relnamespace"
            " where relkind in ('r', 'p', 'v') and nspname in ('tally', 'bi', 'api')"
            " and has_any_column_privilege(c.oid, 'select')"
        )
    }
    assert {name for name in listed if name.startswith("bi.")} == {
        "bi.daily_summaries", "bi.events", "bi.meter_days", "bi.meter_months", "bi.meter_weeks",
        "bi.monthly_summaries", "bi.period_summaries",
        "bi.quarter_hour_summaries", "bi.tenant", "bi.weekly_summaries",
    }  # fmt: skip
    assert {name for name in listed if not name.startswith("public.")} == readable
    for name in readable:
        column = "tenant_id"
        session.execute(f"select {column} from {name} limit 1".encode())
