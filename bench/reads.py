"""Reads over HTTP as the number of events grows, and what one would do without summaries."""

import re
from datetime import date

from bench.columnar import columnar
from bench.conditions import cold, conditions
from bench.http_load import load, request, service
from bench.meters import Metered, remove
from bench.report import Report
from bench.setup import Scratch, connect, fill_year, new_tenant, run_seconds

ANALYTICS = "/analytics/events/"
QUESTIONS = {
    "select 1": "/select-1",
    "count, a year": ANALYTICS + "count?from=2025-01-01&to=2026-01-01",
    "by type, a year": ANALYTICS + "by-type?from=2025-01-01&to=2026-01-01",
    "timeline, a year of days": ANALYTICS + "timeline?from=2025-01-01&to=2026-01-01&interval=day",
    "unique actors, 90 days": ANALYTICS
    + "count?measure=uniqueActors&from=2025-04-01&to=2025-06-30",
    "summaries, a year of days": "/summaries?metric=type%203&from=2025-01-01&to=2026-01-01",
    "unique actors, days of a year": ANALYTICS
    + "timeline?measure=uniqueActors&from=2025-01-01&to=2026-01-01",
    "count, 90 days of a type": ANALYTICS + "count?from=2025-04-01&to=2025-06-30&type=type%203",
    "count, ragged ends": ANALYTICS + "count?from=2025-01-05T03:07:11Z&to=2025-11-20T17:41:09Z",
    "timeline, hours of a month": ANALYTICS
    + "timeline?from=2025-03-01&to=2025-04-01&interval=hour",
}
RAW = "select count(*) from tally.events where tenant_id = %s"
TO_NOW = {
    name: re.sub(r"to=\d{4}-\d\d-\d\d", f"to={date.today().year + 1}-01-01", path)
    for name, path in QUESTIONS.items()
    if "hours" not in name
}
MONTH = "from=2025-03-01&to=2025-04-01&"
# Questions about properties and actors, of a month.
FILTERS = {
    "data.plan=pro": ANALYTICS + "count?" + MONTH + "data.plan=pro",
    "data.n=>1000": ANALYTICS + "count?" + MONTH + "data.n=%3E1000",
    "actorId": ANALYTICS + "count?" + MONTH + "actorId=actor%2017",
    "breakdown": ANALYTICS + "breakdown?" + MONTH + "by=data.path",
}


def flat(
    scratch: Scratch, report: Report, small: list[int], sizes: list[int], waiting: int
) -> None:
    """The same questions to tenants with more and more events; to the largest, in other conditions
    too. The small tenants are there to be weighed at the end."""
    dsn = scratch.dsn
    found: dict[str, list[float]] = {name: [] for name in QUESTIONS}
    instead: list[list[str]] = []
    metered = Metered(report)
    connection = connect(dsn)
    connection.execute("call tally.fold()")
    for size in small:
        tenant, _ = new_tenant(connection, f"year of {size}")
        fill_year(connection, tenant, size)
    for size in sizes:
        report.progress(f"making {size:,} events of a year and their summaries")
        tenant, key = new_tenant(connection, f"year of {size}")
        fill_year(connection, tenant, size)
        report.progress(f"asking, {size:,} events")
        with service(dsn, "with_select_1") as running:
            for name, path in QUESTIONS.items():
                load(running.port, [request(path, key)] * 100, 1, 30)
                found[name].append(load(running.port, [request(path, key)] * 200, 1, 30).p50_ms)
            if size == sizes[-1]:
                p50 = {name: values[-1] for name, values in found.items()}
                p50 |= filters(report, running.port, key, size)
            metered.ask(dsn, running, tenant, key, size)
            remove(connection, tenant)
            if size == sizes[-1]:
                p50 |= {name: values[-1] for name, values in metered.p50.items()}
                columnar(report, connection, tenant, size, p50)
                conditions(dsn, report, running, tenant, key, TO_NOW, waiting)
        counted = min(run_seconds(connection, RAW, (tenant,)) for _ in range(3)) * 1000
        connection.execute(
            f"""
            create materialized view tally.rollup_{size} as
            select
              date_trunc('day', occurred_at) as day, event_type, count(*) as events, sum(value),
              count(distinct actor_id) as actors
            from tally.events where tenant_id = '{tenant}' group by 1, 2
            """.encode()
        )
        refreshed = run_seconds(connection, f"refresh materialized view tally.rollup_{size}")
        instead.append([f"{size:,}", f"{counted:,.0f} ms", f"{refreshed:.1f} s"])
    report.section("Flat reads", "p50 over HTTP, one connection, ms.")
    heads = ["question", *(f"{size / 1e6:g} M" for size in sizes), "last of first", "of select 1"]
    report.table(
        heads,
        [
            [
                name, *(f"{ms:.2f}" for ms in values), f"{values[-1] / values[0]:.2f}",
                f"{values[-1] / found['select 1'][-1]:.2f}",
            ]
            for name, values in found.items()
        ],
    )  # fmt: skip
    report.lines(
        "p50 over HTTP (ms) by millions of events",
        [f"{size / 1e6:g} M" for size in sizes],
        found,
        "reads.svg",
    )
    report.text("What one would do without summaries, for the same tenants:")
    report.table(["events", "count raw events", "refresh a daily materialized view"], instead)
    metered.tell()
    connection.close()
    with service(dsn, "with_select_1") as running:
        cold(scratch, report, running, key, QUESTIONS)


def filters(report: Report, port: int, key: str, size: int) -> dict[str, float]:
    """Questions about properties that no meter answers read raw events, here a month of them.
    Returns the p50 of each in ms."""
    p50 = {
        name: load(port, [request(path, key)] * 5, 1, 100).p50_ms for name, path in FILTERS.items()
    }
    events = size * 31 / 365
    report.section(
        "Properties and actors",
        f"Without a meter, filters and breakdowns read raw events: a month of them, {events:,.0f} "
        "events.",
    )
    report.table(
        ["question", "p50", "an event"],
        [[name, f"{ms:,.1f} ms", f"{ms * 1e3 / events:.2f} us"] for name, ms in p50.items()],
    )
    return p50
