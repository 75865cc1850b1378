"""The database or the service goes away and comes back, with a cluster of its own."""

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest
from pgtally.dev.cluster import Cluster
from pgtally.migrate import migrate

from tests.conftest import (
    NOT_DURABLE,
    SERVICE_PASSWORD,
    Service,
    installation_key,
    running_service,
    wait_for,
)


@pytest.fixture(params=[{**NOT_DURABLE, "shared_buffers": "32MB"}])
def own_cluster(request):
    home = Path(tempfile.mkdtemp(prefix="pgtally-outage-"))
    home.chmod(0o755)
    cluster = Cluster(home, request.param)
    cluster.create()
    cluster.start()
    migrate(cluster.dsn(), lambda _: None)
    yield cluster
    cluster.remove()
    home.rmdir()


def test_an_outage_is_said_at_once_and_ends_by_itself(own_cluster):
    with psycopg.connect(own_cluster.dsn(), autocommit=True) as connection:
        connection.execute(f"alter role tally_service password '{SERVICE_PASSWORD}'".encode())
    dsn = own_cluster.dsn(user="tally_service", password=SERVICE_PASSWORD)
    with running_service(dsn) as (url, _):
        client = Service(url, installation_key(own_cluster.dsn())).tenant()
        for _ in range(12):
            assert client.post("/events", json={"type": "a"}).status_code == 201
        own_cluster.stop()
        for _ in range(5):
            started = time.monotonic()
            response = client.post("/events", json={"type": "a"})
            assert time.monotonic() - started < 2.5
            assert response.status_code == 503
            assert int(response.headers["retry-after"]) >= 1
            assert response.headers["content-type"] == "application/problem+json"
        assert httpx.get(url + "/health/ready").status_code == 503
        assert httpx.get(url + "/health/live").status_code == 200
        time.sleep(4)
        own_cluster.start()
        wait_for(lambda: httpx.get(url + "/health/ready").status_code == 200, 10)
        assert client.post("/events", json={"type": "a"}).status_code == 201
        # A restart between requests is not seen by anyone.
        own_cluster.stop()
        own_cluster.start()
        for _ in range(10):
            assert client.post("/events", json={"type": "a"}).status_code == 201
        assert client.get("/analytics/events/count").json() == {"total": 23}


def _kill(pid: int) -> None:
    """Ends a process and its children at once, as a power cut would."""
    children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True)
    for process in (pid, *map(int, children.stdout.split())):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


@pytest.mark.parametrize(
    "own_cluster", [{"shared_buffers": "32MB"}], indirect=True, ids=["durable"]
)
@pytest.mark.parametrize("victim", ["service", "server"])
def test_every_acknowledged_event_is_stored_when_all_is_killed_under_load(own_cluster, victim):
    with psycopg.connect(own_cluster.dsn(), autocommit=True) as connection:
        connection.execute(f"alter role tally_service password '{SERVICE_PASSWORD}'".encode())
    dsn = own_cluster.dsn(user="tally_service", password=SERVICE_PASSWORD)
    sent: set[str] = set()
    acknowledged: set[str] = set()
    stop = threading.Event()

    def send(client: httpx.Client) -> None:
        while not stop.is_set():
            event = str(uuid4())
            sent.add(event)
            try:
                response = client.post(
                    "/events", json={"type": "a", "id": event, "occurredAt": "2026-01-01T00:00:00Z"}
                )
            except httpx.TransportError:
                return
            if response.status_code == 201:
                acknowledged.add(event)

    with running_service(dsn, PGTALLY_INGEST_PER_MINUTE="1000000") as (url, process):
        tenant = Service(url, installation_key(own_cluster.dsn())).tenant()
        key = tenant.headers["X-API-Key"]
        clients = [
            httpx.Client(base_url=url, headers={"X-API-Key": key}, timeout=10) for _ in range(16)
        ]
        threads = [threading.Thread(target=send, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(acknowledged) > 300)
        if victim == "service":
            _kill(process.pid)
        else:
            _kill(int((own_cluster.data / "postmaster.pid").read_text().split()[0]))
            time.sleep(0.3)
        stop.set()
        for thread in threads:
            thread.join()
    if victim == "server":
        own_cluster.start()
    with psycopg.connect(own_cluster.dsn(), autocommit=True) as connection:
        # Backends of a killed service end with their statement.
        busy = "select count(*) from pg_stat_activity where usename = 'tally_service'"
        wait_for(lambda: connection.execute(busy).fetchone() == (0,))
        stored = {
            str(event)
            for (event,) in connection.execute("select event_id from tally.events").fetchall()
        }
        assert acknowledged <= stored <= sent
        (counted,) = connection.execute(
            "select total from api.event_count(%s)", (tenant.tenant_id,)
        ).fetchone()
        assert counted == len(stored)
