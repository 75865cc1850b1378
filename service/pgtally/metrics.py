"""What each process counts for Prometheus; GET /metrics shows it."""

import os
import re
from functools import cache
from pathlib import Path

from prometheus_client import Counter, Gauge, Histogram, multiprocess

from pgtally.database import Database

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
REQUESTS = Counter(
    "pgtally_http_requests_total", "Requests answered.", ["method", "route", "status"]
)
DURATION = Histogram(
    "pgtally_http_request_duration_seconds",
    "From the request's head to the response's head.",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
# Looked up once: each label costs as much as counting.
requests_of = cache(REQUESTS.labels)
duration_of = cache(DURATION.labels)
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


def forget_the_dead() -> None:
    """Takes out the gauges of processes that are gone: what they held, nobody holds any more. What
    they counted stays counted."""
    for file in Path(os.environ[MULTIPROCESS]).glob("gauge_live*.db"):
        found = re.search(r"_(\d+)\.db$", file.name)
        if found and not _lives(int(found[1])):
            multiprocess.mark_process_dead(int(found[1]))  # type: ignore[no-untyped-call]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        # Gone, or somebody else's by now.
        return False
    return True
