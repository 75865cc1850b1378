"""Jobs as their work grows, and what all of it takes on disk and in memory."""

from uuid import UUID

from bench.http_load import service
from bench.report import Report
from bench.setup import Connection, connect, new_tenant, peak_megabytes, run_seconds

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
