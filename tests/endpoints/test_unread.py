"""Clients that ask for much and do not read it."""

import contextlib
import socket
import time
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.conftest import (
    SERVICE_PASSWORD,
    Service,
    installation_key,
    make_conninfo,
    running_service,
    wait_for,
)
from tests.endpoints.test_service import COUNT

TIMEOUT_SECONDS = 1
# An export holds a transaction as long as it goes on; it is stuck if that stays idle for a while.
OPEN = """
  select
    count(*),
    count(*) filter (
      where state = 'idle in transaction'
        and clock_timestamp() - state_change > interval '300 milliseconds')
  from pg_stat_activity
  where usename = 'tally_service' and xact_start is not null and query ~ 'event_page'
    and datname = current_database()
"""


@pytest.fixture
def url(shared_dsn):
    service_dsn = make_conninfo(shared_dsn, user="tally_service", password=SERVICE_PASSWORD)
    variables = {"PGTALLY_REQUEST_TIMEOUT_MS": str(1000 * TIMEOUT_SECONDS)}
    with running_service(service_dsn, **variables) as (url, _):
        yield url


@pytest.fixture
def client(url, shared_dsn):
    """A tenant with 24 pages of 0.8 MB: more than the buffers between a server and its client hold."""
    client = Service(url, installation_key(shared_dsn)).tenant()
    events = [{"type": "a", "data": {"filler": "x" * 600}} for _ in range(1000)]
    for _ in range(24):
        assert client.post("/events/bulk", json=events).status_code == 201
    return client


def ask(url, client):
    """Asks for an export with a small buffer; the connection, nothing of which has been read."""
    parts = urlsplit(url)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((parts.hostname, parts.port))
    key = client.headers["X-API-Key"]
    connection.sendall(
        f"GET /events/export HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n\r\n".encode()
    )
    return connection


@pytest.fixture
def exports(shared_dsn):
    """How many exports go on, and how many of them are stuck."""
    with psycopg.connect(shared_dsn, autocommit=True) as db:
        yield lambda: db.execute(OPEN).fetchone()


def test_a_client_that_never_reads_its_export_is_cut_off_after_the_time_out(url, client, exports):
    with ask(url, client) as connection:
        wait_for(lambda: exports() == (1, 1))
        wait_for(lambda: exports() == (0, 0), 10 * TIMEOUT_SECONDS)
        # What was on its way comes, and then no end that could be taken for the whole.
        received = b""
        connection.settimeout(10)
        with contextlib.suppress(ConnectionError):
            while chunk := connection.recv(1 << 20):
                received += chunk
        assert received.startswith(b"HTTP/1.1 200")
        assert not received.endswith(b"0\r\n\r\n")
        assert received.count(b'"type":"a"') < 24_000


def test_a_client_that_hangs_up_in_the_middle_of_an_export_holds_nothing(url, client, exports):
    with ask(url, client):
        wait_for(lambda: exports()[0] == 1)
    wait_for(lambda: exports() == (0, 0), 10 * TIMEOUT_SECONDS)


def test_exports_that_nobody_reads_hold_up_the_tenants_other_questions_no_longer_than_that(
    url, client, exports
):
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(ask(url, client))
        # A quarter of the pool is a tenant's share.
        wait_for(lambda: exports() == (2, 2))
        wait_for(lambda: client.get(COUNT).status_code == 200, 10 * TIMEOUT_SECONDS)
    assert client.post("/events", json={"type": "b"}).status_code == 201


def test_a_client_that_reads_slowly_but_steadily_gets_all_of_it(url, client):
    """Longer than the time-out, which counts from one piece to the next."""
    began = time.monotonic()
    lines = 0
    with client.stream("GET", "/events/export") as response:
        for line in response.iter_lines():
            lines += bool(line)
            while time.monotonic() - began < 2 * TIMEOUT_SECONDS * lines / 24_000:
                time.sleep(0.001)
    assert lines == 24_000
    assert time.monotonic() - began >= 2 * TIMEOUT_SECONDS
