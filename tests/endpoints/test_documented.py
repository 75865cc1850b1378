"""Every status and header of every answer that the tests get is in the OpenAPI document: see
tests/documented.py. Here, that this is really looked at, and the answers that other tests seldom get."""

import copy

import httpx
import pytest

from tests.documented import undocumented
from tests.endpoints.test_service import COUNT, TIMELINE


@pytest.fixture
def client(service):
    return service.tenant()


@pytest.fixture(scope="module")
def document(service):
    return httpx.get(service.url + "/schema/openapi.json").json()


def responses(document, path, method):
    return document["paths"][path][method]["responses"]


def test_a_status_that_the_document_lacks_is_noticed(document, client):
    first, second = (
        client.post("/events", json={"type": kind}, headers={"Idempotency-Key": "k"})
        for kind in "ab"
    )
    assert (first.status_code, second.status_code) == (201, 422)
    assert undocumented(document, second) == []
    without = copy.deepcopy(document)
    del responses(without, "/events", "post")["422"]
    assert undocumented(without, first) == []
    assert undocumented(without, second) == ["POST /events: 422"]


def test_a_header_or_a_content_type_that_the_document_lacks_is_noticed(document, client):
    answer = client.get(COUNT)
    assert undocumented(document, answer) == []
    without = copy.deepcopy(document)
    told = responses(without, COUNT, "get")["200"]
    for header in ("RateLimit", "RateLimit-Policy", "X-RateLimit-Reset", "X-Request-Id"):
        del told["headers"][header]
    del told["content"]["application/json"]
    assert set(undocumented(without, answer)) == {
        f"GET {COUNT}: 200: {what}"
        for what in ("ratelimit", "ratelimit-policy", "x-ratelimit-reset", "x-request-id", "application/json")
    }  # fmt: skip


def test_paths_with_ids_and_plain_ones_beside_them_are_told_apart(document, client):
    for path, described in (
        ("/events/receipts/k", "/events/receipts/{idempotency_key}"),
        ("/actors/a%2Fb/events", "/actors/{actor_id}/events"),
        ("/events/export", "/events/export"),
    ):
        answer = client.get(path)
        without = copy.deepcopy(document)
        responses(without, described, "get").clear()
        assert undocumented(without, answer) == [f"GET {path}: {answer.status_code}"]


def test_every_header_that_is_named_is_described(document):
    described = {f"#/components/headers/{name}" for name in document["components"]["headers"]}
    named = {
        header["$ref"]
        for path in document["paths"].values()
        for operation in path.values()
        for told in operation["responses"].values()
        for header in told.get("headers", {}).values()
    }
    assert named == described


def test_answers_that_other_tests_seldom_get_are_documented_too(service, client):
    """Nothing to assert but the statuses: what they carry is looked at on the way."""
    closed = httpx.get(service.url + COUNT)
    assert (closed.status_code, "www-authenticate" in closed.headers) == (401, True)
    path = f"/tenants/{client.tenant_id}"
    service.admin.patch(path, json={"rateLimitsPerMinute": {"summaries": 0}})
    url = "/summaries?from=2024-04-01&to=2024-06-01"
    fresh = service.tenant()
    tag = fresh.get(url).headers["etag"]
    for answer, status in (
        (fresh.get(url, headers={"If-None-Match": tag}), 304),
        (client.post("/events", content="x", headers={"Content-Type": "text/csv"}), 415),
        (client.post("/events", content=b" " * 10_000_001), 413),
        (client.get(f"{COUNT}?type={'x' * 9000}"), 414),
        (client.get("/keys", params={"tenantId": "00000000-0000-0000-0000-000000000001"}), 403),
        (client.delete("/keys/00000000-0000-0000-0000-000000000001"), 404),
        (client.get(TIMELINE, headers={"Accept": "text/csv"}), 200),
        (client.post("/v1/m", json={}), 200),
    ):
        assert answer.status_code == status, answer.url
