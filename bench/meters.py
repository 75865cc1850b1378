"""Questions about properties that meters answer, as the number of events grows, beside the same by
type; what a meter costs to make."""

import threading
from typing import NamedTuple
from uuid import UUID

from bench.http_load import Load, Service, load, request, single_events
from bench.report import Report
from bench.setup import Connection, backend_seconds, connect, run_seconds

ANALYTICS = "/analytics/events/"
YEAR = "from=2025-01-01&to=2026-01-01"
# A question about a property, and the same by type.
QUESTIONS = {
    "count with a filter": ("count?" + YEAR + "&data.plan=pro", "count?" + YEAR + "&type=type%203"),
    "breakdown, 10 of 32 groups": ("breakdown?" + YEAR + "&by=data.path", "breakdown?" + YEAR),
    "timeline, a year of days by group": (
        "timeline?" + YEAR + "&groupBy=data.path", "timeline?" + YEAR + "&groupBy=type",
    ),
}  # fmt: skip
METERS = {
    "pro": """p_filters => '[{"key": "plan", "op": "=", "value": "pro"}]'""",
    "paths": "p_by => array['data.path']",
}


class Filled(NamedTuple):
    """What filling took: seconds of CPU, and a lone writer's events before and meanwhile."""

    cpu_seconds: float
    before: Load
    meanwhile: Load


def fill(dsn: str, running: Service, tenant: UUID, key: str) -> Filled:
    """Makes the meters of a tenant, and fills them while somebody writes."""
    with connect(dsn) as connection:
        before = load(running.port, single_events(key, 2_000), 1, 10)
        for name, what in METERS.items():
            create = f"select api.meter_create(%s, '{name}', {what})"
            connection.execute(create.encode(), (tenant,))
        spent = backend_seconds(connection)
        filling = threading.Thread(target=run_seconds, args=(connection, "call tally.fill()"))
        filling.start()
        meanwhile = load(running.port, single_events(key, 20_000), 1, 10)
        filling.join()
        spent = backend_seconds(connection) - spent
        connection.execute("call tally.fold()")
        return Filled(spent, before, meanwhile)


def remove(connection: Connection, tenant: UUID) -> None:
    """Takes the meters away, rows and all."""
    for name in METERS:
        connection.execute("select api.meter_delete(%s, %s)", (tenant, name))
    connection.execute("call tally.fill()")


class Metered:
    """Asks tenants of more and more events."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.sizes: list[int] = []
        self.p50: dict[str, list[float]] = {}
        self.by_type: dict[str, list[float]] = {}
        self.filled: list[Filled] = []

    def ask(self, dsn: str, running: Service, tenant: UUID, key: str, size: int) -> None:
        """The questions to one tenant."""
        self.report.progress(f"filling meters from {size:,} events")
        self.sizes.append(size)
        self.filled.append(fill(dsn, running, tenant, key))
        for name, paths in QUESTIONS.items():
            self.report.progress(f"asking meters, {name}")
            for found, path in zip((self.p50, self.by_type), paths, strict=True):
                one = request(ANALYTICS + path, key)
                load(running.port, [one] * 20, 1, 10)
                found.setdefault(name, []).append(load(running.port, [one] * 60, 1, 10).p50_ms)

    def tell(self) -> None:
        """The tables."""
        millions = [f"{size / 1e6:g} M" for size in self.sizes]
        self.report.section(
            "Meters",
            "Questions about properties, answered by a meter: p50 over HTTP, one connection, ms; "
            "beside the same question by type, of the largest tenant.",
        )
        self.report.table(
            ["question", *millions, "last of first", "by type", "of that"],
            [
                [
                    name, *(f"{ms:.2f}" for ms in values), f"{values[-1] / values[0]:.2f}",
                    f"{self.by_type[name][-1]:.2f}", f"{values[-1] / self.by_type[name][-1]:.2f}",
                ]
                for name, values in self.p50.items()
            ],
        )  # fmt: skip
        self.report.text(
            f"Making {len(METERS)} meters: CPU an event and meter; p99 of a lone writer's events, "
            "before and while they are filled."
        )
        self.report.table(
            ["events", "CPU", "us an event and meter", "p99 before, ms", "meanwhile", "times"],
            [
                [
                    text, f"{one.cpu_seconds:.1f} s",
                    f"{one.cpu_seconds / size / len(METERS) * 1e6:.2f}",
                    f"{one.before.p99_ms:.1f}", f"{one.meanwhile.p99_ms:.1f}",
                    f"{one.meanwhile.p99_ms / one.before.p99_ms:.1f}",
                ]
                for text, size, one in zip(millions, self.sizes, self.filled, strict=True)
            ],
        )  # fmt: skip
        failed = sum(one.failed for filled in self.filled for one in filled[1:])
        self.report.text(f"{failed} of these events failed.")
