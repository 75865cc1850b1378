"""CloudEvents as the official SDK sends them, and what else such senders do."""

import base64
import gzip
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

import httpx
import psycopg
import pytest
from cloudevents.core.bindings.http import to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from tests.endpoints.test_service import problem

AT = "2024-05-01T10:00:00.123Z"
GOOD = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "paid", "time": AT}
STRUCTURED = {"Content-Type": "application/cloudevents+json"}
BATCH = {"Content-Type": "application/cloudevents-batch+json; charset=utf-8"}


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
        select event_type, occurred_at, event_id, actor_id, value, data
        from tally.events where tenant_id = %s order by event_type, occurred_at, event_id
        """,
        (client.tenant_id,),
    ).fetchall()


def post(client, content, headers=STRUCTURED):
    if not isinstance(content, bytes):
        content = json.dumps(content).encode()
    return client.post("/cloudevents", content=content, headers=headers)


def made(**attributes):
    attributes = {
        "id": "A-1", "source": "https://shop.example/tills?n=1", "type": "com.example.sale",
        "subject": "user/17 ü€", "time": datetime(2024, 5, 1, 10, tzinfo=UTC), "tillno": "7",
        "datacontenttype": "application/json", **attributes,
    }  # fmt: skip
    return CloudEvent(attributes, {"value": 12.5, "plan": "pro"})


def test_the_sdk_sends_the_same_event_in_three_modes_and_it_is_stored_once(client, db):
    event = made()
    binary = to_binary(event, JSONFormat())
    structured = to_structured(event, JSONFormat())
    answers = [
        client.post("/cloudevents", content=message.body, headers=message.headers).json()
        for message in (binary, structured)
    ]
    answers.append(post(client, b"[" + structured.body + b"]", BATCH).json())
    assert answers == [{"accepted": 1, "duplicates": 0}] + [{"accepted": 0, "duplicates": 1}] * 2
    (row,) = stored(db, client)
    identity = '["https://shop.example/tills?n=1","A-1"]'
    assert row == (
        "com.example.sale", datetime(2024, 5, 1, 10, tzinfo=UTC),
        uuid5(UUID(client.tenant_id), identity), "user/17 ü€", 12.5,
        {
            "value": 12.5, "plan": "pro",
            "cloudevent": {"id": "A-1", "source": "https://shop.example/tills?n=1", "tillno": "7"},
        },
    )  # fmt: skip


def test_source_and_id_are_the_identity(client):
    events = [{**GOOD, "source": source, "id": one} for source in "ab" for one in ("1", "2")]
    events.append({**GOOD, "source": '"a","1"', "id": "1"})
    assert post(client, events + events, BATCH).json() == {"accepted": 5, "duplicates": 5}
    assert client.get("/analytics/events/count").json() == {"total": 5}


def test_events_without_a_time_are_stored_once_over_retries_too(client, db):
    timeless = [{k: v for k, v in {**GOOD, "id": n}.items() if k != "time"} for n in "123"]
    for again in (False, True):
        for content, headers, count in (
            (timeless[0], STRUCTURED, 1), ([*timeless, GOOD], BATCH, 4),
        ):  # fmt: skip
            told = (
                {"accepted": 0, "duplicates": count}
                if again
                else {"accepted": count, "duplicates": 0}
            )
            assert post(client, content, headers).json() == told
    assert len(stored(db, client)) == 5


def test_one_bad_event_of_a_batch_costs_the_others_nothing_and_is_kept(client, db):
    tomorrow = {**GOOD, "id": "t", "time": (datetime.now(UTC) + timedelta(days=1)).isoformat()}
    answer = post(client, [GOOD, {**GOOD, "id": ""}, 5, tomorrow, {**GOOD, "id": "2"}], BATCH)
    assert answer.status_code == 200
    told = answer.json()
    assert (told["accepted"], told["rejected"]) == (2, 3)
    assert [one["index"] for one in told["errors"]] == [1, 2, 3]
    kept = client.get("/events/rejected").json()["events"]
    assert {one["source"] for one in kept} == {"cloudevents"}
    assert sorted(one["replayable"] for one in kept) == [False, False, True]
    db.execute(
        "update tally.rejected_events set event = replace(event, %s, '2024-05-02') where tenant_id = %s",
        (tomorrow["time"][:10], client.tenant_id),
    )
    assert client.post("/events/rejected/replay").json()["accepted"] == 1


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [({"specversion": "0.3"}, "specversion"), ({"specversion": 1}, "specversion"), ({"id": 5}, "id"), ({"source": ""}, "source"),
     ({"type": None}, "type"), ({"type": "t" * 201}, "type"), ({"time": "yesterday"}, "time"), ({"subject": "s" * 201}, "subject"),
     ({"data": {"x": "y" * 70_000}}, "data"), ({"data_base64": "!", "datacontenttype": "application/json"}, "data_base64")],
)  # fmt: skip
def test_a_single_event_that_is_none_is_refused_with_its_reason_and_kept(client, wrong, reason):
    told = problem(post(client, {**GOOD, **wrong}), 400)
    assert told["errors"][0]["detail"].startswith(reason)
    (kept,) = client.get("/events/rejected").json()["events"]
    assert kept["errors"][0]["detail"].startswith(reason)
    assert client.get("/analytics/events/count").json() == {"total": 0}


def test_data_that_is_no_object_is_kept_under_a_name(client, db):
    packed = base64.b64encode(b'{"value": 3}').decode()
    for n, (fields, _) in enumerate(
        told := [
            ({"data": [1, "a"]}, {"data": [1, "a"]}),
            ({"data": "text"}, {"data": "text"}),
            ({"data_base64": "AAE="}, {"data_base64": "AAE="}),
            ({"data_base64": packed, "datacontenttype": "application/x+json"}, {"value": 3}),
            ({"data": {"cloudevent": 1}}, {"cloudevent": 1}),
            ({}, {}),
        ]
    ):
        assert post(client, {**GOOD, "type": f"t{n}", "id": str(n), **fields}).status_code == 200
    for (*_, data), (_, expected) in zip(stored(db, client), told, strict=True):
        assert (
            data.pop("$cloudevent" if "cloudevent" in expected else "cloudevent")["source"]
            == "/shop"
        )
        assert data == expected
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "b",
        "ce-source": "/b",
        "ce-type": "z%20%C3%BC",
        "ce-time": AT,
    }
    for content, kind, expected in (
        (b"plain \xff", "text/plain", "data"), (b"\x00\x01", "image/png", "data_base64"), (b'{"value": NaN}', None, "value"),
    ):  # fmt: skip
        sent = {**headers, "ce-source": expected, **({"Content-Type": kind} if kind else {})}
        assert post(client, content, sent).json()["accepted"] == 1
    rows = [row for row in stored(db, client) if row[0] == "z ü"]
    assert sorted(next(iter(row[5].keys() - {"cloudevent"})) for row in rows) == [
        "data",
        "data_base64",
        "value",
    ]


def test_what_is_no_cloud_event_is_told_what_one_is(client):
    for content, headers, status in (
        (b"x", {}, 415), (b"<e/>", {"Content-Type": "application/cloudevents+xml"}, 415), (b"{", STRUCTURED, 400),
        (GOOD, BATCH, 400), (b"[" * 100_000, BATCH, 400), (b"x", {**STRUCTURED, "Content-Encoding": "br"}, 415),
        (gzip.compress(b" " * 30_000_000, 1), {**STRUCTURED, "Content-Encoding": "gzip"}, 413),
        (b" " * 1_100_000, STRUCTURED, 413), ([GOOD] * 10_001, BATCH, 413), ([1] * 10_001, BATCH, 400),
    ):  # fmt: skip
        assert problem(post(client, content, headers), status)["detail"]
    packed = gzip.compress(json.dumps([GOOD]).encode())
    assert post(client, packed, {**BATCH, "Content-Encoding": "gzip"}).json()["accepted"] == 1


def test_the_key_is_in_a_header_and_nowhere_else(service, client):
    key = client.headers["X-API-Key"]
    url = service.url + "/cloudevents"
    problem(httpx.post(url, json={**GOOD, "key": key}), 401)
    problem(httpx.post(url, json=GOOD, headers={"ce-key": key, "ce-xapikey": key}), 401)
    bearer = {"Authorization": f"Bearer {key}", **STRUCTURED}
    assert httpx.post(url, json=GOOD, headers=bearer).json()["accepted"] == 1
