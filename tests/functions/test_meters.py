"""Meters: whatever was stored, folded, finalized, erased or changed, and however few groups a day
keeps, a breakdown equals the one from the events themselves, and adds up."""

import json
import math
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from uuid import UUID

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.brute_force import Event, first_date, ingest, local_day, same
from tests.calls import fold, keep_events, one, retain, rows, verify

ORIGIN = datetime(2024, 3, 30, 20, tzinfo=UTC)
ZONES = ["UTC", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"]
BYS = [[], ["data.k"], ["type"], ["data.k", "type"], ["actorId", "data.k"]]
METERS = {
    "by k": {"by": ["data.k"], "percentiles": True},
    "sales by k": {
        "types": ["sale"],
        "by": ["data.k"],
        "of": "data.n",
        "unique": "data.n",
        "percentiles": True,
    },
    "by k and type": {"by": ["data.k", "type"], "of": "data.n"},
    "big": {"filters": [{"key": "n", "op": ">", "value": "3"}], "of": "data.n"},
}

offsets = st.one_of(
    st.integers(0, 4 * 86_400_000_000), st.integers(0, 40 * 96).map(lambda n: n * 900_000_000)
)
data = st.fixed_dictionaries(
    {},
    optional={
        "k": st.sampled_from(["a", "b", "c", "d", "e", "", None, 5, "5", 5.50, True]),
        "n": st.sampled_from([1, 2, 5, 7.25, "x", None]),
    },
).map(lambda found: tuple(found.items()))
events = st.tuples(
    offsets, st.integers(1, 60), st.sampled_from(["view", "sale"]),
    st.none() | st.decimals(-9, 9, places=1), st.sampled_from([None, "ann", "bob", "cy"]), data,
)  # fmt: skip
batches = st.lists(events, min_size=1, max_size=15)
steps = st.one_of(
    st.tuples(st.just("ingest"), batches),
    st.tuples(st.just("ingest"), batches),
    st.tuples(st.just("ingest"), batches),
    st.tuples(st.just("create"), st.tuples(st.sampled_from(sorted(METERS)), st.integers(1, 3))),
    st.tuples(st.just("create"), st.tuples(st.sampled_from(sorted(METERS)), st.integers(1, 3))),
    st.tuples(st.just("drop"), st.sampled_from(sorted(METERS))),
    st.just(("fold", None)), st.just(("fill", None)), st.just(("finalize", None)),
    st.just(("rebuild", None)), st.tuples(st.just("erase"), st.sampled_from(["ann", "bob"])),
    st.just(("fill", None)), st.tuples(st.just("calendar"), st.sampled_from(ZONES)),
)  # fmt: skip
questions = st.tuples(
    st.sampled_from(sorted(METERS)), st.none() | offsets, st.none() | offsets,
    st.sampled_from(
        ["count", "sum", "avg", "min", "max", "uniqueActors", "unique", "p50", "p50", "p90", "p99"]
    ),
    st.integers(1, 3),
    st.booleans(),
)  # fmt: skip


def text(value):
    """How a property names its group."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return value if isinstance(value, str) else f"{Decimal(str(value)).normalize():f}"


def dimension(event, name):
    if name == "type":
        return event.type
    if name == "actorId":
        return event.actor
    found = dict(event.data)
    return text(found[name[5:]]) if name[5:] in found else None


def number(event, of):
    if of == "value":
        return event.value
    found = dict(event.data).get(of[5:])
    return Decimal(str(found)) if type(found) in (int, float) else None


STEP = math.log(1.0099) - math.log(0.9901)


def bucket(n):
    """Where a histogram counts a number."""
    if abs(n) < Decimal("1e-15"):
        return 0
    place = 2000 + math.ceil(math.log(abs(float(n))) / STEP)
    return place if n > 0 else -place


def percentile(measure, numbers, from_histogram):
    """The smallest number that this share does not exceed; from a histogram the middle of its
    bucket, to five digits, within the smallest and the largest number."""
    if not numbers:
        return None
    rank = max(0, math.ceil(int(measure[1:]) / 100 * len(numbers)) - 1)
    if not from_histogram:
        return sorted(numbers)[rank]
    found = sorted(bucket(n) for n in numbers)[rank]
    middle = 0.0
    if found:
        middle = math.exp((abs(found) - 2000) * STEP) * 0.9901
        digits = Decimal(1).scaleb(math.floor(math.log10(middle)) - 4)
        middle = Decimal(f"{middle:.15g}").quantize(digits, ROUND_HALF_UP)
        middle = middle if found > 0 else -middle
    return min(max(Decimal(middle), min(numbers)), max(numbers))


def measured(measure, found, of, unique, from_histogram):
    numbers = [n for n in (number(e, of) for e in found) if n is not None]
    match measure:
        case "count":
            return Decimal(len(found))
        case "uniqueActors":
            return Decimal(len({e.actor for e in found} - {None}))
        case "unique":
            name = unique if unique != "actorId" else "actorId"
            return Decimal(len({dimension(e, name) for e in found} - {None}))
        case "sum":
            return sum(numbers, Decimal(0))
        case "avg":
            return sum(numbers, Decimal(0)) / len(numbers) if numbers else None
        case "min":
            return min(numbers, default=None)
        case "max":
            return max(numbers, default=None)
        case "p50" | "p90" | "p99":
            return percentile(measure, numbers, from_histogram)


def meant(event, meter):
    """Does the meter count this event?"""
    big = number(event, "data.n")
    return (not meter.get("types") or event.type in meter["types"]) and (
        not meter.get("filters") or (big is not None and big > 3)
    )


def break_down(db, tenant, meter, low, high, measure, limit, by):
    return rows(
        db,
        """
        select part, group_values, total, event_count, group_count, source, is_exact, error_bound
        from api.event_breakdown(%s, %s, %s::timestamptz::text, %s::timestamptz::text, %s, %s, %s, %s,
          %s::jsonb, p_limit => %s)
        """,
        tenant, by, low or "-infinity", high or "infinity", meter.get("types", []), measure,
        meter.get("of", "value"), meter.get("unique", "actorId"), json.dumps(meter.get("filters", [])),
        limit,
    )  # fmt: skip


def ask(db, tenant, stored, question):
    """Asks, and compares with the events; returns what it was read from."""
    name, low, high, measure, limit, grouped = question
    meter = METERS[name]
    of, unique = meter.get("of", "value"), meter.get("unique", "actorId")
    by = meter.get("by", []) if grouped else []
    if measure == "uniqueActors" and unique != "actorId":
        measure = "unique"
    low, high = (None if at is None else ORIGIN + timedelta(microseconds=at) for at in (low, high))
    if low and high and low > high:
        low, high = high, low
    found = [
        e for e in stored.values()
        if meant(e, meter) and (low is None or e.at >= low) and (high is None or e.at < high)
    ]  # fmt: skip
    groups = defaultdict(list)
    for event in found:
        key = tuple(dimension(event, one) for one in by)
        groups[None if None in key else key].append(event)
    missing = groups.pop(None, [])

    got = break_down(db, tenant, meter, low, high, measure, limit, by)

    def figure(chosen):
        return measured(measure, chosen, of, unique, got[-1][5].startswith("meter"))

    assert all(row[6] and row[7] == 0 for row in got), got
    parts = {row[0]: row for row in got if row[0] != "group"}
    told = [(tuple(row[1]), row[2], row[3]) for row in got if row[0] == "group"]
    assert same(parts["total"][2], figure(found)), (got, found)
    if by:
        assert same(parts["missing"][2], figure(missing)), (got, missing)
        assert len(told) == min(limit, len(groups))
        for key, total, count in told:
            assert same(total, figure(groups[key])), (key, got)
            assert count == len(groups[key])
        # The largest: nobody who is not told has more.
        rest = [figure(groups[key]) for key in groups.keys() - {key for key, *_ in told}]
        least = told[-1][1] if told else None
        assert all(r is None or (least is not None and r <= least) for r in rest), (got, rest)
        others = [e for key in groups.keys() - {key for key, *_ in told} for e in groups[key]]
        assert same(parts["other"][2], figure(others)), (got, others)
        assert sum(row[3] for row in got if row[0] != "total") == parts["total"][3] == len(found)
        assert parts["other"][4] in (None, len(rest)), (got, groups, measure, limit)
    return got[-1][5]


def store(db, tenant, stored, drawn):
    batch = [
        Event(ORIGIN + timedelta(microseconds=offset), UUID(int=n), kind, value, actor, found)
        for offset, n, kind, value, actor, found in drawn
    ]
    for event in batch:
        stored.setdefault((event.at, event.id), event)
    ingest(db, tenant, batch)


def create(db, tenant, name, max_groups, replace=False):
    meter = METERS[name]
    return one(
        db,
        "select version from api.meter_create(%s, %s, %s, %s::jsonb, %s, %s, %s, %s, %s, %s)",
        tenant, name, meter.get("types", []), json.dumps(meter.get("filters", [])), meter.get("by", []),
        meter.get("of", "value"), meter.get("unique", "actorId"), max_groups, replace,
        meter.get("percentiles", False),
    )[0]  # fmt: skip


@settings(max_examples=40)
@given(
    st.sampled_from(ZONES),
    batches,
    st.lists(steps, min_size=3, max_size=14),
    st.lists(questions, min_size=3, max_size=8),
)
def test_breakdowns_equal_brute_force_whatever_happened_to_meters_and_events(
    db, new_tenant, zone, first, plan, asked
):  # fmt: skip
    tenant = new_tenant(zone)
    stored: dict = {}
    meters: set = set()
    # Most of the time there is something to be asked of a meter.
    for step, argument in [("create", (asked[0][0], 1)), ("ingest", first), ("fill", None), *plan]:
        if step == "ingest":
            store(db, tenant, stored, argument)
        elif step == "create":
            name, max_groups = argument
            create(db, tenant, name, max_groups, name in meters)
            meters.add(name)
        elif step == "drop" and argument in meters:
            one(db, "select * from api.meter_delete(%s, %s)", tenant, argument)
            meters.discard(argument)
        elif step == "fold":
            fold(db)
        elif step == "fill":
            assert one(db, "call tally.fill()")[2] == 0
        elif step == "finalize":
            assert one(db, "call tally.finalize('day')")[2:] == (0, 0)
        elif step == "rebuild":
            assert one(db, "call tally.rebuild(%s)", tenant)[1] == 0
        elif step == "erase":
            while not one(
                db, "select done, erasure_id from api.actor_erase(%s, %s)", tenant, argument
            )[0]:
                pass
            for key in [key for key, event in stored.items() if event.actor == argument]:
                del stored[key]
        elif step == "calendar":
            one(db, "select tally.tenant_set_calendar(%s, %s)", tenant, argument)
        ask(db, tenant, stored, asked[0])
        assert verify(db, tenant) == []
    for question in asked:
        ask(db, tenant, stored, question)


def test_a_filled_meter_answers_itself_and_the_same(db, new_tenant):
    tenant = new_tenant()
    stored: dict = {}
    drawn = [
        (n * 3_000_000_000, n, "sale", None, None, (("k", f"group {n % 7}"), ("n", n)))
        for n in range(1, 200)
    ]
    store(db, tenant, stored, drawn[:150])
    question = ("by k", None, None, "count", 3, True)
    assert ask(db, tenant, stored, question) == "events"
    create(db, tenant, "by k", 100)
    store(db, tenant, stored, drawn[100:])
    assert ask(db, tenant, stored, question) == "events"
    one(db, "call tally.fill()")
    for step in (lambda: None, lambda: fold(db), lambda: one(db, "call tally.finalize('day')")):
        step()
        assert ask(db, tenant, stored, question) == "meter by k"
        assert (
            ask(db, tenant, stored, ("by k", 5_000_000_000, 300_000_000_000, "count", 3, True))
            == "meter by k"
        )


def test_groups_are_named_as_a_filter_finds_them(db, new_tenant):
    tenant = new_tenant()
    values = [
        5,
        "5",
        5.0,
        "x",
        "",
        None,
        True,
        "true",
        [1, 2],
        {"a": 1},
        "ü" * 300,
        1e20,
        "a.b",
        "$",
    ]
    ingest(
        db, tenant,
        [Event(ORIGIN, UUID(int=n), "t", None, None, (("k", value),)) for n, value in enumerate(values)],
    )  # fmt: skip
    got = rows(
        db,
        "select group_values[1], total from api.event_breakdown(%s, '{data.k}', p_limit => 100) where part = 'group'",
        tenant,
    )
    assert sum(total for _, total in got) == len(values)
    for name, total in got:
        if name[:1] in "[{" or len(name) > 100:
            continue
        filters = json.dumps([{"key": "k", "op": "=", "value": name}])
        found = one(db, "select total from api.event_count(%s, p_filters => %s)", tenant, filters)
        # A filter looks into lists.
        assert found == (total,), name


@pytest.mark.parametrize("measure", ["latest", "p50", "p90", "p99"])
def test_measures_of_raw_events_are_exact_and_of_each_part(db, new_tenant, measure):
    tenant = new_tenant()
    drawn = [
        (n * 1_000_000, n, "sale", n * 37 % 101, None, (("k", f"group {n % 5}"),) if n % 9 else ())
        for n in range(1, 300)
    ]
    stored: dict = {}
    store(db, tenant, stored, [(a, b, c, Decimal(d), e, f) for a, b, c, d, e, f in drawn])

    def pick(found):
        if measure == "latest":
            return max(found, key=lambda e: e.at).value
        ordered = sorted(e.value for e in found)
        return ordered[max(0, -(-len(ordered) * int(measure[1:]) // 100) - 1)]

    groups = defaultdict(list)
    for event in stored.values():
        groups[dict(event.data).get("k")].append(event)
    missing = groups.pop(None)
    ranked = sorted(groups, key=lambda key: (-pick(groups[key]), key))
    got = rows(
        db,
        "select part, group_values, total from api.event_breakdown(%s, '{data.k}', p_measure => %s, p_limit => 2)",
        tenant, measure,
    )  # fmt: skip
    assert got == [
        *(("group", [key], pick(groups[key])) for key in ranked[:2]),
        ("missing", None, pick(missing)),
        ("other", None, pick([e for key in ranked[2:] for e in groups[key]])),
        ("total", None, pick(list(stored.values()))),
    ]


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        ("p_by => '{data.}'", "p_by"), ("p_by => '{value}'", "p_by"), ("p_by => '{type,type}'", "p_by"),
        ("p_by => '{data.a,data.b,data.c,data.d}'", "p_by"), ("p_of => 'data'", "p_of"),
        ("p_unique => 'type'", "p_unique"), ("p_measure => 'median'", "p_measure"),
    ],
)  # fmt: skip
def test_a_bad_breakdown_names_the_argument(db, new_tenant, call, argument):
    with pytest.raises(psycopg.Error) as error:
        db.execute(f"select * from api.event_breakdown(%s, {call})", (new_tenant(),))
    assert (error.value.sqlstate, error.value.diag.column_name) == ("TY400", argument)


COUNT = ("by k", None, None, "count", 3, True)


def heavy(db, tenant, stored, days=6):
    """A day of one large group, one middling and many small ones, `days` times."""
    drawn = []
    for day in range(days):
        names = ["large"] * 40 + ["middling"] * 12 + [f"small {day} {n}" for n in range(9)]
        for n, name in enumerate(names):
            offset = day * 86_400_000_000 + n * 1_000_000
            drawn.append((offset, 1 + n, "sale", None, None, (("k", name),)))
    store(db, tenant, stored, drawn)


def test_kept_groups_prove_that_they_are_the_largest_without_raw_events(db, new_tenant):
    tenant = new_tenant()
    stored: dict = {}
    create(db, tenant, "by k", 2)
    heavy(db, tenant, stored)
    one(db, "call tally.fill()")
    assert one(db, "call tally.finalize('day')")[2:] == (0, 0)
    assert ask(db, tenant, stored, ("by k", None, None, "count", 2, True)) == "meter by k"
    # Nothing is read of the raw events: without them the answer is the same, and still exact.
    got = break_down(db, tenant, METERS["by k"], None, None, "count", 2, ["data.k"])
    db.execute("delete from tally.events where tenant_id = %s", (tenant,))
    assert break_down(db, tenant, METERS["by k"], None, None, "count", 2, ["data.k"]) == got
    # The third could hide in `other`, so the raw events are asked.
    assert break_down(db, tenant, METERS["by k"], None, None, "count", 3, ["data.k"]) != got


def test_where_raw_events_are_gone_a_hidden_group_is_told_to_be_inexact(db, new_tenant):
    tenant = new_tenant()
    stored: dict = {}
    create(db, tenant, "by k", 2)
    heavy(db, tenant, stored)
    one(db, "call tally.fill()")
    one(db, "call tally.finalize('day')")
    keep_events(db, tenant, 1)
    retain(db, tenant)
    assert one(db, "select count(*) from tally.events where tenant_id = %s", tenant) == (0,)
    exact = break_down(
        db, tenant, METERS["by k"], "2024-03-01", "2024-05-01", "count", 2, ["data.k"]
    )
    assert [row[6:] for row in exact] == [(True, 0)] * 5
    got = break_down(db, tenant, METERS["by k"], "2024-03-01", "2024-05-01", "count", 3, ["data.k"])
    # Every day has small groups of one event each, so a group may have up to six more.
    assert [row[6:] for row in got] == [(False, 6)] * 5
    assert [row[:4] for row in got[:2]] == [
        ("group", ["large"], 240, 240), ("group", ["middling"], 72, 72),
    ]  # fmt: skip
    assert (got[-1][3], got[-2][3]) == (6 * 61, 6 * 9)


def test_a_new_version_answers_when_it_is_complete_and_the_old_one_keeps_what_is_gone(
    db, new_tenant
):
    tenant = new_tenant()
    stored: dict = {}
    heavy(db, tenant, stored)
    create(db, tenant, "by k", 2)
    one(db, "call tally.fill()")
    one(db, "call tally.finalize('day')")
    assert create(db, tenant, "by k", 50, replace=True) == 2
    states = "select version, state from api.meter_list(%s)"
    assert rows(db, states, tenant) == [(2, "filling"), (1, "complete")]

    def days():
        return one(
            db,
            "select count(*) filter (where part = 'group'), sum(event_count) filter (where part = 'total')"
            " from api.meter_summary_list(%s, 'by k', 'day', '2024-03-30', '2024-04-30')",
            tenant,
        )

    assert days() == (12, 366)
    one(db, "call tally.fill()")
    assert rows(db, states, tenant) == [(2, "complete"), (1, "retired")]
    assert days() == (6 * 11, 366)
    # What raw events are gone of stays with the version that has counted it.
    keep_events(db, tenant, 1)
    retain(db, tenant)
    assert create(db, tenant, "by k", 3, replace=True) == 3
    one(db, "call tally.fill()")
    assert rows(db, states, tenant) == [(3, "complete"), (2, "retired"), (1, "retired")]
    assert days() == (6 * 11, 366)


def test_a_late_event_of_a_final_day_gives_a_new_revision_that_is_told_and_final_again(
    db, new_tenant
):
    tenant = new_tenant()
    stored: dict = {}
    create(db, tenant, "by k", 5)
    heavy(db, tenant, stored, 2)
    one(db, "call tally.fill()")
    one(db, "call tally.finalize('day')")

    def month(name):
        return one(
            db,
            "select event_count, final, revision from api.meter_summary_list(%s, 'by k', 'day', p_period_start => '2024-03-30')"
            " where group_values = %s",
            tenant, [name],
        )  # fmt: skip

    told = "select group_values, event_count, final, revision from api.meter_changes(%s, 'by k') where part = 'group'"
    assert (month("large"), rows(db, told, tenant)) == ((40, True, 1), [])
    store(db, tenant, stored, [(7, 999, "sale", None, None, (("k", "large"),))])
    assert month("large") == (41, False, 1)
    fold(db)
    assert month("large") == (41, False, 2)
    assert rows(db, told, tenant) == [(["large"], 41, False, 2)]
    one(db, "call tally.finalize('day')")
    assert month("large") == (41, True, 2)
    assert month("middling") == (12, True, 1)
    assert rows(db, told, tenant) == [(["large"], 41, True, 2)]


def test_a_day_of_which_only_a_meter_was_wrong_is_final_again_when_it_is_rebuilt(db, new_tenant):
    tenant = new_tenant()
    stored: dict = {}
    create(db, tenant, "by k", 5)
    heavy(db, tenant, stored, 2)
    one(db, "call tally.fill()")
    one(db, "call tally.finalize('day')")
    damage = "update tally.meter_summaries set event_count = 7 where period_type = 'd' and group_key = '{large}' and period_start = '2024-03-31'"
    db.execute(damage)
    one(db, "call tally.rebuild(%s)", tenant)
    days = """
      select distinct period_on::text, part, final, revision
      from api.meter_summary_list(%s, 'by k', 'day', '2024-03-30', '2024-04-01')
      where group_values is null or group_values = '{large}' order by 1, 2
      """
    assert rows(db, days, tenant) == [
        ("2024-03-30", "group", True, 1), ("2024-03-30", "other", True, 1),
        ("2024-03-30", "total", True, 1), ("2024-03-31", "group", True, 2),
        ("2024-03-31", "other", True, 1), ("2024-03-31", "total", True, 1),
    ]  # fmt: skip
    told = "select group_values, event_count, final, revision from api.meter_changes(%s, 'by k')"
    assert rows(db, told, tenant) == [(["large"], 40, True, 2)]
    # The day that is not over is not final.
    now = one(db, "select now() - interval '1 second'")[0]
    ingest(db, tenant, [Event(now, UUID(int=1), "sale", None, None, (("k", "large"),))])
    one(db, "call tally.rebuild(%s)", tenant)
    today = "select bool_or(final) from api.meter_summary_list(%s, 'by k', 'day', p_period_start => %s::text)"
    assert one(db, today, tenant, now.date().isoformat()) == (False,)


def test_what_is_no_number_is_counted_as_a_value_error(db, new_tenant):
    tenant = new_tenant()
    values = [1, 2.5, "3", None, [4], True, 1e20]
    ingest(
        db, tenant,
        [Event(ORIGIN, UUID(int=n), "sale", None, None, (("n", v),)) for n, v in enumerate(values)]
        + [Event(ORIGIN, UUID(int=99), "sale")],
    )  # fmt: skip
    question = """
      select total, value_errors, source
      from api.event_breakdown(%s, '{}', p_measure => 'sum', p_of => 'data.n', p_types => '{sale}')
      """
    wanted = (Decimal("3.5") + Decimal(10) ** 20, 3)
    assert rows(db, question, tenant) == [(*wanted, "events")]
    create(db, tenant, "sales by k", 5)
    one(db, "call tally.fill()")
    assert rows(db, question, tenant) == [(*wanted, "meter sales by k")]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_a_timeline_by_properties_adds_up_in_each_interval_from_a_meter_as_from_events(
    db, new_tenant, zone
):
    tenant = new_tenant("America/New_York")
    stored: dict = {}
    heavy(db, tenant, stored, 12)
    store(db, tenant, stored, [(77 * n, 5000 + n, "view", None, None, ()) for n in range(9)])

    def asked(interval):
        return rows(
            db,
            "select bucket_on, part, group_values, total from api.event_breakdown_timeline(%s, '{data.k}', %s, p_time_zone => %s, p_limit => 2)",
            tenant, interval, zone,
        )  # fmt: skip

    before = {interval: asked(interval) for interval in ("hour", "day", "week", "month")}
    for interval in ("day", "week", "month"):
        wanted: dict = defaultdict(lambda: defaultdict(int))
        for event in stored.values():
            on = first_date(local_day(event.at, zone), interval, 1)
            key = dimension(event, "data.k")
            part = ("missing", None) if key is None else ("group", (key,))
            wanted[on][part if key in (None, "large", "middling") else ("other", None)] += 1
        got: dict = defaultdict(lambda: defaultdict(int))
        for on, part, values, total in before[interval]:
            if total:
                got[on][part, values and tuple(values)] = int(total)
        assert got == wanted
    create(db, tenant, "by k", 3)
    one(db, "call tally.fill()")
    assert {interval: asked(interval) for interval in before} == before
    one(db, "call tally.finalize('day')")
    assert {interval: asked(interval) for interval in before} == before


# Folding, in steps


def test_fold_takes_a_bounded_number_of_groups_a_step_and_goes_on_until_none_is_left(
    db, new_tenant
):
    tenant = new_tenant()
    stored: dict = {}
    one(
        db,
        """
        select count(*)
        from generate_series(1, 50) as n
        cross join lateral api.meter_create(%s, 'by k ' || n, p_by => '{data.k}', p_max_groups => 2)
        """,
        tenant,
    )
    one(db, "call tally.fill()")
    # 50,000 groups a batch; together more than a step of 100,000 takes.
    for batch in range(3):
        found = [(n, batch * 1000 + n, "sale", None, None, (("k", f"k {n}"),)) for n in range(1000)]
        store(db, tenant, stored, found)
    waiting = "select coalesce(sum(cardinality(entries)), 0) from tally.meter_deltas"
    assert one(db, waiting) == (150_000,)
    step = "select healed, more from tally.job_step('fold', %s, 0)"
    left = [(*one(db, step, tenant), *one(db, waiting)) for _ in range(2)]
    assert left == [(0, True, 50_000), (0, False, 0)]
    assert ask(db, tenant, stored, COUNT).startswith("meter by k")


# Filling, in steps


def fill_day(db, tenant):
    """One step of filling that ends with the first day."""
    return one(db, "select tally.fill_meters(%s, '0')", tenant)[0]


def test_a_month_is_answered_in_full_once_its_first_day_is_filled(db, new_tenant):
    tenant = new_tenant()
    stored: dict = {}
    day = 86_400_000_000
    # 28 February, 1 and 31 March; the origin is 30 March, 20:00.
    store(
        db, tenant, stored,
        [(day * n, 1, "sale", None, None, (("k", "a"),)) for n in (-31, -29, 1)],
    )  # fmt: skip
    create(db, tenant, "by k", 5)
    for _ in range(5):
        ask(db, tenant, stored, COUNT)
        fill_day(db, tenant)
    assert ask(db, tenant, stored, COUNT) == "meter by k"


def test_what_was_erased_before_its_day_was_filled_is_not_counted(db, new_tenant):
    for folded in (False, True):
        tenant = new_tenant()
        stored: dict = {}
        create(db, tenant, "by k", 5)
        store(db, tenant, stored, [(0, 1, "sale", None, "ann", (("k", "a"),))])
        if folded:
            fold(db)
        one(db, "select done from api.actor_erase(%s, 'ann')", tenant)
        stored.clear()
        store(db, tenant, stored, [(90 * 86_400_000_000, 2, "sale", None, None, (("k", "b"),))])
        one(db, "call tally.fill()")
        fold(db)
        assert ask(db, tenant, stored, COUNT) == "meter by k"
        assert verify(db, tenant) == []


def test_a_day_whose_events_a_change_of_calendar_moved_away_is_empty(db, new_tenant):
    tenant = new_tenant()
    stored: dict = {}
    create(db, tenant, "by k", 5)
    # 31 March, 23:30: still March in UTC, April in London. That day begins alike in both.
    hours = 3_600_000_000
    store(
        db, tenant, stored,
        [(n * hours // 2, 1, "sale", None, None, (("k", "a"),)) for n in (-48, 55)],
    )  # fmt: skip
    one(db, "call tally.fill()")
    one(db, "call tally.finalize('day')")
    one(db, "select tally.tenant_set_calendar(%s, 'Europe/London')", tenant)
    one(db, "call tally.fill()")
    assert verify(db, tenant) == []
    assert (
        ask(db, tenant, stored, ("by k", -72 * hours, 72 * hours, "count", 3, True)) == "meter by k"
    )


def test_an_event_that_is_erased_between_a_change_of_calendar_and_the_filling_is_in_no_quarter_hour(
    db, new_tenant
):
    tenant = new_tenant()
    stored: dict = {}
    create(db, tenant, "by k", 1)
    store(db, tenant, stored, [(0, 1, "view", None, "ann", ())])
    one(db, "call tally.fill()")
    one(db, "select tally.tenant_set_calendar(%s, 'America/New_York')", tenant)
    one(db, "select done from api.actor_erase(%s, 'ann')", tenant)
    stored.clear()
    one(db, "call tally.fill()")
    store(db, tenant, stored, [(1, 2, "view", None, None, ())])
    assert verify(db, tenant) == []


def test_days_that_were_filled_before_retention_passed_them_stay(db, new_tenant):
    tenant = new_tenant()
    stored: dict = {}
    heavy(db, tenant, stored, 2)
    create(db, tenant, "by k", 50)
    assert fill_day(db, tenant) == 1
    keep_events(db, tenant, 1)
    retain(db, tenant)
    one(db, "call tally.fill()")
    got = break_down(db, tenant, METERS["by k"], "2024-04-01", "2024-04-02", "count", 1, ["data.k"])
    assert got[-1][2:6] == (0, 0, None, "meter by k")
    got = break_down(db, tenant, METERS["by k"], "2024-03-31", "2024-04-01", "count", 1, ["data.k"])
    assert got[-1][2:6] == (61, 61, None, "meter by k")


def test_a_change_of_calendar_leaves_no_name_of_an_actor_that_is_erased_later(db, new_tenant):
    tenant = new_tenant()
    # Sessions too: an erasure knows of no others than those of events that are there.
    make = "select * from api.meter_create(%s, 'actors', p_by => '{actorId,sessionId}')"
    db.execute(make, (tenant,))
    # In New York another day than the one that begins at midnight in UTC.
    found = {"type": "sale", "occurredAt": ORIGIN.isoformat(), "actorId": "ann", "sessionId": "s1"}
    one(db, "select accepted from api.events_ingest_json(%s, %s)", tenant, json.dumps([found]))
    one(db, "call tally.fill()")
    one(db, "call tally.finalize('day')")
    one(db, "select tally.tenant_set_calendar(%s, 'America/New_York')", tenant)
    one(db, "call tally.fill()")
    one(db, "select done from api.actor_erase(%s, 'ann')", tenant)
    left = "select group_key from tally.meter_summaries where group_key && '{ann,s1}'"
    assert rows(db, left) == []


def test_an_erased_actor_is_named_by_no_meter_also_where_raw_events_are_gone(db, new_tenant):
    tenant = new_tenant()
    one(
        db,
        "select version from api.meter_create(%s, 'by actor', p_by => '{actorId,data.k}')",
        tenant,
    )
    drawn = [
        (n * 3_600_000_000, n, "sale", None, actor, (("k", actor),))
        for n, actor in enumerate(["ann", "bob", "ann", "cy"], 1)
    ]
    store(db, tenant, {}, drawn)
    one(db, "call tally.fill()")
    one(db, "call tally.finalize('day')")
    keep_events(db, tenant, 1)
    retain(db, tenant)
    figures = "select part, event_count from api.meter_summary_list(%s, 'by actor', 'month', '2024-03-01', '2024-05-01') order by 1, 2"
    before = rows(db, figures, tenant)
    one(db, "select done from api.actor_erase(%s, 'ann')", tenant)
    assert rows(db, figures, tenant) == before
    named = "select distinct group_key[1] from tally.meter_summaries where part = 'g' order by 1"
    names = [name for (name,) in rows(db, named)]
    assert names[:2] == ["bob", "cy"]
    assert names[2].startswith("erased ")
    assert len(names) == 3


def test_the_days_that_a_new_meter_fills_are_no_changes(db, new_tenant):
    tenant = new_tenant()
    heavy(db, tenant, {}, 2)
    one(db, "call tally.finalize('day')")
    create(db, tenant, "by k", 5)
    one(db, "call tally.fill()")
    assert rows(db, "select * from api.meter_changes(%s, 'by k')", tenant) == []
    days = "select distinct final, revision from api.meter_summary_list(%s, 'by k', 'day', '2024-03-30', '2024-04-02')"
    assert rows(db, days, tenant) == [(True, 1)]


# Percentiles

PERCENTILES = ["p50", "p90", "p99"]


def priced(days=3, of_each=70):
    """Numbers of many sizes, some negative, a 0, in two groups; a day of each, and one of none."""
    return [
        (
            day * 86_400_000_000 + n * 1_000_000, n, "sale",
            Decimal(round(math.exp(n * 37 % of_each / 9 - 2) * (-1 if n % 11 == 0 else 1), 2)) * (n > 1),
            None, (("k", f"k {n % 2}"),),
        )
        for day in range(days)
        for n in range(1, of_each)
    ] + [(days * 86_400_000_000, 999, "sale", None, None, (("k", "k 1"),))]  # fmt: skip


def test_percentiles_of_a_meter_are_closer_to_the_exact_ones_than_the_error_that_they_tell(
    db, new_tenant
):
    tenant = new_tenant()
    stored: dict = {}
    store(db, tenant, stored, priced())

    def told():
        return {
            measure: rows(
                db,
                "select part, group_values, total, source, relative_error"
                " from api.event_breakdown(%s, '{data.k}', p_measure => %s)",
                tenant, measure,
            )
            for measure in PERCENTILES
        }  # fmt: skip

    exact = told()
    create(db, tenant, "by k", 5)
    # Not filled: nothing changes.
    assert told() == exact
    one(db, "call tally.fill()")
    for measure, found in told().items():
        for (*part, total, source, error), (*same_part, figure, events, none) in zip(
            found, exact[measure], strict=True
        ):
            assert (part, source, events) == (same_part, "meter by k", "events")
            assert (error, none) == (Decimal("0.01"), 0)
            if figure is None:
                assert total is None
            else:
                assert abs(total - figure) <= abs(figure) * error
    counted = "select relative_error from api.event_breakdown(%s, '{data.k}') limit 1"
    assert one(db, counted, tenant) == (0,)
    series = """
      select bucket_start, total, relative_error
      from api.event_breakdown_timeline(%s, '{}', %s, p_measure => 'p90', p_from => '2024-03-30')
      where part = 'group'
      """
    for interval in ("hour", "day"):
        for start, total, error in rows(db, series, tenant, interval):
            ends = start + timedelta(**{f"{interval}s": 1})
            found = [
                e.value for e in stored.values() if start <= e.at < ends and e.value is not None
            ]
            assert (total, error) == (percentile("p90", found, True), Decimal("0.01"))


def test_percentiles_of_groups_that_no_meter_has_are_exact_with_their_total(db, new_tenant):
    tenant = new_tenant()
    stored: dict = {}
    store(db, tenant, stored, priced())
    # It has the total and other groups.
    make = "select * from api.meter_create(%s, 'm', p_by => '{type}', p_percentiles => true)"
    one(db, make, tenant)
    one(db, "call tally.fill()")
    for measure in PERCENTILES:
        question = ("by k", None, None, measure, 5)
        assert ask(db, tenant, stored, (*question, True)) == "events"
        assert ask(db, tenant, stored, (*question, False)) == "meter m"


@pytest.mark.parametrize("unit", ["day", "week", "month"])
def test_days_weeks_and_months_of_a_meter_have_percentiles_by_group_as_bi_tools_see(
    db, new_tenant, unit
):
    tenant = new_tenant()
    stored: dict = {}
    create(db, tenant, "by k", 5)
    store(db, tenant, stored, priced())
    one(db, "call tally.fill()")
    listed = """
      select period_on, part, group_values, p50, p90, p99
      from api.meter_summary_list(%s, 'by k', %s, '2024-03-01', '2024-05-01')
      """
    viewed = f"""
      select period_on, part, case when part = 'group' then array[dimension_1] end, p50, p90, p99
      from bi.meter_{unit}s where tenant_id = %s
      """
    for step in (lambda: fold(db), lambda: one(db, "call tally.finalize('day')")):
        store(db, tenant, stored, [(77, 5000, "sale", Decimal("3.5"), None, (("k", "k 0"),))])
        for _ in range(2):
            found = rows(db, listed, tenant, unit)
            assert sorted(found, key=str) == sorted(rows(db, viewed, tenant), key=str)
            for on, part, values, *figures in found:
                numbers = [
                    e.value
                    for e in stored.values()
                    if first_date(local_day(e.at, "UTC"), unit, 1) == on and e.value is not None
                    and (part == "total" or values == [dimension(e, "data.k")])
                ]  # fmt: skip
                if part in ("total", "group"):
                    assert figures == [percentile(m, numbers, True) for m in PERCENTILES]
            assert {part for _, part, *_ in found} == {"total", "group"}
            step()


def test_a_period_of_which_a_day_was_counted_without_percentiles_has_none(db, new_tenant):
    tenant = new_tenant()
    create(db, tenant, "by k", 5)
    store(db, tenant, {}, priced())
    one(db, "call tally.fill()")
    # As of a day that stays with the version that had none.
    db.execute(
        "update tally.meter_summaries set value_histogram = null"
        " where period_type = 'd' and period_start = '2024-03-30'"
    )
    listed = "select period_on, p50 is null from api.meter_summary_list(%s, 'by k', %s, '2024-03-01', '2024-05-01') where part = 'total'"
    viewed = "select period_on, p50 is null from bi.meter_{}s where part = 'total' and tenant_id = %s order by 1"
    wanted = {"day": [True, False, False, True], "month": [True, False]}
    for unit, empty in wanted.items():
        found = rows(db, listed, tenant, unit)
        assert [none for _, none in found] == empty
        assert rows(db, viewed.format(unit), tenant) == found


def test_a_damaged_histogram_is_found_and_healed(db, new_tenant):
    tenant = new_tenant()
    stored: dict = {}
    create(db, tenant, "by k", 5)
    store(db, tenant, stored, priced())
    one(db, "call tally.fill()")
    for period, part in (("q", "t"), ("d", "t"), ("d", "g")):
        db.execute(
            """
            update tally.meter_summaries
            set value_histogram = tally.histogram_compact(value_histogram || tally.histogram_entry(7))
            where period_type = %s and part = %s
            """,
            (period, part),
        )
        assert verify(db, tenant) != []
        one(db, "call tally.rebuild(%s)", tenant)
        assert verify(db, tenant) == []
    assert ask(db, tenant, stored, ("by k", None, None, "p90", 1, True)) == "meter by k"


def test_histograms_of_the_same_numbers_are_equal_whatever_they_were_made_of(db):
    numbers = [
        Decimal(n)
        for n in (0, 1, -1, "0.01", "-0.01", "1e-15", "9e-16", "-1e-300", "1e29", "-1e29", 5, 5)
    ]
    add = """
      with parts as (
        select tally.histogram_compact(string_agg(tally.histogram_entry(n), '' order by random())) as part
        from unnest(%s::numeric[]) with ordinality as n (n, i) group by i %% %s
      )
      select tally.histogram_compact(string_agg(part, '' order by random())) from parts
      """
    whole = one(db, add, numbers, 1)
    assert {one(db, add, numbers, parts) for parts in (1, 2, 3, 5, 12)} == {whole}
    read = "select tally.histogram_percentiles(%s, %s, -1e29, 1e29)"
    fractions = [n / 12 for n in range(1, 13)]
    got = one(db, read, whole[0], fractions)[0]
    # What is closer to 0 than 1e-15 is 0.
    for figure, number in zip(got, sorted(numbers), strict=True):
        assert abs(figure - number) <= max(abs(number) / 100, Decimal("1e-15"))
    assert one(db, "select tally.histogram_entry(null), tally.histogram_compact(null)") == (
        None,
        None,
    )
