"""Single events: concurrent requests share a transaction, and so a commit.

A flush starts as soon as the last one has ended, with whatever has come meanwhile; there is no
timer, so a lone request waits for nobody. A flush that takes long is overtaken. Where a tenant has
to wait for a lock, since a batch of its own holds the same events, say, it waits apart from the
others.
"""

import asyncio
from uuid import UUID

import msgspec
import psycopg

from pgtally.database import Database
from pgtally.ingest.events import Batch
from pgtally.ingest.store import INGEST_EACH, INGEST_EACH_IMPATIENT, INGEST_IMPATIENT
from pgtally.metrics import FLUSH
from pgtally.problems import is_about_content, log, problem_of
from pgtally.vocabulary import EVENT_COLUMNS

MAX_EVENTS = 500
MAX_FLUSHES = 3
OVERTAKE_SECONDS = 0.05
MAX_APART = 2
LOCKED = "55P03"


class Waiting(msgspec.Struct):
    """An event that waits to be stored, and who waits for it."""

    tenant: UUID
    event: Batch
    stored: asyncio.Future[str | None]


class GroupCommit:
    """Stores single events of concurrent requests together."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._waiting: list[Waiting] = []
        self._flushes: set[asyncio.Task[None]] = set()
        # What has come for tenants that wait for a lock.
        self._apart: dict[UUID, list[Waiting]] = {}
        self._apart_tasks: set[asyncio.Task[None]] = set()
        self._apart_turns = asyncio.Semaphore(MAX_APART)

    async def store(self, tenant: UUID, event: Batch) -> str | None:
        """Stores a batch of one; returns None when it was new, else the event as it is stored, as
        JSON. Returns after the commit. Raises Problem, or what Database.call raises."""
        stored: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._apart.get(tenant, self._waiting).append(Waiting(tenant, event, stored))
        if not self._flushes:
            self._start()
        return await stored

    async def drain(self) -> None:
        """Waits until all that has come is stored or refused."""
        while under_way := self._flushes | self._apart_tasks:
            await asyncio.wait(under_way)

    def _start(self) -> None:
        if self._waiting and len(self._flushes) < MAX_FLUSHES:
            taken = self._waiting[:MAX_EVENTS]
            del self._waiting[:MAX_EVENTS]
            flush = asyncio.create_task(self._flush(taken))
            self._flushes.add(flush)
            flush.add_done_callback(self._ended)
            asyncio.get_running_loop().call_later(OVERTAKE_SECONDS, self._start)

    def _ended(self, flush: asyncio.Task[None]) -> None:
        self._flushes.discard(flush)
        if not self._flushes:
            self._start()

    def _put_apart(self, waiting: list[Waiting]) -> None:
        for one in waiting:
            if one.tenant not in self._apart:
                self._apart[one.tenant] = []
                task = asyncio.create_task(self._store_apart(one.tenant))
                self._apart_tasks.add(task)
                task.add_done_callback(self._apart_tasks.discard)
            self._apart[one.tenant].append(one)

    async def _store_apart(self, tenant: UUID) -> None:
        """Stores what has come and comes meanwhile for a tenant, one flush at a time."""
        while self._apart[tenant]:
            async with self._apart_turns:
                taken = self._apart[tenant][:MAX_EVENTS]
                del self._apart[tenant][:MAX_EVENTS]
                await self._flush(taken, is_apart=True)
        del self._apart[tenant]

    async def _flush(self, taken: list[Waiting], is_apart: bool = False) -> None:
        arguments: dict[str, object] = {
            name: [getattr(one.event, name)[0] for one in taken] for name in EVENT_COLUMNS
        }
        FLUSH.observe(len(taken))
        try:
            if len(taken) == 1 and not is_apart:
                # Alone it needs none of what keeps events apart; a duplicate goes on to be told
                # what is stored.
                arguments["tenant"] = taken[0].tenant
                rows = await self.database.call(INGEST_IMPATIENT, arguments, writes=True)
                if rows[0][0] and not taken[0].stored.done():
                    taken[0].stored.set_result(None)
                if rows[0][0]:
                    return
            arguments["tenant"] = [one.tenant for one in taken]
            statement = INGEST_EACH if is_apart else INGEST_EACH_IMPATIENT
            rows = await self.database.call(statement, arguments, writes=True)
        except Exception as error:
            if isinstance(error, psycopg.errors.LockNotAvailable) and not is_apart:
                self._put_apart(taken)
                return
            if len(taken) > 1 and is_about_content(error):
                # What one event holds must not cost the others theirs.
                for part in _split(taken):
                    await self._flush(part, is_apart)
                return
            for one in taken:
                if not one.stored.done():
                    one.stored.set_exception(error)
            return
        for one, (accepted, stored, state, message, detail) in zip(taken, rows, strict=True):
            if one.stored.done():
                continue
            if state is None:
                one.stored.set_result(None if accepted else stored)
            elif state == LOCKED and not is_apart:
                self._put_apart([one])
            else:
                self.database.saw(state)
                problem = problem_of(state, message, detail)
                if problem.status == 500:
                    log.error("unexpected database error %s: %s", state, message)
                one.stored.set_exception(problem)


def _split(taken: list[Waiting]) -> list[list[Waiting]]:
    """By tenant; those of one tenant singly."""
    by_tenant: dict[UUID, list[Waiting]] = {}
    for one in taken:
        by_tenant.setdefault(one.tenant, []).append(one)
    return [[one] for one in taken] if len(by_tenant) == 1 else list(by_tenant.values())
