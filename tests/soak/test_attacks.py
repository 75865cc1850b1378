"""One tenant asks for 50 things a second, alone and beside each attack, in turns. Whatever others do,
none of its requests fails, and what was acknowledged is stored exactly once. The times are printed,
with the ratio to the times alone; that they are bounded at all is asserted, no more.

    PGTALLY_SOAK_ATTACK_SECONDS=60 .venv/bin/python -m pytest -s -m soak tests/soak/test_attacks.py
"""

import http.client
import json
import os
import queue
import statistics
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
import psycopg
import pytest
from pgtally.ingest.uuid7 import uuid7

from tests.conftest import SERVICE_PASSWORD, Service, installation_key, running_service
from tests.endpoints.test_service import COUNT
from tests.soak import attacks

pytestmark = pytest.mark.soak
# Half of them alone, half attacked.
SECONDS = float(os.environ.get("PGTALLY_SOAK_ATTACK_SECONDS", "30"))
DELETED_EVENTS = int(os.environ.get("PGTALLY_SOAK_DELETED_EVENTS", "500000"))
TURNS = 3
REQUESTS_A_SECOND = 50
CEILING_SECONDS = 5.0
# Two workers that take bodies of 10 MB, and 128 MB of bodies without a key each.
MEMORY_MB = 1_000
# How an attack must be seen to have happened: what was counted, at least so often a second.
SEEN = {
    "silence": {"connections": 100}, "bombs": {"bomb 429": 0.5, "unfinished 429": 0.5},
    "noise": {"probe 200": 300, "path 404": 2}, "bulk": {"accepted": 1_000},
    "poison": {"single 400": 2, "lenient 201": 2, "segment 200": 2},
    "same": {"1000 in one 201": 0.5, "1 in one 200": 0.5}, "deletion": {"deleted events": 1},
}  # fmt: skip


class Victim:
    """Sends a request every 20 ms, an event and a question in turn, and times each from when it was
    due: one that waits for its turn counts as slow."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        self._place = parts.hostname, parts.port
        self._headers = {"X-API-Key": key, "Content-Type": "application/json"}
        self._idle: queue.LifoQueue[tuple[float, http.client.HTTPConnection]] = queue.LifoQueue()
        self.acknowledged: list[UUID] = []
        self.failures: list[str] = []

    def run(self, seconds: float) -> list[float]:
        """How many seconds each request took."""
        started = time.monotonic()
        count = round(seconds * REQUESTS_A_SECOND)
        with ThreadPoolExecutor(64) as pool:
            taken = []
            for number in range(count):
                due = started + number / REQUESTS_A_SECOND
                time.sleep(max(0.0, due - time.monotonic()))
                taken.append(pool.submit(self._one, number, due))
            return [future.result() for future in taken]

    def _one(self, number: int, due: float) -> float:
        event = uuid7(datetime.now(UTC))
        try:
            if number % 2:
                status, answer = self._ask("GET", COUNT, None, number)
            else:
                sent = {"type": "sale", "id": str(event), "actorId": "ann", "value": number}
                status, answer = self._ask("POST", "/events", json.dumps(sent), number)
                if status == 201:
                    self.acknowledged.append(event)
            if status != (200 if number % 2 else 201):
                self.failures.append(f"{status} {answer[:200]!r}")
        except (OSError, http.client.HTTPException) as error:
            self.failures.append(repr(error))
        return time.monotonic() - due

    def _ask(self, method: str, path: str, body: str | None, number: int) -> tuple[int, bytes]:
        """Every tenth request has a connection of its own; others take the last that is free."""
        connection = http.client.HTTPConnection(*self._place, timeout=30)
        while number % 10 and not self._idle.empty():
            since, kept = self._idle.get()
            if time.monotonic() - since < 5:
                connection = kept
                break
            kept.close()
        connection.request(method, path, body, self._headers)
        response = connection.getresponse()
        answer = response.read()
        self._idle.put((time.monotonic(), connection))
        return response.status, answer


class Memory:
    """The most memory that the processes of the service had together."""

    def __init__(self, process: int) -> None:
        self._process = process
        self.most_mb = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def pids(self) -> set[int]:
        found = subprocess.run(["pgrep", "-P", str(self._process)], capture_output=True, text=True)
        return {self._process, *map(int, found.stdout.split())}

    def _watch(self) -> None:
        pids = self.pids()
        while not self._done.wait(0.2):
            pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
            self.most_mb = max(self.most_mb, pages * os.sysconf("SC_PAGE_SIZE") / 1e6)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


class Installation(msgspec.Struct):
    """The service under attack, as it runs with its default limits and two workers."""

    service: Service
    process: subprocess.Popen[bytes]
    dsn: str
    table: list[str] = []

    def tenant(self, limits: dict[str, int] | None = None) -> Any:
        client = self.service.tenant()
        if limits:
            change = {"rateLimitsPerMinute": limits}
            path = f"/tenants/{client.tenant_id}"
            assert self.service.admin.patch(path, json=change).status_code == 200
        return client


@pytest.fixture(scope="module")
def installation(durable_cluster) -> Iterator[Installation]:
    dsn = durable_cluster.dsn()
    service_dsn = durable_cluster.dsn(user="tally_service", password=SERVICE_PASSWORD)
    with (
        Path(os.devnull).open("wb") as nowhere,
        running_service(service_dsn, nowhere, PGTALLY_WORKERS="2") as (url, process),
    ):
        made = Installation(Service(url, installation_key(dsn)), process, dsn)
        yield made
        print("\n\n" + "\n".join(made.table))


def large_tenant(at: Installation) -> tuple[str, str]:
    """A tenant with many events, which are folded; its id and name."""
    name = f"large {time.time()}"
    made = at.service.admin.post("/tenants", json={"name": name}).json()
    with psycopg.connect(at.dsn, autocommit=True) as connection:
        for start in range(0, DELETED_EVENTS, 10_000):
            connection.execute(
                """
                select accepted
                from (
                  select
                    array_agg(now() - n * interval '5 s') as at, array_agg(gen_random_uuid()) as id,
                    array_agg('kind ' || n %% 20) as kind, array_agg(n::numeric) as value,
                    array_agg('actor ' || n %% 5000) as actor, array_agg(null::text) as session,
                    array_agg(jsonb_build_object('path', '/page/' || n %% 300)) as data
                  from generate_series(%s::integer, %s::integer) as n
                ) as e
                cross join lateral api.events_ingest(
                  %s, e.at, e.id, e.kind, e.value, e.actor, e.session, e.data)
                """,
                (start, min(start + 10_000, DELETED_EVENTS) - 1, made["id"]),
            )
        connection.execute("call tally.fold()")
        connection.execute("checkpoint")
    return made["id"], name


def percentiles(seconds: list[float]) -> tuple[float, float]:
    """p50 and p99, in ms."""
    cuts = statistics.quantiles(seconds, n=100)
    return cuts[49] * 1000, cuts[98] * 1000


@pytest.mark.parametrize("attack", SEEN)
def test_no_attack_fails_a_request_of_another_tenant(installation, attack):
    at = installation
    plenty = {"ingest": 1_000_000, "analytics": 1_000_000}
    client = at.tenant(plenty)
    victim = Victim(at.service.url, client.headers["X-API-Key"])
    attacker = at.tenant()
    target = attacks.Target(
        at.service.url, attacker.headers["X-API-Key"], at.service.installation_key
    )
    if attack == "deletion":
        target.tenants = [large_tenant(at) for _ in range(TURNS)]
    times: dict[bool, list[float]] = {False: [], True: []}
    told: Counter[str] = Counter()
    victim.run(2)
    with Memory(at.process.pid) as memory:
        before = memory.pids()
        for _ in range(TURNS):
            for beside in (False, True):
                counts: Counter[str] = Counter()
                with ExitStack() as stack:
                    counts = stack.enter_context(
                        attacks.attacked(attack, target) if beside else nullcontext(counts)
                    )
                    if beside:
                        # Until the attacker's process has begun.
                        time.sleep(2)
                    times[beside] += victim.run(SECONDS / TURNS / 2)
                told += counts
                if beside and target.tenants:
                    target.tenants.pop()
                # What an attack has left behind ends with its turn.
                time.sleep(1)
    alone, beside = percentiles(times[False]), percentiles(times[True])
    at.table.append(
        f"{attack:9} p50 {alone[0]:6.1f} -> {beside[0]:7.1f} ms (x{beside[0] / alone[0]:4.1f})  "
        f"p99 {alone[1]:7.1f} -> {beside[1]:7.1f} ms (x{beside[1] / alone[1]:4.1f})  "
        f"most {max(times[True]) * 1000:6.0f} ms  {len(victim.failures)} of "
        f"{sum(map(len, times.values()))} failed  {memory.most_mb:4.0f} MB  "
        + ", ".join(f"{name}: {count:,}" for name, count in sorted(told.items()))
    )
    print("\n" + at.table[-1])
    assert victim.failures == []
    with psycopg.connect(at.dsn, autocommit=True) as connection:
        stored = connection.execute(
            "select event_id from tally.events where tenant_id = %s", (client.tenant_id,)
        ).fetchall()
        assert sorted(one for (one,) in stored) == sorted(victim.acknowledged)
        if attack == "bulk":
            (count,) = connection.execute(
                "select count(*) from tally.events where tenant_id = %s", (attacker.tenant_id,)
            ).fetchone()
            assert count == told["accepted"]
    assert client.get(COUNT).json() == {"total": len(victim.acknowledged)}
    assert max(times[True]) < CEILING_SECONDS
    assert memory.most_mb < MEMORY_MB
    assert at.process.poll() is None
    assert memory.pids() == before
    for name, least in SEEN[attack].items():
        assert told[name] >= least * SECONDS / 2, told
