"""Mistakes that people make, and that each answer names the fix."""

import json
import os
import re
import subprocess
import sys

import httpx
import psycopg
import pytest

COUNT = "/analytics/events/count"
TIMELINE = "/analytics/events/timeline"
E = {"type": "visit"}
KNOWN = "known are type, occurredAt, id, actorId, sessionId, value, data"
A_TIME = "2026-01-31T12:00:00Z"
FORMS = '{"events": [...]}'


def get(path, **how):
    return ("GET", path, how)


def post(path, body=None, **how):
    return ("POST", path, {**({} if body is None else {"json": body}), **how})


def keyless(**headers):
    return ("GET", COUNT, {"headers": headers, "key": None})


def admin(method, path, body):
    return (method, path, {"json": body, "key": "installation"})


MISTAKES = [
    # What is asked for
    (get(f"{COUNT}?types=signup"), 400, "did you mean type?"),
    (get(f"{COUNT}?Type=signup"), 400, "did you mean type?"),
    (get(f"{COUNT}?actor_id=u1"), 400, "did you mean actorId?"),
    (get(f"{COUNT}?timeZone=UTC"), 400, "did you mean timezone?"),
    (get(f"{COUNT}?event=signup"), 400, "known are from, to, actorId, timezone, type, measure"),
    (get(f"{COUNT}?start=2024-01-01"), 400, "known are from, to"),
    (get(f"{COUNT}?plan=pro"), 400, "data.plan=pro"),
    (get(f"{COUNT}?data=pro"), 400, "data.plan=pro"),
    (get(f"{COUNT}?data.=pro"), 400, "data.plan=pro"),
    (get(f"{COUNT}?data.seats>3"), 400, "data.key=>5"),
    (get(f"{COUNT}?measure=uniques"), 400, "use count, uniqueActors, sum, avg, min, max"),
    (get(f"{COUNT}?compare=true"), 400, "use previous"),
    (get(f"{COUNT}?from=2024-01-01&from=2024-02-01"), 400, "only lists are repeated"),
    (get(f"{COUNT}?from=yesterday"), 400, "Use 2026-01-31"),
    (get(f"{COUNT}?from=01/02/2024"), 400, "Use 2026-01-31"),
    (get(f"{COUNT}?from=1700000000"), 400, "Use 2026-01-31"),
    (get(f"{COUNT}?from=2024-02-30"), 400, "Use 2026-01-31"),
    (get(f"{COUNT}?from=2024-01-01T00:00:00"), 400, "with an offset"),
    (get(f"{COUNT}?from=2024-02-01&to=2024-01-01"), 400, "holds from and ends before to"),
    (get(f"{COUNT}?timezone=Berlin"), 400, "Europe/Berlin"),
    (get(f"{COUNT}?timezone=%2B02:00"), 400, "Europe/Berlin"),
    (get(f"{TIMELINE}?interval=daily"), 400, "use hour, day, week, month"),
    (get(f"{TIMELINE}?groupBy=country"), 400, "data.<key>"),
    (get("/summaries?periodType=hour"), 400, "use day, week, month"),
    (get("/summaries?type=signup"), 400, "metric"),
    (get("/summaries?periodStart=2024-13-01"), 400, "Use 2026-01-31"),
    (get("/events?limit=100000"), 400, "an integer of at most 10000"),
    (get("/events?limit=all"), 400, "expected an integer"),
    (get("/events?page=2"), 400, "before"),
    (get("/events?before=2024-01-01"), 400, "the `next` of a page"),
    (get("/analytics/events/breakdown?by=plan"), 400, "data.<key>"),
    (get("/analytics/events/breakdown?measure=sum&of=amount"), 400, "Use value or data.<key>"),
    (get("/analytics/events/breakdown?groupBy=type"), 400, "by, measure, of"),
    # One event
    (post("/events", {"event": "visit"}), 400, KNOWN),
    (post("/events", {**E, "timestamp": A_TIME}), 400, KNOWN),
    (post("/events", {**E, "occurred_at": A_TIME}), 400, KNOWN),
    (post("/events", {**E, "userId": "u1"}), 400, KNOWN),
    (post("/events", {**E, "properties": {}}), 400, KNOWN),
    (post("/events", {}), 400, "is required"),
    (post("/events", {"type": 5}), 400, "expected a string, got an integer"),
    (post("/events", {"type": ""}), 400, "must not be empty"),
    (post("/events", {"type": "x" * 201}), 400, "at most 200 characters"),
    (post("/events", {**E, "actorId": 7}), 400, "expected a string, got an integer"),
    (post("/events", {**E, "value": "12"}), 400, "expected a number"),
    (post("/events", {**E, "occurredAt": 1700000000}), 400, f"a time such as {A_TIME}"),
    (post("/events", {**E, "occurredAt": "2024-01-01"}), 400, f"a time such as {A_TIME}"),
    (post("/events", {**E, "occurredAt": "2024-01-01T00:00:00"}), 400, "with Z or an offset"),
    (post("/events", {**E, "occurredAt": "2150-01-01T00:00:00Z"}), 400, "in the future"),
    (post("/events", {**E, "id": "42"}), 400, "a UUID such as"),
    (post("/events", {**E, "data": [1]}), 400, "expected an object"),
    (post("/events", {**E, "data": "{}"}), 400, "expected an object"),
    (post("/events", [E]), 400, "POST /events/bulk"),
    (post("/events", {"events": [E]}), 400, "POST /events/bulk"),
    (post("/events", content="{'type': 'visit'}"), 400, "keys must be strings"),
    (post("/events", content='{"type": "visit"'), 400, "the JSON ends too early"),
    (post("/events", data={"type": "visit"}), 415, "use application/json"),
    (post("/events", E, headers={"Content-Encoding": "br"}), 415, "use gzip"),
    (post("/events", E, headers={"Idempotency-Key": "a b"}), 400, "visible ASCII"),
    # Many
    (post("/events/bulk", E), 400, FORMS),
    (post("/events/bulk", {"event": [E]}), 400, FORMS),
    (post("/events/bulk", {"events": E}), 400, "expected an array, got an object"),
    (post("/events/bulk", content='{"type": "a"}\n{"type": "b"}'), 400, "application/x-ndjson"),
    (post("/events/bulk", content='[{"type": "a"},\n{"type": "b"},]'), 400, FORMS),
    (post("/events/bulk", []), 400, "1 to 10,000"),
    (post("/events/bulk", ["visit"]), 400, "expected an object, got a string"),
    (post("/events/bulk", [E, {"name": "visit"}]), 400, KNOWN),
    # Which door, which key
    (post("/event", E), 404, "GET /schema"),
    (get("/analytics/count"), 404, "GET /schema"),
    (("PUT", "/events", {"json": E}), 405, "use GET, POST"),
    (get("/events/bulk"), 405, "use POST"),
    (keyless(), 401, "X-API-Key"),
    (keyless(Authorization="pgt_key"), 401, "Authorization: Bearer"),
    (keyless(**{"X-API-Key": "nonsense"}), 401, "unknown, expired or revoked"),
    (post("/tenants", {"name": "x"}), 403, "a key of the installation"),
    (admin("POST", "/events", E), 403, "use one of a tenant"),
    (post("/keys", {"name": "x", "scopes": ["write"]}), 400, "use ingest, read, admin"),
    (post("/keys", {"name": "x", "scopes": "read"}), 400, "expected an array"),
    (post("/keys", {"name": "x", "scopes": ["read"], "rateLimitsPerMinute": {"x": 1}}), 400, "bulk"),
    (admin("POST", "/tenants", {"name": "x", "timezone": "UTC"}), 400, "did you mean timeZone?"),
    (admin("POST", "/tenants", {"name": "x", "timeZone": "CEST"}), 400, "Europe/Berlin"),
    (admin("POST", "/tenants", {"name": "x", "weekStart": "monday"}), 400, "expected an integer"),
    (admin("POST", "/tenants", {"name": "x", "weekStart": 0}), 400, "at least 1"),
]  # fmt: skip
# Python's and msgspec's words, which mean nothing to a client.
FOREIGN = re.compile(r"`?\b(str|int|dict|float|bool|datetime|uuid|NoneType|enum|msgspec)\b`?")


@pytest.fixture(scope="module")
def client(service):
    return service.tenant()


@pytest.mark.parametrize(("request_", "status", "fix"), MISTAKES)
def test_a_mistake_gets_an_answer_that_names_the_fix(service, client, request_, status, fix):
    method, path, how = request_
    askers = {
        "tenant": client,
        "installation": service.admin,
        None: httpx.Client(base_url=service.url),
    }
    with_key = how.get("key", "tenant")
    how = {name: value for name, value in how.items() if name != "key"}
    answer = askers[with_key].request(method, path, **how)
    assert answer.status_code == status, answer.text
    told = answer.json()
    texts = [told["detail"], *(error["detail"] for error in told.get("errors", ()))]
    assert any(fix in text for text in texts), texts
    assert not any(FOREIGN.search(text) for text in texts), texts


def test_there_are_sixty_mistakes_and_more():
    assert len({json.dumps(request) for request, *_ in MISTAKES}) == len(MISTAKES) > 60


def test_a_filter_may_be_written_with_a_dot_or_with_brackets(client):
    client.post("/events", json={"type": "filtered", "data": {"plan": "pro", "seats": {"used": 5}}})
    for filtered, total in (
        ("data.plan=pro", 1), ("data[plan]=pro", 1), ("data[plan]=free", 0),
        ("data[seats.used]=>=5", 1), ("data.seats.used>=5", 1), ("data[seats.used]>=6", 0),
        ("data[seats.used]=!=5", 0),
    ):  # fmt: skip
        assert client.get(f"{COUNT}?type=filtered&{filtered}").json() == {"total": total}, filtered


def test_a_bare_date_is_the_tenants_midnight_over_http_and_in_psql_whatever_the_sessions_zone(
    service, shared_dsn
):
    tokyo = service.tenant(timeZone="Asia/Tokyo")
    # Midnight in Tokyo is 15:00 in UTC.
    for at in ("2024-01-31T14:59:59Z", "2024-01-31T15:00:00Z", "2024-02-01T14:59:59Z"):
        tokyo.post("/events", json={"type": "visit", "occurredAt": at})
    asked = {"from": "2024-02-01", "to": "2024-02-02"}
    assert tokyo.get(COUNT, params=asked).json() == {"total": 2}
    for zone in ("UTC", "America/New_York", "Asia/Tokyo"):
        with psycopg.connect(shared_dsn, options=f"-c timezone={zone}") as db:
            call = "select total from api.event_count(%s, %s, %s)"
            (total,) = db.execute(call, (tokyo.tenant_id, *asked.values())).fetchone()
        assert total == 2, zone


def test_the_application_starts_without_a_warning():
    code = "from pgtally.app import from_environment; from_environment()"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False,
        env={**os.environ, "PGTALLY_DSN": "host=127.0.0.1"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
