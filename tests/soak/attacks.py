"""What a hostile or careless caller does, each from one address and in a process of its own, until it
is told to stop. Each counts what it did and what it was told."""

import asyncio
import contextlib
import gzip
import json
import multiprocessing
import os
import random
import resource
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID

import msgspec

SILENT_CONNECTIONS = 2_000
BOMBS_A_MINUTE = 200
PROBES_A_SECOND = 1_000
NOISE_A_SECOND = 100
POISON_A_SECOND = 50
# 24 MB of spaces make 24 KB; the other fits PostHog's 6 MB and takes longer to decode.
BOMB = gzip.compress(b'{"batch": [' + b" " * 24_000_000 + b"]}")
DENSE_BOMB = gzip.compress(b'{"api_key": "no", "batch": [' + b"0," * 3_000_000 + b"0]}")
KEYLESS_DOORS = ("/v1/batch", "/browser", "/batch", "/i/v0/e", "/v1/track")
# Each is refused as data, as an integer, or by jsonb, whichever looks first.
POISON = ("0." + "1" * 16_384, "1" * 5_000, "1e999999999", "-1E-999999999", r'"\ud800"')
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Target(msgspec.Struct):
    """Whom it meets, and with which keys."""

    url: str
    key: str = ""
    admin_key: str = ""
    # Tenants to be deleted: id and name.
    tenants: list[tuple[str, str]] = []


class Attacker:
    """What its connections share."""

    def __init__(self, target: Target, stop: Any) -> None:
        parts = urlsplit(target.url)
        self.target = target
        self.stop = stop
        self.stopped: Callable[[], bool] = stop.is_set
        self.counts: Counter[str] = Counter()
        self._place = parts.hostname, parts.port

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        reader, writer = await asyncio.open_connection(*self._place)
        try:
            yield reader, writer
        finally:
            writer.close()

    async def request(
        self, connection: Connection, method: str, path: str, body: bytes = b"", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """The status, headers and body of the answer on this connection."""
        reader, writer = connection
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {text}" for name, text in headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        told = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
        length = 0 if method == "HEAD" else int(told.get("content-length", 0))
        return int(head[0].split(" ")[1]), told, await reader.readexactly(length)

    async def at_rate(
        self, a_second: float, work: Callable[[Connection], Awaitable[None]], hands: int
    ) -> None:
        """Does this so often, over so many connections; what they do not manage is left out."""
        turns: asyncio.Queue[None] = asyncio.Queue(hands)

        async def hand() -> None:
            while True:
                try:
                    async with self.connect() as connection:
                        while True:
                            await turns.get()
                            await work(connection)
                except (OSError, asyncio.IncompleteReadError):
                    self.counts["closed"] += 1

        async with working([hand() for _ in range(hands)]):
            due = time.monotonic()
            while not self.stopped():
                due += 1 / a_second
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                try:
                    turns.put_nowait(None)
                except asyncio.QueueFull:
                    self.counts["not managed"] += 1

    async def until_stopped(self, work: list[Any]) -> None:
        async with working(work):
            await asyncio.to_thread(self.stop.wait)


@asynccontextmanager
async def working(work: list[Any]) -> AsyncIterator[None]:
    """Tasks that go on meanwhile; what ends one of them is raised."""
    tasks = [asyncio.create_task(one) for one in work]
    yield
    for task in tasks:
        task.cancel()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(ended, Exception):
            raise ended


async def silence(attacker: Attacker) -> None:
    """2,000 connections that send nothing; every fourth a byte of a head every 3 s."""

    async def be_silent(number: int) -> None:
        while True:
            try:
                async with attacker.connect() as (reader, writer):
                    attacker.counts["connections"] += 1
                    for byte in b"GET /health/live HTTP/1.1":
                        if number % 4 == 0:
                            writer.write(bytes([byte]))
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(3):
                                if not await reader.read(65_536):
                                    break
                attacker.counts["closed"] += 1
            except OSError:
                attacker.counts["not connected"] += 1
                await asyncio.sleep(0.1)

    await attacker.until_stopped([be_silent(n) for n in range(SILENT_CONNECTIONS)])


async def bombs(attacker: Attacker) -> None:
    """200 gzip bombs a minute to the doors that look for a key in the body, and 24 bodies of 6 MB
    that never end."""

    async def bomb(connection: Connection) -> None:
        body, door = random.choice([BOMB, DENSE_BOMB]), random.choice(KEYLESS_DOORS)
        status, *_ = await attacker.request(connection, "POST", door, body)
        attacker.counts[f"bomb {status}"] += 1

    async def begin() -> None:
        while True:
            try:
                async with attacker.connect() as (reader, writer):
                    writer.write(
                        b"POST /batch HTTP/1.1\r\nHost: x\r\nContent-Length: 6000000\r\n\r\n"
                    )
                    for _ in range(59):
                        writer.write(b" " * 100_000)
                        await writer.drain()
                    line = await reader.readline()
                    attacker.counts[f"unfinished {line[9:12].decode()}"] += 1
            except OSError:
                attacker.counts["unfinished closed"] += 1
            await asyncio.sleep(0.2)

    async with working([begin() for _ in range(24)]):
        await attacker.at_rate(BOMBS_A_MINUTE / 60, bomb, 50)


async def noise(attacker: Attacker) -> None:
    """1,000 readiness probes a second; 100 requests with methods, paths or keys that do not exist."""

    async def probe(connection: Connection) -> None:
        status, *_ = await attacker.request(connection, "GET", "/health/ready")
        attacker.counts[f"probe {status}"] += 1

    async def other(connection: Connection) -> None:
        name = quote(os.urandom(12).decode("latin-1"))
        kind = random.choice(["method", "path", "key", "noise"])
        method = (
            f"M{random.randrange(10**9)}" if kind == "method" else random.choice(["GET", "POST"])
        )
        path = "/events" if kind in ("key", "noise") else f"/{name}"
        key = (
            os.urandom(30).hex()
            if kind == "noise"
            else f"pgt_{os.urandom(6).hex()}_{os.urandom(35).hex()}"
        )
        status, *_ = await attacker.request(connection, method, path, X_API_Key=key)
        attacker.counts[f"{kind} {status}"] += 1

    await asyncio.gather(
        attacker.at_rate(PROBES_A_SECOND, probe, 20), attacker.at_rate(NOISE_A_SECOND, other, 5)
    )


async def bulk(attacker: Attacker) -> None:
    """A tenant that sends batches of 1,000 to 10,000 events, with ids and times, over 8 connections as
    fast as its limits let it."""
    now = datetime.now(UTC)
    bodies = [
        json.dumps(
            [
                {
                    "id": f"00000000-0000-4000-8000-{n:012}",
                    "occurredAt": (now - timedelta(seconds=n)).isoformat(),
                    "type": f"kind {n % 20}", "actorId": f"actor {n * 7919 % 5000}", "value": n,
                    "data": {"plan": "pro", "path": f"/page/{n % 300}", "ms": n % 1000},
                }
                for n in range(count)
            ]
        ).encode()
        for count in (1_000, 3_000, 10_000)
    ]  # fmt: skip
    headers = {"X_API_Key": attacker.target.key, "Content_Type": "application/json"}

    async def send() -> None:
        async with attacker.connect() as connection:
            while not attacker.stopped():
                # Other ids each time.
                body = random.choice(bodies).replace(
                    b'"00000000', b'"' + os.urandom(4).hex().encode()
                )
                status, told, answer = await attacker.request(
                    connection, "POST", "/events/bulk", body, **headers
                )
                attacker.counts[f"batch {status}"] += 1
                if status == 201:
                    attacker.counts["accepted"] += json.loads(answer)["accepted"]
                elif status in (429, 503):
                    await asyncio.sleep(int(told["retry-after"]))

    await asyncio.gather(*[send() for _ in range(8)])


async def poison(attacker: Attacker) -> None:
    """Events that jsonb or Python cannot take: singly, in lenient batches, in Segment's."""
    good = '{"type": "good"}'

    async def send(connection: Connection) -> None:
        held = random.choice(POISON)
        bad = f'{{"type": "x", "data": {{"a": {held}}}}}'
        message = f'{{"type": "track", "event": "x", "userId": "u", "properties": {{"a": {held}}}}}'
        kind, path, body = random.choice(
            [
                ("single", "/events", bad),
                ("value", "/events", f'{{"type": "x", "value": {held}}}'),
                ("lenient", "/events/bulk", f"[{good},{bad},{good}]"),
                ("segment", "/v1/batch", f'{{"batch": [{message}]}}'),
            ]
        )
        status, *_ = await attacker.request(
            connection, "POST", path, body.encode(), X_API_Key=attacker.target.key,
            Content_Type="application/json", Prefer="handling=lenient",
        )  # fmt: skip
        attacker.counts[f"{kind} {status}"] += 1

    await attacker.at_rate(POISON_A_SECOND, send, 8)


async def same(attacker: Attacker) -> None:
    """Batches of the same 1,000 events in ever other orders, other events every second, and the same
    singly: whoever stores one waits for others that hold it."""
    headers = {"X_API_Key": attacker.target.key, "Content_Type": "application/json"}

    def some_of(second: int, count: int) -> list[dict[str, str]]:
        at = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=second % 10**6)).isoformat()
        return [
            {"type": "same", "id": str(UUID(int=n)), "occurredAt": at}
            for n in random.sample(range(1_000), count)
        ]

    async def send(path: str, count: int) -> None:
        async with attacker.connect() as connection:
            while not attacker.stopped():
                events = some_of(int(time.time()), count)
                body = json.dumps(events if path == "/events/bulk" else events[0]).encode()
                status, told, _ = await attacker.request(connection, "POST", path, body, **headers)
                attacker.counts[f"{count} in one {status}"] += 1
                if status in (429, 503):
                    await asyncio.sleep(int(told["retry-after"]))

    batches = [send("/events/bulk", 1_000) for _ in range(4)]
    await asyncio.gather(*batches, *[send("/events", 1) for _ in range(8)])


async def deletion(attacker: Attacker) -> None:
    """The deletion of a large tenant: asked for until it is done."""
    tenant, name = attacker.target.tenants.pop()
    began = time.monotonic()
    while True:
        async with attacker.connect() as connection:
            status, _, answer = await attacker.request(
                connection, "DELETE", f"/tenants/{tenant}?name={quote(name)}",
                X_API_Key=attacker.target.admin_key,
            )  # fmt: skip
        attacker.counts[f"deletion {status}"] += 1
        if status == 200:
            break
    attacker.counts["deleted events"] = json.loads(answer)["events"]
    attacker.counts["ms"] = round((time.monotonic() - began) * 1000)


def _run(name: str, target: Target, stop: Any, results: Any) -> None:
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # Elsewhere it would not take the processors of the service.
    os.nice(10)
    attacker = Attacker(target, stop)
    try:
        asyncio.run(globals()[name](attacker))
    finally:
        results.put(attacker.counts)


@contextmanager
def attacked(name: str, target: Target) -> Iterator[Counter[str]]:
    """Runs an attack meanwhile; afterwards the counter holds what became of it."""
    context = multiprocessing.get_context("spawn")
    stop, results = context.Event(), context.Queue()
    process = context.Process(target=_run, args=(name, target, stop, results), daemon=True)
    counts: Counter[str] = Counter()
    process.start()
    try:
        yield counts
    finally:
        stop.set()
        counts.update(results.get(timeout=60))
        process.join(30)
    assert process.exitcode == 0, f"the attack {name} failed"
