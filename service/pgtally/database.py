"""The one way to the database: a pool, and one statement a request in its own transaction."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import LiteralString, TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from pgtally.logs import REQUEST_ID
from pgtally.problems import DISK_FULL, Problem, outcome_unknown, unavailable
from pgtally.settings import Settings

# An outage is told by 503 and by /health/ready; the pool would add a line for each attempt.
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
# Ends a statement: names the request that it serves, so that pg_stat_activity shows it as
# application_name until the transaction ends. As a condition without columns it is evaluated first;
# unlike a comment it lets the statement be prepared, which saves 0.2 ms.
NAMED = """where (
    select set_config('application_name', 'pgtally request ' || %(request)s::text, true)
  ) is not null"""
# A batch waits for others up to this many times as long as for a connection.
WRITER_WAITS = 10
RETRIED = frozenset({"40001", "40P01"})
DISK_FULL_REMEMBERED_SECONDS = 60.0
Answer = TypeVar("Answer")
# Asks one statement among those of read_together.
Ask = Callable[[LiteralString, Mapping[str, object]], Awaitable[list[TupleRow]]]


class WarmPool(AsyncConnectionPool[AsyncConnection[TupleRow]]):
    """Gives out the connection that came back last: its backend has in its caches what it needs. In
    turns, as the library does it, a lone event costs PostgreSQL a fifth more."""

    async def putconn(self, conn: AsyncConnection[TupleRow]) -> None:
        await super().putconn(conn)
        if self._pool and self._pool[-1] is conn:
            self._pool.rotate(1)


class Database:
    """A pool of connections that says at once when the database is away, and recovers by itself."""

    def __init__(self, settings: Settings) -> None:
        self._timeout_seconds = settings.pool_timeout_ms / 1000
        self._down_until = 0.0
        self._disk_full_until = 0.0
        self._share = max(1, settings.pool_size // 4)
        self._all_readers = asyncio.Semaphore(max(1, settings.pool_size // 2))
        self._all_writers = asyncio.Semaphore(max(1, settings.pool_size // 4))
        self._writers: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()
        self._readers: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()
        self.pool = WarmPool(
            settings.dsn,
            min_size=settings.pool_size,
            max_size=settings.pool_size,
            timeout=self._timeout_seconds,
            # Give up soon: the next request tries again, instead of waiting out a long backoff.
            reconnect_timeout=1,
            kwargs={
                "autocommit": True,
                "application_name": "pgtally",
                "connect_timeout": 5,
                # Some poolers in transaction mode cannot keep prepared statements.
                "prepare_threshold": 5 if settings.prepare_statements else None,
            },
            open=False,
        )

    async def open(self) -> None:
        """Starts the pool; returns at once, whether the database is there or not."""
        await self.pool.open(wait=False)

    async def close(self) -> None:
        await self.pool.close()

    async def call(
        self,
        sql: LiteralString,
        parameters: Mapping[str, object],
        repeatable: bool = True,
        writes: bool = False,
    ) -> list[TupleRow]:
        """Runs one statement and returns its rows.

        A statement that may be repeated is tried a second time when the connection turns out to
        be dead, as all are after a restart of the server, or when a deadlock chose it as victim.
        Raises Problem 503 if the database is away, with code outcome_unknown if the connection
        broke after a statement that writes was sent; psycopg.Error otherwise.
        """
        sent = False
        for last in (not repeatable, True):
            try:
                return await self._run(sql, parameters)
            except Problem as problem:
                raise outcome_unknown() if sent and writes else problem from None
            except psycopg.OperationalError as error:
                state = error.sqlstate or "08"
                lost = state.startswith(("57P", "08"))
                # 57P01 says that the transaction was rolled back; the others say nothing.
                sent = sent or (lost and state != "57P01" and not isinstance(error, PoolTimeout))
                if last or isinstance(error, PoolTimeout) or not (lost or state in RETRIED):
                    if sent and writes:
                        raise outcome_unknown() from error
                    raise
                if lost:
                    await self.pool.check()
        raise AssertionError  # The second round always ends.

    async def read(
        self, tenant: UUID, sql: LiteralString, parameters: Mapping[str, object]
    ) -> list[TupleRow]:
        """`call` for questions, of which a tenant may ask only a few at once: see reader."""
        async with self.reader(tenant):
            return await self.call(sql, parameters)

    @asynccontextmanager
    async def reader(self, tenant: UUID) -> AsyncIterator[None]:
        """Waits for a turn, so that slow questions, of one tenant or of all, leave connections
        for ingest. Half of the pool may read, a quarter for one tenant. Raises Problem 503."""
        share = self._readers.setdefault(tenant, asyncio.Semaphore(self._share))
        try:
            async with asyncio.timeout(self._timeout_seconds) as waiting, share, self._all_readers:
                waiting.reschedule(None)
                yield
        except TimeoutError:
            raise unavailable("too many queries are running; try again") from None

    async def read_together(
        self, tenant: UUID, questions: Callable[[Ask], Awaitable[Answer]]
    ) -> Answer:
        """`read` for several questions that belong together: one turn, one connection, one
        snapshot, so that their answers agree. All of them are asked a second time where `call`
        would repeat its statement."""
        async with self.reader(tenant):
            for last in (False, True):
                if time.monotonic() < self._down_until:
                    raise unavailable()
                try:
                    async with self.pool.connection() as connection, connection.transaction():
                        await connection.execute(
                            "set transaction isolation level repeatable read read only"
                        )

                        async def ask(
                            sql: LiteralString,
                            parameters: Mapping[str, object],
                            connection: AsyncConnection[TupleRow] = connection,
                        ) -> list[TupleRow]:
                            named = {**parameters, "request": REQUEST_ID.get()}
                            cursor = await connection.execute(sql, named, binary=True)
                            return await cursor.fetchall()

                        return await questions(ask)
                except psycopg.OperationalError as error:
                    state = error.sqlstate or "08"
                    lost = state.startswith(("57P", "08"))
                    if last or isinstance(error, PoolTimeout) or not (lost or state in RETRIED):
                        raise
                    if lost:
                        await self.pool.check()
        raise AssertionError  # The second round always ends.

    @asynccontextmanager
    async def writer(self, tenant: UUID) -> AsyncIterator[None]:
        """Waits for a turn to store a batch, so that single events, reads and other tenants find
        connections: one batch of a tenant at a time, in a quarter of the pool. Raises Problem
        503."""
        turn = self._writers.setdefault(tenant, asyncio.Semaphore(1))
        try:
            async with (
                asyncio.timeout(WRITER_WAITS * self._timeout_seconds) as waiting,
                turn,
                self._all_writers,
            ):
                waiting.reschedule(None)
                yield
        except TimeoutError:
            raise unavailable("other batches are being stored; try again") from None

    def saw(self, sqlstate: str | None) -> None:
        """Remembers what an error says of the server."""
        if sqlstate == DISK_FULL:
            self._disk_full_until = time.monotonic() + DISK_FULL_REMEMBERED_SECONDS

    @property
    def disk_full(self) -> bool:
        """Did the server lack disk, in the last minute, for a statement of this process?"""
        return time.monotonic() < self._disk_full_until

    async def _run(self, sql: LiteralString, parameters: Mapping[str, object]) -> list[TupleRow]:
        if time.monotonic() < self._down_until:
            raise unavailable()
        try:
            async with self.pool.connection() as connection:
                named = {**parameters, "request": REQUEST_ID.get()}
                cursor = await connection.execute(sql, named, binary=True)
                return await cursor.fetchall()
        except PoolTimeout:
            if self.pool.get_stats().get("pool_size", 0) == 0:
                # The server is away, not busy: others need not wait as long to learn the same.
                self._down_until = time.monotonic() + self._timeout_seconds / 2
            raise
        except psycopg.Error as error:
            self.saw(error.sqlstate)
            raise
