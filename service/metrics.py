"""GET /metrics: what Prometheus watches, from the database."""

from typing import Any

from litestar import Response, get
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from service.database import Database

METRICS = """
  select name, label, value
  from api.metrics()
"""
HELP = {
    "deltas_waiting": "Deltas not yet folded, counted up to 1,000,000.",
    "default_partition_events": "Events in the default partition, counted up to 100,000.",
    "partitions_ahead": "Weekly partitions that begin in the future.",
    "healed_summaries_30d": "Summary rows that differed from the raw events and were rebuilt.",
    "job_last_success_timestamp_seconds": "When each job last finished well.",
    "job_failures_30d": "Runs of each job that failed or were interrupted.",
}


@get(
    "/metrics",
    opt={"scope": "admin", "installation": True, "rate": "tenants"},
    operation_id="metrics",
    summary="Figures for Prometheus",
    tags=["Health"],
)
async def metrics(db: Database) -> Response[Any]:
    """Needs an admin key of the installation, as a bearer token."""
    registry = CollectorRegistry()
    gauges: dict[str, Gauge] = {}
    for name, label, value in await db.call(METRICS, {}):
        if name not in gauges:
            names = ["job"] if label else []
            gauges[name] = Gauge(f"pgtally_{name}", HELP[name], names, registry=registry)
        (gauges[name].labels(label) if label else gauges[name]).set(value)
    return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})
