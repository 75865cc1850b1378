"""Meters over HTTP: what is asked of them, and what is not."""

import psycopg
import pytest


@pytest.fixture
def client(shared_dsn, service):
    """Of a tenant with two meters; there are events of the type visit."""
    client = service.tenant()
    for definition in (
        {"name": "prices", "by": ["data.k"], "percentiles": True},
        {"name": "visit", "by": ["data.k"]},
    ):
        assert client.post("/meters", json=definition).status_code == 201
    events = [
        {"type": "visit", "value": n, "data": {"k": "a"}, "occurredAt": f"2025-01-01T00:00:{n}Z"}
        for n in range(10, 60)
    ]
    assert client.post("/events/bulk", json=events).status_code == 201
    with psycopg.connect(shared_dsn, autocommit=True) as db:
        db.execute("call tally.fill()")
    return client


def test_percentiles_of_a_meter_say_how_near_they_are(client):
    asked = "/analytics/events/breakdown?by=data.k&measure="
    found = client.get(asked + "p50").json()
    assert (found["source"], found["exact"], found["relativeError"]) == ("meter prices", True, 0.01)
    assert found["total"] == found["groups"][0]["total"] == pytest.approx(34, rel=0.01)
    assert "relativeError" not in client.get(asked + "count").json()
    # Of another number raw events know the exact ones.
    assert "relativeError" not in client.get(asked + "p50&of=data.n").json()
    days = client.get("/meters/prices/summaries?periodStart=2025-01-01").json()
    assert [day["part"] for day in days] == ["group", "total"]
    for day in days:
        assert [day[name] for name in ("p50", "p90", "p99")] == pytest.approx(
            [34, 54, 59], rel=0.01
        )
    days = client.get("/meters/visit/summaries?periodStart=2025-01-01").json()
    assert days[0]["p50"] is None


def test_percentiles_are_had_and_left_by_a_change_of_the_meter(client):
    changed = client.patch("/meters/visit", json={"percentiles": True}).json()
    assert (changed["version"], changed["percentiles"]) == (2, True)
    changed = client.patch("/meters/visit", json={"maxGroups": 7}).json()
    assert (changed["version"], changed["percentiles"]) == (3, True)


def test_summaries_of_an_event_type_are_not_those_of_a_meter_and_say_where_these_are(client):
    day = "&periodStart=2025-01-01"
    assert client.get("/summaries?metric=visit" + day).json()["count"] == 50
    # Of a day without events as well: there is such a type.
    assert client.get("/summaries?metric=visit&periodStart=2025-02-01").json()["count"] == 0
    assert client.get("/summaries?metric=nothing" + day).json()["count"] == 0
    for range_asked in (day, "&from=2025-01-01&to=2025-01-03"):
        found = client.get("/summaries?metric=prices" + range_asked)
        assert found.status_code == 404
        assert found.json()["errors"] == [
            {"parameter": "metric", "detail": "is a meter: ask GET /meters/prices/summaries"}
        ]
