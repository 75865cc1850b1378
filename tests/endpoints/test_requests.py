"""Retries, dry runs, rejected events, pages, other formats, comparisons, ETags."""

import csv
import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
from pgtally.ingest.uuid7 import uuid7

from tests.endpoints.test_service import BY_TYPE, COUNT, TIMELINE, problem

AT = "2024-05-01T10:00:00Z"


@pytest.fixture
def client(service):
    return service.tenant()


@pytest.fixture
def db(shared_dsn):
    with psycopg.connect(shared_dsn, autocommit=True) as connection:
        yield connection


def total(client):
    return client.get(COUNT).json()["total"]


def keyed(key, **headers):
    return {"Idempotency-Key": key, **headers}


# Idempotency


def test_a_repeated_request_with_a_key_stores_nothing_twice_and_gets_the_first_receipt(client):
    events = [{"type": "a"}, {"type": "b"}]
    first = client.post("/events/bulk", json=events, headers=keyed("k1"))
    again = client.post("/events/bulk", json=events, headers=keyed("k1"))
    assert (first.status_code, first.json()) == (201, {"accepted": 2, "duplicates": 0})
    assert (again.status_code, again.json()) == (201, first.json())
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert total(client) == 2
    problem(client.post("/events/bulk", json=events[:1], headers=keyed("k1")), 422)
    assert client.post("/events/bulk", json=events, headers=keyed("k2")).json()["accepted"] == 2


def test_a_single_event_with_a_key_is_stored_once_though_it_has_no_id(client):
    event = '{"type": "a", "value": 12345678901234567.89, "data": {"n": 0.10}}'
    first = client.post("/events", content=event, headers=keyed("k"))
    again = client.post("/events", content=event, headers=keyed("k"))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert "12345678901234567.89" in again.text
    assert total(client) == 1


def test_a_key_belongs_to_its_tenant(service, client):
    other = service.tenant()
    assert client.post("/events", json={"type": "a"}, headers=keyed("k")).status_code == 201
    assert other.post("/events", json={"type": "b"}, headers=keyed("k")).status_code == 201
    problem(other.get("/events/receipts/nope"), 404)


@pytest.mark.parametrize("key", ["", "x" * 201, "a b"])
def test_a_key_that_is_none_is_refused(client, key):
    problem(client.post("/events", json={"type": "a"}, headers=keyed(key)), 400)


def test_concurrent_requests_with_one_key_store_once(client):
    events = [{"type": "a"} for _ in range(500)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(
                lambda _: client.post("/events/bulk", json=events, headers=keyed("k")), range(8)
            )
        )
    assert {answer.status_code for answer in answers} == {201}
    assert {answer.text for answer in answers} == {'{"accepted":500,"duplicates":0}'}
    assert total(client) == 500


def test_the_receipt_can_be_read_after_a_time_out(client):
    problem(client.get("/events/receipts/k"), 404)
    events = [{"type": "a"}, {"type": ""}]
    lenient = keyed("k", Prefer="handling=lenient")
    client.post("/events/bulk", json=events, headers=lenient)
    receipt = client.get("/events/receipts/k").json()
    assert (receipt["accepted"], receipt["duplicates"]) == (1, 0)
    assert receipt["response"]["rejected"] == 1
    again = client.post("/events/bulk", json=events, headers=lenient)
    assert again.json()["errors"][0]["pointer"] == "/type"


def test_a_refused_request_leaves_no_receipt(client):
    future = [{"type": "a", "occurredAt": "2999-01-01T00:00:00Z"}]
    problem(client.post("/events/bulk", json=future, headers=keyed("k")), 400)
    problem(client.get("/events/receipts/k"), 404)
    ok = client.post("/events/bulk", json=[{"type": "a"}], headers=keyed("k"))
    assert ok.status_code == 201


# Dry runs


def test_a_dry_run_tells_what_would_happen_and_stores_nothing(client, db):
    stored = {"type": "a", "id": str(uuid7(datetime.now(UTC)))}
    client.post("/events", json=stored)
    dry = {"Prefer": "tx=rollback, handling=lenient", "Idempotency-Key": "k"}
    answer = client.post("/events/bulk", json=[stored, {"type": "b"}, {"type": ""}], headers=dry)
    assert answer.json() | {"errors": []} == {
        "accepted": 1, "duplicates": 1, "rejected": 1, "errors": [],
    }  # fmt: skip
    assert answer.headers["preference-applied"] == "handling=lenient, tx=rollback"
    single = client.post("/events", json={"type": "c"}, headers={"Prefer": "tx=rollback"})
    assert (single.status_code, single.json()["duplicate"]) == (201, False)
    problem(
        client.post("/events/bulk", json=[{"type": ""}], headers={"Prefer": "tx=rollback"}), 400
    )
    assert total(client) == 1
    assert client.get("/events/rejected").json()["events"] == []
    problem(client.get("/events/receipts/k"), 404)
    deltas = "select sum(event_count) from tally.summary_deltas where tenant_id = %s"
    assert db.execute(deltas, (client.tenant_id,)).fetchone() == (1,)


# Rejected events


def test_a_bad_event_that_comes_twice_in_a_batch_is_kept_once(client):
    answer = client.post(
        "/events/bulk", json=[{}, {"type": "a"}, {}, []], headers={"Prefer": "handling=lenient"}
    )
    assert (answer.status_code, answer.json()["accepted"]) == (201, 1)
    assert [one["index"] for one in answer.json()["errors"]] == [0, 2, 3]
    kept = client.get("/events/rejected").json()["events"]
    assert [one["event"] for one in kept] == ["[]", "{}"]


def test_rejected_events_are_kept_with_their_reasons_listed_and_replayed(client, db):
    events = [
        {"type": "good"}, {"type": ""}, {"type": "x", "value": "nine"}, "no object",
        {"type": "early", "occurredAt": (datetime.now(UTC) + timedelta(hours=2)).isoformat()},
    ]  # fmt: skip
    lenient = {"Prefer": "handling=lenient"}
    answer = client.post("/events/bulk", json=events, headers=lenient)
    assert (answer.json()["accepted"], answer.json()["rejected"]) == (1, 4)
    # Sent again, they are kept once.
    client.post("/events/bulk", json=events[1:], headers=lenient)
    page = client.get("/events/rejected").json()
    assert [json.loads(one["event"]) for one in page["events"]] == events[:0:-1]
    assert all(one["errors"][0]["detail"] and one["replayable"] for one in page["events"])
    assert client.post("/events/rejected/replay").json() == {
        "accepted": 0, "duplicates": 0, "conflicts": 0, "rejected": 4,
    }  # fmt: skip
    # An hour later the early one is no longer early.
    early = page["events"][0]
    db.execute(
        """
        update tally.rejected_events set event = replace(event, %s, %s)
        where tenant_id = %s and rejected_id = %s
        """,
        (
            events[4]["occurredAt"][:13],
            datetime.now(UTC).isoformat()[:13],
            client.tenant_id,
            early["id"],
        ),
    )
    with ThreadPoolExecutor(4) as pool:
        ids = {"ids": [early["id"]]}
        answers = list(
            pool.map(lambda _: client.post("/events/rejected/replay", json=ids), range(4))
        )
    assert sum(answer.json()["accepted"] for answer in answers) == 1
    assert total(client) == 2
    assert len(client.get("/events/rejected").json()["events"]) == 3


def test_a_rejected_event_without_a_time_is_replayed_at_the_time_of_its_rejection(client, db):
    client.post("/events/bulk", json=[{"type": ""}], headers={"Prefer": "handling=lenient"})
    db.execute(
        """
        update tally.rejected_events
        set event = '{"type": "now good"}', rejected_at = '2024-05-01 10:00:00+00'
        where tenant_id = %s
        """,
        (client.tenant_id,),
    )
    assert client.post("/events/rejected/replay").json()["accepted"] == 1
    assert client.get("/events").json()["events"][0]["occurredAt"] == AT


def test_rejected_events_of_another_tenant_are_neither_seen_nor_replayed(service, client, db):
    other = service.tenant()
    other.post("/events/bulk", json=[{"type": ""}], headers={"Prefer": "handling=lenient"})
    (theirs,) = other.get("/events/rejected").json()["events"]
    assert client.get("/events/rejected").json()["events"] == []
    ids = {"ids": [theirs["id"]]}
    assert client.post("/events/rejected/replay", json=ids).json()["rejected"] == 0


def test_rejected_events_come_in_pages(client):
    events = [{"type": "", "value": n} for n in range(5)]
    client.post("/events/bulk", json=events, headers={"Prefer": "handling=lenient"})
    first = client.get("/events/rejected", params={"limit": 3})
    second = client.get(first.links["next"]["url"])
    seen = [json.loads(e["event"])["value"] for r in (first, second) for e in r.json()["events"]]
    assert seen == [4, 3, 2, 1, 0]
    assert "next" not in second.json()


def test_old_rejected_events_and_receipts_are_removed(client, db):
    client.post("/events/bulk", json=[{"type": ""}], headers={"Prefer": "handling=lenient"})
    client.post("/events", json={"type": "a"}, headers=keyed("k"))
    mine = (client.tenant_id,)
    for days, left in ((6, 1), (8, 0)):
        db.execute(
            "update tally.receipts set created_at = now() - %s * interval '1 day' where tenant_id = %s",
            (days, *mine),
        )
        db.execute(
            "update tally.rejected_events set rejected_at = now() - %s * interval '4 day' where tenant_id = %s",
            (days, *mine),
        )
        db.execute("call tally.maintain()")
        for table in ("receipts", "rejected_events"):
            query = f"select count(*) from tally.{table} where tenant_id = %s"
            assert db.execute(query.encode(), mine).fetchone() == (left,), (table, days)


# Pages of events


def test_pages_of_events_are_newest_first_and_new_events_shift_nothing(client):
    start = datetime(2024, 5, 1, tzinfo=UTC)
    events = [
        {"type": f"t{n % 2}", "occurredAt": (start + timedelta(minutes=n // 3)).isoformat(),
         "id": str(uuid4()), "actorId": f"a{n % 5}", "data": {"n": n}}
        for n in range(25)
    ]  # fmt: skip
    client.post("/events/bulk", json=events)
    expected = sorted(events, key=lambda e: (e["occurredAt"], UUID(e["id"]).bytes), reverse=True)
    seen, url = [], "/events?limit=7"
    while url:
        page = client.get(url)
        seen += [event["id"] for event in page.json()["events"]]
        client.post("/events", json={"type": "later"})
        url = page.links.get("next", {}).get("url")
    mine = [one for one in seen if one in {event["id"] for event in events}]
    assert mine == [event["id"] for event in expected]
    filtered = client.get("/events?type=t1&actorId=a1&data.n=%3E10").json()["events"]
    assert sorted(event["data"]["n"] for event in filtered) == [11, 21]
    problem(client.get("/events?before=nonsense"), 400)
    problem(client.get("/events?limit=0"), 400)


# Formats


def test_lists_come_as_csv_and_ndjson_too(client):
    tricky = 'a "quoted", name\nwith a line'
    client.post("/events/bulk", json=[
        {"type": tricky, "occurredAt": AT, "value": 1.5, "data": {"k": "v"}}, {"type": "b", "occurredAt": AT},
    ])  # fmt: skip
    for path in (
        BY_TYPE, TIMELINE + "?groupBy=type", "/events", "/summaries?from=2024-04-01&to=2024-06-01",
    ):  # fmt: skip
        as_json = client.get(path).json()
        rows = as_json["events"] if isinstance(as_json, dict) else as_json
        lines = client.get(path, headers={"Accept": "application/x-ndjson"})
        found = [json.loads(line) for line in lines.text.splitlines()]
        for one in (*rows, *found):
            one.pop("asOf", None)
        assert found == rows, path
        table = client.get(path, headers={"Accept": "text/csv"})
        assert table.headers["content-type"].startswith("text/csv")
        cells = list(csv.DictReader(io.StringIO(table.text)))
        assert [one["type" if "type" in one else "metric"] for one in cells] == [
            one["type" if "type" in one else "metric"] for one in rows
        ]
        assert table.headers["vary"] == "Accept"
    (event,) = [
        e
        for e in csv.DictReader(
            io.StringIO(client.get("/events", headers={"Accept": "text/csv"}).text)
        )
        if e["type"] == tricky
    ]
    assert (event["value"], event["data"], event["actorId"]) == ("1.5", '{"k":"v"}', "")
    assert client.get(BY_TYPE, headers={"Accept": "text/html,*/*"}).json()


# ETags


def test_summaries_that_have_not_changed_are_304(client, db):
    client.post("/events", json={"type": "a", "occurredAt": AT})
    for path in (
        "/summaries?from=2024-04-01&to=2024-06-01",
        "/summaries?metric=a&periodStart=2024-05-01",
    ):
        first = client.get(path)
        tag = {"If-None-Match": first.headers["etag"]}
        assert first.headers["cache-control"] == "private, no-cache"
        again = client.get(path, headers=tag)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
        client.post("/events", json={"type": "a", "occurredAt": AT})
        assert client.get(path, headers=tag).status_code == 200
        listed = {"If-None-Match": '"x", W/' + client.get(path).headers["etag"]}
        assert client.get(path, headers=listed).status_code == 304


# Comparisons


def test_a_count_is_compared_with_the_range_before(client):
    client.post("/events/bulk", json=[
        {"type": "a", "occurredAt": f"2024-{month:02}-{day:02}T12:00:00Z"}
        for month, day in ((1, 1), (1, 31), (2, 1), (2, 29), (3, 1), (3, 2), (3, 31))
    ])  # fmt: skip

    def ask(start, end):
        return client.get(COUNT, params={"from": start, "to": end, "compare": "previous"}).json()

    assert ask("2024-03-01", "2024-04-01") == {
        "total": 3,
        "previous": {"total": 2, "from": "2024-02-01T00:00:00Z", "to": "2024-03-01T00:00:00Z"},
    }
    assert ask("2024-03-02", "2024-03-04")["previous"]["total"] == 2
    assert ask("2024-03-01T18:00:00Z", "2024-03-02T18:00:00Z")["previous"]["total"] == 1
    problem(client.get(COUNT, params={"compare": "previous", "from": "2024-03-01"}), 400)
    problem(client.get(COUNT, params={"compare": "next"}), 400)


def test_a_comparison_keeps_to_local_days_over_a_clock_change(service):
    client = service.tenant(timeZone="Europe/Berlin")
    params = {"from": "2024-03-31", "to": "2024-04-02", "compare": "previous"}
    previous = client.get(COUNT, params=params).json()["previous"]
    assert (previous["from"], previous["to"]) == ("2024-03-28T23:00:00Z", "2024-03-30T23:00:00Z")


def test_a_timeline_is_compared_interval_by_interval(client):
    client.post("/events/bulk", json=[
        {"type": kind, "occurredAt": f"2024-05-{day:02}T12:00:00Z"}
        for day, kind in ((1, "a"), (2, "a"), (2, "b"), (3, "a"), (3, "a"))
    ])  # fmt: skip
    params = {"from": "2024-05-03", "to": "2024-05-05", "compare": "previous"}
    assert client.get(TIMELINE, params=params).json() == [
        {"date": "2024-05-03", "total": 2, "previousDate": "2024-05-01", "previousTotal": 1},
        {"date": "2024-05-04", "total": 0, "previousDate": "2024-05-02", "previousTotal": 2},
    ]
    grouped = client.get(TIMELINE, params={**params, "groupBy": "type"}).json()
    assert {(row["date"], row.get("type"), row["total"], row.get("previousTotal")) for row in grouped} >= {
        ("2024-05-03", "a", 2, 1),
    }  # fmt: skip


# Shared commits


def test_events_that_share_a_commit_succeed_and_fail_each_for_itself(service, client, db):
    other = service.tenant()
    ids = [str(UUID(int=n)) for n in range(20)]
    barrier = threading.Barrier(30)

    def send(n):
        barrier.wait()
        who = (client, other)[n % 2]
        if n % 5 == 4:
            return who.post("/events", json={"type": "a", "occurredAt": "2999-01-01T00:00:00Z"})
        return who.post("/events", json={"type": "a", "occurredAt": AT, "id": ids[n // 3]})

    for again in (False, True, True):
        with ThreadPoolExecutor(30) as pool:
            answers = list(pool.map(send, range(30)))
        statuses = {}
        for n, answer in enumerate(answers):
            if n % 5 == 4:
                assert problem(answer, 400)["errors"][0]["pointer"] == "/occurredAt"
                assert "index" not in answer.json()["errors"][0]
            else:
                assert answer.json()["duplicate"] == (answer.status_code == 200), answer.text
                statuses.setdefault((n % 2, ids[n // 3]), []).append(answer.status_code)
        assert len(statuses) == 18
        # Of those who send one event at once, one has stored it; it is never new again.
        for codes in statuses.values():
            first = [200 if again else 201]
            assert sorted(codes) == [200] * (len(codes) - 1) + first
    for who in (client, other):
        stored = "select count(*), count(distinct event_id) from tally.events where tenant_id = %s"
        count, distinct = db.execute(stored, (who.tenant_id,)).fetchone()
        assert count == distinct == total(who)
