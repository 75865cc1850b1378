"""DuckDB as the yardstick of columnar engines: the same events and the same questions, in this
process, without HTTP, tenants or writers. Only where it is installed, which
`.venv/bin/pip install -e '.[bench]'` does.
"""

import importlib.util
import statistics
import tempfile
from pathlib import Path
from typing import Any
from uuid import UUID

from bench.report import Report
from bench.setup import Connection, seconds

YEAR = "occurred_at >= '2025-01-01' and occurred_at < '2026-01-01'"
MONTH = "occurred_at >= '2025-03-01' and occurred_at < '2025-04-01'"
# By the names of the questions over HTTP that they answer. Distinct actors are estimated there too.
STATEMENTS = {
    "count, a year": f"select count(*) from events where {YEAR}",
    "by type, a year": f"select event_type, count(*) from events where {YEAR} group by 1",
    "timeline, a year of days": "select date_trunc('day', occurred_at), count(*) from events"
    f" where {YEAR} group by 1 order by 1",
    "unique actors, 90 days": "select approx_count_distinct(actor_id) from events"
    " where occurred_at >= '2025-04-01' and occurred_at < '2025-06-30'",
    "summaries, a year of days": "select date_trunc('day', occurred_at), count(*), sum(value),"
    " min(value), max(value), approx_count_distinct(actor_id) from events"
    f" where {YEAR} and event_type = 'type 3' group by 1 order by 1",
    "data.plan=pro": f"select count(*) from events where {MONTH} and data ->> 'plan' = 'pro'",
    "data.n=>1000": f"select count(*) from events where {MONTH} and (data ->> 'n')::double > 1000",
    "actorId": f"select count(*) from events where {MONTH} and actor_id = 'actor 17'",
    "breakdown": f"select data ->> 'path', count(*) from events where {MONTH} group by 1",
    "count with a filter": f"select count(*) from events where {YEAR} and data ->> 'plan' = 'pro'",
    "breakdown, 10 of 32 groups": f"select data ->> 'path', count(*) from events where {YEAR}"
    " group by 1 order by 2 desc limit 10",
    "timeline, a year of days by group": "select date_trunc('day', occurred_at), data ->> 'path',"
    f" count(*) from events where {YEAR} group by 1, 2",
}
EXPORT = """
  copy (
    select occurred_at at time zone 'UTC', event_type, value, actor_id, data from tally.events
    where tenant_id = {tenant} and occurred_at < '2026-01-01' order by occurred_at
  ) to stdout (format csv)
"""


def columnar(
    report: Report, connection: Connection, tenant: UUID, size: int, over_http: dict[str, float]
) -> None:
    """What DuckDB takes for the questions whose p50 over HTTP, in ms, is given."""
    if importlib.util.find_spec("duckdb") is None:
        report.progress("no duckdb installed: no columnar engine beside")
        return
    report.progress("the same events in DuckDB")
    with tempfile.TemporaryDirectory() as folder:
        engine = _filled(Path(folder), connection, tenant)
        rows = []
        for name, statement in STATEMENTS.items():
            took = [seconds(lambda s=statement: engine.execute(s).fetchall()) for _ in range(7)]  # type: ignore[misc]
            ms = statistics.median(took[2:]) * 1000
            if name in over_http:
                ours = over_http[name]
                rows.append([name, f"{ours:.2f}", f"{ms:.2f}", f"{ours / ms:.2f}"])
        engine.close()
    report.section(
        "Beside a columnar engine",
        f"{size:,} events of one tenant. DuckDB scans them in this process, stored in the order of "
        "time; over HTTP there are a key, a limit and JSON besides. ms.",
    )
    report.table(["question", "over HTTP", "DuckDB", "of DuckDB"], rows)


def _filled(folder: Path, connection: Connection, tenant: UUID) -> Any:
    """A database of its own format with the tenant's events."""
    import duckdb

    file = folder / "events.csv"
    export = EXPORT.format(tenant=f"'{tenant}'").encode()
    with file.open("wb") as target, connection.cursor().copy(export) as source:
        for part in source:
            target.write(part)
    engine = duckdb.connect(str(folder / "events.duckdb"))
    engine.execute(
        "create table events as select * from read_csv(?, header = false, columns = {"
        "occurred_at: 'timestamp', event_type: 'varchar', value: 'double', actor_id: 'varchar',"
        " data: 'json'})",
        [str(file)],
    )
    file.unlink()
    return engine
