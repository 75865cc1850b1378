"""Storing a decoded batch; if asked, without what the database refuses, which is kept aside."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from pgtally import formats
from pgtally.database import NAMED, Database
from pgtally.ingest.events import MAX_ERRORS, Batch
from pgtally.metrics import BATCH
from pgtally.problems import FieldError, of_database_error
from pgtally.vocabulary import EVENT_COLUMNS

# The columns of events, one array each. Placeholders with b go in binary; psycopg would send lists
# as text, which costs PostgreSQL 2 us an event more.
COLUMNS = ",\n    ".join(
    f"p_{name} => %({name})b::{sql_type}[]" for name, sql_type in EVENT_COLUMNS.items()
)
INGEST = f"""
  select accepted, duplicates
  from api.events_ingest(
    p_tenant => %(tenant)s::uuid,
    {COLUMNS})
"""
INGEST_EACH = f"""
  select accepted, error_state, error_message, error_detail
  from api.events_ingest_each(
    p_tenant => %(tenant)b::uuid[],
    {COLUMNS})
"""
INGEST_REQUEST = f"""
  select accepted, duplicates, replayed, response
  from api.events_ingest_request(
    p_tenant => %(tenant)s::uuid,
    {COLUMNS},
    p_rejected => %(rejected)s::jsonb,
    p_idempotency_key => %(idempotency_key)s::text,
    p_fingerprint => %(fingerprint)s::bytea,
    p_response => %(response)s::jsonb,
    p_dry_run => %(dry_run)s::boolean)
  {NAMED}
"""


class Rejected(msgspec.Struct):
    """An event that is left out: as it came, why, and whether it is in the form of POST /events."""

    source: str
    event: str
    errors: list[FieldError]
    replayable: bool


class Left(msgspec.Struct, omit_defaults=True):
    """The part of a receipt that is known before the database has answered."""

    rejected: int = 0
    errors: list[FieldError] = []


class Refused(Exception):
    """The database refused events of a batch that is all or nothing."""

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__("refused")
        self.errors = errors


class Options(msgspec.Struct, frozen=True):
    """What a request asks for besides storing its events."""

    lenient: bool = False
    dry_run: bool = False
    idempotency_key: str = ""
    fingerprint: bytes = b""


async def store(
    db: Database,
    tenant: UUID,
    batch: Batch,
    options: Options,
    response: msgspec.Struct,
    rejected: list[Rejected],
) -> Any:
    """One call: accepted, duplicates, replayed, and the response, the first one's if replayed."""
    arguments = {
        **batch.arguments(),
        "tenant": tenant,
        "rejected": Jsonb(rejected, dumps=formats.encode),
        "idempotency_key": options.idempotency_key,
        "fingerprint": options.fingerprint,
        "response": Jsonb(response, dumps=formats.encode),
        "dry_run": options.dry_run,
    }
    BATCH.observe(len(batch.index))
    return (await db.call(INGEST_REQUEST, arguments))[0]


async def store_batch(
    db: Database,
    tenant: UUID,
    batch: Batch,
    options: Options,
    rejected: Callable[[dict[int, list[FieldError]]], list[Rejected]],
) -> tuple[int, int, bool, Left]:
    """Stores a batch. What the database refuses is refused as a whole (Refused), or left out if
    lenient; `rejected` makes what is kept of events from their errors by index."""
    while True:
        by_index: dict[int, list[FieldError]] = {}
        for error in batch.errors:
            by_index.setdefault(error.index or 0, []).append(error)
        left = Left(len(by_index), batch.errors[:MAX_ERRORS])
        try:
            accepted, duplicates, replayed, response = await store(
                db, tenant, batch, options, left, rejected(by_index)
            )
            return accepted, duplicates, replayed, msgspec.json.decode(response, type=Left)
        except psycopg.Error as error:
            problem = of_database_error(error)
            refused = {batch.index[e.index]: e for e in problem.errors if e.index is not None}
            if not refused:
                raise
            batch.errors += [
                FieldError(e.detail, pointer=e.pointer, index=index) for index, e in refused.items()
            ]
            batch.errors.sort(key=lambda e: e.index or 0)
            if not options.lenient:
                raise Refused(batch.errors) from error
            batch = batch.without(set(refused))
