"""Keys that are bound to origins: everybody who opens a page has them, so what else can be done with
one? And the door for pages, without a browser; tests/browser has it with one."""

import json
import re

import httpx
import psycopg
import pytest
from pgtally.doors.browser import SCRIPT

from tests.conftest import (
    SERVICE_PASSWORD,
    Service,
    installation_key,
    make_conninfo,
    running_service,
)
from tests.endpoints.test_posthog import NODE
from tests.endpoints.test_service import COUNT, problem

ORIGIN = "https://app.example.com"
EVENT = {"type": "pageview", "data": {"path": "/"}}


@pytest.fixture
def client(service):
    return service.tenant()


@pytest.fixture
def db(shared_dsn):
    with psycopg.connect(shared_dsn, autocommit=True) as connection:
        yield connection


def make(client, **fields):
    body = {"name": "page", "scopes": ["ingest"], "origins": [ORIGIN], **fields}
    answer = client.post("/keys", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def send(service, key, origin=ORIGIN, events=(EVENT,), headers=None):
    """As a page's script does: no header of its own, the key in the body."""
    told = {"Content-Type": "text/plain;charset=UTF-8", **(headers or {})}
    if origin is not None:
        told["Origin"] = origin
    body = json.dumps({"key": key, "events": list(events)})
    return httpx.post(service.url + "/browser", content=body, headers=told)


def count(client):
    return client.get(COUNT).json()["total"]


def test_a_page_of_the_origin_stores_events_and_may_read_the_empty_answer(service, client, db):
    key = make(client)["apiKey"]
    answer = send(service, key)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["vary"] == "Origin"
    assert count(client) == 1
    event = {**EVENT, "type": "sale", "actorId": "u", "sessionId": "s", "value": 1.50}
    assert send(service, key, events=[event]).status_code == 204
    row = db.execute(
        """
        select event_type, actor_id, session_id, value::text, data, now() - occurred_at < '1 minute'
        from tally.events where tenant_id = %s and event_type = 'sale'
        """,
        (client.tenant_id,),
    ).fetchone()
    assert row == ("sale", "u", "s", "1.5", {"path": "/"}, True)


@pytest.mark.parametrize(
    "origin",
    [None, "", "null", "https://evil.example", "https://app.example.com.evil.example", "https://evil.example/https://app.example.com",
     "http://app.example.com", "https://app.example.com:8443", "https://app.example.com/", "HTTPS://APP.EXAMPLE.COM", "https://app.example.co",
     f"{ORIGIN}, https://evil.example", f"{ORIGIN} https://evil.example", "*"],
)  # fmt: skip
def test_from_any_other_origin_or_none_nothing_is_stored(service, client, origin):
    key = make(client)["apiKey"]
    for path, body in (
        ("/browser", {"key": key, "events": [EVENT]}), ("/batch/", {**NODE, "api_key": key}),
        ("/v1/track", {"writeKey": key, "type": "track", "event": "a", "userId": "u"}),
    ):  # fmt: skip
        headers = {} if origin is None else {"Origin": origin}
        answer = httpx.post(service.url + path, json=body, headers=headers)
        problem(answer, 403)
        assert "access-control-allow-origin" not in answer.headers
    assert count(client) == 0


def test_two_origin_headers_are_no_way_in(service, client):
    key = make(client)["apiKey"]
    body = json.dumps({"key": key, "events": [EVENT]})
    headers = [("Origin", "https://evil.example"), ("Origin", ORIGIN)]
    for sent in (headers, headers[::-1]):
        answer = httpx.post(service.url + "/browser", content=body, headers=sent)
        assert answer.headers.get("access-control-allow-origin") != "https://evil.example"
    assert count(client) <= 2


def test_such_a_key_opens_no_other_door_whoever_has_it(service, client):
    """POST /events tells what is stored under an id, a receipt what came before."""
    key = make(client)["apiKey"]
    document = httpx.get(service.url + "/schema/openapi.json").json()
    open_to_it, tried = set(), 0
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if "security" not in operation:
                continue
            tried += 1
            answer = httpx.request(
                method, service.url + re.sub("{.*?}", client.tenant_id, path), headers={"X-API-Key": key, "Origin": ORIGIN},
                content=None if method == "get" else b"{}",
            )  # fmt: skip
            if answer.status_code != 403:
                open_to_it.add(path)
    assert tried > 40
    assert {path for path in open_to_it if not path.startswith("/v1/")} == {
        "/browser", "/batch", "/capture", "/e", "/i/v0/e", "/i/v0/ai/batch", "/track", "/engage", "/i/v1/analytics/events",
    }  # fmt: skip


def test_pages_may_use_the_other_clients_with_it(service, client):
    key = make(client, origins=["https://other.example", ORIGIN])["apiKey"]
    headers = {"Origin": ORIGIN}
    for path, body in (
        ("/v1/track", {"writeKey": key, "event": "a", "userId": "u"}), ("/capture/", {**NODE["batch"][0], "api_key": key}),
    ):  # fmt: skip
        answer = httpx.post(service.url + path, json=body, headers=headers)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert count(client) == 2


def test_a_key_that_is_bound_to_nothing_gets_no_page_to_read_the_answer(service, client):
    answer = send(service, make(client, origins=[])["apiKey"])
    assert answer.status_code == 204
    assert "access-control-allow-origin" not in answer.headers


def test_preflights_are_answered_without_a_key_and_count_against_nobody(shared_dsn):
    dsn = make_conninfo(shared_dsn, user="tally_service", password=SERVICE_PASSWORD)
    with running_service(dsn, PGTALLY_UNAUTHENTICATED_PER_MINUTE="3") as (url, _):
        client = Service(url, installation_key(shared_dsn)).tenant()
        asked = {
            "Origin": "https://evil.example", "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }  # fmt: skip
        for path in ("/browser", "/v1/batch", "/batch/", "/v1/t") * 3:
            answer = httpx.options(url + path, headers=asked)
            assert (answer.status_code, answer.content) == (204, b"")
            assert answer.headers["access-control-allow-methods"] == "POST"
            assert answer.headers["access-control-allow-origin"] == "*"
            assert "access-control-allow-credentials" not in answer.headers
        service = Service(url, installation_key(shared_dsn))
        assert send(service, make(client)["apiKey"]).status_code == 204
        limited = service.admin.post(
            f"/keys?tenantId={client.tenant_id}",
            json={"name": "p", "scopes": ["ingest"], "origins": [ORIGIN], "rateLimitsPerMinute": {"ingest": 1}},
        ).json()["apiKey"]  # fmt: skip
        answers = [send(service, limited) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [204, 429]
        assert answers[1].headers["access-control-allow-origin"] == ORIGIN
        assert send(service, "pgt_nonsense").status_code == 401


@pytest.mark.parametrize(
    "origins",
    [["example.com"], ["https://example.com/"], ["https://example.com/x"], ["https://EXAMPLE.com"], ["null"], ["*"], ["https://*.example.com"],
     [""], ["https://example.com:443"], ["http://example.com:80"], ["ftp://example.com"], ["https://u@example.com"], ["https://exa mple.com"],
     ["https://example.com\nhttps://evil.example"], ["https://" + "a" * 300], [f"https://{n}.example" for n in range(21)]],
)  # fmt: skip
def test_what_no_browser_would_send_is_no_origin(client, origins):
    body = {"name": "page", "scopes": ["ingest"], "origins": origins}
    told = problem(client.post("/keys", json=body), 400)
    assert told["errors"][0]["pointer"].startswith("/origins")


@pytest.mark.parametrize(
    "scopes", [["read"], ["ingest", "read"], ["ingest", "read", "admin"], ["admin"]]
)
def test_a_key_with_origins_has_the_scope_ingest_alone(client, db, scopes):
    body = {"name": "page", "scopes": scopes, "origins": [ORIGIN]}
    told = problem(client.post("/keys", json=body), 400)
    assert told["errors"][0]["pointer"] == "/scopes"
    key = make(client)
    with pytest.raises(psycopg.errors.CheckViolation):
        db.execute("update tally.api_keys set scopes = %s where key_id = %s", (scopes, key["id"]))


def test_origins_are_listed_and_outlive_a_rotation(service, client, db, pgtally):
    origins = ["http://localhost:3000", "http://[::1]:8080", "https://xn--bcher-kva.example"]
    made = make(client, origins=[*origins, origins[0]])
    assert made["origins"] == origins
    rotated = client.post(f"/keys/{made['id']}/rotate").json()
    assert rotated["origins"] == origins
    listed = {key["id"]: key["origins"] for key in client.get("/keys").json()}
    assert listed[made["id"]] == listed[rotated["id"]] == origins
    assert sorted(listed.values())[0] == []
    problem(send(service, rotated["apiKey"]), 403)
    assert send(service, rotated["apiKey"], origins[0]).status_code == 204
    by_cli = pgtally(
        "key",
        "create",
        "--tenant",
        client.tenant_id,
        "--scope",
        "ingest",
        "--origin",
        ORIGIN,
        "--json",
    )
    assert send(service, by_cli["api_key"]).status_code == 204
    assert ORIGIN in pgtally("key", "list", "--tenant", client.tenant_id)
    refused = pgtally("key", "create", "--tenant", client.tenant_id, "--origin", ORIGIN, code=1)
    assert "scope ingest alone" in refused
    (told,) = db.execute(
        "select details -> 'origins' from tally.audit_log where action = 'key.create' and subject = %s",
        (made["id"],),
    ).fetchone()
    assert told == origins


def test_what_is_no_event_of_a_page_is_kept_and_bounds_hold(service, client):
    key = make(client)["apiKey"]
    bad = [
        {}, 5, {"type": "x" * 201}, {**EVENT, "value": "5"}, {**EVENT, "value": 1e31}, {**EVENT, "data": []},
        {**EVENT, "occurredAt": "2020-01-01"}, {**EVENT, "id": "x"}, {**EVENT, "data": {"x": "y" * 17_000}}, {**EVENT, "actorId": []},
    ]  # fmt: skip
    assert send(service, key, events=[*bad, EVENT]).status_code == 204
    assert count(client) == 1
    kept = client.get("/events/rejected").json()["events"]
    assert len(kept) == len(bad)
    assert {one["source"] for one in kept} == {"browser"}
    problem(send(service, key, events=[EVENT] * 101), 400)
    problem(send(service, key, events=[{**EVENT, "data": {"x": "y" * 70_000}}]), 413)
    for body in ({"key": key}, {"key": key, "events": EVENT}):
        answer = httpx.post(service.url + "/browser", json=body, headers={"Origin": ORIGIN})
        problem(answer, 400)
    # Two with the same content are two.
    assert send(service, key, events=[EVENT, EVENT]).status_code == 204
    assert count(client) == 3


def test_the_script_is_small_and_cached_and_any_page_may_load_it(service):
    answer = httpx.get(service.url + "/pgtally.js")
    assert answer.status_code == 200
    assert len(answer.content) < 2048
    assert answer.content == SCRIPT
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["cache-control"] == "public, max-age=3600"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert "set-cookie" not in answer.headers
