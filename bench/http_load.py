"""A load generator that costs little beside what it measures: raw sockets, requests made before."""

import asyncio
import contextlib
import itertools
import json
import math
import os
import random
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from typing import NamedTuple

from pgtally.dev.cluster import free_port
from pgtally.ingest.uuid7 import uuid7

from bench.setup import live_events


class Load(NamedTuple):
    """What came of a load: requests answered, those that failed, latencies."""

    requests: int
    failed: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return (self.requests - self.failed) / self.seconds


class Client(asyncio.Protocol):
    """A connection that sends the next request when the answer to the last one is complete."""

    def __init__(self, requests: Iterator[bytes], deadline: float, done: asyncio.Future[None]):
        self.requests, self.deadline, self.done = requests, deadline, done
        self.latencies: list[float] = []
        self.failed = 0
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        request = next(self.requests, None)
        if request is None or time.perf_counter() > self.deadline:
            self.done.set_result(None)
            self.transport.close()
            return
        self.started = time.perf_counter()
        self.transport.write(request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
        if len(body) < length:
            return
        self.latencies.append(time.perf_counter() - self.started)
        self.failed += not self.buffer.startswith(b"HTTP/1.1 2")
        self.buffer = b""
        self.send()

    def connection_lost(self, _: Exception | None) -> None:
        if not self.done.done():
            self.failed += 1
            self.done.set_result(None)


def request(path: str, key: str, body: bytes | None = None) -> bytes:
    """The bytes of a request."""
    method = "GET" if body is None else "POST"
    length = f"Content-Length: {len(body)}\r\n" if body is not None else ""
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nX-API-Key: {key}\r\n{length}\r\n"
    return head.encode() + (body or b"")


def single_events(key: str, count: int) -> list[bytes]:
    """Requests with an event each, all different."""
    now = datetime.now(UTC)
    return [
        request(
            "/events",
            key,
            b'{"type":"type %d","id":"%s","actorId":"actor %d","value":%d.25,"data":{"plan":"pro"}}'
            % (n % 20, str(uuid7(now)).encode(), n % 10_000, n % 100),
        )
        for n in range(count)
    ]


def bulk_events(key: str, batches: int, size: int) -> list[bytes]:
    """Requests with a batch each."""
    chance = random.Random(2)
    made = []
    for _ in range(batches):
        events = [
            {
                "occurredAt": at.isoformat(), "id": str(event_id), "type": kind, "actorId": actor,
                "sessionId": session, "data": json.loads(data),
                **({} if value is None else {"value": float(value)}),
            }
            for at, event_id, value, kind, actor, session, data in live_events(chance, size)
        ]  # fmt: skip
        made.append(request("/events/bulk", key, json.dumps(events).encode()))
    return made


async def _run(port: int, requests: Iterable[bytes], connections: int, seconds: float) -> Load:
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    shared = iter(requests)
    clients = []
    for _ in range(connections):
        done: asyncio.Future[None] = loop.create_future()
        _, client = await loop.create_connection(
            partial(Client, shared, started + seconds, done), "127.0.0.1", port
        )
        clients.append(client)
    await asyncio.gather(*(client.done for client in clients))
    latencies = sorted(latency for client in clients for latency in client.latencies)
    return Load(
        len(latencies),
        sum(client.failed for client in clients),
        time.perf_counter() - started,
        statistics.median(latencies) * 1000,
        latencies[len(latencies) * 99 // 100] * 1000,
    )


def write_until_stopped(port: int, key: str, connections: int) -> None:
    """Sends single events until its process is ended."""
    endless = (one for _ in itertools.count() for one in single_events(key, 1000))
    asyncio.run(_run(port, endless, connections, math.inf))


def _in_process(port: int, requests: list[bytes], connections: int, seconds: float) -> Load:
    return asyncio.run(_run(port, requests, connections, seconds))


def load(port: int, requests: list[bytes], connections: int, seconds: float) -> Load:
    """Sends the requests from a process of its own until they or the seconds are used up."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_in_process, port, requests, connections, seconds).result()


class Service(NamedTuple):
    """A running service."""

    port: int
    pid: int
    start_seconds: float


@contextlib.contextmanager
def service(dsn: str, variant: str = "as_it_is") -> Iterator[Service]:
    """The service, or a variant of it, without limits of rate."""
    port = free_port()
    kinds = ("INGEST", "BULK", "ANALYTICS", "SUMMARIES", "TENANTS", "EVENTS")
    environment = {
        **os.environ,
        "PGTALLY_DSN": dsn,
        "PGTALLY_PORT": str(port),
        "PGTALLY_LOG_REQUESTS": "false",
        "PGTALLY_REQUEST_TIMEOUT_MS": "120000",
        **{f"PGTALLY_{kind}_PER_MINUTE": "100000000" for kind in kinds},
        "PGTALLY_BYTES_PER_MINUTE": "1000000000000",
    }
    started = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "bench.variants", variant],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live").close()
                break
            time.sleep(0.02)
        yield Service(port, _worker(process.pid), time.perf_counter() - started)
    finally:
        process.terminate()
        process.wait(30)


def _worker(parent: int) -> int:
    """The process that serves: the server's last child."""
    found = subprocess.run(  # noqa: S603
        ["ps", "--ppid", str(parent), "-o", "pid=", "--sort=start_time"],  # noqa: S607
        capture_output=True, text=True, check=False,
    ).stdout.split()  # fmt: skip
    return int(found[-1]) if found else parent
