"""A change of calendar: what it leaves as it was, and that whoever keeps final figures hears of the rest."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests import calls
from tests.brute_force import Event, ingest
from tests.ledger import CHANGES, Ledger, figures

DAY = timedelta(days=1)
NOW = datetime.now(UTC)
AT = (NOW - 40 * DAY).replace(hour=12)
ROWS = "select * from tally.summaries where tenant_id = %s order by 1, 2, 3, 4, 5"
STATE = """
  select s::text, (select count(*) from tally.audit_log as l where l.tenant_id = s.tenant_id)
  from tally.tenant_state as s where s.tenant_id = %s
"""


def change(db, tenant, zone, week_start=1):
    return calls.one(db, "select tally.tenant_set_calendar(%s, %s, %s)", tenant, zone, week_start)[
        0
    ]


def told(db, tenant, unit="day", kind="a"):
    """Date, first instant, figure, final and revision of each change of a type."""
    return [
        row[2:7] for row in calls.rows(db, CHANGES, tenant, "-infinity") if row[:2] == (unit, kind)
    ]


def test_the_same_calendar_changes_nothing_at_all(db, new_tenant):
    tenant = new_tenant("Asia/Tokyo", 7)
    ingest(db, tenant, [Event(AT, UUID(int=1), "a", 1), Event(AT, UUID(int=2), "b")])
    calls.finalize(db)
    ingest(db, tenant, [Event(AT, UUID(int=3), "a", 5)])
    calls.fold(db)
    ingest(db, tenant, [Event(AT, UUID(int=4), "a", 7)])
    before = [
        calls.rows(db, text, tenant)
        for text in (ROWS, STATE, CHANGES.replace("%s::text", "'-infinity'"))
    ]
    assert change(db, tenant, "Asia/Tokyo", 7) == 0
    after = [
        calls.rows(db, text, tenant)
        for text in (ROWS, STATE, CHANGES.replace("%s::text", "'-infinity'"))
    ]
    assert after == before
    for unit in calls.UNITS:
        assert calls.summary(db, tenant, AT.date(), unit) == (3, False, 2)


def test_the_same_calendar_changes_nothing_where_quarter_hours_are_gone(db, new_tenant):
    tenant = new_tenant()
    calls.keep_events(db, tenant, 10, 20)
    calls.retain(db, tenant)
    assert change(db, tenant, "UTC") == 0
    with pytest.raises(psycopg.Error, match="cannot be cut anew"):
        change(db, tenant, "Asia/Tokyo")


def test_another_week_start_leaves_days_and_months_as_they_are_and_weeks_lose_final(db, new_tenant):
    tenant = new_tenant()
    ingest(db, tenant, [Event(AT, UUID(int=1), "a")])
    calls.finalize(db)
    others = "select * from tally.summaries where tenant_id = %s and period_type <> 'w' order by 1, 2, 3, 4, 5"
    before = calls.rows(db, others, tenant)
    assert change(db, tenant, "UTC", 4) > 0
    assert calls.rows(db, others, tenant) == before
    for metric in ("a", "never seen"):
        finals = [calls.summary(db, tenant, AT.date(), unit, metric)[1] for unit in calls.UNITS]
        assert finals == [True, False, True]
    calls.finalize(db, "week")
    for metric in ("a", "never seen"):
        assert calls.summary(db, tenant, AT.date(), "week", metric)[1]


def test_another_week_start_needs_no_quarter_hours(db, new_tenant):
    tenant = new_tenant()
    ingest(db, tenant, [Event(NOW - n * DAY, UUID(int=n), "a") for n in range(1, 60)])
    calls.fold(db)
    calls.keep_events(db, tenant, 10, 20)
    calls.retain(db, tenant)
    change(db, tenant, "UTC", 4)
    weeks = "select sum(event_count), count(distinct extract(isodow from period_start at time zone 'UTC')) from tally.summaries where period_type = 'w' and event_count > 0 and kind = 'e'"
    assert calls.one(db, weeks) == (59, 1)
    assert calls.verify(db, tenant) == []


@pytest.mark.parametrize("unit", calls.UNITS)
@pytest.mark.parametrize("metric", ["a", "never seen"])
def test_no_period_of_a_new_zone_is_final_before_it_was_checked(db, new_tenant, unit, metric):
    tenant = new_tenant()
    ingest(db, tenant, [Event(AT, UUID(int=1), "a")])
    calls.finalize(db)
    assert calls.summary(db, tenant, AT.date(), unit, metric)[1]
    change(db, tenant, "America/New_York")
    assert not calls.summary(db, tenant, AT.date(), unit, metric)[1]
    calls.finalize(db)
    assert calls.summary(db, tenant, AT.date(), unit, metric)[1]


def test_a_period_that_both_calendars_cut_alike_keeps_its_rows(db, new_tenant):
    """London's winter is UTC, its summer is not."""
    tenant = new_tenant()
    winter, summer = datetime(2024, 1, 10, 12, tzinfo=UTC), datetime(2024, 7, 10, 12, tzinfo=UTC)
    ingest(db, tenant, [Event(at, UUID(int=1), "a") for at in (winter, summer)])
    calls.finalize(db)
    ingest(db, tenant, [Event(winter, UUID(int=2), "a")])
    calls.fold(db)
    calls.finalize(db)
    kept = "select * from tally.summaries where tenant_id = %s and period_start < '2024-02-01' order by 1, 2, 3, 4, 5"
    before = calls.rows(db, kept, tenant)
    change(db, tenant, "Europe/London")
    assert calls.rows(db, kept, tenant) == before
    assert calls.summary(db, tenant, winter.date()) == (2, True, 2)
    assert calls.summary(db, tenant, summer.date()) == (1, False, 4)
    calls.finalize(db)
    assert calls.summary(db, tenant, summer.date()) == (1, True, 4)


def test_a_day_that_is_cut_elsewhere_is_told_as_gone_at_its_old_beginning_and_with_its_new_figure(
    db, new_tenant
):
    tenant = new_tenant()
    on = date(2024, 1, 10)
    noon = datetime(2024, 1, 10, 12, tzinfo=UTC)
    ingest(
        db, tenant, [Event(noon, UUID(int=1), "a"), Event(noon + 11 * DAY / 24, UUID(int=2), "a")]
    )
    calls.finalize(db)
    change(db, tenant, "Asia/Tokyo")
    # 23:00 UTC is the next day there.
    old = datetime(2024, 1, 10, tzinfo=UTC)
    new = old - timedelta(hours=9)
    gone, first, second = told(db, tenant)
    assert gone == (on, old, 0, True, 2)
    assert {first, second} == {(on, new, 1, False, 3), (on + DAY, new + DAY, 1, False, 3)}
    calls.finalize(db)
    assert calls.summary(db, tenant, on) == (1, True, 3)
    assert calls.summary(db, tenant, on + DAY) == (1, True, 3)
    assert told(db, tenant)[0] == gone
    assert {row[3] for row in told(db, tenant)} == {True}


def test_a_date_that_loses_all_its_events_is_told_with_0(db, new_tenant):
    tenant = new_tenant()
    late = datetime(2024, 1, 10, 23, tzinfo=UTC)
    ingest(db, tenant, [Event(late, UUID(int=1), "a")])
    calls.finalize(db)
    change(db, tenant, "Asia/Tokyo")
    calls.finalize(db)
    assert calls.summary(db, tenant, date(2024, 1, 10)) == (0, True, 3)
    assert calls.summary(db, tenant, date(2024, 1, 11)) == (1, True, 3)
    ingest(db, tenant, [Event(late - DAY / 2, UUID(int=2), "a")])
    calls.fold(db)
    assert calls.summary(db, tenant, date(2024, 1, 10)) == (1, False, 4)


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York", "Europe/London"])
@pytest.mark.parametrize("unit", calls.UNITS)
@pytest.mark.parametrize("finalized", [True, False])
def test_what_was_final_as_nothing_starts_no_first_revision_after_a_change_of_zone(
    db, new_tenant, zone, unit, finalized
):
    tenant = new_tenant()
    ingest(db, tenant, [Event(AT, UUID(int=1), "b")])
    calls.finalize(db)
    assert calls.summary(db, tenant, AT.date(), unit) == (0, True, 1)
    change(db, tenant, zone)
    if finalized:
        calls.finalize(db)
    ingest(db, tenant, [Event(AT, UUID(int=2), "a")])
    calls.fold(db)
    value, final, revision = calls.summary(db, tenant, AT.date(), unit)
    assert (value, final, revision > 1) == (1, False, True)
    assert [row[2] for row in told(db, tenant, unit)] == [1]


def test_the_first_event_of_the_running_day_starts_no_revision_after_a_change(db, new_tenant):
    tenant = new_tenant()
    ingest(db, tenant, [Event(AT, UUID(int=1), "b")])
    calls.finalize(db)
    change(db, tenant, "Asia/Tokyo", 3)
    now = datetime.now(UTC)
    (today,) = calls.one(db, "select tally.local_date(now(), 'Asia/Tokyo')")
    ingest(db, tenant, [Event(now, UUID(int=2), "a")])
    calls.fold(db)
    for unit in calls.UNITS:
        assert calls.summary(db, tenant, today, unit) == (1, False, 1)


def test_a_period_that_is_gone_stays_final_and_hinders_no_finalize_or_rebuild(db, new_tenant):
    tenant = new_tenant()
    ingest(db, tenant, [Event(AT + n * DAY, UUID(int=n), "a") for n in range(10)])
    calls.finalize(db)
    change(db, tenant, "America/New_York", 3)
    gone = [row for row in told(db, tenant) if row[2] == 0]
    assert gone
    calls.finalize(db)
    assert calls.rebuild(db, tenant) == (10, 0)
    db.execute("call tally.verify_recent(60)")
    assert calls.one(db, "select sum(healed_count) from tally.job_runs") == (0,)
    assert [row for row in told(db, tenant) if row[2] == 0] == gone
    for unit in calls.UNITS:
        assert calls.one(db, "call tally.finalize(%s)", unit)[0] == 0


def test_what_an_earlier_change_emptied_does_not_speak_for_another_date_after_the_next(
    db, new_tenant
):
    """Tokyo's 10th, which lost its events, begins on New York's 9th."""
    tenant = new_tenant()
    noon, late = datetime(2024, 3, 9, 12, tzinfo=UTC), datetime(2024, 3, 10, 23, tzinfo=UTC)
    ingest(db, tenant, [Event(noon, UUID(int=1), "a"), Event(late, UUID(int=2), "a")])
    calls.finalize(db)
    ledger = Ledger("date", forgets=True)
    for zone in ("Asia/Tokyo", "America/New_York", "Pacific/Honolulu", "UTC"):
        change(db, tenant, zone)
        ledger.poll(db, tenant)
        calls.finalize(db)
        ledger.poll(db, tenant)


def test_what_a_change_moves_comes_in_pages(db, new_tenant):
    tenant = new_tenant()
    ingest(db, tenant, [Event(AT + n * DAY, UUID(int=200 + n), "a") for n in range(-160, 0)])
    calls.finalize(db)
    change(db, tenant, "Asia/Tokyo")
    since, pages = "-infinity", []
    while page := calls.changes(db, tenant, since, 20):
        pages.append(len(page))
        since = page[-1][3]
    assert sum(pages) > 2 * 160
    assert max(pages) < 60


hours = st.integers(0, 40 * 24)
calendars = st.sampled_from([
    ("UTC", 1), ("UTC", 4), ("UTC", 7), ("Asia/Tokyo", 1), ("America/New_York", 1), ("America/New_York", 7),
    ("Europe/London", 1), ("Pacific/Kiritimati", 1), ("Pacific/Honolulu", 1), ("Asia/Kathmandu", 4),
])  # fmt: skip
steps = st.one_of(
    st.tuples(st.just("ingest"), st.lists(st.tuples(hours, st.sampled_from("ab")), min_size=1, max_size=6)),
    st.tuples(st.just("finalize"), st.sampled_from(calls.UNITS)),
    st.tuples(st.just("finalize"), st.just("all")),
    st.tuples(st.just("calendar"), calendars),
    st.tuples(st.just("calendar"), calendars),
    st.tuples(st.sampled_from(["fold", "rebuild"]), st.none()),
    st.tuples(st.just("erase"), hours),
)  # fmt: skip


@example(
    ("UTC", 1),
    [
        ("calendar", ("Pacific/Kiritimati", 1)),
        ("ingest", [(475, "a")]),
        ("finalize", "all"),
        ("calendar", ("UTC", 4)),
        ("calendar", ("Pacific/Kiritimati", 1)),
        ("finalize", "all"),
        ("calendar", ("Europe/London", 1)),
        ("ingest", [(464, "a")]),
        ("finalize", "all"),
        ("calendar", ("UTC", 7)),
    ],
)
@settings(max_examples=40)
@given(calendars, st.lists(steps, min_size=2, max_size=14))
def test_a_ledger_that_polls_for_changes_never_holds_a_stale_figure(db, new_tenant, first, plan):
    """Keyed by first instant or by date, and hearing only what is new or all from the beginning."""
    tenant = new_tenant(*first)
    ledgers = [Ledger(by, forgets) for by in ("start", "date") for forgets in (False, True)]
    start = datetime(2024, 3, 1, tzinfo=UTC)
    number = 0
    for step, argument in [*plan, ("finalize", "all")]:
        if step == "ingest":
            batch = []
            for hour, kind in argument:
                number += 1
                at = start + timedelta(hours=hour)
                batch.append(Event(at, UUID(int=number), kind, None, f"actor {hour}"))
            ingest(db, tenant, batch)
        elif step == "finalize":
            calls.finalize(db, *(calls.UNITS if argument == "all" else (argument,)))
        elif step == "calendar":
            change(db, tenant, *argument)
        elif step == "erase":
            db.execute("select * from api.actor_erase(%s, %s)", (tenant, f"actor {argument}"))
        elif step == "rebuild":
            assert calls.rebuild(db, tenant)[1] == 0
        else:
            calls.fold(db)
        for ledger in ledgers:
            ledger.poll(db, tenant)
    assert calls.verify(db, tenant) == []
    assert calls.one(db, "select sum(healed_count) from tally.job_runs") == (0,)
    # All is final now: what the ledgers hold is what /summaries gives, and 0 where that has no period.
    for ledger in ledgers:
        truth = {ledger.key(*row[:4]): row[4] for row in figures(db, tenant)}
        assert {key: truth.get(key, 0) for key in ledger.figures} == {
            key: figure for key, (_, figure) in ledger.figures.items()
        }
        assert {key for key, figure in truth.items() if figure} <= set(ledger.figures)
