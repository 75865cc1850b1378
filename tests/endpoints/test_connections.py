"""Connections that hold the server up, and processes that die under it."""

import os
import resource
import selectors
import signal
import socket
import subprocess
import time
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
import pytest
from pgtally.cli.server import connections_of_a_worker

from tests.conftest import (
    SERVICE_PASSWORD,
    Service,
    installation_key,
    make_conninfo,
    running_service,
    wait_for,
)
from tests.endpoints.test_service import COUNT

# What a client may send and then nothing more: nothing, a byte, half a head, HTTP/2's first bytes.
BEGINNINGS = (b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
IDLE_CONNECTIONS = 2000
HEAD_TIMEOUT_SECONDS = 6


@pytest.fixture
def shared_service_dsn(shared_dsn):
    return make_conninfo(shared_dsn, user="tally_service", password=SERVICE_PASSWORD)


def closed_within(connections, seconds):
    """How many of these the server has closed by then."""
    left = selectors.DefaultSelector()
    for connection in connections:
        left.register(connection, selectors.EVENT_READ)
    deadline = time.monotonic() + seconds
    closed = 0
    while left.get_map() and (wait := deadline - time.monotonic()) > 0:
        for key, _ in left.select(wait):
            try:
                ended = not key.fileobj.recv(65536)
            except ConnectionError:
                ended = True
            if ended:
                left.unregister(key.fileobj)
                closed += 1
    left.close()
    return closed


def test_thousands_of_silent_connections_disturb_nobody_and_are_closed(
    shared_service_dsn, shared_dsn
):
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = (
        IDLE_CONNECTIONS if files == resource.RLIM_INFINITY else min(IDLE_CONNECTIONS, files - 512)
    )
    variables = {"PGTALLY_HEAD_TIMEOUT_MS": f"{HEAD_TIMEOUT_SECONDS * 1000}"}
    with running_service(shared_service_dsn, **variables) as (url, _), ExitStack() as stack:
        client = Service(url, installation_key(shared_dsn)).tenant()
        parts = urlsplit(url)
        silent = []
        for number in range(count):
            connection = socket.create_connection((parts.hostname, parts.port), timeout=5)
            silent.append(stack.enter_context(connection))
            connection.sendall(BEGINNINGS[number % len(BEGINNINGS)])
        opened = time.monotonic()
        # HTTP/2 is refused at once; the others wait.
        assert closed_within(silent, 0.5) <= count / len(BEGINNINGS) + 1
        for _ in range(20):
            # A connection of its own each time: those of before must not keep new ones out.
            with httpx.Client(base_url=url, headers=client.headers, timeout=5) as fresh:
                assert fresh.post("/events", json={"type": "a"}).status_code == 201
        assert client.get(COUNT).json() == {"total": 20}
        held = HEAD_TIMEOUT_SECONDS - (time.monotonic() - opened)
        assert held > 0, "the machine is too slow for this test to say anything"
        assert closed_within(silent, held + 5) == count


def test_no_more_connections_are_taken_than_files_are_left_for(monkeypatch, capsys):
    """Beyond its limit of open files a server fails to accept, at full speed."""
    for files, wanted, taken in (
        (1024, 4096, 768), (1024, 700, 700), (100, 4096, 16), (resource.RLIM_INFINITY, 9999, 9999),
    ):  # fmt: skip
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (files, files))
        assert connections_of_a_worker(wanted) == taken
        assert ("PGTALLY_CONNECTIONS" in capsys.readouterr().err) == (taken < wanted)


def workers(process):
    found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True)
    return {int(pid) for pid in found.stdout.split()}


def figures(client):
    lines = client.get("/metrics").text.splitlines()
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")
    }


def test_a_killed_worker_is_replaced_while_the_other_serves(shared_service_dsn, shared_dsn):
    size = 'pgtally_pool_connections{state="size"}'
    served = 'pgtally_http_requests_total{method="GET",route="/health/live",status="200"}'
    variables = {"PGTALLY_WORKERS": "2", "PGTALLY_POOL_SIZE": "3"}
    with running_service(shared_service_dsn, **variables) as (url, process):
        key = installation_key(shared_dsn)

        def look():
            with httpx.Client(base_url=url, headers={"X-API-Key": key}, timeout=10) as fresh:
                return figures(fresh)

        # Both have told their figures: each does when it is asked for them.
        wait_for(lambda: look()[size] == 6)
        before = look()
        first, second = workers(process)
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: first not in workers(process))
        answered = 0
        assert look()[size] == 3
        while len(workers(process)) < 2 or answered < 50:
            assert httpx.get(url + "/health/live", timeout=5).status_code == 200
            answered += 1
        (new,) = workers(process) - {second}
        assert new != first
        sizes = set()
        wait_for(lambda: sizes.add(look()[size]) or max(sizes) == 6)
        after = look()
        assert after[served] >= before[served] + answered
        assert max(sizes) == 6
        assert process.poll() is None
