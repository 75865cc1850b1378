"""The database goes away and comes back, with a cluster of its own."""

import tempfile
import time
from pathlib import Path

import httpx
import psycopg
import pytest

from service.cluster import Cluster
from service.migrate import migrate
from tests.conftest import (
    NOT_DURABLE,
    SERVICE_PASSWORD,
    Service,
    admin_key,
    running_service,
    wait_for,
)


@pytest.fixture
def own_cluster():
    home = Path(tempfile.mkdtemp(prefix="pgtally-outage-"))
    home.chmod(0o755)
    cluster = Cluster(home, {**NOT_DURABLE, "shared_buffers": "32MB"})
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
        client = Service(url, admin_key(own_cluster.dsn())).tenant()
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
