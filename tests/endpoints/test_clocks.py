"""The limits and caches of one process, by a clock that moves when the test says so, and a database
that counts how often it is asked."""

import asyncio
import hashlib
from uuid import uuid4

import httpx
import pytest
from pgtally.http import authentication, rate_limit
from pgtally.http.authentication import Authentication
from pgtally.http.deadlines import Deadlines
from pgtally.http.passage import Caller
from pgtally.http.rate_limit import AddressLimit, RateLimit
from pgtally.problems import Problem
from pgtally.settings import Settings

from tests.conftest import running_service
from tests.endpoints.test_service import COUNT, problem

ADDRESS = "192.0.2.1"


class Clock:
    now = 1000.0

    def monotonic(self):
        return self.now


class Database:
    """Gives the same answer each time."""

    def __init__(self, *rows):
        self.rows = list(rows)
        self.asked = 0

    async def call(self, *_, **__):
        self.asked += 1
        return self.rows


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    for module in (authentication, rate_limit):
        monkeypatch.setattr(module, "time", clock)
    return clock


def refused(call, *arguments):
    """The status and the seconds to wait of a refusal; None where there is none."""
    try:
        found = call(*arguments)
        if asyncio.iscoroutine(found):
            asyncio.run(found)
    except Problem as refusal:
        return refusal.status, refusal.headers.get("Retry-After")
    return None


# Lots


def limited(*row):
    """A rate limit of 100 a minute, so of lots of 5, and a caller."""
    database = Database(row)
    limit = RateLimit(database, Settings(dsn="", analytics_per_minute=100))
    caller = Caller(uuid4(), uuid4(), ["read"], {}, {}, uuid4())
    return database, lambda: refused(limit.spend, caller, "analytics")


def test_a_lot_is_spent_without_asking_again_and_not_beyond_its_tokens(clock):
    database, spend = limited(5, 60, 0)
    assert [spend() for _ in range(5)] == [None] * 5
    assert database.asked == 1
    spend()
    assert database.asked == 2


def test_what_is_left_of_a_lot_after_two_seconds_is_lost(clock):
    database, spend = limited(5, 60, 0)
    spend()
    clock.now += 1.9
    spend()
    assert database.asked == 1
    clock.now += 0.2
    spend()
    assert database.asked == 2


def test_a_refusal_holds_without_asking_until_the_next_token_is_there(clock):
    database, spend = limited(0, 0, 3000)
    assert spend() == (429, "3")
    clock.now += 2.9
    assert spend() == (429, "1")
    assert database.asked == 1
    clock.now += 0.2
    database.rows = [(1, 0, 0)]
    assert spend() is None
    assert database.asked == 2


# Addresses


def test_an_address_has_its_tries_back_one_by_one_and_saves_up_no_more(clock):
    addresses = AddressLimit(5)
    for wait_seconds, tries in ((0, 5), (13, 1), (25, 2), (3600, 5)):
        clock.now += wait_seconds
        assert [refused(addresses.spend, ADDRESS) for _ in range(tries)] == [None] * tries
        assert refused(addresses.spend, ADDRESS)[0] == 429
        assert refused(addresses.check, ADDRESS)[0] == 429
        assert refused(addresses.check, "192.0.2.2") is None


def test_whoever_fills_the_memory_makes_it_forget_the_oldest_only(clock, monkeypatch):
    monkeypatch.setattr(rate_limit, "REMEMBERED", 10)
    addresses = AddressLimit(1)
    for n in range(12):
        assert refused(addresses.spend, f"192.0.2.{n}") is None
    spent = [refused(addresses.check, f"192.0.2.{n}") is not None for n in range(12)]
    assert spent == [False] * 2 + [True] * 10
    database = Database((5, 60, 0))
    limit = RateLimit(database, Settings(dsn="", analytics_per_minute=100))
    callers = [Caller(uuid4(), uuid4(), ["read"], {}, {}, uuid4()) for _ in range(11)]
    for caller in [*callers[:10], callers[0], callers[10]]:
        assert refused(limit.spend, caller, "analytics") is None
    assert database.asked == 11
    # The second was used longest ago: the eleventh took its place, and it takes the third's.
    for n, asked in ((0, 11), (10, 11), (9, 11), (1, 12), (0, 12)):
        assert refused(limit.spend, callers[n], "analytics") is None
        assert database.asked == asked, n


# Keys


def authenticating(database, tries):
    return Authentication(database, AddressLimit(tries), AddressLimit(tries), 1.0)


def key(checksum=None, number=0):
    text = f"pgt_{number:012x}_{number:064x}"
    return text + (hashlib.sha256(text.encode()).hexdigest()[:6] if checksum is None else checksum)


NOISE = [
    "", "x", "pgt_", key("abcdef"), key()[:-1], key() + "0", key().upper(), "pgt_" + "é" * 20,
    "' or 1=1 --", "%s",
]  # fmt: skip


def test_noise_and_a_wrong_checksum_are_refused_without_asking_the_database(clock):
    database = Database()
    found = authenticating(database, 1000)
    for wrong in NOISE:
        assert refused(found.find, wrong, ADDRESS) == (401, None), wrong
    assert database.asked == 0
    assert refused(found.find, key(), ADDRESS) == (401, None)
    assert database.asked == 1


def test_the_same_over_http_while_the_database_is_away():
    with running_service("host=127.0.0.1 port=1 user=nobody dbname=nowhere") as (url, _):
        for wrong in NOISE[1:]:
            problem(httpx.get(url + COUNT, headers={"X-API-Key": wrong.encode()}), 401)
        problem(httpx.get(url + COUNT, headers={"X-API-Key": key()}), 503)


def test_a_key_is_remembered_for_the_seconds_set_and_no_longer(clock):
    row = (uuid4(), uuid4(), ["read"], {}, {}, uuid4())
    database = Database((hashlib.sha256(key().encode()).digest(), *row))
    found = authenticating(database, 5)
    for wait_seconds, asked in ((0, 1), (0.9, 1), (0.2, 2)):
        clock.now += wait_seconds
        assert asyncio.run(found.find(key(), ADDRESS)) == Caller(*row)
        assert database.asked == asked
    database.rows = []
    clock.now += 0.9
    assert refused(found.find, key(), ADDRESS) is None
    clock.now += 0.2
    assert refused(found.find, key(), ADDRESS) == (401, None)


class Keys(Database):
    """Knows the keys of some numbers."""

    def __init__(self, numbers):
        super().__init__()
        self.numbers = numbers

    async def call(self, _, parameters, **__):
        self.asked += 1
        await asyncio.sleep(0)
        number = int(parameters["key_prefix"].removeprefix("pgt_"), 16)
        if number not in self.numbers:
            return []
        key_hash = hashlib.sha256(key(number=number).encode()).digest()
        return [(key_hash, uuid4(), uuid4(), ["read"], {}, {}, uuid4())]


def test_a_valid_key_never_seen_before_is_let_in_from_an_address_that_used_up_its_tries(clock):
    database = Keys({7})
    found = authenticating(database, 5)
    for wrong in ("x", key("abcdef")):
        for _ in range(10):
            refused(found.find, wrong, ADDRESS)
    assert refused(found.find, "x", ADDRESS)[0] == 429
    assert database.asked == 0
    assert refused(found.find, key(number=7), ADDRESS) is None
    assert refused(found.find, "x", ADDRESS)[0] == 429


def test_one_wrong_key_sent_again_and_again_is_looked_up_once_a_minute(clock):
    database = Keys({7})
    found = authenticating(database, 5)
    codes = [refused(found.find, key(), ADDRESS)[0] for _ in range(100)]
    assert codes == [401] * 5 + [429] * 95
    assert database.asked == 1
    # A client left with a revoked key does not lock out its neighbours behind the same address.
    assert refused(found.find, key(number=7), ADDRESS) is None
    clock.now += 61
    assert refused(found.find, key(), ADDRESS)[0] == 401
    assert database.asked == 3


def test_wrong_keys_of_the_right_form_cost_a_bounded_number_of_queries(clock):
    database = Keys({7})
    found = authenticating(database, 5)
    codes = [refused(found.find, key(number=n), ADDRESS)[0] for n in range(100, 200)]
    assert codes == [401] * 5 + [429] * 95
    assert database.asked == 5
    assert refused(found.find, key(number=7), "192.0.2.2") is None
    clock.now += 12
    assert refused(found.find, key(number=7), ADDRESS) is None


def test_as_many_at_once_cost_hardly_more_and_many_valid_ones_at_once_are_let_in(clock):
    async def at_once(found, numbers):
        return await asyncio.gather(
            *(found.find(key(number=n), ADDRESS) for n in numbers), return_exceptions=True
        )

    database = Keys({7})
    answers = asyncio.run(at_once(authenticating(database, 5), range(100, 200)))
    assert {problem.status for problem in answers} == {401, 429}
    assert database.asked <= 5 + rate_limit.LOOK_UPS_AT_ONCE
    # A hundred services behind one address, after this process began anew.
    database = Keys(range(100))
    answers = asyncio.run(at_once(authenticating(database, 5), range(100)))
    assert [type(one) for one in answers] == [Caller] * 100
    assert database.asked == 100


def test_guesses_push_no_valid_key_out_of_the_memory(clock, monkeypatch):
    monkeypatch.setattr(authentication, "REMEMBERED", 10)
    database = Keys({7})
    found = authenticating(database, 1000)
    assert refused(found.find, key(number=7), ADDRESS) is None
    for n in range(100, 200):
        assert refused(found.find, key(number=n), ADDRESS) == (401, None)
    asked = database.asked
    assert refused(found.find, key(number=7), ADDRESS) is None
    assert database.asked == asked


# Deadlines


def test_each_request_has_its_own_time_and_one_that_is_given_more_has_it():
    ended = []

    async def request(deadlines, name, begins, more=0.0):
        await asyncio.sleep(begins)
        task = deadlines.start()
        started = asyncio.get_running_loop().time()
        try:
            if more:
                await asyncio.sleep(more)
                deadlines.start()
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            assert deadlines.passed(task)
            ended.append((name, asyncio.get_running_loop().time() - started))
        finally:
            deadlines.stop(task)

    async def all_of_them():
        deadlines = Deadlines(0.2)
        requests = [("first", 0.0), ("extended", 0.05, 0.1), ("second", 0.1), ("late", 0.7)]
        await asyncio.gather(*(request(deadlines, *one) for one in requests))

    asyncio.run(all_of_them())
    assert [name for name, _ in ended] == ["first", "second", "extended", "late"]
    for (_, took), least in zip(ended, (0.2, 0.2, 0.3, 0.2), strict=True):
        assert took >= least - 0.01


def test_a_request_that_somebody_else_cancels_is_not_taken_for_a_late_one():
    async def cancelled():
        deadlines = Deadlines(10)
        found = []

        async def request():
            task = deadlines.start()
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                found.append(deadlines.passed(task))
                raise

        running = asyncio.create_task(request())
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return found, running.cancelled()

    assert asyncio.run(cancelled()) == ([False], True)
