"""What all measurements share: a scratch database, the machine, CPU times, sample events."""

import contextlib
import os
import platform
import random
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from pgtally.dev.cluster import Cluster
from pgtally.ingest.uuid7 import uuid7
from pgtally.migrate import migrate
from psycopg.conninfo import make_conninfo

Connection = psycopg.Connection[Any]
Row = tuple[datetime, UUID, Decimal | None, str, str, str, bytes]
YEAR = 2025
TYPES = 20
ACTORS = 10_000


class Scratch(NamedTuple):
    """A database, and how to restart its server, if that is ours; `restart` tells whether the
    system's cache was dropped too."""

    dsn: str
    restart: Callable[[], bool] | None


@contextlib.contextmanager
def scratch_database(dsn: str | None) -> Iterator[Scratch]:
    """A new, migrated database that is dropped at the end: on the server of `dsn`, or on a private
    cluster."""
    restart: Callable[[], bool] | None = None
    with contextlib.ExitStack() as stack:
        if dsn is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pgtally-bench-")))
            folder.chmod(0o755)
            cluster = Cluster(folder)
            cluster.create()
            stack.callback(cluster.remove)
            cluster.start()
            dsn = cluster.dsn("postgres")
            restart = partial(_restart, cluster)
        name = f"pgtally_bench_{secrets.token_hex(4)}"
        _on_server(dsn, f"create database {name}")
        stack.callback(_on_server, dsn, f"drop database {name} with (force)")
        scratch = make_conninfo(dsn, dbname=name)
        migrate(scratch, lambda _: None)
        yield Scratch(scratch, restart)


def _on_server(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as server:
        server.execute(statement.encode())


def _restart(cluster: Cluster) -> bool:
    cluster.stop()
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
        return True
    except OSError:
        return False
    finally:
        cluster.start()


def connect(dsn: str) -> Connection:
    """A connection in autocommit mode."""
    return psycopg.connect(dsn, autocommit=True)


def new_tenant(connection: Connection, name: str) -> tuple[UUID, str]:
    """A new tenant's id and key."""
    row = connection.execute(
        """
        select t.tenant_id, k.api_key
        from api.tenant_create(%s) as t cross join lateral api.key_create(t.tenant_id) as k
        """,
        (name,),
    ).fetchone()
    assert row is not None  # noqa: S101
    return row[0], row[1]


def backend_seconds(connection: Connection) -> float:
    """CPU time of the backend so far; the clock's time where the server is elsewhere."""
    folder = Path(f"/proc/{connection.info.backend_pid}")
    try:
        if (folder / "comm").read_text().startswith("postgres"):
            return int((folder / "schedstat").read_text().split()[0]) / 1e9
    except OSError:
        pass
    return time.perf_counter()


def peak_megabytes(pid: int, field: str = "VmHWM") -> float:
    """Resident memory of a process: its peak, or with VmRSS its present size."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    return 0.0


def live_events(chance: random.Random, count: int) -> list[Row]:
    """A batch as it comes in: the last seconds, 20 types, 10,000 actors, a small object."""
    now = datetime.now(UTC)
    return [
        (
            now - timedelta(microseconds=chance.randrange(5_000_000)),
            uuid7(now),
            Decimal(chance.randrange(10_000)) / 100 if chance.random() < 0.3 else None,
            f"type {chance.randrange(TYPES)}",
            f"actor {chance.randrange(ACTORS)}",
            f"session {chance.randrange(2 * ACTORS)}",
            b'{"plan": "%s", "path": "/pricing", "n": %d}'
            % (chance.choice([b"free", b"pro", b"team"]), chance.randrange(1000)),
        )
        for _ in range(count)
    ]


FILL = """
  insert into tally.events (
    tenant_id, occurred_at, event_id, value, event_type, actor_id, session_id, data
  )
  select
    %(tenant)s, '2025-01-01'::timestamptz + n * (interval '365 days' / %(events)s),
    gen_random_uuid(), case when n %% 3 = 0 then n %% 1000 / 100.0 end,
    'type ' || (n * 7919 %% %(types)s), 'actor ' || (hashint8(n + 7) & 8191),
    'session ' || (hashint8(n + 9) & 16383),
    jsonb_build_object(
      'plan', 'pro', 'path', '/page/' || (hashint8(n + 3) & 31), 'n', hashint8(n) & 1023)
  from generate_series(%(first)s::bigint, %(end)s - 1) as n
"""


def _fill(dsn: str, password: str, parameters: dict[str, object]) -> None:
    with psycopg.connect(dsn, password=password, autocommit=True) as connection:
        connection.execute(FILL, parameters)


def fill_year(connection: Connection, tenant: UUID, events: int) -> None:
    """Spreads events over the year 2025 in the database itself, as fast as it can store them, makes
    the summaries with tally.rebuild, and finalizes the days, as the job of the night does."""
    for week in range(53):
        connection.execute(
            "select tally.partition_create(%s::timestamptz)",
            (datetime(YEAR, 1, 1, tzinfo=UTC) + timedelta(weeks=week),),
        )
    halves = [(0, events // 2), (events // 2, events)]
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(partial(_fill, connection.info.dsn, connection.info.password), [
            {"tenant": tenant, "events": events, "types": TYPES, "first": first, "end": end}
            for first, end in halves
        ]):  # fmt: skip
            pass
    connection.execute("analyze tally.events")
    connection.execute("call tally.rebuild(%s, '2025-01-01', '2026-01-01')", (tenant,))
    connection.execute("call tally.finalize('day')")
    connection.execute("vacuum (analyze) tally.events, tally.summaries, tally.summary_deltas")


def seconds(action: Callable[[], object]) -> float:
    """The time of an action."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def run_seconds(
    connection: Connection, statement: str, parameters: tuple[object, ...] = ()
) -> float:
    """The time of a statement, its rows fetched."""
    started = time.perf_counter()
    cursor = connection.execute(statement.encode(), parameters)
    if cursor.description:
        cursor.fetchall()
    return time.perf_counter() - started


def machine(connection: Connection) -> str:
    """Where and with what the figures were made."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    row = connection.execute("select version()").fetchone()
    settings = connection.execute(
        """
        select name || ' = ' || current_setting(name) from pg_settings
        where source in ('configuration file', 'command line')
          and name in ('shared_buffers', 'max_wal_size', 'wal_compression', 'checkpoint_timeout',
            'jit', 'fsync', 'synchronous_commit', 'random_page_cost', 'work_mem')
        order by name
        """
    ).fetchall()
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("granian", "litestar", "msgspec", "psycopg")
    )
    return "\n".join(
        [
            f"- {model}, {os.cpu_count()} cores, {memory:.0f} GiB",
            f"- {platform.system()} {platform.release()}",
            f"- {str(row[0]).split(' (')[0] if row else ''}; {', '.join(s for (s,) in settings)}",
            f"- Python {platform.python_version()}, {packages}",
            f"- {datetime.now(UTC):%Y-%m-%d}; service, database and load generator share the cores",
        ]
    )
