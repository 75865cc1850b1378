"""PostHog's own Python SDK, unmodified; what its Node SDK was seen to send; and attacks on a door whose
key comes at the end of a large body."""

import gzip
import json
import math
import socket
import threading
import time
from datetime import UTC, datetime
from http.server import ThreadingHTTPServer
from pathlib import Path
from uuid import UUID

import httpx
import posthog.consumer
import psycopg
import pytest
from pgtally.http.rate_limit import Held
from pgtally.problems import Problem
from posthog import Posthog

from tests.conftest import Service, installation_key, make_conninfo, running_service
from tests.endpoints.test_segment import Flaky
from tests.endpoints.test_service import problem

AT = datetime(2024, 5, 1, 10, tzinfo=UTC)
KINDS = {
    "plain": {}, "gzip": {"gzip": True}, "v1": {"capture_mode": "v1"}, "historical": {"historical_migration": True},
}  # fmt: skip


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
        from tally.events where tenant_id = %s order by event_type, value, occurred_at, event_id
        """,
        (client.tenant_id,),
    ).fetchall()


def rejected(client):
    return client.get("/events/rejected").json()["events"]


def sdk(client, url, **options):
    errors = []
    user = Posthog(
        client.headers["X-API-Key"], host=url, on_error=lambda *e: errors.append(e), **options
    )
    return user, errors


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_sdk_was_given_is_stored_once(kind, service, client, db):
    user, errors = sdk(client, service.url, **KINDS[kind])
    for n in range(250):
        user.capture(
            "Order", distinct_id="u1", timestamp=AT, groups={"company": "c1"},
            properties={"value": n + 0.25, "plan": "pro", "$session_id": "s1"},
        )  # fmt: skip
    user.set(distinct_id="u1", properties={"email": "a@b.c"})
    user.set_once(distinct_id="u1", properties={"first": "x"})
    user.group_identify("company", "c1", {"seats": 5}, distinct_id="u1")
    user.alias("anon", "u1")
    user.capture("Anonymous")
    user.capture_exception(ValueError("x"), distinct_id="u1")
    user.shutdown()
    assert errors == []
    rows = stored(db, client)
    by_kind = {row[0]: row for row in rows}
    assert sorted(by_kind) == [
        "$create_alias", "$exception", "$groupidentify", "$set", "$set_once", "Anonymous", "Order",
    ]  # fmt: skip
    orders = [row for row in rows if row[0] == "Order"]
    assert [float(row[3]) for row in orders] == [n + 0.25 for n in range(250)]
    assert {(row[1], row[2], row[4]["plan"], row[5]) for row in orders} == {("u1", "s1", "pro", AT)}
    assert by_kind["Order"][4]["$groups"] == {"company": "c1"}
    assert by_kind["$set"][4]["$set"] == {"email": "a@b.c"}
    assert by_kind["$set_once"][4]["$set_once"] == {"first": "x"}
    assert by_kind["$create_alias"][1] == "anon"
    assert by_kind["$create_alias"][4]["alias"] == "u1"
    UUID(by_kind["Anonymous"][1])
    assert rejected(client) == []
    assert client.get("/analytics/events/count?type=Order&data.$groups.company=c1").json() == {"total": 250}  # fmt: skip


def test_questions_about_feature_flags_are_answered_with_none(service, client):
    user, errors = sdk(client, service.url)
    assert user.get_all_flags("u1") == {}
    assert user.evaluate_flags("u1").is_enabled("beta") is False
    user.shutdown()
    assert errors == []
    local, errors = sdk(client, service.url, secret_key="phx_any")
    local.load_feature_flags()
    assert local.feature_flags == []
    assert local.get_remote_config_payload("beta") is None
    local.shutdown()
    for path in ("/flags", "/flags/?v=4", "/decide/", "/decide"):
        assert httpx.post(service.url + path, content=b"x").json()["featureFlags"] == {}
    assert httpx.get(service.url + "/array/phc_x/config").json()["hasFeatureFlags"] is False


def test_poison_costs_no_other_event(service, client, db):
    user, errors = sdk(client, service.url)
    for n in range(5):
        user.capture("good", distinct_id="u", properties={"n": n})
    user.capture("poison", distinct_id="u", properties={"nan": math.nan, "value": math.inf})
    user.capture("poison", distinct_id="u", properties={"nul": "a\0b", "half": "x\ud800y"})
    user.capture("long" * 100, distinct_id="u")
    user.shutdown()
    assert errors == []
    assert [row[0] for row in stored(db, client)] == ["good"] * 5 + ["poison"] * 2
    (left,) = rejected(client)
    assert (left["source"], "event" in left["errors"][0]["detail"]) == ("posthog", True)


@pytest.mark.parametrize("kind", ["plain", "gzip", "v1"])
def test_over_retries_and_outages_each_event_is_stored_once(kind, service, client, db, monkeypatch):
    # It waits 1, 2, 4 s.
    monkeypatch.setattr(posthog.consumer, "_backoff", lambda *_: None)
    monkeypatch.setattr("posthog.capture_v1._backoff", lambda *_: None)
    handler = type("Handler", (Flaky,), {"target": service.url, "count": 0})
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    user, errors = sdk(
        client, f"http://127.0.0.1:{proxy.server_port}", max_retries=8, **KINDS[kind]
    )
    for n in range(60):
        user.capture("paid", distinct_id="u", properties={"value": n})
        if n % 20 == 19:
            user.flush()
    user.shutdown()
    proxy.shutdown()
    assert errors == []
    assert handler.count > 3
    assert sorted(int(row[3]) for row in stored(db, client)) == list(range(60))


def test_the_largest_batches_that_the_sdk_sends_are_stored(service, client, db):
    for options in ({}, {"gzip": True}):
        user, errors = sdk(client, service.url, **options)
        for n in range(7):
            user.capture("large", distinct_id="u", properties={"x": str(n) * 800_000})
        user.shutdown()
        assert errors == []
    assert len(stored(db, client)) == 14


# posthog-node 5.70.0, with historicalMigration, which compresses what is longer than 1 KB.
NODE = {
    "api_key": "", "sent_at": "2026-11-23T20:39:08.100Z", "historical_migration": True,
    "batch": [
        {"event": "Order", "properties": {"value": 4.5, "plan": "pro", "$set": {"email": "a"}, "$session_id": "s1",
         "$groups": {"company": "c1"}, "$lib": "posthog-node", "$lib_version": "5.70.0", "$is_server": True, "$geoip_disable": True},
         "timestamp": "2024-05-01T10:00:00.123Z", "uuid": "01a20a22-4635-758a-a8e9-38a49441aabe", "distinct_id": "u1"},
        {"event": "$identify", "properties": {"$set": {"email": "x"}, "$set_once": {"first": 1}, "$lib": "posthog-node"},
         "timestamp": "2025-11-23T20:39:08.085Z", "uuid": "01a20a22-4635-758a-a8e9-38a540ff31ca", "distinct_id": "u1"},
        {"event": "$create_alias", "properties": {"distinct_id": "u1", "alias": "anon", "$lib": "posthog-node"},
         "timestamp": "2025-11-23T20:39:08.085Z", "uuid": "01a20a22-4635-758a-a8e9-38a6a1c8dce0", "distinct_id": "u1"},
        {"event": "$groupidentify", "properties": {"$group_type": "company", "$group_key": "c1", "$group_set": {"seats": 5}},
         "timestamp": "2025-11-23T20:39:08.085Z", "uuid": "01a20a22-4635-758a-a8e9-38a7a1c8dce0", "distinct_id": "$company_c1"},
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    "path", ["/batch/", "/batch", "/capture/", "/e/", "/i/v0/e/", "/track/", "/engage/"]
)
def test_what_the_node_sdk_sends_is_stored_once_through_every_route(path, service, client, db):
    body = json.dumps({**NODE, "api_key": client.headers["X-API-Key"]}).encode()
    url = service.url + path
    headers = {"Content-Type": "application/json"}
    for content in (body, gzip.compress(body)):
        answer = httpx.post(url, content=content, headers=headers)
        assert (answer.status_code, answer.json()) == (200, {"status": 1})
    rows = stored(db, client)
    assert [(row[0], row[1]) for row in rows] == [
        ("$create_alias", "u1"), ("$groupidentify", "$company_c1"), ("$identify", "u1"), ("Order", "u1"),
    ]  # fmt: skip
    assert str(rows[3][6]) == "01a20a22-4635-758a-a8e9-38a49441aabe"
    assert rows[2][4]["$set"] == {"email": "x"}
    single = {**NODE["batch"][0], "uuid": "not a uuid", "api_key": client.headers["X-API-Key"]}
    if path != "/batch":
        assert httpx.post(url, json=single, headers=headers).status_code == 200
        assert len(stored(db, client)) == 5
    assert client.headers["X-API-Key"] not in str(stored(db, client))


def test_each_event_of_version_1_has_its_result(client):
    good, bad = NODE["batch"][0], {**NODE["batch"][1], "distinct_id": ""}
    answer = client.post("/i/v1/analytics/events", json={"batch": [good, bad, 5]}).json()
    assert answer["results"][good["uuid"]] == {"result": "ok"}
    assert answer["results"][bad["uuid"]] == {"result": "drop", "details": "distinct_id: required"}
    problem(client.post("/i/v1/analytics/events", json={"batch": [good] * 1001}), 413)
    assert client.get("/analytics/events/count").json() == {"total": 1}


def test_the_key_of_the_outermost_object_counts_and_no_other(service, client, db):
    key, other = client.headers["X-API-Key"], service.tenant()
    url = service.url + "/batch/"
    event = {
        **NODE["batch"][0],
        "properties": {"api_key": other.headers["X-API-Key"], "token": key},
    }
    for body, status in (
        ({"batch": [event], "api_key": key}, 200), ({"batch": [{**event, "api_key": key}]}, 401),
        ({"batch": [event], "api_key": "pgt_nonsense"}, 401), ({"batch": [event], "api_key": 5}, 401), ([event], 401),
    ):  # fmt: skip
        assert httpx.post(url, json=body).status_code == status, body
    text = json.dumps({"batch": [event], "api_key": key})
    # No JSON for a strict decoder: the last one counts, as the Python SDK writes it.
    broken = text.replace("{", '{"n": NaN, ', 1).encode()
    assert httpx.post(url, content=broken).status_code == 200
    for told in (
        {"api_key": key, "n": math.nan, "batch": [event]},
        {"n": math.nan, "batch": [event]},
    ):
        problem(httpx.post(url, content=json.dumps(told).encode()), 401)
    header = {"X-API-Key": other.headers["X-API-Key"]}
    problem(httpx.post(url, json={"batch": [event], "api_key": key}, headers=header), 401)
    assert len(stored(db, client)) == 1
    assert stored(db, other) == []


def test_a_body_without_a_key_costs_little_and_counts_against_its_address(shared_dsn):
    dsn = make_conninfo(shared_dsn, user="tally_service", password="only-in-tests")
    with running_service(dsn, PGTALLY_UNAUTHENTICATED_PER_MINUTE="12") as (url, process):
        client = Service(url, installation_key(shared_dsn)).tenant()
        with httpx.Client(base_url=url, timeout=30) as nobody:
            bomb = gzip.compress(b'{"batch": [' + b'{"a": 1},' * 3_000_000, 9)
            deep = gzip.compress(b"[" * 5_000_000, 9)
            began = cpu_seconds(process.pid)
            for content, statuses in (
                (bomb, (413,)), (deep, (401,)), (b" " * 6_300_000, (413,)), (b'"api_key":"pgt_' * 400_000, (401,)),
            ):  # fmt: skip
                for _ in range(3):
                    assert nobody.post("/batch/", content=content).status_code in statuses
            spent = cpu_seconds(process.pid) - began
            problem(nobody.post("/batch/", content=bomb), 429)
        # A second is a hundred times what it was found to cost on a quiet machine.
        assert spent < 3, spent
        key = client.headers["X-API-Key"]
        body = {"batch": [NODE["batch"][0]]}
        bearer = {"Authorization": f"Bearer {key}"}
        assert httpx.post(url + "/batch/", json=body, headers=bearer).status_code == 200


def cpu_seconds(pid):
    """Of a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(fields[n]) for n in (11, 12)) / 100 + sum(map(cpu_seconds, children))


def test_bodies_that_wait_for_their_key_are_bounded_for_an_address_and_for_all():
    held = Held(100, 250)
    with held.by("10.0.0.1") as one, held.by("10.0.0.1") as again, held.by("10.0.0.2") as other:
        one(60)
        with pytest.raises(Problem, match="too many bodies") as refused:
            again(60)
        assert refused.value.status == 429
        again(40)
        other(100)
        with held.by("10.0.0.3") as third:
            third(50)
            with pytest.raises(Problem) as refused:
                third(1)
            assert refused.value.status == 503
        # Of one network of IPv6 is as of one address.
        with held.by("2001:db8::1") as sixth, held.by("2001:db8::2") as seventh:
            sixth(10)
            with pytest.raises(Problem) as refused:
                seventh(95)
            assert refused.value.status == 429
    # Whatever ended them, nothing is held any more.
    with held.by("10.0.0.1") as one:
        one(100)
    assert held._bytes == {}


def test_unfinished_bodies_of_one_address_hold_a_bounded_number_of_bytes(service):
    """Each sends 5 MB of 6 and stops: the seventh is refused while the others wait."""
    parts = httpx.URL(service.url)
    waiting, refused = [], 0
    try:
        for _ in range(8):
            connection = socket.create_connection((parts.host, parts.port))
            waiting.append(connection)
            connection.settimeout(2)
            head = b"POST /batch/ HTTP/1.1\r\nHost: x\r\nContent-Length: 6000000\r\n\r\n"
            try:
                connection.sendall(head + b" " * 5_000_000)
                time.sleep(0.2)
                connection.setblocking(False)
                refused += connection.recv(20).startswith(b"HTTP/1.1 429")
            except BlockingIOError:
                pass
            except ConnectionError:
                refused += 1
        assert 1 <= refused <= 2
    finally:
        for connection in waiting:
            connection.close()
