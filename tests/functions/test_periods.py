"""Days, weeks, months and hours against Python's zoneinfo."""

import itertools
import zoneinfo
from datetime import UTC, date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests import calls
from tests.brute_force import Event, buckets, day_start, ingest

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
ODD = [
    "UTC", "America/New_York", "America/St_Johns", "America/Sao_Paulo", "America/Havana",
    "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Chatham", "Pacific/Apia", "Antarctica/Casey",
    "America/Nuuk", "Africa/Cairo", "Asia/Tehran", "Atlantic/Azores", "Pacific/Kwajalein",
]  # fmt: skip


@settings(max_examples=150)
@given(st.sampled_from(ODD), st.dates(date(1980, 1, 2), date(2037, 12, 31)))
@example("America/Havana", date(2020, 11, 1))
@example("America/Sao_Paulo", date(2018, 11, 4))
@example("America/Sao_Paulo", date(2018, 2, 18))
@example("America/St_Johns", date(2006, 10, 29))
@example("Pacific/Apia", date(2011, 12, 30))
@example("Pacific/Apia", date(2011, 12, 31))
@example("Antarctica/Casey", date(2010, 3, 5))
@example("Pacific/Kwajalein", date(1993, 8, 21))
def test_a_day_starts_at_the_first_instant_at_or_after_its_midnight(db, zone, on):
    (got,) = db.execute("select tally.day_start(%s, %s)", (on, zone)).fetchone()
    assert got == day_start(on, zone)


def test_every_day_around_every_clock_change_of_every_zone_starts_right(db):
    """All zones, all changes from 1980 to 2037, the day of the change and its neighbours."""
    cases = []
    moments = [datetime(1980, 1, 2, tzinfo=UTC) + n * timedelta(days=14) for n in range(1515)]
    assert moments[-1].year == 2038
    # Names that PostgreSQL reads as abbreviations are refused; see below.
    fixed = {row[0] for row in db.execute("select abbrev from pg_timezone_abbrevs")}
    for name in sorted(zoneinfo.available_timezones()):
        if name in fixed | {"localtime", "Factory", "posixrules"} or name.startswith(
            ("posix/", "right/")
        ):
            continue
        tz = ZoneInfo(name)
        clocks = [(at, at.astimezone(tz).utcoffset()) for at in moments]
        for (low, previous), (high, offset) in itertools.pairwise(clocks):
            if offset == previous:
                continue
            while high - low > MINUTE:
                middle = low + (high - low) / 2
                if middle.astimezone(tz).utcoffset() == previous:
                    low = middle
                else:
                    high = middle
            on = high.astimezone(tz).date()
            cases += [(on + n * DAY, name) for n in (-1, 0, 1)]
    # The zones are many and alike: each change once for each distinct set of clocks.
    cases = sorted(set(cases), key=lambda case: (case[1], case[0]))
    unique: dict[tuple[date, datetime], tuple[date, str]] = {}
    for on, name in cases:
        unique.setdefault((on, day_start(on, name)), (on, name))
    assert len(unique) > 1000
    rows = db.execute(
        "select on_day, zone, tally.day_start(on_day, zone) from unnest(%s::date[], %s::text[]) as t (on_day, zone)",
        ([on for on, _ in unique.values()], [zone for _, zone in unique.values()]),
    ).fetchall()
    wrong = [
        (on, zone, got, day_start(on, zone)) for on, zone, got in rows if got != day_start(on, zone)
    ]
    assert not wrong, "\n".join(map(str, wrong))


@settings(max_examples=300)
@given(
    st.sampled_from(ODD),
    st.datetimes(datetime(1980, 1, 3), datetime(2037, 12, 31), timezones=st.just(UTC)),
    st.integers(1, 7),
    st.sampled_from(["quarter_hour", "hour", "day", "week", "month"]),
)
@example("America/St_Johns", datetime(2006, 10, 29, 2, 45, tzinfo=UTC), 1, "day")
@example("America/Havana", datetime(2020, 11, 1, 4, 30, tzinfo=UTC), 1, "day")
@example("Australia/Lord_Howe", datetime(2024, 4, 6, 15, 5, tzinfo=UTC), 1, "hour")
def test_periods_hold_their_instants_and_follow_each_other(db, zone, at, week_start, unit):
    start, end, again, following = db.execute(
        """
        select p.s, p.e, tally.period_start(p.s, %(unit)s, %(zone)s, %(week)s),
          tally.period_start(p.e, %(unit)s, %(zone)s, %(week)s)
        from (select tally.period_start(%(at)s, %(unit)s, %(zone)s, %(week)s) as s,
          tally.period_end(%(at)s, %(unit)s, %(zone)s, %(week)s) as e) as p
        """,
        {"at": at, "unit": unit, "zone": zone, "week": week_start},
    ).fetchone()
    assert start <= at < end
    assert again == start
    assert following == end
    assert start.timestamp() % 900 == 0
    local = start.astimezone(ZoneInfo(zone))
    if unit == "week":
        # Samoa left a date out, so a week may begin a day late there.
        assert local.isoweekday() == week_start or zone in ("Pacific/Apia", "Pacific/Kwajalein")
    if unit == "month":
        assert local.day == 1
    limits = {
        "quarter_hour": 0.25,
        "hour": 1,
        "day": 25.1,
        "week": 7 * 24 + 4,
        "month": 31 * 24 + 4,
    }
    assert (end - start) <= timedelta(hours=limits[unit]) + timedelta(
        hours=24 if zone.startswith("Pacific") else 3
    )


@pytest.mark.parametrize(
    "name",
    [
        "Europe/Berlin",
        "UTC",
        "Etc/GMT+5",
        "America/Argentina/Ushuaia",
        "America/Port-au-Prince",
        "GMT",
    ],
)
def test_zone_names_are_accepted(db, new_tenant, name):
    assert new_tenant(time_zone=name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Mars/X",
        "UTC+3",
        "Foo/Bar+5",
        "EST5EDT6",
        "'; drop table tally.events; --",
        "<x>5",
        "+02:00",
        "CET",
    ],
)
def test_what_is_no_zone_name_is_refused(db, new_tenant, name):
    import psycopg

    with pytest.raises(psycopg.Error) as error:
        new_tenant(time_zone=name)
    assert error.value.sqlstate == "TY400"


# Zones that crossed the date line, and the date that each of them left out.
LEFT_OUT = {
    "Pacific/Apia": date(2011, 12, 30),
    "Pacific/Fakaofo": date(2011, 12, 30),
    "Pacific/Kiritimati": date(1994, 12, 31),
    "Pacific/Kwajalein": date(1993, 8, 21),
}


@pytest.fixture(params=LEFT_OUT)
def crossing(request):
    """The zone, the date that it left out, and the days that came, three weeks about it."""
    zone = request.param
    on = LEFT_OUT[zone]
    assert day_start(on, zone) == day_start(on + DAY, zone), "the time zone data says otherwise"
    days = [on + n * DAY for n in range(-21, 22) if n]
    return zone, on, days


def test_a_date_that_the_zone_left_out_is_the_day_that_came_instead(db, new_tenant, crossing):
    zone, on, _ = crossing
    tenant = new_tenant(zone)
    ingest(db, tenant, [Event(day_start(on, zone), UUID(int=1), "a")])
    for unit in calls.UNITS:
        assert calls.summary(db, tenant, on, unit) == calls.summary(db, tenant, on + DAY, unit)
        assert calls.summary(db, tenant, on, unit)[0] == 1
    count = "select total from api.event_count(%s, %s::text, %s::text)"
    assert calls.one(db, count, tenant, on, on + DAY) == (0,)
    assert calls.one(db, count, tenant, on, on + 2 * DAY) == (1,)
    timeline = "select bucket_on, total from api.event_timeline(%s, 'day', %s::text, %s::text)"
    assert calls.rows(db, timeline, tenant, on - DAY, on + 2 * DAY) == [
        (on - DAY, 0),
        (on + DAY, 1),
    ]


@pytest.mark.parametrize("week_start", range(1, 8))
def test_every_period_can_be_asked_back_by_its_date_also_beside_a_date_left_out(
    db, new_tenant, crossing, week_start
):
    zone, _, days = crossing
    tenant = new_tenant(zone, week_start)
    ingest(db, tenant, [Event(day_start(on, zone), UUID(int=1), "a") for on in days])
    listed = """
      select period_on, period_start, value
      from api.summary_list(%s, %s, %s::text, %s::text, 'a', p_period_start => %s::text)
    """
    for unit in calls.UNITS:
        whole = calls.rows(db, listed, tenant, unit, days[0], days[-1], "")
        first, last = day_start(days[0], zone), day_start(days[-1], zone)
        starts = buckets(first, last, unit, zone, week_start)
        assert [start for _, start, _ in whole] == [at for at in starts if at >= first]
        for number, row in enumerate(whole):
            assert calls.rows(db, listed, tenant, unit, "", "", row[0]) == [row]
            following = whole[number + 1][0] if number + 1 < len(whole) else days[-1]
            assert calls.rows(db, listed, tenant, unit, row[0], following, "") == [row]
        pages = [
            calls.rows(db, listed, tenant, unit, on, following, "")
            for on, following in itertools.pairwise(days)
        ]
        assert list(itertools.chain(*pages)) == whole


def test_the_range_before_a_range_of_days_is_of_as_many_days_that_really_came(db, crossing):
    zone, on, days = crossing
    got = calls.rows(
        db,
        """
        select f.on_day, t.on_day, p.previous_from, p.previous_to
        from unnest(%s::date[]) as f (on_day)
        join unnest(%s::date[]) as t (on_day) on t.on_day > f.on_day
        cross join lateral tally.range_previous(
          tally.day_start(f.on_day, %s), tally.day_start(t.on_day, %s), %s) as p
        """,
        days[10:], days[10:], zone, zone, zone,
    )  # fmt: skip
    checked = 0
    for first, last, previous_from, previous_to in got:
        if first.day == last.day == 1:
            continue
        earlier = days.index(first) - (days.index(last) - days.index(first))
        assert previous_to == day_start(first, zone)
        if earlier >= 0:
            assert previous_from == day_start(days[earlier], zone), (first, last)
            checked += 1
    assert checked > 100
    (got,) = calls.rows(
        db,
        "select previous_from, previous_to from api.event_count(%s, %s::text, %s::text, p_compare => true)",
        calls.one(db, "select tenant_id from api.tenant_create('b', %s)", zone)[0],
        on + DAY, on + 2 * DAY,
    )  # fmt: skip
    assert got == (day_start(on - DAY, zone), day_start(on + DAY, zone))
