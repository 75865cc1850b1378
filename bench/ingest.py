"""Bulk and single ingest against COPY, a row a request, and a service that shares no commits."""

import contextlib
import random
import statistics
from collections.abc import Callable
from uuid import UUID

from pgtally.ingest.store import INGEST
from psycopg.types.json import Jsonb

from bench.http_load import bulk_events, load, service, single_events
from bench.report import Report
from bench.setup import (
    Connection,
    Row,
    backend_seconds,
    connect,
    live_events,
    new_tenant,
    peak_megabytes,
    seconds,
)

BATCH = 1000
# A meter on all events, by what it groups them.
METERS = {"with a meter of 3 groups": "data.plan", "with a meter of 1,000 groups": "data.n"}
COLUMNS = "tenant_id, occurred_at, event_id, value, event_type, actor_id, session_id, data"


def copy(connection: Connection, tenant: UUID, rows: list[Row]) -> None:
    """What costs least: binary COPY, no duplicates found, no summaries, no row security."""
    with connection.cursor().copy(
        f"copy tally.events ({COLUMNS}) from stdin (format binary)".encode()
    ) as target:
        target.set_types(
            ["uuid", "timestamptz", "uuid", "numeric", "text", "text", "text", "jsonb"]
        )
        for *columns, data in rows:
            target.write_row((tenant, *columns, Jsonb(data, dumps=lambda raw: raw)))


def ingest(connection: Connection, tenant: UUID, rows: list[Row]) -> None:
    """api.events_ingest, as the service calls it."""
    at, ids, values, types, actors, sessions, data = zip(*rows, strict=True)
    parameters = {
        "tenant": tenant,
        "occurred_at": list(at),
        "event_id": list(ids),
        "event_type": list(types),
        "value": list(values),
        "actor_id": list(actors),
        "session_id": list(sessions),
        "data": [Jsonb(raw, dumps=lambda raw: raw) for raw in data],
    }
    connection.execute(INGEST, parameters, binary=True)


def row_by_row(connection: Connection, tenant: UUID, rows: list[Row]) -> None:
    """What an application writes first: an insert for each event."""
    for *columns, data in rows:
        connection.execute(
            f"insert into tally.events ({COLUMNS}) values"
            " (%s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing".encode(),
            (tenant, *columns, Jsonb(data, dumps=lambda raw: raw)),
            binary=True,
        )


def bulk(dsn: str, report: Report, quick: bool) -> None:
    """CPU of the backend, then events a second over HTTP."""
    ways: dict[str, Callable[[Connection, UUID, list[Row]], None]] = {
        "COPY": copy, "api.events_ingest": ingest,
        **dict.fromkeys(METERS, ingest), "a row a request": row_by_row,
    }  # fmt: skip
    chance = random.Random(1)
    connections = {name: connect(dsn) for name in ways}
    tenants = {name: new_tenant(connections[name], f"bulk {name}")[0] for name in ways}
    for name, by in METERS.items():
        create = "select api.meter_create(%s, 'bench', p_by => array[%s])"
        connections[name].execute(create, (tenants[name], by))
    used: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(10 if quick else 40):
        report.progress(f"bulk ingest, round {number + 1}")
        # In turns, so that all meet the same table and the same machine.
        for name, way in ways.items():
            batches = [live_events(chance, BATCH) for _ in range(1 if way is row_by_row else 5)]
            before = backend_seconds(connections[name])
            for rows in batches:
                way(connections[name], tenants[name], rows)
            if number >= 5:
                spent = backend_seconds(connections[name]) - before
                used[name].append(spent / len(batches) / BATCH * 1e6)
    mean = {name: statistics.mean(values) for name, values in used.items()}
    report.section("Bulk ingest", "Database CPU an event, batches of 1,000, live times.")
    report.table(
        ["way", "us an event", "of COPY"],
        [[name, f"{us:.2f}", f"{us / mean['COPY']:.2f}"] for name, us in mean.items()],
    )
    report.bars("Database CPU an event (us)", mean, "ingest.svg")
    report.text("And to fold what these have left; a batch holds some 630 of the 1,000 groups.")
    folds = []
    for name in ("api.events_ingest", *METERS):
        connection, tenant = connections[name], tenants[name]
        count = "select count(*) from tally.events where tenant_id = %s"
        (events,) = connection.execute(count, (tenant,)).fetchone() or (1,)
        before = backend_seconds(connection)
        while (connection.execute("select tally.fold_tenant(%s)", (tenant,)).fetchone() or (0,))[0]:
            pass
        spent = backend_seconds(connection) - before
        folds.append([name, f"{spent / events * 1e6:.2f}"])
    report.table(["way", "us an event"], folds)

    connection = connections["COPY"]
    tenant, key = new_tenant(connection, "bulk http")
    batches = [live_events(chance, BATCH) for _ in range(20 if quick else 150)]

    def copy_all() -> None:
        for batch in batches:
            copy(connection, tenant, batch)

    alone = len(batches) * BATCH / seconds(copy_all)
    report.progress("bulk ingest over HTTP")
    with service(dsn) as running:
        load(running.port, bulk_events(key, 10, BATCH), 4, 60)
        found = load(running.port, bulk_events(key, 30 if quick else 300, BATCH), 4, 60)
        memory = [("after batches of 1,000", peak_megabytes(running.pid, "VmRSS"))]
        for megabytes, size in ((1, 5_000), (2, 10_000)):
            load(running.port, bulk_events(key, 8, size), 4, 60)
            text = f"after bodies of {megabytes} MB, 4 at once"
            memory.append((text, peak_megabytes(running.pid, "VmRSS")))
    over_http = found.rate * BATCH
    report.text(
        f"Over HTTP, JSON to commit, all on the same cores: {over_http:,.0f} events a second, "
        f"**{over_http / alone:.2f} times** COPY running alone ({alone:,.0f}); "
        f"{found.failed} failed."
    )
    report.table(["memory of the service", "MB"], [[text, f"{mb:.0f}"] for text, mb in memory])


def single(dsn: str, report: Report, quick: bool) -> None:
    """Concurrent single events: shared commits against one each, and against storing nothing."""
    with connect(dsn) as connection:
        _, key = new_tenant(connection, "single")
    rates: dict[str, list[float]] = {}
    latencies: dict[str, list[float]] = {}
    names = {"as_it_is": "shared commits", "one_each": "one each", "nothing": "nothing stored"}
    with contextlib.ExitStack() as stack:
        running = {name: stack.enter_context(service(dsn, v)) for v, name in names.items()}
        for turn in range(3 if quick else 8):
            # In short turns: a disk's flushes are now fast, now slow.
            for name, one in running.items():
                report.progress(f"single events, {name}, turn {turn + 1}")
                alone = load(one.port, single_events(key, 1_000), 1, 1)
                found = load(one.port, single_events(key, 12_000), 64, 2)
                if turn:
                    latencies.setdefault(name, []).append(alone.p50_ms)
                    rates.setdefault(name, []).append(found.rate)
    rate = {name: statistics.median(values) for name, values in rates.items()}
    p50 = {name: statistics.median(values) for name, values in latencies.items()}
    report.section("Single events", "POST /events, 64 connections; then one connection.")
    report.table(
        ["service", "events a second", "p50 at one connection, ms"],
        [[name, f"{rate[name]:,.0f}", f"{p50[name]:.2f}"] for name in rate],
    )
    shared, each, none = (rate[name] for name in names.values())
    report.text(
        f"Shared commits: **{shared / each:.2f} times** one transaction a request, "
        f"**{shared / none:.2f} times** storing nothing; the latency of a lone client is "
        f"**{p50['shared commits'] / p50['one each']:.2f} times** that of one each."
    )
