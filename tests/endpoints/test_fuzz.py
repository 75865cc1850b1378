"""Injection strings through every parameter, field and header: nothing gets through to the database,
nothing of another tenant comes back, and what is stored is found again unmangled."""

import json
from urllib.parse import quote

import httpx
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.endpoints.test_service import BY_TYPE, COUNT, TIMELINE

MARK = "xmarkerb"
TELLTALES = ("syntax error", "pg_catalog", "psycopg", "LINE 1", "ERROR:", "Traceback", MARK)
PIECES = [
    "'", "''", '"', "`", ";", "--", "/*", "*/", "#", "\\", "\\'", "$$", "$tag$", "%", "%s", "%(tenant)s", "{}", "{0}", "(", ")",
    " or 1=1", " and pg_sleep(9) is null", "; select pg_sleep(9)", " union select event_type from tally.events", "); drop table tally.events; --",
    "' || (select string_agg(event_type, '') from tally.summaries) || '", "1e999", "-1", "0x41", "null", "true", "[1]", '{"a":1}', "\u2019", "\uff07",
    "\u0000", "\ud7ff", "\U0001f600", "ü", " ", "\n", "\t", "..", "$.*", "$ ? (@ > 1)", "@.x", "**", "like_regex", "<script>", "=1+1", "\u202e", "a" * 300,
]  # fmt: skip
text = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), min_size=1, max_size=5).map("".join)
# What HTTP can carry in a URL or JSON: no lone surrogates.
hostile = text.map(lambda t: t.encode("utf-8", "replace").decode())
bounded = settings(max_examples=60, derandomize=True, database=None)


@pytest.fixture(scope="module")
def client(service):
    other = service.tenant()
    other.post("/events", json={"type": MARK, "actorId": MARK, "data": {"k": MARK}})
    return service.tenant()


@pytest.fixture
def untouched(shared_dsn):
    """Nothing but what the tests store has changed when they are over."""
    with psycopg.connect(shared_dsn, autocommit=True) as db:
        query = """
          select
            (select count(*) from tally.events where event_type = %s),
            (select count(*) from pg_proc where pronamespace in ('api'::regnamespace, 'tally'::regnamespace)),
            (select count(*) from pg_class where relnamespace = 'tally'::regnamespace and not relispartition),
            (select count(*) from pg_roles where rolname !~ '^(bi_[0-9a-f]{32}_|nobody_)')
        """
        before = db.execute(query, (MARK,)).fetchone()
        yield db
        assert db.execute(query, (MARK,)).fetchone() == before


def harmless(response):
    assert response.status_code < 500, response.text
    assert response.elapsed.total_seconds() < 5
    # The HTTP parser refuses some bytes in headers by itself, without a body.
    if response.status_code >= 400 and response.content:
        assert response.headers["content-type"] == "application/problem+json"
    found = [word for word in TELLTALES if word in response.text]
    echoed = response.request.url.query.decode() + response.request.content.decode(
        "utf-8", "replace"
    )
    assert all(word in echoed for word in found if word != MARK), response.text
    assert MARK not in found, response.text
    return response


QUERIES = {
    COUNT: ("from", "to", "type", "actorId", "timezone", "measure", "compare"),
    BY_TYPE: ("from", "to", "type", "actorId", "timezone", "measure"),
    TIMELINE: ("from", "to", "type", "actorId", "timezone", "measure", "interval", "groupBy"),
    "/summaries": ("periodType", "metric", "periodStart", "from", "to", "measure"),
    "/summaries/changes": ("since", "limit"), "/events": ("from", "to", "type", "actorId", "timezone", "limit", "before"),
    "/events/export": ("from", "to", "actorId", "timezone"), "/events/rejected": ("before", "limit"),
    "/actors/x/events": ("limit", "after"), "/keys": ("tenantId",),
}  # fmt: skip


def test_through_every_query_parameter(client, untouched):
    @bounded
    @given(
        hostile,
        st.sampled_from([(path, name) for path, names in QUERIES.items() for name in names]),
    )
    def run(value, place):
        path, name = place
        harmless(client.get(path, params={name: value}))
        harmless(client.get(path, params={value: "x"}))

    run()


def test_through_filters_on_data(client, untouched):
    @bounded
    @given(hostile, hostile, st.sampled_from(["", ">", ">=", "<", "<=", "!="]))
    def run(key, value, operator):
        for path in (COUNT, BY_TYPE, "/events"):
            harmless(client.get(path, params={f"data.{key}": operator + value}))

    run()


def test_through_paths(service, client, untouched):
    @bounded
    @given(hostile)
    def run(value):
        escaped = quote(value, safe="")
        for path in (f"/actors/{escaped}/events", f"/events/receipts/{escaped}", f"/{escaped}"):
            harmless(client.get(path))
        harmless(client.delete(f"/actors/{escaped}"))
        harmless(client.delete(f"/keys/{escaped}"))
        harmless(client.post(f"/keys/{escaped}/rotate"))
        harmless(service.admin.get(f"/tenants/{escaped}"))

    run()


def test_through_every_field_of_every_body(service, client, untouched):
    bodies = [
        (client, "POST", "/events", {"type": "a", "occurredAt": "2024-01-01T00:00:00Z", "id": None, "actorId": "a", "sessionId": "s", "value": 1, "data": {}}),
        (service.admin, "POST", "/tenants", {"name": "n", "timeZone": "UTC", "weekStart": 1, "eventRetentionDays": 9}),
        (service.admin, "PATCH", f"/tenants/{client.tenant_id}", {"eventRetentionDays": 9000}),
        (client, "POST", "/keys", {"name": "n", "scopes": ["read"], "expiresAt": "2099-01-01T00:00:00Z"}),
        (client, "POST", "/events/rejected/replay", {"ids": [1]}),
        (client, "POST", "/v1/track", {"event": "e", "userId": "u", "messageId": "m", "timestamp": "2024-01-01T00:00:00Z", "properties": {}, "context": {}}),
    ]  # fmt: skip
    places = [(body, field) for body in bodies for field in body[3]]

    @bounded
    @given(hostile, st.sampled_from(places))
    def run(value, place):
        (who, method, path, body), field = place
        for given_value in (value, {value: value}, [value]):
            harmless(who.request(method, path, json={**body, field: given_value}))
        harmless(who.request(method, path, json={**body, value: 1}))
        harmless(who.request(method, path, content=value.encode()))
        harmless(
            client.post("/events/bulk", json=[{**bodies[0][3], "id": None, "data": {value: value}}])
        )

    run()


def test_through_headers(service, client, untouched):
    # What a header can carry: no line breaks, no NUL.
    def run_one(value):
        raw = value.encode().translate(None, bytes(range(32)) + b"\x7f").strip()
        event = json.dumps({"type": "a"}).encode()
        for name in (
            "Prefer",
            "Content-Type",
            "Content-Encoding",
            "Idempotency-Key",
            "Accept",
            "If-None-Match",
            "X-Request-Id",
        ):
            harmless(client.post("/events", content=event, headers={name: raw}))
        harmless(
            client.get(
                "/summaries?from=2024-01-01&to=2024-01-03",
                headers={"If-None-Match": raw, "Accept": raw},
            )
        )
        for name in ("X-API-Key", "Authorization"):
            answer = harmless(httpx.get(service.url + COUNT, headers={name: raw}))
            assert answer.status_code == 401

    @bounded
    @given(hostile)
    def run(value):
        run_one(value)

    run()


def test_what_was_stored_is_found_and_nothing_else(service, untouched):
    client = service.tenant()

    @settings(max_examples=40, derandomize=True, database=None)
    @given(hostile.filter(lambda t: "\0" not in t and 0 < len(t) <= 200))
    def run(value):
        event = {"type": value, "actorId": value, "data": {"k": value}}
        stored = client.post("/events", json=event)
        assert stored.status_code == 201, stored.text
        event_id = stored.json()["id"]
        for params in ({"type": value}, {"actorId": value}, {"data.k": value}):
            if "data.k" in params and value[:1] in "<>=!":
                continue  # would be read as an operator
            page = client.get("/events", params=params).json()
            assert event_id in [one["id"] for one in page["events"]], params
            same = [
                one["type"] == one["actorId"] == one["data"]["k"] == value for one in page["events"]
            ]
            assert all(same), params

    run()
