"""The Litestar application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import Litestar
from litestar.di import Provide
from litestar.exceptions import HTTPException

from service import actors, events, health, metrics, openapi, problems, queries, settings, tenants
from service.database import Database
from service.keys import Keys
from service.middleware import Gate
from service.rate_limit import RateLimit


def create_app(config: settings.Settings) -> Litestar:
    """An application with a pool of its own, which opens and closes with it."""
    database = Database(config)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        await database.open()
        try:
            yield
        finally:
            await database.close()

    return Litestar(
        route_handlers=[
            tenants.create_tenant,
            events.create_event,
            events.create_events,
            queries.count_events,
            queries.events_by_type,
            queries.event_timeline,
            queries.summaries,
            queries.summary_changes,
            actors.actor_events,
            actors.erase_actor,
            actors.export_events,
            health.live,
            health.ready,
            metrics.metrics,
        ],
        middleware=[Gate(Keys(database, config.key_cache_seconds), RateLimit(database, config))],
        dependencies={
            "db": Provide(lambda: database, sync_to_thread=False),
            "max_body_bytes": Provide(lambda: config.max_body_bytes, sync_to_thread=False),
        },
        exception_handlers={HTTPException: problems.handle, Exception: problems.handle},
        lifespan=[lifespan],
        openapi_config=openapi.config(),
        request_max_body_size=config.max_body_bytes,
    )


def from_environment() -> Litestar:
    """The factory that the server calls in each worker."""
    return create_app(settings.load())
