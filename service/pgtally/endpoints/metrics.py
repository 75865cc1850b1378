"""GET /metrics: what Prometheus watches, of the service's processes and of the database."""

import os
from typing import Any

from litestar import Response, get
from prometheus_client import REGISTRY, CollectorRegistry, Gauge, generate_latest, multiprocess
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from pgtally.http.operation import Operation
from pgtally.http.passage import Db, Incoming
from pgtally.metrics import MULTIPROCESS, forget_the_dead, observe_pool

METRICS = """
  select name, label, value
  from api.metrics()
"""
HELP = {
    "deltas_waiting": "Deltas not yet folded, counted up to 1,000,000.",
    "fold_lag_seconds": "Time since fold last finished well.",
    "default_partition_events": "Events in the default partition, counted up to 100,000.",
    "partitions_ahead": "Weekly partitions that begin in the future.",
    "healed_summaries_30d": "Summary rows that differed from the raw events and were rebuilt.",
    "rejected_events": "Rejected events that are kept, counted up to 100,000.",
    "tenant_deletions_waiting": "Deletions of tenants that are not done.",
    "job_last_success_timestamp_seconds": "When each job last finished well.",
    "job_failures_30d": "Runs of each job that failed or were interrupted.",
    "tenant_events_quota_used_ratio": "Events stored by quota, of the 1,000 tenants nearest to it.",
    "bytes": "Size on disk, indexes included.",
}
LABELS = {"bytes": "relation", "tenant_events_quota_used_ratio": "tenant_id"}


@get(
    "/metrics",
    operation=Operation(scope="admin", installation=True, rate_class="tenants"),
    summary="Figures for Prometheus",
    media_type="text/plain",
)
async def metrics(request: Incoming, db: Db) -> Response[Any]:
    """Prometheus sends the key as a bearer token."""
    observe_pool(db)
    registry = CollectorRegistry()
    gauges: dict[str, Gauge] = {}
    for name, label, value in await db.call(METRICS, {}):
        if name not in gauges:
            names = [LABELS.get(name, "job_name")] if label else []
            gauges[name] = Gauge(f"pgtally_{name}", HELP[name], names, registry=registry)
        (gauges[name].labels(label) if label else gauges[name]).set(value)
    processes = REGISTRY
    if MULTIPROCESS in os.environ:
        forget_the_dead()
        processes = CollectorRegistry()
        multiprocess.MultiProcessCollector(processes)  # type: ignore[no-untyped-call]
    return Response(
        generate_latest(processes) + generate_latest(registry),
        headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4},
    )
