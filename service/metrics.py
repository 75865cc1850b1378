"""GET /metrics: what Prometheus watches, of the service's processes and of the database."""

import os
from typing import Any

from litestar import Request, Response, get
from litestar.datastructures import State
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from service.database import Database

METRICS = """
  select name, label, value
  from api.metrics()
"""
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
HELP = {
    "deltas_waiting": "Deltas not yet folded, counted up to 1,000,000.",
    "fold_lag_seconds": "Time since fold last finished well.",
    "default_partition_events": "Events in the default partition, counted up to 100,000.",
    "partitions_ahead": "Weekly partitions that begin in the future.",
    "healed_summaries_30d": "Summary rows that differed from the raw events and were rebuilt.",
    "rejected_events": "Rejected events that are kept, counted up to 100,000.",
    "job_last_success_timestamp_seconds": "When each job last finished well.",
    "job_failures_30d": "Runs of each job that failed or were interrupted.",
    "bytes": "Size on disk, indexes included.",
}
LABELS = {"bytes": "relation"}

REQUESTS = Counter(
    "pgtally_http_requests_total", "Requests answered.", ["method", "route", "status"]
)
DURATION = Histogram(
    "pgtally_http_request_duration_seconds",
    "From the request's head to the response's head.",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
BATCH = Histogram(
    "pgtally_ingest_batch_events",
    "Events of a bulk request.",
    buckets=(1, 10, 50, 100, 500, 1000, 5000, 10_000),
)
FLUSH = Histogram(
    "pgtally_ingest_commit_events",
    "Single events that shared a commit.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
)
LIMITED = Counter("pgtally_rate_limited_total", "Requests refused with 429.", ["route"])
POOL = Gauge(
    "pgtally_pool_connections",
    "Connections of the pool, and requests that wait for one.",
    ["state"],
    multiprocess_mode="livesum",
)


def observe_pool(database: Database) -> None:
    """Reads the pool's figures; called by every process now and then."""
    stats = database.pool.get_stats()
    POOL.labels("size").set(stats.get("pool_size", 0))
    POOL.labels("available").set(stats.get("pool_available", 0))
    POOL.labels("waiting").set(stats.get("requests_waiting", 0))


@get(
    "/metrics",
    opt={"scope": "admin", "installation": True, "rate": "tenants"},
    operation_id="metrics",
    summary="Figures for Prometheus",
    tags=["Health"],
    media_type="text/plain",
)
async def metrics(request: Request[Any, Any, State], db: Database) -> Response[Any]:
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
        processes = CollectorRegistry()
        multiprocess.MultiProcessCollector(processes)  # type: ignore[no-untyped-call]
    return Response(
        generate_latest(processes) + generate_latest(registry),
        headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4},
    )
