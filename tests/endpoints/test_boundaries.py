"""Each limit, and its neighbour on the other side."""

import gzip
import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.endpoints.test_service import COUNT, problem

MAX_BODY_BYTES = 10_000_000
GZIPPED = {"Content-Encoding": "gzip"}


@pytest.fixture
def client(service):
    return service.tenant()


def event(**fields):
    return json.dumps({"type": "a", **fields}, ensure_ascii=False)


def with_data(data):
    return f'{{"type": "a", "data": {data}}}'


def nested(levels, opening="{", sibling=""):
    """Data of so many levels, itself the first, with something beside the second."""
    opened, closed = ('{"a":', "}") if opening == "{" else ("[", "]")
    inner = opened * (levels - 2) + "{}" + closed * (levels - 2)
    return f'{{{sibling}"a":{inner}}}'


def of_bytes(count, letter="x"):
    """Data of exactly so many bytes of UTF-8."""
    filled, left = divmod(count - len('{"a":""}'), len(letter.encode()))
    return '{"a":"' + letter * filled + "x" * left + '"}'


def in_minutes(minutes):
    return (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()


SIBLING = '"s":[{},{}],'
BOUNDARIES = {
    "data of 32 levels": (with_data(nested(32)), with_data(nested(33))),
    "data of 32 levels with siblings": (
        with_data(nested(32, sibling=SIBLING)), with_data(nested(33, sibling=SIBLING)),
    ),
    "data of 32 levels of lists": (with_data(nested(32, "[")), with_data(nested(33, "["))),
    "data of 65,536 bytes": (with_data(of_bytes(65_536)), with_data(of_bytes(65_537))),
    "data of 65,536 bytes in fewer characters": (
        with_data(of_bytes(65_536, "é")), with_data(of_bytes(65_537, "é")),
    ),
    "a type of 200 characters": (event(type="ü" * 200), event(type="ü" * 201)),
    "an actor of 200 characters": (event(actorId="ü" * 200), event(actorId="ü" * 201)),
    "a session of 200 characters": (event(sessionId="ü" * 200), event(sessionId="ü" * 201)),
    "a value below 1e30": ('{"type": "a", "value": ' + "9" * 30 + "}", '{"type": "a", "value": 1e30}'),
    "a value above -1e30": ('{"type": "a", "value": -' + "9" * 30 + "}", '{"type": "a", "value": -1e30}'),
    "the first moment of 1980": (
        event(occurredAt="1980-01-01T00:00:00Z"), event(occurredAt="1979-12-31T23:59:59.999999Z"),
    ),
    "an hour ahead": (event(occurredAt=in_minutes(59)), event(occurredAt=in_minutes(70))),
}  # fmt: skip


@pytest.mark.parametrize("what", BOUNDARIES)
def test_an_event_at_its_limit_is_stored_and_one_beyond_is_refused(client, what):
    good, bad = BOUNDARIES[what]
    stored = client.post("/events", content=good)
    assert stored.status_code == 201, stored.text
    (error,) = problem(client.post("/events", content=bad), 400)["errors"]
    assert error["pointer"]
    # The same in a batch.
    assert client.post("/events/bulk", content=f"[{good}, {good}]").status_code == 201
    problem(client.post("/events/bulk", content=f"[{good}, {bad}]"), 400)
    assert client.get(COUNT).json() == {"total": 3}


@pytest.mark.parametrize(
    "data",
    [
        '{"a": "' + "[{" * 100 + '"}',
        '{"a": "\\"' + "[" * 100 + '", "b": "\\\\"}',
        '{"a": [' + ", ".join(["{}"] * 1000) + "]}",
    ],
)
def test_brackets_in_texts_and_side_by_side_are_no_levels(client, data):
    assert client.post("/events", content=with_data(data)).status_code == 201


def test_a_body_of_exactly_the_limit_is_taken_also_as_gzip(client):
    exactly = b'[{"type": "a"}]'.ljust(MAX_BODY_BYTES)
    assert client.post("/events/bulk", content=exactly).status_code == 201
    problem(client.post("/events/bulk", content=exactly + b" "), 413)
    inflates = gzip.compress(exactly, 1)
    assert client.post("/events/bulk", content=inflates, headers=GZIPPED).status_code == 201
    problem(
        client.post("/events/bulk", content=gzip.compress(exactly + b" ", 1), headers=GZIPPED), 413
    )
    assert client.get(COUNT).json() == {"total": 2}


def test_a_batch_of_exactly_10000_events_is_taken(client):
    assert client.post("/events/bulk", json=[{"type": "a"}] * 10_000).status_code == 201
    problem(client.post("/events/bulk", json=[{"type": "a"}] * 10_001), 400)


def test_a_query_of_exactly_8192_bytes_is_taken(client):
    query = ("type=a&data.k=" + "x" * 8192)[:8192]
    assert client.get(f"{COUNT}?{query}").json() == {"total": 0}
    problem(client.get(f"{COUNT}?{query}x"), 414)


@pytest.mark.parametrize("path", ["/events", "/summaries/changes", "/actors/a/events"])
def test_a_page_has_1_to_10000_rows(client, path):
    for limit, status in ((0, 400), (1, 200), (10_000, 200), (10_001, 400)):
        assert client.get(path, params={"limit": limit}).status_code == status, limit


def test_an_idempotency_key_has_1_to_200_characters(client):
    for length, status in ((1, 201), (200, 201), (201, 400)):
        headers = {"Idempotency-Key": "k" * length}
        assert client.post("/events", json={"type": "a"}, headers=headers).status_code == status


def test_only_what_is_in_the_form_of_an_event_is_replayed(client):
    """A Segment message without an event is kept; its text happens to be a good event of type track."""
    client.post("/v1/batch", json={"batch": [{"type": "track"}]})
    (kept,) = client.get("/events/rejected").json()["events"]
    assert (json.loads(kept["event"]), kept["replayable"]) == ({"type": "track"}, False)
    for ids in ([], [kept["id"]]):
        replayed = client.post("/events/rejected/replay", json={"ids": ids})
        assert replayed.json() == {"accepted": 0, "duplicates": 0, "conflicts": 0, "rejected": 0}
    assert [one["id"] for one in client.get("/events/rejected").json()["events"]] == [kept["id"]]
    assert client.get(COUNT).json() == {"total": 0}
