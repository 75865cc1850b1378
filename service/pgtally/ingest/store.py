"""Storing a decoded batch; if asked, without what the database refuses, which is kept aside."""

from collections.abc import Callable
from uuid import UUID

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from pgtally import formats
from pgtally.database import NAMED, Database
from pgtally.ingest.dumped import dump
from pgtally.ingest.events import MAX_ERRORS, Batch
from pgtally.metrics import BATCH
from pgtally.problems import FieldError, is_about_content, of_database_error
from pgtally.threads import OFF_LOOP_BYTES, off_loop
from pgtally.vocabulary import EVENT_COLUMNS

# The columns of events, one array each. Placeholders with b go in binary; psycopg would send lists
# as text, which costs PostgreSQL 2 us an event more.
COLUMNS = ",\n    ".join(
    f"p_{name} => %({name})b::{sql_type}[]" for name, sql_type in EVENT_COLUMNS.items()
)
INGEST = f"""
  select accepted, duplicates, conflicts
  from api.events_ingest(
    p_tenant => %(tenant)s::uuid,
    {COLUMNS})
"""
INGEST_EACH = f"""
  select accepted, stored, error_state, error_message, error_detail
  from api.events_ingest_each(
    p_tenant => %(tenant)b::uuid[],
    {COLUMNS})
"""
# Ends a statement that gives up where it has to wait for a lock; as NAMED does, it comes first.
IMPATIENT = "where (select set_config('lock_timeout', '10ms', true)) is not null"
INGEST_IMPATIENT = f"{INGEST}  {IMPATIENT}"
INGEST_EACH_IMPATIENT = f"{INGEST_EACH}  {IMPATIENT}"
INGEST_REQUEST = f"""
  select accepted, duplicates, conflicts, replayed, response
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
# More events are put into arrays in a thread: 10,000 would hold up everybody for 25 ms.
DUMPED_APART = 1000


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
    # The events instead of a receipt; a single event is answered so anyway.
    representation: bool = False


class Outcome(msgspec.Struct):
    """What the database has made of a batch, and the rest of the answer: the first one's, as JSON,
    if the request was replayed."""

    accepted: int
    duplicates: int
    conflicts: int
    replayed: bool
    response: str


async def store(
    db: Database,
    tenant: UUID,
    batch: Batch,
    options: Options,
    response: msgspec.Struct,
    rejected: list[Rejected],
) -> Outcome:
    """One call. Raises what Database.call raises."""
    columns = batch.arguments()
    if len(batch.index) > DUMPED_APART:
        columns = await off_loop(OFF_LOOP_BYTES + 1, dump, columns)
    arguments = {
        **columns,
        "tenant": tenant,
        "rejected": Jsonb(rejected, dumps=formats.encode),
        "idempotency_key": options.idempotency_key,
        "fingerprint": options.fingerprint,
        "response": Jsonb(response, dumps=formats.encode),
        "dry_run": options.dry_run,
    }
    BATCH.observe(len(batch.index))
    return Outcome(*(await db.call(INGEST_REQUEST, arguments, writes=True))[0])


async def store_batch(
    db: Database,
    tenant: UUID,
    batch: Batch,
    options: Options,
    rejected: Callable[[dict[int, list[FieldError]]], list[Rejected]],
) -> Outcome:
    """Stores a batch. What the database refuses is refused as a whole (Refused), or left out if
    lenient; `rejected` makes what is kept of events from their errors by index. The response is a
    Left."""
    while True:
        by_index: dict[int, list[FieldError]] = {}
        for error in batch.errors:
            by_index.setdefault(error.index or 0, []).append(error)
        left = Left(len(by_index), batch.errors[:MAX_ERRORS])
        try:
            return await store(db, tenant, batch, options, left, rejected(by_index))
        except (psycopg.Error, ValueError, ArithmeticError) as error:
            refused = _refused(batch, error)
            if not refused and is_about_content(error):
                refused = await _culprits(db, tenant, batch)
            if not refused:
                raise
            batch.errors += refused
            batch.errors.sort(key=lambda e: e.index or 0)
            if not options.lenient:
                raise Refused(batch.errors) from error
            batch = batch.without({one.index for one in refused})


def _refused(batch: Batch, error: Exception) -> list[FieldError]:
    """The events that our own rules in SQL refuse, by the index that they came with."""
    if not isinstance(error, psycopg.Error):
        return []
    return [
        FieldError(e.detail, pointer=e.pointer, index=batch.index[e.index])
        for e in of_database_error(error).errors
        if e.index is not None
    ]


async def _culprits(db: Database, tenant: UUID, batch: Batch) -> list[FieldError]:
    """The events that the database cannot take although our rules let them pass, so that the others
    can be stored: found by halving, with dry runs."""
    try:
        await store(db, tenant, batch, Options(dry_run=True), Left(), [])
        return []
    except (psycopg.Error, ValueError, ArithmeticError) as error:
        if refused := _refused(batch, error):
            return refused
        if not is_about_content(error):
            raise
        if len(batch.index) == 1:
            return [FieldError("cannot be stored", pointer="", index=batch.index[0])]
    half = set(batch.index[: len(batch.index) // 2])
    return [
        *await _culprits(db, tenant, batch.without(set(batch.index) - half)),
        *await _culprits(db, tenant, batch.without(half)),
    ]
