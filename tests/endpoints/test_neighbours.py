"""Nothing that one caller sends changes the answer that another gets."""

import contextlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from pgtally.ingest.uuid7 import uuid7

from tests.conftest import Service, installation_key, running_service
from tests.endpoints.test_service import COUNT

# Passes our rules as they stand after `no_rules`, and PostgreSQL refuses it while it reads parameters.
POISON = b'{"type": "x", "data": {"a": 0.' + b"1" * 16_384 + b"}}"
GOOD = b'{"type": "good"}'


@pytest.fixture
def careless(service_dsn, db, monkeypatch, tmp_path):
    """A service whose rules let pass what PostgreSQL refuses, as if one had been forgotten."""
    (tmp_path / "sitecustomize.py").write_text(
        "import pgtally.ingest.events as events\nevents.data_problem = lambda *_: None\n"
    )
    limits = {f"PGTALLY_{name}_PER_MINUTE": "1000000" for name in ("INGEST", "BULK", "ANALYTICS")}
    dsn = db.info.dsn + f" password={db.info.password}"
    with running_service(service_dsn, PYTHONPATH=str(tmp_path), **limits) as (url, _):
        yield Service(url, installation_key(dsn))


def total(client):
    return client.get(COUNT).json()["total"]


def test_an_event_that_postgresql_refuses_costs_no_other_tenant_its_own(careless):
    """The flush that they share fails as a whole, is split by tenant, then singly."""
    victim, attacker = careless.tenant(), careless.tenant()
    stop = threading.Event()
    answers = []

    def attack():
        while not stop.is_set():
            answers.append(attacker.post("/events", content=POISON).status_code)

    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            pool.submit(attack)
        good = [
            f.result().status_code
            for f in [pool.submit(victim.post, "/events", content=GOOD) for _ in range(200)]
        ]
        mixed = [
            f.result().status_code
            for f in [pool.submit(attacker.post, "/events", content=GOOD) for _ in range(50)]
        ]
        stop.set()
    assert good == [201] * 200
    assert mixed == [201] * 50
    assert answers
    assert set(answers) == {400}
    assert (total(victim), total(attacker)) == (200, 50)


def test_a_lenient_batch_keeps_its_good_events_whatever_one_of_them_holds(careless):
    client = careless.tenant()
    body = b"[" + b",".join([GOOD] * 20 + [POISON] + [GOOD] * 20 + [POISON]) + b"]"
    answer = client.post("/events/bulk", content=body, headers={"Prefer": "handling=lenient"})
    assert answer.json()["accepted"] == 40
    assert [one["index"] for one in answer.json()["errors"]] == [20, 41]
    refused = client.post("/events/bulk", content=body)
    assert refused.status_code == 400
    assert {one["index"] for one in refused.json()["errors"]} == {20, 41}
    assert total(client) == 40


@pytest.mark.parametrize(
    "number", ["0." + "1" * 16_384, "1" * 5_000, "1e9999999999999999999"], ids=len
)
def test_a_segment_batch_keeps_its_good_messages_whatever_one_of_them_holds(service, number):
    client = service.tenant()
    message = '{"type": "track", "event": "x", "userId": "u", "properties": {"a": %s}}'
    messages = ", ".join(message % one for one in (1, number, 2))
    body = f'{{"batch": [{messages}]}}'
    answer = client.post("/v1/batch", content=body.encode())
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert total(client) == 2
    assert len(client.get("/events/rejected").json()["events"]) == 1


def test_events_that_wait_for_a_lock_hold_up_nobody_elses(service, shared_dsn):
    """More of them than there are flushes at a time. They are answered when the lock is let go."""
    victim, attacker = service.tenant(), service.tenant()
    at = "2025-01-01T00:00:00Z"
    ids = [str(UUID(int=n)) for n in range(12)]
    with ThreadPoolExecutor(16) as pool, psycopg.connect(shared_dsn) as holder:
        holder.execute(
            "insert into tally.events (tenant_id, occurred_at, event_id, event_type) "
            "select %s, %s, unnest(%s::uuid[]), 'held'",
            (attacker.tenant_id, at, ids[:10]),
        )
        waiting = []
        for one in ids:
            event = {"type": "same", "id": one, "occurredAt": at}
            waiting.append(pool.submit(attacker.post, "/events", json=event))
            began = time.monotonic()
            assert victim.post("/events", content=GOOD).status_code == 201
            assert time.monotonic() - began < 2
        assert not any(answer.done() for answer in waiting[:10])
        holder.rollback()
        assert [answer.result().status_code for answer in waiting] == [201] * 12
    assert (total(victim), total(attacker)) == (12, 12)


# What is told of duplicates


def test_a_duplicate_answers_with_the_event_as_it_is_stored(service):
    client = service.tenant()
    event = {
        "type": "sale", "id": str(uuid7(datetime.now(UTC))), "value": 12.5, "actorId": "ann",
        "sessionId": "s", "data": {"plan": "pro"},
    }  # fmt: skip
    first = client.post("/events", json=event).json()
    other = {**event, "type": "refund", "value": 99, "actorId": None, "data": {}}
    for headers in ({}, {"Idempotency-Key": "k"}, {"Prefer": "tx=rollback"}):
        for sent in (event, other):
            headers = {
                **headers,
                **({"Idempotency-Key": str(uuid4())} if "I" in str(headers) else {}),
            }
            answer = client.post("/events", json=sent, headers=headers)
            assert (answer.status_code, answer.json()) == (200, {**first, "duplicate": True})


def test_duplicates_whose_content_differs_are_counted_as_conflicts(service, pgtally):
    client = service.tenant()
    ids = [str(uuid7(datetime.now(UTC))) for _ in range(4)]
    batch = [{"type": "a", "id": one, "value": 1, "data": {"n": 1}} for one in ids]
    assert client.post("/events/bulk", json=batch).json() == {"accepted": 4, "duplicates": 0}
    batch[0]["value"] = 1.0
    batch[1]["data"] = {"n": 2}
    batch[2]["type"] = "b"
    key = {"Idempotency-Key": "again"}
    told = {"accepted": 0, "duplicates": 4, "conflicts": 2}
    assert client.post("/events/bulk", json=batch, headers=key).json() == told
    assert client.post("/events/bulk", json=batch, headers=key).json() == told
    receipt = client.get("/events/receipts/again").json()
    assert receipt["conflicts"] == 2


# An unknown outcome


class BreakingProxy:
    """Passes bytes on to PostgreSQL and, once told to, drops the connection when the answer to the
    next statement arrives: it was carried out, and nobody hears of it."""

    def __init__(self, host, port):
        self.target = (host, port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.word = b""
        self.dropped = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        if self.dropped:
            client.close()
            return
        server = socket.create_connection(self.target)
        armed = threading.Event()

        def back():
            while data := server.recv(65_536):
                if armed.is_set():
                    self.dropped += 1
                    break
                client.sendall(data)
            for one in (client, server):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

        threading.Thread(target=back, daemon=True).start()
        try:
            while data := client.recv(65_536):
                if self.word and self.word in data:
                    armed.set()
                server.sendall(data)
        except OSError:
            pass


@pytest.mark.parametrize("path", ["/events", "/events/bulk"])
def test_an_outcome_that_nobody_knows_has_a_code_of_its_own(service_dsn, db, path):
    """The statement is carried out, its answer is lost, and so is the second try."""
    proxy = BreakingProxy(db.info.host, db.info.port)
    limits = {"PGTALLY_POOL_SIZE": "4", "PGTALLY_POOL_TIMEOUT_MS": "300"}
    through = service_dsn.replace(f"port={db.info.port}", f"port={proxy.port}")
    assert through != service_dsn
    dsn = db.info.dsn + f" password={db.info.password}"
    with running_service(through, **limits) as (url, _):
        client = Service(url, installation_key(dsn)).tenant()
        assert client.post("/events", json={"type": "warm"}).status_code == 201
        proxy.word = b"lost-in-transit"
        event = {"type": "lost-in-transit"}
        answer = client.post(path, json=event if path == "/events" else [event])
    assert answer.status_code == 503
    assert answer.json()["code"] == "outcome_unknown"
    assert answer.headers["Retry-After"]
    (stored,) = db.execute(
        "select count(*) from tally.events where event_type = 'lost-in-transit'"
    ).fetchone()
    assert stored == 1
    proxy.listener.close()


def test_a_database_that_is_away_is_no_unknown_outcome():
    with running_service("host=127.0.0.1 port=1 user=nobody dbname=nowhere") as (url, _):
        key = "pgt_0123456789ab_" + "0" * 64
        time.sleep(0.1)
        answer = httpx.get(f"{url}/health/ready")
        assert answer.status_code == 503
        assert "code" not in answer.json()
        assert httpx.get(f"{url}{COUNT}", headers={"X-API-Key": key}).status_code in (401, 503)
