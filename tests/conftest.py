"""A private cluster for the whole run, a database cloned from a migrated template for each test."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, settings
from pgtally.cli.main import cli
from pgtally.dev.cluster import Cluster, free_port
from pgtally.migrate import migrate
from pgtally.vocabulary import RATE_CLASSES
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Composed
from pytest_postgresql.janitor import DatabaseJanitor

from tests.documented import check_every_answer

Connection = psycopg.Connection[Any]
ROOT = Path(__file__).resolve().parent.parent
SERVICE_PASSWORD = "only-in-tests"
TEMPLATE = "tests_template"

settings.register_profile(
    "pgtally", deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
# For errors that are made on purpose: that there is one is enough.
settings.register_profile(
    "first-failure", settings.get_profile("pgtally"), phases=[Phase.explicit, Phase.generate]
)
settings.load_profile("pgtally")

NOT_DURABLE = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "150",
    "shared_buffers": "256MB",
    "max_wal_size": "512MB",
}
MEMORY_BYTES = 2 * 1024**3


def _quiet(text: str) -> None:
    pass


def in_memory() -> str | None:
    """A folder in memory, where that has room for what a run takes.

    Databases come and go, and ext4 looks at every inode that was freed of late before it takes one:
    0.15 to 0.3 s of CPU for the 437 files of a clone, and 0.01 s in memory.
    """
    memory = "/dev/shm"
    if os.path.isdir(memory) and shutil.disk_usage(memory).free > MEMORY_BYTES:
        return memory
    return None


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        home = Path(tempfile.mkdtemp(prefix="pgtally-tests-", dir=in_memory()))
        home.chmod(0o755)
        cluster = Cluster(home, NOT_DURABLE)
        cluster.create()
        cluster.start()
        migrate(cluster.dsn(), _quiet)
        with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
            connection.execute(f"alter role tally_service password '{SERVICE_PASSWORD}'".encode())
            # A database in which pg_cron has its connection cannot be cloned.
            connection.execute(f"create database {TEMPLATE}".encode())
        migrate(cluster.dsn(TEMPLATE), _quiet)
        os.environ["PGTALLY_TEST_DSN"] = cluster.dsn()
        os.environ["PGTALLY_TEST_BIN"] = str(cluster.bin)

        def remove() -> None:
            cluster.remove()
            shutil.rmtree(home)

        config.add_cleanup(remove)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """No worker is left waiting for a minute when all other tests are done."""
    items.sort(key=lambda item: item.get_closest_marker("early") is None)


class FileCopy(DatabaseJanitor):
    """Clones by copying files: the default, wal_log, takes 0.1 s of CPU in memory, and this 0.01 s."""

    def _build_create_database_sql(self) -> Composed:
        return super()._build_create_database_sql() + SQL(" strategy file_copy")


@contextmanager
def cloned_database() -> Iterator[str]:
    """A database of its own, cloned from the template; yields the superuser's connection string."""
    server = conninfo_to_dict(os.environ["PGTALLY_TEST_DSN"])
    name = f"tests_{uuid4().hex}"
    with FileCopy(
        host=str(server["host"]), port=str(server["port"]), user=str(server["user"]),
        password=str(server["password"]), dbname=name, template_dbname=TEMPLATE,
    ):  # fmt: skip
        dsn = make_conninfo(os.environ["PGTALLY_TEST_DSN"], dbname=name)
        with psycopg.connect(dsn, autocommit=True) as connection:
            # A clone lacks what belongs to the database itself.
            connection.execute("select tally.database_setup()")
        yield dsn


@pytest.fixture
def dsn() -> Iterator[str]:
    """The superuser's connection string to this test's database."""
    with cloned_database() as dsn:
        yield dsn


@pytest.fixture
def db(dsn: str) -> Iterator[Connection]:
    """A superuser's connection, autocommit, as a DBA has in psql."""
    with psycopg.connect(dsn, autocommit=True, options="-c statement_timeout=60s") as connection:
        yield connection


@pytest.fixture
def service_dsn(dsn: str) -> str:
    """The connection string of the service's login."""
    return make_conninfo(dsn, user="tally_service", password=SERVICE_PASSWORD)


NewTenant = Callable[..., UUID]


@pytest.fixture
def new_tenant(db: Connection) -> NewTenant:
    """Makes tenants: new_tenant(time_zone="Asia/Kathmandu", week_start=7)."""
    made = 0

    def make(
        time_zone: str = "UTC", week_start: int = 1, retention_days: int | None = None
    ) -> UUID:
        nonlocal made
        made += 1
        row = db.execute(
            "select tenant_id from api.tenant_create(%s, %s, %s, %s)",
            (f"tenant {made}", time_zone, week_start, retention_days),
        ).fetchone()
        return row[0]

    return make


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    """Waits until the condition holds; fails after that time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


class Service:
    """A running service process and clients for it."""

    def __init__(self, url: str, installation_key: str) -> None:
        self.url = url
        self.installation_key = installation_key
        self.admin = httpx.Client(base_url=url, headers={"X-API-Key": installation_key}, timeout=30)

    def tenant(self, **fields: Any) -> httpx.Client:
        """A client with the key of a new tenant."""
        response = self.admin.post("/tenants", json={"name": f"tenant {uuid4()}", **fields})
        assert response.status_code == 201, response.text
        client = httpx.Client(
            base_url=self.url, headers={"X-API-Key": response.json()["apiKey"]}, timeout=30
        )
        client.tenant_id = response.json()["id"]  # type: ignore[attr-defined]
        return client


@contextmanager
def running_service(
    service_dsn: str, output: Any = subprocess.DEVNULL, **variables: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The real server process; yields its address and the process."""
    port = free_port()
    environment = {
        **os.environ, "PGTALLY_DSN": service_dsn, "PGTALLY_PORT": str(port), **variables,
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "pgtally", "serve"],
        cwd=ROOT, env=environment, stdout=output, stderr=None if output == subprocess.DEVNULL else output,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(f"{url}/health/live").status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_for(answers)
        yield url, process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="session", autouse=True)
def one_tls_context() -> Iterator[None]:
    """httpx reads the certificates of all authorities for each client, in 23 ms of CPU, though
    nobody here speaks TLS: once is enough."""
    with pytest.MonkeyPatch.context() as patch:
        once = cache(httpx.create_ssl_context)
        patch.setattr("httpx._transports.default.create_ssl_context", once)
        yield


@pytest.fixture(scope="session", autouse=True)
def documented_answers() -> Iterator[None]:
    """Whatever a test asks for, the answer is as the OpenAPI document says."""
    with pytest.MonkeyPatch.context() as patch:
        check_every_answer(patch)
        yield


@pytest.fixture(scope="session")
def shared_dsn() -> Iterator[str]:
    """A database that the tests of one process share: each makes its own tenants."""
    with cloned_database() as dsn:
        yield dsn


def installation_key(dsn: str) -> str:
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(
            "select api_key from tally.installation_key_create('tests')"
        ).fetchone()
    return str(row[0])


@pytest.fixture(scope="session")
def service(shared_dsn: str) -> Iterator[Service]:
    """A running service with a generous rate limit, shared by the tests of one process."""
    limits = {f"PGTALLY_{name}_PER_MINUTE": "100000000" for name in map(str.upper, RATE_CLASSES)}
    limits |= {"PGTALLY_UNAUTHENTICATED_PER_MINUTE": "1000000"}
    limits |= {"PGTALLY_BYTES_PER_MINUTE": "1000000000000"}
    service_dsn = make_conninfo(shared_dsn, user="tally_service", password=SERVICE_PASSWORD)
    with running_service(service_dsn, **limits) as (url, _):
        yield Service(url, installation_key(shared_dsn))


Command = Callable[..., Any]


def _told(arguments: tuple[object, ...], code: int, done: tuple[int, str, str]) -> Any:
    """The JSON of a command that has done, or its output, or its errors."""
    found, output, errors = done
    assert found == code, (output, errors)
    if "--json" in arguments and code == 0:
        return json.loads(output)
    return output if code == 0 else errors


@pytest.fixture
def pgtally(shared_dsn: str) -> Command:
    """The command, in this process, since to start Python is most of what one costs."""

    def run(*arguments: object, code: int = 0, **variables: str) -> Any:
        done = CliRunner().invoke(
            cli, [*map(str, arguments)], prog_name="pgtally", catch_exceptions=False,
            env={"PGTALLY_ADMIN_DSN": shared_dsn, **variables},
        )  # fmt: skip
        return _told(arguments, code, (done.exit_code, done.stdout, done.stderr))

    return run


@pytest.fixture
def pgtally_process(shared_dsn: str) -> Command:
    """The command as an operator types it, for what depends on that: pipes, logs, the exit code."""

    def run(*arguments: object, code: int = 0, stdin: str | None = None, **variables: str) -> Any:
        done = subprocess.run(
            [".venv/bin/pgtally", *map(str, arguments)],
            cwd=ROOT, input=stdin, capture_output=True, timeout=60, text=True,
            env={**os.environ, "PGTALLY_ADMIN_DSN": shared_dsn, **variables},
        )  # fmt: skip
        return _told(arguments, code, (done.returncode, done.stdout, done.stderr))

    return run
