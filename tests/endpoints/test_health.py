"""What /health says, to whom, at what price; a server that lacks disk or memory."""

import asyncio
import time
import typing
from types import SimpleNamespace
from uuid import uuid4

import httpx
import psycopg
import pytest
from pgtally import database
from pgtally.endpoints import health
from pgtally.problems import problem_of
from pgtally.settings import Settings

from tests.conftest import Service, installation_key, running_service
from tests.endpoints.test_service import COUNT, problem

READY = "/health/ready"
# The SQLSTATE that the next insert of an event meets.
LACKING = """
  create table lacking (state text);
  create function lack() returns trigger language plpgsql security definer as $$
  begin
    if exists (select from public.lacking) then
      raise exception using errcode = (select state from public.lacking),
        message = 'could not extend file "base/16384/24601": No space left on device';
    end if;
    return new;
  end $$;
  create trigger lack before insert on tally.events for each row execute function lack();
"""


@pytest.fixture
def own(dsn, service_dsn, db):
    """A service on a database of its own, and the superuser's connection to that."""
    with running_service(service_dsn) as (url, _):
        yield Service(url, installation_key(dsn)), db


def test_readiness_tells_everybody_only_which_kinds_of_trouble_there_are(own):
    service, db = own
    client = service.tenant()
    assert client.post("/events", json={"type": "a"}).status_code == 201
    assert httpx.get(service.url + READY).json() == {
        "ready": True, "database": "ok", "trouble": [],
    }  # fmt: skip
    db.execute("update tally.tenants set time_zone = 'Nowhere'")
    db.execute("call tally.fold()")
    time.sleep(health.HOLDS_SECONDS)
    answer = httpx.get(service.url + READY)
    assert (answer.status_code, answer.json()["trouble"]) == (200, ["jobs failed"])
    problem(httpx.get(service.url + "/health/details"), 401)
    problem(client.get("/health/details"), 403)
    checks = service.admin.get("/health/details").json()["checks"]
    (fold,) = [check for check in checks if check["name"] == "job fold"]
    assert fold["status"] == "failed"
    assert client.tenant_id in fold["message"]
    assert fold["remedy"].startswith("call tally.fold()")
    assert {check["status"] for check in checks} <= set(
        typing.get_args(typing.get_type_hints(health.Check)["status"])
    )


class Counting:
    """A database that counts how often it is asked."""

    disk_full = False

    def __init__(self):
        self.calls = 0

    async def call(self, sql, parameters):
        self.calls += 1
        await asyncio.sleep(0.01)
        if self.calls == 3:
            raise psycopg.OperationalError
        return [(["backlog"],)]


def test_however_many_ask_the_database_is_asked_once_a_second(monkeypatch):
    counting = Counting()
    now = 100.0
    monkeypatch.setattr(health, "time", SimpleNamespace(monotonic=lambda: now))

    async def ask():
        nonlocal now
        readiness = health.Readiness(counting)
        for second in range(1, 5):
            for _ in range(3):
                answers = await asyncio.gather(*(readiness.ask() for _ in range(500)))
                assert {answer.ready for answer in answers} == {second != 3}
            assert counting.calls == second
            now += health.HOLDS_SECONDS

    asyncio.run(ask())


def test_whoever_asks_first_and_leaves_stops_nobody():
    async def ask():
        readiness = health.Readiness(Counting())
        first = asyncio.create_task(readiness.ask())
        second = asyncio.create_task(readiness.ask())
        await asyncio.sleep(0)
        first.cancel()
        return await second

    assert asyncio.run(ask()).trouble == ["backlog"]


def test_a_server_that_lacks_something_is_503_everywhere_and_readiness_says_disk_full(own):
    service, db = own
    client = service.tenant()
    db.execute(LACKING)
    event = {"type": "a", "occurredAt": "2026-01-01T00:00:00Z"}
    segment = {"type": "track", "event": "a", "userId": "u", "messageId": "m"}
    for state, seconds in (("53200", "1"), ("53300", "1"), ("53100", "10")):
        db.execute("insert into lacking values (%s)", (state,))
        assert "disk full" not in httpx.get(service.url + READY).json()["trouble"]
        for answer in (
            client.post("/events", json=event),
            client.post("/events", json=event, headers={"Idempotency-Key": str(uuid4())}),
            client.post("/events/bulk", json={"events": [event]}),
            client.post(
                "/events/bulk", json={"events": [event, {}]}, headers={"Prefer": "handling=lenient"}
            ),
            client.post("/v1/batch", json={"batch": [segment]}),
            client.post("/v1/track", json=segment),
        ):
            assert (answer.status_code, answer.headers["retry-after"]) == (503, seconds), answer.url
            assert "24601" not in answer.text
        db.execute("delete from lacking")
    assert client.get(COUNT).json() == {"total": 0}
    time.sleep(health.HOLDS_SECONDS)
    answer = httpx.get(service.url + READY)
    assert (answer.status_code, answer.json()["trouble"]) == (200, ["disk full"])
    assert client.post("/events", json=event).status_code == 201
    assert client.get(COUNT).json() == {"total": 1}


def test_a_full_disk_is_forgotten_after_a_minute(monkeypatch):
    now = 100.0
    monkeypatch.setattr(database, "time", SimpleNamespace(monotonic=lambda: now))

    async def make():
        return database.Database(Settings(dsn="dbname=nowhere"))

    found = asyncio.run(make())
    for state in ("23505", "53200", None):
        found.saw(state)
        assert not found.disk_full
    found.saw("53100")
    now += database.DISK_FULL_REMEMBERED_SECONDS - 1
    assert found.disk_full
    now += 1
    assert not found.disk_full


@pytest.mark.parametrize("state", ["53000", "53100", "53200", "53300", "53400"])
def test_every_state_of_class_53_is_503(state):
    found = problem_of(state, "could not extend file", None)
    assert (found.status, "Retry-After" in found.headers) == (503, True)
    assert "file" not in found.detail
