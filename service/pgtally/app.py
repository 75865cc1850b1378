"""The Litestar application."""

import asyncio
import contextlib
import gc
import sys
from collections.abc import AsyncIterator
from typing import Any

import psycopg
from litestar import Litestar, Router
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp

from pgtally import doors, logs, metrics, settings
from pgtally.database import Database
from pgtally.endpoints import (
    actors,
    analytics,
    events,
    health,
    keys,
    meters,
    raw_events,
    rejected,
    shares,
    summaries,
    tenants,
)
from pgtally.endpoints import metrics as metrics_endpoint
from pgtally.http import edge, openapi, replies
from pgtally.http.access import Access
from pgtally.http.authentication import Authentication
from pgtally.http.rate_limit import AddressLimit, AtOnce, Held, RateLimit
from pgtally.ingest.group_commit import GroupCommit
from pgtally.page import handlers, rendering
from pgtally.problems import Problem

SWITCH_SECONDS = 0.0005
# As the README's table and the reference list them.
HANDLERS: dict[str, list[Any]] = {
    "Tenants": [
        tenants.create_tenant, tenants.list_tenants, tenants.get_tenant, tenants.update_tenant,
        tenants.delete_tenant, tenants.get_tenant_deletion,
    ],
    "Keys": [keys.create_key, keys.list_keys, keys.rotate_key, keys.revoke_key],
    "Share links": [shares.create_share, shares.list_shares, shares.revoke_share],
    "Events": [
        events.create_event, events.create_events, events.get_receipt,
        rejected.list_rejected_events, rejected.replay_rejected_events,
        raw_events.list_events, raw_events.export_events,
    ],
    **doors.handlers(),
    "Analytics": [
        analytics.count_events, analytics.count_events_by_type, analytics.event_timeline,
        analytics.break_down_events,
    ],
    "Meters": [
        meters.create_meter, meters.list_meters, meters.update_meter, meters.delete_meter,
        meters.get_meter_summaries, meters.get_meter_changes,
    ],
    "Summaries": [summaries.get_summaries, summaries.get_summary_changes],
    "Actors": [actors.list_actor_events, actors.erase_actor],
    "Health": [health.live, health.ready, health.details, metrics_endpoint.metrics],
}  # fmt: skip


def create_app(config: settings.Settings) -> Litestar:
    """An application with a pool of its own, which opens and closes with it."""
    database = Database(config)
    addresses = AddressLimit(config.unauthenticated_per_minute)
    look_ups = AddressLimit(config.unauthenticated_per_minute)
    authentication = Authentication(database, addresses, look_ups, config.key_cache_seconds)

    commits = GroupCommit(database)
    readiness = health.Readiness(database)
    access = Access(
        authentication,
        addresses,
        RateLimit(database, config),
        AtOnce(config.batches_at_once),
        Held(),
    )

    async def each_minute() -> None:
        while True:
            await asyncio.sleep(60)
            metrics.observe_pool(database)
            with contextlib.suppress(psycopg.Error, Problem):
                await authentication.tell_uses()

    @contextlib.asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        await database.open()
        # What is there now stays. The garbage collector walked it again and again: a sixth of what
        # the process did for POST /events.
        gc.collect()
        gc.freeze()
        minutely = asyncio.create_task(each_minute())
        try:
            yield
        finally:
            minutely.cancel()
            await commits.drain()
            with contextlib.suppress(psycopg.Error, Problem):
                await authentication.tell_uses()
            await database.close()

    return Litestar(
        route_handlers=[
            Router("/", route_handlers=handlers, tags=[tag]) for tag, handlers in HANDLERS.items()
        ]
        + [rendering.get_asset, *handlers.HANDLERS],
        middleware=[access],
        cors_config=_cors(config.cors_origins),
        # One dependency a handler: Litestar resolves several in a task group, which cost a fifth of
        # the time of POST /events.
        dependencies={
            "db": Provide(lambda: database, sync_to_thread=False),
            "authentication": Provide(lambda: authentication, sync_to_thread=False),
            "commits": Provide(lambda: commits, sync_to_thread=False),
            "readiness": Provide(lambda: readiness, sync_to_thread=False),
        },
        state=State({"max_body_bytes": config.max_body_bytes}),
        exception_handlers={HTTPException: replies.handle, Exception: replies.handle},
        lifespan=[lifespan],
        openapi_config=openapi.config(),
        request_max_body_size=config.max_body_bytes,
    )


def _cors(origins: tuple[str, ...]) -> CORSConfig | None:
    if not origins:
        return None
    return CORSConfig(
        allow_origins=list(origins),
        allow_methods=["GET", "POST", "PATCH", "DELETE"],
        allow_headers=[
            "Authorization", "Content-Encoding", "Content-Type", "Idempotency-Key", "Prefer",
            "X-API-Key",
        ],
        expose_headers=[
            "ETag", "RateLimit", "RateLimit-Policy", "Resolved-From", "Resolved-To", "Retry-After",
            "X-Request-Id",
        ],
    )  # fmt: skip


def from_environment() -> ASGIApp:
    """The factory that the server calls in each worker."""
    # So long the loop, which serves everybody, waits for its turn while a thread decodes a batch;
    # by default 5 ms. Measured: late by 6 ms (p99 50), with this by 0.7 (p99 9).
    sys.setswitchinterval(SWITCH_SECONDS)
    logs.configure()
    config = settings.load()
    return edge.wrap(create_app(config), config)
