"""Hours where the clock changes by half an hour, or an hour, at midnight or within the day."""

from datetime import UTC, datetime, timedelta

import pytest

from tests import calls
from tests.brute_force import buckets, local_day

CHANGES = [
    ("Australia/Lord_Howe", datetime(2024, 4, 6, 15, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2024, 10, 5, 15, 30, tzinfo=UTC)),
    ("America/St_Johns", datetime(2006, 10, 29, 2, 31, tzinfo=UTC)),
    ("Asia/Pyongyang", datetime(2015, 8, 14, 15, tzinfo=UTC)),
    ("America/Caracas", datetime(2007, 12, 9, 7, tzinfo=UTC)),
    ("America/Havana", datetime(2020, 11, 1, 5, tzinfo=UTC)),
    ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),
]  # fmt: skip
BUCKETS = """
  select (tally.timeline_buckets(%s, %s, 'hour', %s, 1)).*
"""


@pytest.mark.parametrize(("zone", "change"), CHANGES)
def test_a_timeline_has_the_hours_that_touch_its_range_wherever_that_begins(db, zone, change):
    """Every quarter hour of the days around the change, and a microsecond beside it, is tried."""
    quarter = timedelta(minutes=15)
    first = change.replace(minute=0) - 30 * timedelta(hours=1)
    for n in range(60 * 4):
        for beside in (-1, 0, 1):
            start = first + n * quarter + timedelta(microseconds=beside)
            end = start + timedelta(hours=2, minutes=10)
            starts, days, boundaries = calls.one(db, BUCKETS, start, end, zone)
            assert starts == buckets(start, end, "hour", zone, 1), start
            assert days == [local_day(at, zone) for at in starts]
            assert boundaries == [start, *starts[1:], end]
