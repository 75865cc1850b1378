"""POST /events and questions are called without Litestar's machinery: nobody can tell by the answers. With a slash
at its end the path is the same to Litestar, and no way of its own."""

import contextlib
import gzip
import json
import re

import httpx
import pytest
from psycopg.conninfo import make_conninfo

from tests.conftest import SERVICE_PASSWORD, running_service

EVENT = {
    "type": "a",
    "id": "01941f29-7c00-7aaa-8aaa-aaaaaaaaaaaa",
    "value": 1.5,
    "data": {"k": "v"},
}
GOOD = json.dumps(EVENT).encode()
# In this order, for each way in a tenant of its own.
REQUESTS = {
    "new": (GOOD, {}, 201),
    "stored already": (GOOD, {}, 200),
    "gzip": (gzip.compress(GOOD), {"Content-Encoding": "gzip"}, 200),
    "with a receipt": (b'{"type": "a"}', {"Idempotency-Key": "k"}, 201),
    "once more": (b'{"type": "a"}', {"Idempotency-Key": "k"}, 201),
    "another with its key": (GOOD, {"Idempotency-Key": "k"}, 422),
    "a dry run": (b'{"type": "a"}', {"Prefer": "tx=rollback"}, 201),
    "no event": (b'{"typ": "a"}', {}, 400),
    "no JSON": (b"{", {}, 400),
    "no UTF-8": (b'{"type": "\xff"}', {}, 400),
    "refused by the database": (b'{"type": "a", "occurredAt": "1979-01-01T00:00:00Z"}', {}, 400),
    "no such key": (GOOD, {"X-API-Key": "pgt_none"}, 401),
    "two keys": (GOOD, {"Authorization": "Bearer other"}, 401),
    "too large": (b" " * 1_048_577, {}, 413),
    "of no form": (GOOD, {"Content-Type": "text/csv"}, 415),
}
VARYING = {
    "x-request-id", "server-timing", "ratelimit", "x-ratelimit-remaining", "x-ratelimit-reset",
}  # fmt: skip
# What the HTTP server adds, perhaps.
OF_THE_SERVER = {"connection", "date"}


def comparable(answer):
    """An answer without what differs between any two."""
    headers = {
        name: "" if name in VARYING else text
        for name, text in answer.headers.items()
        if name not in OF_THE_SERVER
    }
    body = answer.json()
    if "occurredAt" in body and body["id"] != EVENT["id"]:
        del body["id"], body["occurredAt"]
    body.pop("instance", None)
    headers.pop("content-length" if "id" not in body else "", None)
    return answer.status_code, sorted(headers.items()), body


def test_the_short_way_answers_as_litestar_does(service):
    short, long = service.tenant(), service.tenant()
    for name, (content, headers, status) in REQUESTS.items():
        found = comparable(short.post("/events", content=content, headers=headers))
        assert found == comparable(long.post("/events/", content=content, headers=headers)), name
        assert found[0] == status, name


QUESTIONS = {
    "/analytics/events/count": "from=2026-01-01&type=a",
    "/analytics/events/by-type": "measure=sum",
    "/analytics/events/timeline": "interval=hour&from=2026-01-01&to=2026-01-02",
    "/analytics/events/breakdown": "by=data.k",
    "/summaries": "metric=a&from=2026-01-01&to=2026-01-03",
}


@pytest.mark.parametrize("path", QUESTIONS)
def test_the_short_way_answers_questions_as_litestar_does(service, path):
    client = service.tenant()
    client.post("/events", json=EVENT)
    for query, headers, status in (
        (QUESTIONS[path], {}, 200),
        (QUESTIONS[path], {"Accept": "text/csv"}, 200),
        (QUESTIONS[path], {"X-API-Key": "pgt_none"}, 401),
        ("from=then", {}, 400),
        ("fro=2026-01-01", {}, 400),
    ):
        answers = [client.get(f"{path}{end}?{query}", headers=headers) for end in ("", "/")]
        assert [answer.status_code for answer in answers] == [status, status], query
        short, long = (
            [
                (name, "" if name in VARYING else text)
                for name, text in sorted(answer.headers.items())
                if name not in OF_THE_SERVER
            ]
            for answer in answers
        )
        assert short == long, query
        if status == 200:
            # asOf moves with the clock.
            bodies = [re.sub(r"2\d{3}-\d\d-\d\dT[^\",]+", "", answer.text) for answer in answers]
            assert bodies[0] == bodies[1], query


def test_a_body_without_length_is_bounded_as_it_comes(service):
    client = service.tenant()
    asked = 0

    def parts():
        nonlocal asked
        yield b'{"type": "'
        for _ in range(1000):
            asked += 1
            yield b"a" * 65_536

    # Perhaps the connection is closed while it sends.
    with contextlib.suppress(httpx.TransportError):
        assert client.post("/events", content=parts()).status_code == 413
    assert asked < 1000
    assert client.get("/analytics/events/count").json() == {"total": 0}
    parts_of_event = (GOOD[n : n + 7] for n in range(0, len(GOOD), 7))
    assert client.post("/events", content=parts_of_event).status_code == 201


@pytest.mark.parametrize("path", ["/events", "/events/"])
def test_a_page_of_an_allowed_origin_may_read_the_answer(service, shared_dsn, path):
    key = service.tenant().headers["X-API-Key"]
    dsn = make_conninfo(shared_dsn, user="tally_service", password=SERVICE_PASSWORD)
    with running_service(dsn, PGTALLY_CORS_ORIGINS="https://shop.example") as (url, _):
        for origin, allowed in (("https://shop.example", True), ("https://other.example", False)):
            headers = {"X-API-Key": key, "Origin": origin}
            answer = httpx.post(url + path, json={"type": "a"}, headers=headers)
            assert answer.status_code == 201
            named = answer.headers.get("access-control-allow-origin")
            assert (named == origin) is allowed
