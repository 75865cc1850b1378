"""Black-box tests of the running service."""

import gzip
import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from pgtally.ingest.uuid7 import uuid7

from tests.conftest import Service, installation_key, running_service

SEGMENT = {
    f"/v1/{path}" for path in (
        "batch", "b", "import", "track", "t", "identify", "i", "page", "p", "screen", "s", "group", "g",
        "alias", "a",
    )
}  # fmt: skip
POSTHOG = {
    "/batch", "/i/v0/ai/batch", "/capture", "/e", "/i/v0/e", "/track", "/engage", "/i/v1/analytics/events",
    "/flags", "/decide", "/flags/definitions", "/api/feature_flag/local_evaluation", "/array/{token}/config",
    "/api/projects/{project}/feature_flags/{flag}/remote_config",
}  # fmt: skip
COUNT = "/analytics/events/count"
BY_TYPE = "/analytics/events/by-type"
TIMELINE = "/analytics/events/timeline"


@pytest.fixture
def client(service):
    return service.tenant(timeZone="America/New_York")


@pytest.fixture
def db(shared_dsn):
    with psycopg.connect(shared_dsn, autocommit=True) as connection:
        yield connection


def count_stored(db, client):
    (count,) = db.execute(
        "select count(*) from tally.events where tenant_id = %s", (client.tenant_id,)
    ).fetchone()
    return count


def problem(response, status):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert body["instance"] == "urn:request:" + response.headers["x-request-id"]
    return body


def test_a_tenant_is_made_with_an_admin_key_and_its_own_key_works(service):
    name = f"Ünï {uuid4()}"
    response = service.admin.post(
        "/tenants",
        json={
            "name": name,
            "timeZone": "Asia/Kathmandu",
            "weekStart": 7,
            "eventRetentionDays": 400,
        },
    )
    assert response.status_code == 201
    made = response.json()
    assert made["name"] == name
    assert (made["timeZone"], made["weekStart"], made["eventRetentionDays"]) == (
        "Asia/Kathmandu",
        7,
        400,
    )
    with httpx.Client(
        base_url=service.url, headers={"Authorization": f"Bearer {made['apiKey']}"}
    ) as client:
        assert client.get(COUNT).json() == {"total": 0}
    again = service.admin.post("/tenants", json={"name": name})
    assert again.status_code == 201
    assert again.json()["id"] != made["id"]


def test_pages_of_tenants_miss_none_of_those_that_share_a_name(service):
    name = f"shared {uuid4()}"
    made = {service.admin.post("/tenants", json={"name": name}).json()["id"] for _ in range(5)}
    page = service.admin.get("/tenants", params={"after": name[:-1], "limit": 2}).json()
    assert {one["id"] for one in page if one["name"] == name} == made
    # The next page begins after the name.
    page = service.admin.get("/tenants", params={"after": name, "limit": 2}).json()
    assert [one for one in page if one["name"] == name] == []


@pytest.mark.parametrize(
    "body",
    ['{"name": ""}', '{"name": 5}', "{}", '{"name": "x", "timezone": "UTC"}', '{"name": "x", "timeZone": "Mars/X"}',
     '{"name": "x", "weekStart": 8}', '{"name": "x", "eventRetentionDays": 0}', "[", "", '{"name": "a\\u0000b"}'],
)  # fmt: skip
def test_a_bad_tenant_is_refused(service, body):
    assert problem(service.admin.post("/tenants", content=body), 400)["errors"]


def test_who_stores_more_than_a_quota_is_told_so_by_every_door_and_nobody_else_is(
    service, client, db
):
    other, path = service.tenant(), f"/tenants/{client.tenant_id}"
    assert "quotas" not in service.admin.get(path).json()
    changed = service.admin.patch(path, json={"quotas": {"events": 2, "receipts": 7}}).json()
    assert changed["quotas"] == {"events": 2, "receipts": 7}
    assert client.post("/events/bulk", json=[{"type": "a"}, {"type": "a"}]).status_code == 201
    db.execute("call tally.fold()")
    good = {"type": "a"}
    for answer in (
        client.post("/events", json=good),
        client.post("/events", json=good, headers={"Idempotency-Key": "k"}),
        client.post("/events/bulk", json=[good]),
        client.post("/events/bulk", json=[good, {}], headers={"Prefer": "handling=lenient"}),
        client.post("/v1/track", json={"event": "a", "userId": "u"}),
    ):
        told = problem(answer, 403)
        assert told["code"] == "quota_exceeded", answer.url
        assert "2 of 2 are stored" in told["detail"]
    assert other.post("/events", json=good).status_code == 201
    assert client.get(COUNT).json() == {"total": 2}
    found = service.admin.get(path).json()
    assert found["usage"] == {"events": 2, "rejected": 0, "rejectedBytes": 0, "receipts": 0}
    ratio = f'pgtally_tenant_events_quota_used_ratio{{tenant_id="{client.tenant_id}"}} 1.0'
    assert ratio in service.admin.get("/metrics").text
    assert "quotas" not in service.admin.patch(path, json={"quotas": {}}).json()
    assert client.post("/events", json=good).status_code == 201
    problem(service.admin.patch(path, json={"quotas": {"days": 1}}), 400)


def test_keys_open_what_they_are_for_and_nothing_else(service, client):
    problem(httpx.get(service.url + COUNT), 401)
    problem(httpx.get(service.url + COUNT, headers={"X-API-Key": "pgt_nonsense"}), 401)
    problem(httpx.get(service.url + COUNT, headers={"X-API-Key": b"\xe9" * 50}), 401)
    problem(service.admin.get(COUNT), 403)
    problem(client.post("/tenants", json={"name": "x"}), 403)
    two_keys = {"Authorization": f"Bearer {service.installation_key}"}
    problem(client.get(COUNT, headers=two_keys), 401)


def test_an_event_is_stored_once(client):
    event = {
        "type": "sale", "occurredAt": "2024-05-01T10:00:00.5+02:00", "id": str(UUID(int=9)),
        "actorId": "ann", "sessionId": "s1", "value": 12.5, "data": {"plan": "pro", "big": 12345678901234567890},
    }  # fmt: skip
    first = client.post("/events", json=event)
    assert first.status_code == 201
    assert first.json() == {
        **event,
        "occurredAt": "2024-05-01T10:00:00.500000+02:00",
        "duplicate": False,
    }
    again = client.post("/events", json=event)
    assert again.status_code == 200
    assert again.json()["duplicate"] is True
    assert client.get(COUNT).json() == {"total": 1}
    assert client.get(COUNT, params={"measure": "sum"}).json() == {"total": 12.5}
    assert "12345678901234567890" in client.post("/events", json=event).text


def test_a_value_keeps_every_digit(client):
    stored = client.post("/events", content='{"type": "x", "value": 12345678901234567.89}')
    assert '"value":12345678901234567.89' in stored.text
    assert client.get(COUNT, params={"measure": "sum"}).text == '{"total":12345678901234567.89}'
    assert (
        client.post(
            "/events", json={"type": "x", "data": {"a": "10e999 is fine in a text"}}
        ).status_code
        == 201
    )


def test_an_actor_whose_name_looks_like_a_time_is_found(client):
    client.post("/events", json={"type": "shift 10:00", "actorId": "shift 09:00"})
    assert client.get(COUNT, params={"actorId": "shift 09:00"}).json() == {"total": 1}
    assert client.get(COUNT, params={"type": "shift 10:00"}).json() == {"total": 1}


def test_slow_questions_of_one_tenant_leave_room_for_the_others(service, client, db):
    other = service.tenant()
    events = [{"type": "a", "data": {"n": n}} for n in range(10_000)]
    for _ in range(4):
        client.post("/events/bulk", json=events)
    question = COUNT + "?" + "&".join(f"data.n=!={n}" for n in range(20))
    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(client.get, question) for _ in range(16)]
        for _ in range(5):
            assert other.post("/events", json={"type": "a"}).status_code == 201
        assert {future.result().status_code for future in asked} <= {200, 503}


def test_a_key_may_be_limited_to_nothing(client, db):
    update = "update tally.api_keys set rate_limits_per_minute = %s where tenant_id = %s"
    for wrong in ('{"ingest": "5"}', '{"ingest": -1}', '{"ingest": 1.5}', "[]", '{"ingest": null}'):
        with pytest.raises(psycopg.errors.CheckViolation):
            db.execute(update, (wrong, client.tenant_id))
    db.execute(update, ('{"ingest": 0}', client.tenant_id))
    problem(client.post("/events", json={"type": "a"}), 429)
    assert client.get(COUNT).status_code == 200


def test_an_event_without_id_or_time_gets_both(client):
    stored = client.post("/events", json={"type": "view"}).json()
    assert UUID(stored["id"]).version == 7
    assert abs(datetime.fromisoformat(stored["occurredAt"]) - datetime.now(UTC)) < timedelta(
        seconds=5
    )
    at = datetime(2024, 1, 1, tzinfo=UTC)
    stored = client.post("/events", json={"type": "view", "id": str(uuid7(at))}).json()
    assert datetime.fromisoformat(stored["occurredAt"]) == at


NUL = '{"type": "x", "data": {"a": "\\u0000"}}'
BAD_EVENTS = [
    ("", ""), ("[]", ""), ("5", ""), ("{", ""), ("{}", "/type"), ('{"type": ""}', "/type"),
    ('{"type": 5}', "/type"), ('{"type": null}', "/type"), ('{"typ": "x", "type": "x"}', "/typ"),
    (json.dumps({"type": "x" * 201}), "/type"),
    ('{"type": "a\\u0000b"}', "/type"), (NUL, "/data"),
    ('{"type": "x", "data": {"a\\u0000": 1}}', "/data"),
    ('{"type": "x", "actorId": "\\u0000"}', "/actorId"),
    ('{"type": "x", "data": {"a": "\\ud800"}}', ""),
    ('{"type": "x", "occurredAt": "2024-01-01T00:00:00"}', "/occurredAt"),
    ('{"type": "x", "occurredAt": "2024-01-01"}', "/occurredAt"),
    ('{"type": "x", "occurredAt": 1700000000}', "/occurredAt"),
    ('{"type": "x", "occurredAt": "1979-01-01T00:00:00Z"}', "/occurredAt"),
    ('{"type": "x", "occurredAt": "2999-01-01T00:00:00Z"}', "/occurredAt"),
    ('{"type": "x", "id": "7"}', "/id"),
    ('{"type": "x", "id": "00000000-0000-0000-0000-000000000007"}', "/id"),
    ('{"type": "x", "value": "5"}', "/value"), ('{"type": "x", "value": NaN}', ""),
    ('{"type": "x", "value": Infinity}', ""), ('{"type": "x", "value": 1e999}', "/value"),
    ('{"type": "x", "value": 1e30}', "/value"), ('{"type": "x", "value": true}', "/value"),
    ('{"type": "x", "data": {"a": 1e999}}', "/data"), ('{"type": "x", "data": {"a": NaN}}', ""),
    ('{"type": "x", "data": {"a": 1e-20000}}', "/data"), ('{"type": "x", "value": 1e-20000}', "/value"),
    ('{"type": "x", "data": {"z": "\\u0000", "a": ' + "[" * 700 + "]" * 700 + "}}", "/data"),
    ('{"type": "x", "data": []}', "/data"), ('{"type": "x", "data": "a"}', "/data"),
    (json.dumps({"type": "x", "data": {"a": "x" * 66_000}}), "/data"),
    ('{"type": "x", "data": ' + '{"a":' * 33 + "1" + "}" * 34, "/data"),
    ('{"type": "x", "data": {"a": ' + "[" * 5000 + "]" * 5000 + "}}", ""),
]  # fmt: skip


@pytest.mark.parametrize(("body", "pointer"), BAD_EVENTS)
def test_a_bad_event_is_refused_and_nothing_is_stored(client, db, body, pointer):
    found = problem(client.post("/events", content=body), 400)
    assert found["errors"][0].get("pointer", "").startswith(pointer)
    assert found["errors"][0]["detail"]
    bulk = client.post("/events/bulk", content=f'[{{"type": "good"}}, {body or "null"}]')
    assert problem(bulk, 400)["errors"]
    assert count_stored(db, client) == 0


def test_bytes_that_are_not_utf8_are_refused(client):
    problem(client.post("/events", content=b'{"type": "\xff"}'), 400)
    problem(client.post("/events/bulk", content=b'[{"type": "x", "data": {"a": "\xff"}}]'), 400)


def test_data_keeps_32_levels_and_every_digit(client, db):
    # With more brackets than levels, so that the levels are really counted.
    data = '{"s": {}, "a":' * 31 + '{"n": 0.12345678901234567890123}' + "}" * 31
    assert client.post("/events", content='{"type": "x", "data": ' + data + "}").status_code == 201
    (stored,) = db.execute(
        "select data::text from tally.events where tenant_id = %s", (client.tenant_id,)
    ).fetchone()
    assert "0.12345678901234567890123" in stored


@pytest.mark.parametrize("form", ["envelope", "array", "ndjson", "gzip"])
def test_bulk_takes_every_form(client, form):
    events = [
        {"type": "a", "id": str(UUID(int=n)), "occurredAt": "2024-01-01T00:00:00Z"}
        for n in range(50)
    ]
    headers = {}
    match form:
        case "envelope":
            content = json.dumps({"events": events}).encode()
        case "array" | "gzip":
            content = json.dumps(events).encode()
        case "ndjson":
            content = "\n".join(map(json.dumps, events)).encode() + b"\n\n"
            headers["Content-Type"] = "application/x-ndjson"
    if form == "gzip":
        content = gzip.compress(content)
        headers["Content-Encoding"] = "gzip"
    for expected in ({"accepted": 50, "duplicates": 0}, {"accepted": 0, "duplicates": 50}):
        response = client.post("/events/bulk", content=content, headers=headers)
        assert (response.status_code, response.json()) == (201, expected)


def test_bulk_is_all_or_nothing_and_lists_every_bad_element(client, db):
    events = [{"type": "a"}, {"type": ""}, {"type": "a", "value": "x"}, {"type": "a"}]
    found = problem(client.post("/events/bulk", json={"events": events}), 400)
    assert [(error["index"], error["pointer"]) for error in found["errors"]] == [
        (1, "/type"),
        (2, "/value"),
    ]
    future = [{"type": "a"}, {"type": "a", "occurredAt": "2999-01-01T00:00:00Z"}, {"type": ""}]
    found = problem(client.post("/events/bulk", json=future[:2]), 400)
    assert [(error["index"], error["pointer"]) for error in found["errors"]] == [(1, "/occurredAt")]
    assert count_stored(db, client) == 0


def test_a_lenient_request_stores_the_good_and_lists_the_bad(client):
    events = [
        {"type": "a"}, {"type": ""}, {"type": "a", "occurredAt": "2999-01-01T00:00:00Z"}, {"type": "b"},
    ]  # fmt: skip
    response = client.post("/events/bulk", json=events, headers={"Prefer": "handling=lenient"})
    assert response.status_code == 201
    receipt = response.json()
    assert (receipt["accepted"], receipt["duplicates"], receipt["rejected"]) == (2, 0, 2)
    assert [error["index"] for error in receipt["errors"]] == [1, 2]
    assert client.get(COUNT).json() == {"total": 2}


def test_bodies_are_bounded_also_when_inflated(client):
    problem(client.post("/events/bulk", json=[]), 400)
    problem(client.post("/events/bulk", json=[{"type": "a"}] * 10_001), 400)
    problem(client.post("/events/bulk", content=b" " * 10_000_001), 413)
    bomb = gzip.compress(b" " * 200_000_000, 1)
    gzipped = {"Content-Encoding": "gzip"}
    problem(client.post("/events/bulk", content=bomb, headers=gzipped), 413)
    problem(client.post("/events/bulk", content=b"no gzip", headers=gzipped), 400)
    problem(client.post("/events/bulk", content=gzip.compress(b"[]")[:-4], headers=gzipped), 400)
    problem(client.post("/events", content="x", headers={"Content-Type": "text/csv"}), 415)
    problem(client.post("/events", content="x", headers={"Content-Encoding": "br"}), 415)


@pytest.fixture
def loaded(client):
    events = [
        {"type": "departure", "occurredAt": "2024-03-09T23:30:00-05:00", "value": 5, "actorId": "N1", "data": {"origin": "JFK", "distance": 100}},
        {"type": "departure", "occurredAt": "2024-03-10T00:30:00-05:00", "value": 2.5, "actorId": "N2", "data": {"origin": "LGA", "distance": 2000}},
        {"type": "arrival", "occurredAt": "2024-03-10T03:30:00-04:00", "actorId": "N1", "data": {"origin": "JFK", "distance": 100}},
    ]  # fmt: skip
    assert client.post("/events/bulk", json=events).status_code == 201
    return client


@pytest.mark.parametrize(
    ("query", "total"),
    [
        ("", 3), ("type=departure", 2), ("type=departure&type=arrival", 3), ("actorId=N1", 2),
        ("measure=uniqueActors", 2), ("measure=sum", 7.5), ("measure=avg", 3.75), ("measure=min", 2.5),
        ("measure=max", 5), ("type=arrival&measure=max", None), ("from=2024-03-10", 2),
        ("to=2024-03-10", 1), ("from=2024-03-10&timezone=UTC", 3), ("from=2024-03-10T03:30:00-04:00", 1),
        ("from=2024-03-10T03:30:00%2B00:00", 3), ("from=2024-03-10T03:30:00+00:00", 3),
        ("data.origin=JFK", 2), ("data.distance=%3E100", 1), ("data.distance%3E=100", 3),
        ("data.distance=%3E=100", 3), ("data.distance=%3C2000", 2), ("data.origin=!=JFK", 1),
        ("data.distance=100&type=arrival", 1), ("data.absent=1", 0),
        ("from=2024-03-10&to=2024-03-10", 0),
    ],
)  # fmt: skip
def test_count_answers(loaded, query, total):
    response = loaded.get(f"{COUNT}?{query}")
    assert response.status_code == 200, response.text
    assert response.json() == {"total": total}


def test_by_type_and_timeline_answer(loaded):
    assert loaded.get(BY_TYPE).json() == [
        {"type": "departure", "total": 2},
        {"type": "arrival", "total": 1},
    ]
    days = loaded.get(TIMELINE, params={"from": "2024-03-08", "to": "2024-03-12"}).json()
    assert days == [
        {"date": "2024-03-08", "total": 0}, {"date": "2024-03-09", "total": 1},
        {"date": "2024-03-10", "total": 2}, {"date": "2024-03-11", "total": 0},
    ]  # fmt: skip
    hours = loaded.get(
        TIMELINE, params={"from": "2024-03-10", "to": "2024-03-11", "interval": "hour"}
    ).json()
    assert len(hours) == 23
    assert sum(hour["total"] for hour in hours) == 2
    groups = loaded.get(TIMELINE, params={"groupBy": "type", "interval": "month"}).json()
    assert groups == [
        {"date": "2024-03-01", "total": 1, "type": "arrival"},
        {"date": "2024-03-01", "total": 2, "type": "departure"},
    ]


@pytest.mark.parametrize(
    "query",
    [
        "form=1", "from=2024-01-02&to=2024-01-01", "from=yesterday", "from=2024-01-01T00:00:00",
        "from=2024-02-30", "from=&", "from=a%00b", "measure=median", "type=", "timezone=Mars/X",
        "from=2024-01-01&from=2024-01-02", "data.=1", "data.x%00=1", "limt=5", "type=a%00b",
        "from=2024-01-01T00:00:00Z'; drop table tally.events; --",
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", [COUNT, BY_TYPE, TIMELINE])
def test_a_bad_query_is_refused_with_the_parameter(loaded, path, query):
    problem(loaded.get(f"{path}?{query}"), 400)


@pytest.mark.parametrize(
    "query", ["interval=minute", "interval=hour&from=2020-01-01&to=2023-01-01", "groupBy=actor"]
)
def test_a_bad_timeline_is_refused(loaded, query):
    assert problem(loaded.get(f"{TIMELINE}?{query}"), 400)["errors"][0]["parameter"]


def test_summaries_tell_final_from_open(loaded, db):
    query = {"metric": "departure", "periodType": "day", "periodStart": "2024-03-10"}
    before = loaded.get("/summaries", params=query).json()
    assert (before["value"], before["final"], before["revision"]) == (1, False, 1)
    db.execute("call tally.finalize('day')")
    after = loaded.get("/summaries", params=query).json()
    assert (after["value"], after["sum"], after["uniqueActors"], after["final"]) == (
        1,
        2.5,
        1,
        True,
    )
    assert after["startsAt"] == "2024-03-10T05:00:00Z"
    nothing = loaded.get("/summaries", params={**query, "periodStart": "2024-03-20"}).json()
    assert (nothing["value"], nothing["final"]) == (0, True)
    listed = loaded.get(
        "/summaries", params={"periodType": "day", "from": "2024-03-01", "to": "2024-04-01"}
    ).json()
    assert [(row["periodStart"], row["metric"], row["value"]) for row in listed] == [
        ("2024-03-09", "departure", 1), ("2024-03-10", "arrival", 1), ("2024-03-10", "departure", 1),
    ]  # fmt: skip
    for bad in (
        {},
        {"periodStart": "x"},
        {"periodStart": "2024-03-10", "from": "2024-03-01"},
        {"periodType": "year", "periodStart": "2024-03-10"},
    ):
        problem(loaded.get("/summaries", params=bad), 400)


def test_an_actor_is_listed_exported_and_erased(loaded, db):
    page = loaded.get("/actors/N1/events", params={"limit": 1}).json()
    assert [event["type"] for event in page["events"]] == ["departure"]
    page = loaded.get("/actors/N1/events", params={"limit": 1, "after": page["next"]}).json()
    assert [event["type"] for event in page["events"]] == ["arrival"]
    lines = loaded.get("/events/export").text.splitlines()
    assert [json.loads(line)["value"] for line in lines] == [5, 2.5, None]
    assert len(loaded.get("/events/export", params={"actorId": "N2"}).text.splitlines()) == 1
    problem(loaded.get("/events/export", params={"from": "soon"}), 400)
    problem(loaded.get("/actors/N1/events", params={"after": "soon"}), 400)
    problem(loaded.get("/actors/a%00b/events"), 400)
    db.execute("call tally.finalize('day')")
    certificate = loaded.delete("/actors/N1").json()
    assert (certificate["done"], certificate["events"], certificate["daysRecomputed"]) == (
        True,
        2,
        2,
    )
    assert loaded.get(COUNT).json() == {"total": 1}
    changes = loaded.get("/summaries/changes").json()
    assert {(c["metric"], c["periodStart"], c["count"]) for c in changes["changes"]} == {
        ("departure", "2024-03-09", 0), ("arrival", "2024-03-10", 0),
    }  # fmt: skip
    assert (
        loaded.get("/summaries/changes", params={"since": changes["next"]}).json()["changes"] == []
    )
    problem(loaded.get("/summaries/changes", params={"since": "soon"}), 400)


def test_an_export_of_many_events_has_each_once(client):
    events = [
        {"type": "a", "id": str(UUID(int=n)), "occurredAt": "2024-01-01T00:00:00Z"}
        for n in range(2500)
    ]
    client.post("/events/bulk", json=events)
    with client.stream("GET", "/events/export") as response:
        assert response.headers["content-type"].startswith("application/x-ndjson")
        ids = [json.loads(line)["id"] for line in response.iter_lines()]
    assert ids == [event["id"] for event in events]


def test_a_key_without_scope_admin_erases_nothing(service, loaded, db):
    row = db.execute(
        "select api_key from api.key_create(%s, 'ingest only', array['ingest'])",
        (loaded.tenant_id,),
    ).fetchone()
    weak = {"X-API-Key": row[0]}
    problem(loaded.delete("/actors/N1", headers=weak), 403)
    problem(loaded.get(COUNT, headers=weak), 403)


def test_lists_say_in_headers_where_retention_widened_them(client, db):
    now = datetime.now(UTC)
    client.post(
        "/events/bulk",
        json=[
            {"type": "a", "occurredAt": (now - timedelta(days=n)).isoformat()} for n in range(10)
        ],
    )
    db.execute(
        "update tally.tenants set event_retention = '2 days' where tenant_id = %s",
        (client.tenant_id,),
    )
    db.execute("select tally.retention_apply(%s)", (client.tenant_id,))
    start = (now - timedelta(days=6)).replace(minute=7, second=0, microsecond=0)
    for path in (BY_TYPE, TIMELINE):
        response = client.get(path, params={"from": start.isoformat()})
        assert response.headers["resolved-from"] == start.replace(minute=0).isoformat()
    assert "resolvedFrom" in client.get(COUNT, params={"from": start.isoformat()}).json()


def test_one_tenant_sees_nothing_of_another(service, loaded):
    other = service.tenant()
    assert other.get(COUNT).json() == {"total": 0}
    assert other.get(BY_TYPE).json() == []
    assert other.get(TIMELINE).json() == []
    assert other.get(f"{COUNT}?data.origin=JFK").json() == {"total": 0}
    listed = other.get(
        "/summaries", params={"periodType": "month", "from": "2024-01-01", "to": "2025-01-01"}
    )
    assert listed.json() == []
    assert other.get("/events/export").text == ""
    assert other.get("/actors/N1/events").json() == {"events": []}
    assert other.delete("/actors/N1").json()["events"] == 0
    assert loaded.get(COUNT).json() == {"total": 3}


def test_health_and_the_reference_page_need_no_key_and_no_internet(service):
    assert httpx.get(service.url + "/health/live").json() == {"status": "ok"}
    ready = httpx.get(service.url + "/health/ready")
    assert (ready.status_code, ready.json()["ready"]) == (200, True)
    page = httpx.get(service.url + "/schema")
    assert page.status_code == 200
    assert not re.search(r"""(src|href|action)=["'](?!/|#)""", page.text)
    for address in re.findall('(?:href|src)="(/assets/[^"]*)"', page.text):
        asset = httpx.get(service.url + address)
        assert (asset.status_code, "immutable" in asset.headers["cache-control"]) == (200, True)
    document = httpx.get(service.url + "/schema/openapi.json").json()
    assert set(document["paths"]) == {
        "/tenants", "/tenants/{tenant_id}", "/tenants/{tenant_id}/deletion", "/keys", "/keys/{key_id}", "/keys/{key_id}/rotate",
        "/v1/m", *SEGMENT, "/cloudevents", "/browser", *POSTHOG, "/events/rejected", "/events/rejected/replay", "/events/receipts/{idempotency_key}",
        "/events", "/events/bulk", COUNT, BY_TYPE, TIMELINE, "/summaries",
        "/metrics", "/health/live", "/health/ready", "/health/details", "/summaries/changes", "/events/export",
        "/actors/{actor_id}", "/actors/{actor_id}/events", "/analytics/events/breakdown", "/meters",
        "/meters/{name}", "/meters/{name}/summaries", "/meters/{name}/changes", "/shares", "/shares/{share_id}",
    }  # fmt: skip
    assert all(
        "operationId" in operation
        for path in document["paths"].values()
        for operation in path.values()
    )
    names = {p["name"] for p in document["paths"][TIMELINE]["get"]["parameters"]}
    assert names == {
        "from",
        "to",
        "type",
        "actorId",
        "timezone",
        "measure",
        "interval",
        "groupBy",
        "limit",
        "compare",
        "data",
    }


def test_metrics_are_for_the_installation_and_show_jobs_and_backlog(service, client, db):
    problem(client.get("/metrics"), 403)
    client.post("/events", json={"type": "a"})
    db.execute("call tally.fold()")
    response = service.admin.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = dict(line.rsplit(" ", 1) for line in response.text.splitlines() if line[0] != "#")
    assert float(lines["pgtally_deltas_waiting"]) == 0
    assert float(lines["pgtally_partitions_ahead"]) >= 4
    assert float(lines["pgtally_healed_summaries_30d"]) == 0
    age = datetime.now(UTC).timestamp() - float(
        lines['pgtally_job_last_success_timestamp_seconds{job_name="fold"}']
    )
    assert -1 < age < 30
    assert float(lines["pgtally_fold_lag_seconds"]) < 30
    assert float(lines['pgtally_bytes{relation="events"}']) > 0
    assert float(lines['pgtally_pool_connections{state="size"}']) == 8
    asked = [
        name
        for name in lines
        if name.startswith("pgtally_http_requests_total{")
        and 'route="/events"' in name
        and 'status="201"' in name
    ]
    assert float(lines[asked[0]]) >= 1
    assert float(lines["pgtally_ingest_commit_events_count"]) >= 1


def test_what_does_not_exist_is_a_problem_too(service):
    problem(httpx.get(service.url + "/nope"), 404)
    response = httpx.delete(service.url + "/events")
    problem(response, 405)


@pytest.fixture
def limited(dsn, service_dsn):
    with running_service(service_dsn, PGTALLY_ANALYTICS_PER_MINUTE="20") as (url, _):
        yield Service(url, installation_key(dsn))


def test_the_rate_limit_is_told_kept_and_separate_for_each_class_and_tenant(limited):
    client, other = limited.tenant(), limited.tenant()
    responses = [client.get(COUNT) for _ in range(25)]
    assert [r.status_code for r in responses].count(200) in (20, 21)
    assert responses[0].headers["ratelimit-policy"] == '"analytics";q=20;w=60'
    assert responses[0].headers["x-ratelimit-limit"] == "20"
    last = responses[-1]
    problem(last, 429)
    assert 1 <= int(last.headers["retry-after"]) <= 3
    assert last.headers["x-ratelimit-remaining"] == "0"
    assert other.get(COUNT).status_code == 200
    assert client.post("/events", json={"type": "a"}).status_code == 201
