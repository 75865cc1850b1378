"""The promise: every fast answer equals the same answer computed from the events themselves."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.brute_force import Event, buckets, first_date, ingest, local_day, measure, period, same

ZONES = [
    "UTC", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Havana",
    "America/Sao_Paulo", "America/St_Johns", "Pacific/Chatham",
]  # fmt: skip
MEASURES = ["count", "uniqueActors", "sum", "avg", "min", "max"]
# Short spans around clock changes and month ends, so that events meet in the same periods.
ORIGINS = [
    datetime(2018, 11, 3, 20, tzinfo=UTC), datetime(2020, 10, 31, 22, tzinfo=UTC),
    datetime(2006, 10, 28, 23, tzinfo=UTC), datetime(2024, 4, 6, 12, tzinfo=UTC),
    datetime(2023, 12, 30, tzinfo=UTC), datetime(2013, 3, 9, 18, tzinfo=UTC),
]  # fmt: skip

offsets = st.one_of(
    st.integers(0, 3 * 86_400_000_000),
    # On and around quarter hours.
    st.integers(0, 3 * 96).map(lambda n: n * 900_000_000),
    st.integers(0, 40 * 96).map(lambda n: n * 900_000_000 - 1),
)
events = st.builds(
    lambda offset, number, kind, value, actor, data: (offset, number, kind, value, actor, data),
    offsets,
    st.integers(1, 40),
    st.sampled_from(["view", "sale", "Ünïcödé 'quote\""]),
    st.none() | st.decimals(-1000, 1000, places=2),
    st.none() | st.sampled_from(["ann", "bob", "cy"]),
    st.sampled_from([(), (("n", 5),), (("n", 5.5), ("s", "a")), (("s", "b"),)]),
)
steps = st.one_of(
    st.tuples(st.just("ingest"), st.lists(events, min_size=1, max_size=12)),
    st.tuples(st.just("ingest"), st.lists(events, min_size=1, max_size=12)),
    st.just(("fold", None)),
    st.tuples(st.just("finalize"), st.sampled_from(["day", "week", "month"])),
    st.just(("rebuild", None)),
)
# Where a range begins or ends: anywhere, or on a stored event, or a microsecond beside it.
ends = st.none() | offsets | st.tuples(st.integers(0, 1000), st.sampled_from([-1, 0, 1]))
questions = st.tuples(
    ends, ends, st.sampled_from(MEASURES),
    st.sampled_from([[], ["view"], ["sale", "view"], ["absent"]]),
    st.sampled_from([None, "bob", "nobody"]),
    st.sampled_from([None, ("n", "=", "5"), ("n", ">", "5"), ("s", "!=", "a"), ("n", "!=", "5"), ("s", "=", "b")]),
    st.sampled_from(["hour", "day", "week", "month"]), st.sampled_from(["", *ZONES]), st.booleans(),
)  # fmt: skip

# Drawn, these would be too seldom: ranges that begin and end on events, and a microsecond beside.
BETWEEN_EVENTS = [
    ((first, beside), (last, -beside), "count", [], actor, None, "hour", "", False)
    for first, last, actor in ((0, 1, None), (1, 2, "bob"), (0, -1, None))
    for beside in (-1, 0, 1)
]


def matches(event: Event, condition: tuple[str, str, str] | None) -> bool:
    if condition is None:
        return True
    key, operator, value = condition
    found = dict(event.data).get(key)
    match operator:
        case "=":
            return str(found) == value
        case "!=":
            return str(found) != value
        case _:
            return found is not None and found > float(value)


def insert(db, tenant: UUID, stored: dict, origin: datetime, drawn: list) -> None:
    batch = []
    fresh = set()
    for offset, number, kind, value, actor, data in drawn:
        event = Event(
            origin + timedelta(microseconds=offset), UUID(int=number), kind, value, actor, data
        )
        batch.append(event)
        key = (event.at, event.id)
        if key not in stored and key not in fresh:
            fresh.add(key)
            stored[key] = event
    assert ingest(db, tenant, batch) == (len(fresh), len(batch) - len(fresh))


def instant(drawn, stored: dict, origin: datetime) -> datetime | None:
    if isinstance(drawn, tuple):
        number, beside = drawn
        at = sorted(event.at for event in stored.values()) or [origin]
        return at[number % len(at)] + timedelta(microseconds=beside)
    return None if drawn is None else origin + timedelta(microseconds=drawn)


def ask(db, tenant, zone, week_start, stored, origin, question) -> None:
    low, high, name, types, actor, condition, unit, asked_zone, by_type = question
    start, end = instant(low, stored, origin), instant(high, stored, origin)
    if start and end and start > end:
        start, end = end, start
    chosen = [
        e
        for e in stored.values()
        if (start is None or e.at >= start)
        and (end is None or e.at < end)
        and (not types or e.type in types)
        and (actor is None or e.actor == actor)
        and matches(e, condition)
    ]
    filters = (
        [] if condition is None else [dict(zip(("key", "op", "value"), condition, strict=True))]
    )
    arguments = {
        "tenant": tenant, "from": start or "-infinity", "to": end or "infinity", "types": types,
        "measure": name, "filters": json.dumps(filters), "actor": actor or "", "unit": unit,
        "zone": asked_zone, "by_type": by_type,
    }  # fmt: skip
    common = """%(tenant)s, %(from)s::timestamptz::text, %(to)s::timestamptz::text, %(types)s::text[],
      %(measure)s, %(filters)s::jsonb, %(actor)s"""
    ((total,),) = db.execute(f"select total from api.event_count({common})", arguments).fetchall()
    assert same(total, measure(name, chosen)), (total, measure(name, chosen))

    got = dict(
        db.execute(
            f"select event_type, total from api.event_by_type({common})", arguments
        ).fetchall()
    )
    wanted = {kind: [e for e in chosen if e.type == kind] for kind in {e.type for e in chosen}}
    assert got.keys() == wanted.keys()
    assert all(same(got[kind], measure(name, wanted[kind])) for kind in got)

    rows = db.execute(
        """
        select bucket_start, event_type, total
        from api.event_timeline(%(tenant)s, %(unit)s, %(from)s::timestamptz::text, %(to)s::timestamptz::text,
          %(types)s::text[], %(measure)s, %(filters)s::jsonb, %(actor)s, %(zone)s, %(by_type)s)
        """,
        arguments,
    ).fetchall()
    zone_used = asked_zone or zone
    first, last = start, end
    if stored and (first is None or last is None):
        # An open end reaches to the period (a quarter hour or day) of the first or newest event.
        grain = (
            "quarter" if unit == "hour" or zone_used != zone else unit if unit == "month" else "day"
        )
        at = [e.at for e in stored.values()]

        def start_of(moment: datetime) -> datetime:
            if grain == "quarter":
                return moment - timedelta(microseconds=moment.timestamp() * 1e6 % 900e6)
            return period(moment, grain, zone, week_start)[0]

        def floor(moment: datetime) -> datetime:
            if grain == "quarter":
                return datetime.fromtimestamp(moment.timestamp() // 900 * 900, UTC)
            return start_of(moment)

        first = first or floor(min(at))
        last = last or period(floor(max(at)), unit, zone_used, week_start)[1]
    if (not stored and (first is None or last is None)) or first >= last:
        assert rows == []
        return
    starts = buckets(first, last, unit, zone_used, week_start)
    kinds = sorted({e.type for e in chosen}) if by_type else [None]
    expected = {
        (at, kind): measure(
            name,
            [
                e
                for e in chosen
                if (kind is None or e.type == kind)
                and period(e.at, unit, zone_used, week_start)[0] == at
            ],
        )
        for at in starts
        for kind in kinds
    }
    got = {(at, kind): total for at, kind, total in rows}
    assert got.keys() == expected.keys()
    assert all(same(got[key], expected[key]) for key in got), (got, expected)


def check_summaries(db, tenant, zone, week_start, stored) -> None:
    assert db.execute("select * from tally.verify(%s)", (tenant,)).fetchall() == []
    if not stored:
        return
    at = [e.at for e in stored.values()]
    for unit in ("day", "week", "month"):
        first, last = local_day(min(at), zone), local_day(max(at), zone) + timedelta(days=1)
        rows = db.execute(
            """
            select event_type, period_start, event_count, value_sum, value_min, value_max, unique_actors
            from api.summary_list(%s, %s, %s::date::text, %s::date::text)
            """,
            (tenant, unit, first_date(first, unit, week_start), last),
        ).fetchall()
        expected = {}
        for event in stored.values():
            key = (event.type, period(event.at, unit, zone, week_start)[0])
            expected.setdefault(key, []).append(event)
        assert {(row[0], row[1]) for row in rows} == set(expected)
        for kind, start, count, total, low, high, actors in rows:
            found = expected[kind, start]
            assert count == measure("count", found)
            assert (total or 0) == measure("sum", found)
            assert (low, high) == (measure("min", found), measure("max", found))
            assert actors == measure("uniqueActors", found)


@settings(max_examples=60)
@given(
    st.sampled_from(ZONES), st.integers(1, 7), st.sampled_from(ORIGINS),
    st.lists(steps, min_size=1, max_size=8), st.lists(questions, min_size=1, max_size=4),
)  # fmt: skip
def test_answers_equal_brute_force_whatever_was_ingested_folded_and_finalized(
    db, new_tenant, zone, week_start, origin, plan, asked
):
    tenant, other = new_tenant(zone, week_start), new_tenant("Asia/Tokyo", 3)
    stored: dict = {}
    noise: dict = {}
    for step, argument in plan:
        if step == "ingest":
            insert(db, tenant, stored, origin, argument)
            insert(db, other, noise, origin, argument[:3])
        elif step == "fold":
            db.execute("call tally.fold()")
        elif step == "finalize":
            (_, _, healed, failures) = db.execute("call tally.finalize(%s)", (argument,)).fetchone()
            assert (healed, failures) == (0, 0)
        elif step == "rebuild":
            (_, changed) = db.execute("call tally.rebuild(%s)", (tenant,)).fetchone()
            assert changed == 0
        for question in asked[:1]:
            ask(db, tenant, zone, week_start, stored, origin, question)
    for question in [*asked, *BETWEEN_EVENTS]:
        ask(db, tenant, zone, week_start, stored, origin, question)
    check_summaries(db, tenant, zone, week_start, stored)
    ask(db, other, "Asia/Tokyo", 3, noise, origin, asked[0])


def test_sums_are_exact_decimals(db, new_tenant):
    tenant = new_tenant()
    at = datetime(2024, 1, 1, tzinfo=UTC)
    values = [Decimal("0.1"), Decimal("0.2"), Decimal("1e20"), Decimal("-1e20"), Decimal("1e-20")]
    ingest(db, tenant, [Event(at, UUID(int=i), "sale", v) for i, v in enumerate(values)])
    for _ in range(2):
        ((total,),) = db.execute(
            "select total from api.event_count(%s, p_measure => 'sum')", (tenant,)
        ).fetchall()
        assert total == Decimal("0.30000000000000000001")
        db.execute("call tally.fold()")


def test_unique_actors_from_summaries_equal_those_from_raw_events_also_when_many(db, new_tenant):
    """Beyond the exact range the estimate must still not depend on the way it was made."""
    tenant = new_tenant("America/New_York")
    at = datetime(2024, 1, 1, tzinfo=UTC)
    for batch in range(10):
        ingest(
            db, tenant,
            [
                Event(at + timedelta(minutes=7 * i), UUID(int=batch * 1000 + i), "view", None, f"actor {batch * 500 + i}")
                for i in range(1000)
            ],
        )  # fmt: skip
        if batch % 3 == 0:
            db.execute("call tally.fold()")
    question = "select total from api.event_count(%s, p_measure => 'uniqueActors')"
    (from_summaries,) = db.execute(question, (tenant,)).fetchone()
    (from_raw,) = db.execute(
        "select total from api.event_count(%s, p_measure => 'uniqueActors', p_filters => %s)",
        (tenant, json.dumps([{"key": "absent", "op": "!=", "value": "x"}])),
    ).fetchone()
    assert from_summaries == from_raw
    assert abs(from_summaries - 5500) < 5500 * Decimal("0.03")


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("api.event_count(%(t)s, p_from => '2024-01-02', p_to => '2024-01-01')", "is after to"),
        ("api.event_count(%(t)s, p_measure => 'median')", "unknown measure"),
        ("api.event_count('00000000-0000-0000-0000-000000000000')", "no such tenant"),
        ("api.event_timeline(%(t)s, 'minute')", "unknown interval"),
        ("api.event_timeline(%(t)s, 'hour', '2020-01-01', '2022-01-01')", "more than 10,000"),
        ("api.event_timeline(%(t)s, 'day', p_time_zone => 'Mars/X')", "unknown time zone"),
        ("api.event_count(%(t)s, p_filters => '[{\"key\": \"a\", \"op\": \"~\", \"value\": \"b\"}]')", "unknown operator"),
        ("api.summary_list(%(t)s, 'year', '2024-01-01', '2024-01-02')", "unknown period type"),
    ],
)  # fmt: skip
def test_a_bad_question_is_refused_with_a_reason(db, new_tenant, call, text):
    with pytest.raises(psycopg.Error, match=text) as error:
        db.execute(f"select * from {call}", {"t": new_tenant()})
    assert error.value.sqlstate.startswith("TY4")


def test_filters_cannot_be_broken_out_of(db, new_tenant):
    tenant = new_tenant()
    nasty = ["'", '"', '" || true || "', "\\", "$", "*", ".**", "a\nb", "1 == 1) || (1", "\\u0022"]
    at = datetime(2024, 1, 1, tzinfo=UTC)
    ingest(
        db,
        tenant,
        [
            Event(at, UUID(int=i), "t", None, None, ((n.replace(".", ""), n),))
            for i, n in enumerate(nasty)
        ],
    )
    for key in nasty:
        for value in nasty:
            filters = json.dumps([{"key": key.replace(".", ""), "op": "=", "value": value}])
            (total,) = db.execute(
                "select total from api.event_count(%s, p_filters => %s)", (tenant, filters)
            ).fetchone()
            assert total == (1 if key == value else 0), (key, value)


@pytest.mark.parametrize(
    ("operator", "value", "wanted"),
    [
        ("!=", "5", {7, "x", "5.0", None, "missing", "list", True}), ("!=", "x", {7, 5, "5", "5.0", None, "missing", "list", True}),
        ("!=", "true", {7, 5, "5", "x", "5.0", None, "missing", "list"}),
        ("=", "5", {5, "5"}), ("=", "null", {None}), ("=", "true", {True}), (">", "5", {7}), ("<=", "7", {7, 5, "list"}),
        ("=", "1", {"list"}), (">", "a", {"x"}),
    ],
)  # fmt: skip
def test_filters_compare_values_of_every_kind(db, new_tenant, operator, value, wanted):
    tenant = new_tenant()
    kinds = [7, 5, "5", "x", "5.0", None, "missing", "list", True]
    at = datetime(2024, 1, 1, tzinfo=UTC)
    for number, kind in enumerate(kinds):
        data = (
            {"missing": (), "list": (("k", [1, 2]),)}.get(kind, (("k", kind),))
            if isinstance(kind, str)
            else (("k", kind),)
        )
        ingest(db, tenant, [Event(at, UUID(int=number), f"kind {number}", None, None, data)])
    filters = json.dumps([{"key": "k", "op": operator, "value": value}])
    rows = db.execute(
        "select event_type from api.event_by_type(%s, p_filters => %s)", (tenant, filters)
    ).fetchall()
    got = {number for number in range(len(kinds)) if (f"kind {number}",) in rows}
    assert got == {
        n
        for n, kind in enumerate(kinds)
        if any(kind == w and type(kind) is type(w) for w in wanted)
    }
