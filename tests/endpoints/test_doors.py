"""What holds for every door: one rule book, no message that costs another its place, nothing lost."""

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest
from pgtally.formats import encode

from tests.endpoints.test_rule_book import CORPUS, rows
from tests.endpoints.test_service import COUNT

# Of the corpus: the members of an event as texts, so that numbers and escapes stay as they are.
FIELDS = ("type", "occurredAt", "id", "actorId", "value", "data")


def segment(fields):
    names = {"type": "event", "occurredAt": "timestamp", "id": "messageId", "actorId": "userId"}
    named = {names.get(name, name): text for name, text in fields.items()}
    properties = named.pop("data", "{}")
    return {"type": '"track"', "userId": '"u"', "properties": properties, **named}


def cloudevents(fields):
    names = {"occurredAt": "time", "actorId": "subject"}
    named = {names.get(name, name): text for name, text in fields.items()}
    return {"specversion": '"1.0"', "source": '"/s"', "id": '"1"', **named}


def posthog(fields):
    names = {"type": "event", "occurredAt": "timestamp", "id": "uuid", "actorId": "distinct_id"}
    named = {names.get(name, name): text for name, text in fields.items()}
    properties = named.pop("data", "{}")
    return {"distinct_id": '"u"', "properties": properties, **named}


def browser(fields):
    return {name: text for name, text in fields.items() if name not in ("occurredAt", "id")}


# How a door wants an event and a batch, and where.
DOORS = {
    "posthog": (posthog, '{{"batch": [{}]}}', "/batch/", {}),
    "browser": (browser, '{{"events": [{}]}}', "/browser", {}),
    "segment": (segment, '{{"batch": [{}]}}', "/v1/batch", {}),
    "cloudevents": (
        cloudevents, "[{}]", "/cloudevents", {"Content-Type": "application/cloudevents-batch+json"},
    ),
}  # fmt: skip


@pytest.fixture(params=DOORS)
def door(request):
    return request.param


@pytest.fixture
def db(shared_dsn):
    with psycopg.connect(shared_dsn, autocommit=True) as connection:
        yield connection


def split(text):
    """The members of a JSON object of the corpus, each as its text; None for another."""
    decoder = json.JSONDecoder(strict=False)
    found, place = {}, 1
    try:
        while text[place] != "}":
            name, place = decoder.raw_decode(text, place)
            place = text.index(":", place) + 1
            while text[place] == " ":
                place += 1
            _, end = decoder.raw_decode(text, place)
            found[name] = text[place:end]
            place = end
            while text[place] in ", ":
                place += 1
    except (ValueError, IndexError, RecursionError):
        return None
    return found


def messages(door):
    """Each with an id of its own: which of two under one id stays is a matter of order."""
    for number, text in enumerate(CORPUS):
        fields = split(text) if text.startswith("{") else None
        if fields and fields.keys() <= set(FIELDS) and fields.get("occurredAt", '""') != '""':
            yield written(DOORS[door][0]({**fields, "id": f'"{number}"'}))


def written(message):
    return "{" + ", ".join(f'"{name}": {text}' for name, text in message.items()) + "}"


def without_receipt(door, db, client):
    """What is stored; without the time where that is always the one of its receipt."""
    found = rows(db, client.tenant_id)
    return sorted((row[:1] + row[2:] for row in found), key=str) if door == "browser" else found


def send(client, door, texts):
    _, body, path, headers = DOORS[door]
    return client.post(path, content=body.format(", ".join(texts)).encode(), headers=headers)


def test_of_the_corpus_nothing_is_lost_and_what_is_stored_is_what_our_own_door_stores(
    service, db, door
):
    whole, single, native = (service.tenant() for _ in range(3))
    # PostgreSQL writes 1e300 and 1e-100 out: more digits than may come in. A page sends less at once.
    longest = 15_000 if door == "browser" else 1_000_000
    texts = [
        text
        for text in messages(door)
        if not re.search("1e(300|-100)", text) and len(text) < longest
    ]
    assert len(texts) > 60
    assert send(whole, door, texts).is_success
    for text in texts:
        assert send(single, door, [text]).is_success, text[:100]
    # The fate of a message does not depend on its neighbours.
    assert without_receipt(door, db, whole) == without_receipt(door, db, single)
    kept = whole.get("/events/rejected?limit=1000").json()["events"]
    assert 10 < len(kept) < len(texts)
    assert all(one["errors"] and one["source"] == door for one in kept)
    lines = whole.get("/events/export").text.splitlines()
    exported = [json.loads(line, parse_float=Decimal) for line in lines]
    assert len(exported) > 20
    for event in exported:
        event.pop("receivedAt")
    answer = native.post("/events/bulk", content=encode(exported))
    assert answer.json() == {"accepted": len(exported), "duplicates": 0}
    assert rows(db, native.tenant_id) == rows(db, whole.tenant_id)


POISON = [
    "0." + "1" * 16_384, "1" * 5_000, "1e9999999999999999999", "-1e-999999999", '"\\u0000"', '"\\ud800"', "NaN", "-Infinity",
    '{"__proto__": {"a": 1}, "constructor": 1, "": 2}', "[" * 40 + "]" * 40, "[" * 900 + "]" * 900, '"' + "x" * 1_000_000 + '"',
    '{"a": 1, "a": 2}',
]  # fmt: skip


@pytest.mark.parametrize("poison", POISON, ids=lambda text: text[:12])
def test_whatever_one_message_holds_the_others_are_stored_and_it_is_stored_or_kept(
    service, door, poison
):
    client = service.tenant()
    at = datetime(2025, 6, 1, tzinfo=UTC).isoformat()
    shape, *_ = DOORS[door]
    if door == "browser":
        poison = poison.replace("x" * 1_000_000, "x" * 20_000)
    texts = []
    for n, inner in enumerate(("1", poison, "2")):
        fields = {
            "type": f'"t{n}"', "occurredAt": f'"{at}"', "id": f'"{n}"', "actorId": '"a"',
            "data": f'{{"x": {inner}}}',
        }  # fmt: skip
        texts.append(written(shape(fields)))
    assert send(client, door, texts).is_success
    counted = {one["type"]: one["total"] for one in client.get("/analytics/events/by-type").json()}
    kept = client.get("/events/rejected").json()["events"]
    assert (counted["t0"], counted["t2"]) == (1, 1)
    assert counted.get("t1", 0) + len(kept) == 1


# A page sends what happens when it is received.
@pytest.mark.parametrize(
    ("door", "largest"), [("segment", 1_048_576), ("posthog", 1_048_576), ("cloudevents", 65_536)]
)
def test_what_a_door_would_store_can_be_replayed_up_to_the_largest_data(service, db, door, largest):
    client = service.tenant()
    shape, *_ = DOORS[door]
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()

    def message(number, at, count):
        fields = {
            "type": '"t"', "occurredAt": f'"{at}"', "id": f'"{number}"', "actorId": '"a"',
            "data": f'{{"x": "{"y" * count}"}}',
        }  # fmt: skip
        return written(shape(fields))

    at = "2025-06-01T12:00:00Z"
    assert send(client, door, [message(1, at, 100)]).is_success
    (stored,) = client.get("/events").json()["events"]
    most = largest - (len(encode(stored["data"])) - 100)
    for number, when, count in (
        (2, at, most), (3, at, most + 1), (4, tomorrow, most), (5, tomorrow, most + 1),
    ):  # fmt: skip
        send(client, door, [message(number, when, count)])
    assert client.get(COUNT).json() == {"total": 2}
    kept = db.execute(
        "select replayable from tally.rejected_events where tenant_id = %s", (client.tenant_id,)
    ).fetchall()
    assert sorted(kept) == [(False,), (False,), (True,)]
    db.execute(
        "update tally.rejected_events set event = replace(event, %s, '2025-06-02') where tenant_id = %s",
        (tomorrow[:10], client.tenant_id),
    )
    answer = client.post("/events/rejected/replay").json()
    assert (answer["accepted"], answer["rejected"]) == (1, 0)


def test_events_and_bytes_are_charged(service, door):
    client = service.tenant()
    limits = {"events": 5, "bytes": 100_000}
    made = service.admin.post(
        f"/keys?tenantId={client.tenant_id}",
        json={"name": "limited", "scopes": ["ingest"], "rateLimitsPerMinute": limits},
    ).json()
    client.headers["X-API-Key"] = made["apiKey"]
    fields = {"type": '"t"', "actorId": '"a"', "occurredAt": '"2025-06-01T12:00:00Z"'}
    message = written(DOORS[door][0](fields))
    answer = send(client, door, [message] * 5)
    assert answer.is_success
    assert '"events";r=0' in answer.headers["RateLimit"]
    assert '"bytes";r=' in answer.headers["RateLimit"]
    assert send(client, door, [message]).status_code == 429
