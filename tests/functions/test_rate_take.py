"""api.rate_take: a bucket by a clock of the test's own, which moves when the test says so."""

from uuid import uuid4

import pytest

from tests import calls


class Bucket:
    """One bucket. Nothing else moves it: `wait` sets its clock back, so that time has passed."""

    def __init__(self, db):
        self.db = db
        self.name = f"test {uuid4()}"

    def take(self, per_minute, wanted):
        """Taken, remaining, milliseconds until the next."""
        return calls.one(
            self.db, "select * from api.rate_take(%s, %s, %s)", self.name, per_minute, wanted
        )

    def wait(self, seconds):
        self.db.execute(
            "update tally.rate_buckets set updated_at = updated_at - make_interval(secs => %s) where bucket = %s",
            (seconds, self.name),
        )


@pytest.fixture
def bucket(db):
    return Bucket(db)


# At 6 a minute a token takes 10 s, so the milliseconds that the test itself takes make no difference.


def test_a_bucket_begins_full_and_gives_no_more_than_it_has(bucket):
    assert bucket.take(6, 4) == (4, 2, 0)
    assert bucket.take(6, 4) == (2, 0, 0)
    taken, remaining, retry_after_ms = bucket.take(6, 4)
    assert (taken, remaining) == (0, 0)
    assert 5_000 < retry_after_ms <= 10_000


def test_a_bucket_refills_evenly_and_keeps_parts_of_a_token(bucket):
    bucket.take(6, 6)
    bucket.wait(25)
    assert bucket.take(6, 6)[:2] == (2, 0)
    bucket.wait(2.5)
    assert bucket.take(6, 6)[0] == 0
    bucket.wait(3.5)
    assert bucket.take(6, 6)[0] == 1


def test_a_bucket_that_was_left_alone_holds_a_minutes_worth_and_no_more(bucket):
    bucket.take(6, 6)
    bucket.wait(3600)
    assert bucket.take(6, 1000) == (6, 0, 0)


def test_a_lower_limit_holds_at_once(bucket):
    bucket.take(600, 1)
    assert bucket.take(6, 1000) == (6, 0, 0)


def test_a_clock_that_was_set_back_gives_and_takes_nothing(bucket):
    bucket.take(6, 3)
    bucket.wait(-3600)
    assert bucket.take(6, 6)[:2] == (3, 0)
