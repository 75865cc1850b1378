"""Segment's and RudderStack's own clients, unmodified, and what else such clients send."""

import base64
import gzip
import json
import math
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import UUID, uuid4, uuid5

import httpx
import psycopg
import pytest
from rudderstack.analytics.client import Client as RudderClient
from segment.analytics.client import Client as SegmentClient

from tests.endpoints.test_service import problem

AT = "2024-05-01T10:00:00.123Z"


@pytest.fixture
def client(service):
    return service.tenant()


@pytest.fixture
def db(shared_dsn):
    with psycopg.connect(shared_dsn, autocommit=True) as connection:
        yield connection


def stored(db, client):
    return db.execute(
        """
        select event_type, actor_id, session_id, value, data, occurred_at, event_id
        from tally.events where tenant_id = %s order by event_type, occurred_at, event_id
        """,
        (client.tenant_id,),
    ).fetchall()


def rejected(client):
    return client.get("/events/rejected").json()["events"]


def send(client, message, path="/v1/batch", **headers):
    body = {"batch": [message] if isinstance(message, dict) else message}
    content = body if path in ("/v1/batch", "/v1/b", "/v1/import") else message
    return client.post(path, content=json.dumps(content), headers=headers)


def sdk(kind, client, url, **options):
    key = client.headers["X-API-Key"]
    if kind == "segment":
        return SegmentClient(key, host=url, send=True, max_retries=8, **options)
    return RudderClient(key, host=url, send=True, max_retries=8, gzip=True, **options)


@pytest.mark.parametrize("kind", ["segment", "rudder"])
def test_what_the_client_was_given_is_stored_once(kind, service, client, db):
    user = sdk(kind, client, service.url)
    for n in range(250):
        user.track("u1", "Order", {"revenue": n + 0.25, "plan": "pro"}, context={"sessionId": "s1"})
    user.identify("u1", {"email": "a@b.c"})
    user.page("u1", "docs", "home", {"url": "/"})
    user.screen("u1", "app", "start")
    user.group("u1", "g1", {"seats": 5})
    user.alias("u1", "u2")
    user.track(None, "Anonymous", anonymous_id=77)
    user.flush()
    user.shutdown() if hasattr(user, "shutdown") else user.join()
    rows = stored(db, client)
    kinds = [row[0] for row in rows]
    assert sorted(set(kinds)) == [
        "$alias", "$group", "$identify", "$page", "$screen", "Anonymous", "Order",
    ]  # fmt: skip
    orders = [row for row in rows if row[0] == "Order"]
    assert sorted(float(row[3]) for row in orders) == [n + 0.25 for n in range(250)]
    assert {(row[1], row[2], row[4]["plan"]) for row in orders} == {("u1", "s1", "pro")}
    by_kind = {row[0]: row for row in rows}
    assert by_kind["$identify"][4]["email"] == "a@b.c"
    assert (by_kind["$page"][4]["name"], by_kind["$page"][4]["category"]) == ("home", "docs")
    assert (by_kind["$group"][4]["groupId"], by_kind["$group"][4]["seats"]) == ("g1", 5)
    assert by_kind["$alias"][4]["previousId"] == "u1"
    assert by_kind["Anonymous"][1] == "77"
    assert rejected(client) == []
    assert client.get("/analytics/events/count?type=Order").json() == {"total": 250}


@pytest.mark.parametrize("kind", ["segment", "rudder"])
def test_poison_costs_no_other_event(kind, service, client, db):
    user = sdk(kind, client, service.url)
    for n in range(5):
        user.track("u", "good", {"n": n})
    user.track("u", "poison", {"nan": math.nan, "inf": -math.inf, "value": math.inf})
    user.track("u", "poison", {"nul": "a\0b", "half": "x\ud800y", "k\0": 1})
    user.track("u", "long" * 100, {})
    user.flush()
    user.join()
    rows = stored(db, client)
    assert [row[0] for row in rows] == ["good"] * 5 + ["poison"] * 2
    first, second = sorted((row[4] for row in rows if row[0] == "poison"), key=len)
    merged = first | second
    assert (merged["nan"], merged["inf"], merged["nul"], merged["half"], merged["k"]) == (
        None, None, "ab", "x\ufffdy", 1,
    )  # fmt: skip
    (left,) = rejected(client)
    assert left["source"] == "segment"
    assert "event" in left["errors"][0]["detail"]


class Flaky(BaseHTTPRequestHandler):
    """A proxy before the service that fails in turns, also after the service has stored."""

    target = ""
    count = 0
    lock = threading.Lock()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.lock:
            type(self).count += 1
            turn = self.count % 4
        if turn == 1:
            self.send_response(503)
            self.send_header("Retry-After", "1")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        names = ("Authorization", "Content-Type", "Content-Encoding")
        kept = {name: self.headers[name] for name in names if self.headers[name]}
        answer = httpx.post(self.target + self.path, content=body, headers=kept)
        if turn == 2:
            # Stored, but the client never hears of it.
            self.connection.close()
            return
        self.send_response(answer.status_code)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("kind", ["segment", "rudder"])
def test_over_retries_and_outages_each_event_is_stored_once(kind, service, client, db):
    handler = type("Handler", (Flaky,), {"target": service.url, "count": 0})
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    user = sdk(kind, client, f"http://127.0.0.1:{proxy.server_port}")
    for n in range(60):
        user.track("u", "paid", {"value": n})
        if n % 20 == 19:
            user.flush()
    user.flush()
    user.join()
    proxy.shutdown()
    assert handler.count > 3
    assert sorted(int(row[3]) for row in stored(db, client)) == list(range(60))
    assert client.get("/analytics/events/count?measure=sum").json() == {"total": sum(range(60))}


def test_ids_times_and_retries(client, db):
    tenant = UUID(str(client.tenant_id))
    same = str(uuid4())
    messages = [
        {"type": "track", "event": "a", "userId": "u", "messageId": same, "timestamp": AT},
        {"type": "track", "event": "b", "userId": "u", "messageId": "node-next-1", "timestamp": AT},
        {"type": "track", "event": "c", "userId": 5, "timestamp": "2024-05-01T10:00:00"},
        {"type": "track", "event": "d", "anonymousId": "x", "originalTimestamp": AT, "timestamp": "2020-01-01"},
    ]  # fmt: skip
    for sent_at in (1, 2):
        for message in messages:
            answer = send(client, {**message, "sentAt": f"2024-05-0{sent_at}T11:00:00Z"})
            assert (answer.status_code, answer.content) == (200, b'{"success":true}')
    a, b, c, d = stored(db, client)
    assert str(a[6]) == same
    assert b[6] == uuid5(tenant, "node-next-1")
    assert (c[1], c[5]) == ("5", datetime(2024, 5, 1, 10, tzinfo=UTC))
    assert d[5] == datetime(2024, 5, 1, 10, 0, 0, 123000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("no object", "expected an object"), ({"type": "track", "userId": "u"}, "event"),
        ({"type": "track", "event": "a"}, "userId or anonymousId"), ({"type": "other", "userId": "u"}, "type"),
        ({"type": "track", "event": "a", "userId": "u", "timestamp": "yesterday"}, "timestamp"),
        ({"type": "track", "event": "a", "userId": "u", "properties": [1]}, "properties"),
        ({"type": "track", "event": "a", "userId": {"id": 1}}, "userId"),
        ({"type": "track", "event": "a", "userId": "u", "properties": {"x": "y" * 1_100_000}}, "properties"),
    ],
)  # fmt: skip
def test_a_message_that_is_no_event_is_kept_with_its_reason(client, db, message, reason):
    good = {"type": "track", "event": "good", "userId": "u"}
    assert send(client, [good, message]).status_code == 200
    assert len(stored(db, client)) == 1
    (left,) = rejected(client)
    assert reason in left["errors"][0]["detail"]
    assert json.loads(left["event"]) == message
    assert left["replayable"] is False


def test_a_single_message_that_is_no_object_is_refused(client, db):
    for body in ([1, 2], "track", None, 7):
        answer = client.post("/v1/track", json=body)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert rejected(client) == []


def test_an_event_of_tomorrow_is_kept_and_can_be_replayed(client, db):
    at = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    message = {
        "type": "track",
        "event": "a",
        "userId": "u",
        "timestamp": at,
        "properties": {"value": 1.10},
    }
    assert send(client, [message, {**message, "timestamp": AT}]).status_code == 200
    (left,) = rejected(client)
    assert left["replayable"] is True
    assert json.loads(left["event"])["type"] == "a"
    db.execute(
        "update tally.rejected_events set event = replace(event, %s, '2024-05-02') where tenant_id = %s",
        (at[:10], client.tenant_id),
    )
    assert client.post("/events/rejected/replay").json()["accepted"] == 1
    assert [str(row[3]) for row in stored(db, client)] == ["1.1", "1.1"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/v1/track", "track"), ("/v1/t", "track"), ("/v1/identify", "identify"), ("/v1/i", "identify"),
     ("/v1/page", "page"), ("/v1/p", "page"), ("/v1/screen", "screen"), ("/v1/s", "screen"), ("/v1/group", "group"),
     ("/v1/g", "group"), ("/v1/alias", "alias"), ("/v1/a", "alias"), ("/v1/b", None), ("/v1/import", None)],
)  # fmt: skip
def test_every_route_answers_exactly_200(client, db, path, kind):
    message = {"event": "track", "userId": "u", "type": kind or "track", "timestamp": AT}
    answer = send(client, message, path)
    assert (answer.status_code, answer.content) == (200, b'{"success":true}')
    ((found, *_),) = stored(db, client)
    assert found == ("track" if kind in (None, "track") else f"${kind}")


def test_the_key_may_come_in_three_ways_and_two_that_differ_are_refused(service, client, db):
    key = client.headers["X-API-Key"]
    message = {"type": "track", "event": "a", "userId": "u"}
    basic = {"Authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode()}
    url = service.url + "/v1/batch"
    for headers, extra in (
        (basic, {}), ({"Authorization": f"Bearer {key}"}, {}), ({}, {"writeKey": key}), (basic, {"writeKey": key}),
    ):  # fmt: skip
        answer = httpx.post(url, json={"batch": [message], **extra}, headers=headers)
        assert answer.status_code == 200, (headers, extra)
    assert len(stored(db, client)) == 4
    other = service.tenant().headers["X-API-Key"]
    for headers, extra in (
        (basic, {"writeKey": other}), ({}, {"writeKey": "nonsense"}), ({}, {}), ({}, {"writeKey": 5}),
        ({"Authorization": "Basic !"}, {}), ({**basic, "X-API-Key": other}, {}),
    ):  # fmt: skip
        body = problem(httpx.post(url, json={"batch": [message], **extra}, headers=headers), 401)
        assert body["code"] == "unauthorized"
        assert body["message"] == body["detail"]
    assert len(stored(db, client)) == 4
    # Basic is for these clients only.
    problem(httpx.get(service.url + "/events", headers=basic), 401)


def test_bodies_are_sniffed_and_bounded(client, db):
    message = {"type": "track", "event": "a", "userId": "u"}
    packed = gzip.compress(json.dumps({"batch": [message]}).encode())
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/v1/batch", content=packed, headers=form).status_code == 200
    plain = {"Content-Type": "text/plain", "Content-Encoding": "gzip"}
    body = json.dumps({"batch": [message]})
    assert client.post("/v1/batch", content=body, headers=plain).status_code == 200
    assert len(stored(db, client)) == 2
    large = {**message, "properties": {"x": "y" * 900_000}}
    many = [{**large, "messageId": str(n)} for n in range(25)]
    assert send(client, many).status_code == 200
    assert len(stored(db, client)) == 27
    bomb = gzip.compress(b" " * 30_000_000, 1)
    for content, status in (
        (bomb, 413), (b" " * 26_000_000, 413), (b"", 400), (b"[]", 400), (b"{}", 400), (b"{", 400),
        (b'{"batch": 5}', 400), (b"\x1f\x8b broken", 400), (b'{"batch":' + b"[" * 100_000, 400),
    ):  # fmt: skip
        found = problem(client.post("/v1/batch", content=content), status)
        assert found["code"], found["message"]


def test_the_clients_own_metrics_are_discarded(client, db):
    assert client.post("/v1/m", content=b"anything").json() == {"success": True}
    assert stored(db, client) == []


def test_a_batch_of_any_length_is_stored(client, db):
    messages = [
        {"type": "track", "event": "a", "userId": "u", "messageId": str(n)} for n in range(12_345)
    ]
    assert send(client, messages).status_code == 200
    assert client.get("/analytics/events/count").json() == {"total": 12_345}


def test_no_field_of_a_message_chooses_the_tenant(service, client, db):
    other = service.tenant()
    message = {
        "type": "track", "event": "a", "userId": "u", "tenantId": str(other.tenant_id), "tenant_id": str(other.tenant_id),
        "context": {"tenantId": str(other.tenant_id)}, "writeKey": other.headers["X-API-Key"],
    }  # fmt: skip
    assert send(client, message).status_code == 200
    assert len(stored(db, client)) == 1
    assert stored(db, other) == []
