import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from pgtally.dev.cluster import Cluster
from pgtally.migrate import migrate

from tests.conftest import SERVICE_PASSWORD


@pytest.fixture(scope="module")
def durable_cluster() -> Iterator[Cluster]:
    """As in production: fsync and synchronous commit are on."""
    with tempfile.TemporaryDirectory(prefix="pgtally-soak-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        cluster = Cluster(home, {"max_connections": "100"})
        cluster.create()
        cluster.start()
        migrate(cluster.dsn(), lambda _: None)
        with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
            connection.execute(f"alter role tally_service password '{SERVICE_PASSWORD}'".encode())
        yield cluster
        cluster.remove()
