"""Jobs as their work grows, and what all of it takes on disk and in memory."""

from uuid import UUID

from bench.http_load import service
from bench.report import Report
from bench.setup import (
    Connection,
    backend_seconds,
    connect,
    new_tenant,
    peak_megabytes,
    run_seconds,
)

# Events: of one tenant or of many with four each, over how long, of how many types.
SHAPES = {
    "a burst of minutes": (False, "10 minutes", 20),
    "a day, 20 types": (False, "1 day", 20),
    "a year, one type": (False, "365 days", 1),
    "a year, 20 types": (False, "365 days", 20),
    "many tenants": (True, "1 day", 2),
}
LONE = """
  select count(i.accepted)
  from generate_series(0::bigint, %(deltas)s - 1) as e (n)
  join filled as f on f.n = e.n %% %(tenants)s
  cross join lateral api.events_ingest(
    f.tenant_id,
    array[
      '2025-12-31'::timestamptz - (e.n * 7919 %% %(deltas)s) * (%(span)s::interval / %(deltas)s)],
    array[gen_random_uuid()], array['type ' || e.n %% %(types)s], array[e.n %% 100]::numeric[],
    array['actor ' || (hashint8(e.n) & 8191)], array[null]::text[], array['{}'::jsonb]) as i
"""
PLAIN = """
  select
    date_bin('15 minutes', occurred_at, 'epoch'), event_type, count(*), count(value), sum(value),
    min(value), max(value),
    public.hll_add_agg(tally.actor_hash(actor_id)::public.hll_hashval, 14, 5)
  from tally.events
  where tenant_id = %s and occurred_at >= '2024-05-01' and occurred_at < '2024-05-02'
  group by 1, 2
"""


def _one_day(connection: Connection, tenant: UUID, events: int) -> None:
    """Events of one day, with the deltas of small batches: one for two events."""
    connection.execute("select tally.partition_create('2024-05-01'::timestamptz)")
    connection.execute(
        """
        insert into tally.events (tenant_id, occurred_at, event_id, value, event_type, actor_id)
        select
          %(tenant)s, '2024-05-01'::timestamptz + n * (interval '1 day' / %(events)s),
          gen_random_uuid(), n %% 100, 'type ' || n * 7919 %% 20, 'actor ' || (hashint8(n) & 8191)
        from generate_series(0::bigint, %(events)s - 1) as n
        """,
        {"tenant": tenant, "events": events},
    )
    connection.execute(
        """
        insert into tally.summary_deltas (
          tenant_id, quarter_hour, event_type, event_count, value_count, value_sum, value_min,
          value_max, actor_hashes
        )
        select
          tenant_id, date_bin('15 minutes', occurred_at, 'epoch'), event_type, count(*),
          count(value), sum(value), min(value), max(value),
          string_agg(int8send(tally.actor_hash(actor_id)), '')
        from tally.events
        where tenant_id = %s
        group by
          tenant_id, 2, event_type,
          floor(extract(epoch from occurred_at - '2024-05-01') / 86400 * %s / 40)
        """,
        (tenant, events),
    )
    connection.execute("analyze tally.events, tally.summary_deltas")


def jobs(dsn: str, report: Report, sizes: list[int]) -> None:
    """fold, finalize and rebuild of a day, with 1, 2 and 4 times the events."""
    rows = []
    for size in sizes:
        report.progress(f"jobs, a day of {size:,} events")
        # A session each, so that its backend's peak memory is of this size alone.
        with connect(dsn) as connection:
            tenant, _ = new_tenant(connection, f"day of {size}")
            _one_day(connection, tenant, size)
            count = "select count(*) from tally.summary_deltas where tenant_id = %s"
            (deltas,) = connection.execute(count, (tenant,)).fetchone() or (0,)
        with connect(dsn) as connection:
            folded = run_seconds(connection, "call tally.fold()")
            fold_mb = peak_megabytes(connection.info.backend_pid)
        with connect(dsn) as connection:
            plain = run_seconds(connection, PLAIN, (tenant,))
        with connect(dsn) as connection:
            final = run_seconds(connection, "select tally.finalize_tenant(%s, 'day')", (tenant,))
            final_mb = peak_megabytes(connection.info.backend_pid)
        with connect(dsn) as connection:
            rebuilt = run_seconds(connection, "call tally.rebuild(%s)", (tenant,))
        rows.append(
            [
                f"{size:,}", f"{deltas:,}", f"{folded:.1f}", f"{folded / deltas * 1e6:.0f}",
                f"{fold_mb:.0f}", f"{plain:.1f}", f"{final:.1f}", f"{final / plain:.2f}",
                f"{final_mb:.0f}", f"{rebuilt:.1f}",
            ]
        )  # fmt: skip
    report.section("Jobs", "One tenant's day; seconds, and the peak memory of the backend in MB.")
    report.table(
        ["events", "deltas", "fold s", "us a delta", "fold MB", "plain group by s", "finalize s",
         "of plain", "finalize MB", "rebuild s"],
        rows,
    )  # fmt: skip


def sparse(dsn: str, report: Report, deltas: int) -> None:
    """fold of lone events that share few rows of summaries, or none."""
    rows = []
    for name, (tenants, span, types) in SHAPES.items():
        report.progress(f"fold, {name}")
        with connect(dsn) as connection:
            count = max(1, deltas // 4) if tenants else 1
            connection.execute("create temporary table filled (n bigint, tenant_id uuid)")
            for n in range(count):
                tenant, _ = new_tenant(connection, f"{name} {n}")
                connection.execute("insert into filled values (%s, %s)", (n, tenant))
            connection.execute(
                LONE, {"deltas": deltas, "tenants": count, "span": span, "types": types}
            )
            connection.execute("analyze tally.summary_deltas")
            before = backend_seconds(connection)
            took = run_seconds(connection, "call tally.fold()")
            used = backend_seconds(connection) - before
            (touched,) = connection.execute(
                "select count(*) from tally.summaries where tenant_id in"
                " (select tenant_id from filled)"
            ).fetchone() or (1,)
        rows.append(
            [
                name, f"{deltas:,}", f"{touched:,}", f"{took:.1f}", f"{used / deltas * 1e6:.0f}",
                f"{used / touched * 1e6:.0f}",
            ]
        )  # fmt: skip
    report.section(
        "Sparse fold", "A delta an event; CPU of the backend. The more rows, the less is shared."
    )
    report.table(["events", "deltas", "rows made", "s", "us a delta", "us a row"], rows)


def footprint(dsn: str, report: Report) -> None:
    """What is on disk for what the other measurements have left, and what a process takes."""
    with connect(dsn) as connection:
        connection.execute("vacuum tally.summaries")
        heap, index, events = connection.execute(
            """
            select
              sum(pg_table_size(c.oid)), sum(pg_indexes_size(c.oid)),
              (select count(*) from tally.events)
            from pg_inherits as i join pg_class as c on c.oid = i.inhrelid
            where i.inhparent = 'tally.events'::regclass
            """
        ).fetchone() or (0, 0, 1)
        rows, size, days = connection.execute(
            """
            select
              count(*), pg_total_relation_size('tally.summaries'),
              count(distinct (tenant_id, date_trunc('day', period_start)))
            from tally.summaries
            """
        ).fetchone() or (0, 0, 1)
        kinds = connection.execute(
            "select tally.period_type_name(period_type), count(*), sum(pg_column_size(actors))"
            " from tally.summaries"
            " group by 1 order by 1"
        ).fetchall()
        weights = connection.execute(
            """
            select t.name, e.events, (s.bytes * %s / sum(s.bytes) over () / e.events)::float
            from tally.tenants as t
            cross join lateral (
              select count(*) as events from tally.events as e where e.tenant_id = t.tenant_id
            ) as e
            cross join lateral (
              select sum(pg_column_size(s)) as bytes
              from tally.summaries as s where s.tenant_id = t.tenant_id
            ) as s
            where s.bytes > 0 and e.events > 0
            """,
            (size,),
        ).fetchall()
    with service(dsn) as running:
        resident, started = peak_megabytes(running.pid, "VmRSS"), running.start_seconds
    report.section("Footprint", "On disk after the measurements above, and in memory.")
    report.table(
        ["what", "how much"],
        [
            ["an event in the heap", f"{heap / events:.0f} bytes"],
            ["an event in its one index", f"{index / events:.0f} bytes"],
            ["a summary row", f"{size / rows:.0f} bytes"],
            ["summaries of a tenant's day", f"{size / days / 1024:.0f} KiB"],
            *(
                [f"{kind} rows, of which sketches", f"{n:,} rows, {(b or 0) / n:.0f} bytes each"]
                for kind, n, b in kinds
            ),
            ["start of the service until it answers", f"{started:.1f} s"],
            ["memory of a fresh worker", f"{resident:.0f} MB"],
        ],
    )
    an_event = float(heap + index) / events
    report.text(
        "By size of tenant: a year of 20 types and 10,000 actors. Few events a day share no row of "
        "summaries; the more, the less these add."
    )
    report.table(
        ["events", "bytes an event", "of summaries", "together", "of the event alone"],
        [
            [
                f"{n:,}", f"{an_event:.0f}", f"{more:.0f}", f"{an_event + more:.0f}",
                f"{1 + more / an_event:.2f}",
            ]
            for name, n, more in sorted(weights, key=lambda row: row[1])
            if name.startswith("year of")
        ],
    )  # fmt: skip
