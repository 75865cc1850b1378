"""Ingest against COPY, and reads against `select 1`, on a cluster of its own. Prints ratios.

    make bench

CPU is that of the database backend alone, from /proc, so that the client's work does not count.
"""

import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from service.cluster import Cluster
from service.load import INGEST
from service.migrate import migrate
from service.uuid7 import uuid7

BATCH = 1000
ROUNDS = 40
Row = tuple[datetime, UUID, Decimal | None, str, str, str, bytes]


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def live_events(chance: random.Random) -> list[Row]:
    """A batch as it comes in: the last seconds, 20 types, 10,000 actors, a small object."""
    now = datetime.now(UTC)
    return [
        (
            now - timedelta(microseconds=chance.randrange(5_000_000)),
            uuid7(now),
            Decimal(chance.randrange(10_000)) / 100 if chance.random() < 0.3 else None,
            f"type {chance.randrange(20)}",
            f"actor {chance.randrange(10_000)}",
            f"session {chance.randrange(20_000)}",
            b'{"plan": "pro", "path": "/pricing", "n": %d}' % chance.randrange(1000),
        )
        for _ in range(BATCH)
    ]


def copy(connection: psycopg.Connection[Any], tenant: UUID, rows: list[Row]) -> None:
    with connection.cursor().copy(
        "copy tally.events (tenant_id, occurred_at, event_id, value, event_type, actor_id,"
        " session_id, data) from stdin (format binary)"
    ) as target:
        target.set_types(
            ["uuid", "timestamptz", "uuid", "numeric", "text", "text", "text", "jsonb"]
        )
        for *columns, data in rows:
            target.write_row((tenant, *columns, Jsonb(data, dumps=lambda raw: raw)))


def ingest(connection: psycopg.Connection[Any], tenant: UUID, rows: list[Row]) -> None:
    at, ids, values, types, actors, sessions, data = zip(*rows, strict=True)
    connection.execute(
        INGEST,
        {
            "tenant": tenant,
            "occurred_at": list(at),
            "event_id": list(ids),
            "event_type": list(types),
            "value": list(values),
            "actor_id": list(actors),
            "session_id": list(sessions),
            "data": [Jsonb(raw, dumps=lambda raw: raw) for raw in data],
        },
        binary=True,
    )


def p50_ms(action: Callable[[], object], times: int = 300) -> float:
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        action()
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="pgtally-bench-") as folder:
        Path(folder).chmod(0o755)
        cluster = Cluster(Path(folder))
        cluster.create()
        cluster.start()
        try:
            migrate(cluster.dsn(), lambda _: None)
            run(cluster)
        finally:
            cluster.remove()


def run(cluster: Cluster) -> None:
    chance = random.Random(1)
    with (
        psycopg.connect(cluster.dsn(), autocommit=True) as copying,
        psycopg.connect(cluster.dsn(), autocommit=True) as ingesting,
    ):
        tenants = [
            copying.execute("select tenant_id from api.tenant_create(%s)", (name,)).fetchone()
            for name in ("copy", "ingest")
        ]
        ways = {
            "COPY": (copying, copy, tenants[0][0]),
            "ingest": (ingesting, ingest, tenants[1][0]),
        }
        used: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(ROUNDS + 5):
            # Side by side, in turns, so that both meet the same table and the same machine.
            for name, (connection, way, tenant) in ways.items():
                rows = live_events(chance)
                before = cpu_seconds(connection.info.backend_pid)
                for _ in range(5):
                    way(connection, tenant, rows)
                    rows = live_events(chance)
                if number >= 5:
                    spent = cpu_seconds(connection.info.backend_pid) - before
                    used[name].append(spent / 5 / BATCH * 1e6)
        mean = {name: statistics.mean(values) for name, values in used.items()}
        for name, value in mean.items():
            print(f"{name}: {value:.1f} us of database CPU an event")
        print(f"ingest / COPY: {mean['ingest'] / mean['COPY']:.2f}")

        tenant = tenants[1][0]
        started = time.perf_counter()
        (deltas, _, _) = copying.execute("call tally.fold()").fetchone()
        seconds = time.perf_counter() - started
        print(f"fold: {deltas:,} deltas, {seconds / deltas * 1e6:.0f} us a delta")
        base = p50_ms(lambda: copying.execute("select 1").fetchone())
        now = datetime.now(UTC)
        ragged = (tenant, now - timedelta(days=300, seconds=77), now - timedelta(seconds=3))
        count = "select total from api.event_count"
        for name, text, arguments in (
            ("count", f"{count}(%s)", (tenant,)),
            ("count to 3 s ago, raw edge of all these events", f"{count}(%s, %s, %s)", ragged),
            ("by type", "select * from api.event_by_type(%s)", (tenant,)),
            ("unique actors", f"{count}(%s, p_measure => 'uniqueActors')", (tenant,)),
        ):
            taken = p50_ms(
                lambda text=text, arguments=arguments: copying.execute(text, arguments).fetchall()
            )
            print(f"{name}: p50 {taken:.2f} ms, {taken / base:.1f} times `select 1`")


if __name__ == "__main__":
    main()
