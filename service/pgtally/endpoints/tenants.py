"""Tenants: make, list, change, delete. For keys of the installation."""

import asyncio
import time
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.params import FromPath
from msgspec import Meta
from psycopg.types.json import Jsonb

from pgtally.endpoints.keys import Limits
from pgtally.http.body import read_struct
from pgtally.http.operation import Operation
from pgtally.http.passage import Db, Incoming, caller_of
from pgtally.http.query_string import split_query
from pgtally.http.replies import respond
from pgtally.problems import Problem
from pgtally.vocabulary import Quota

FIELDS = """
    tenant_id, name, time_zone, week_start, event_retention_days, quarter_hour_retention_days,
    rate_limits_per_minute, created_at, quotas, usage"""
CREATE = f"""
  select {FIELDS}, api_key
  from api.tenant_create(
    p_name => %(name)s::text,
    p_time_zone => %(time_zone)s::text,
    p_week_start => %(week_start)s::integer,
    p_event_retention_days => %(event_retention_days)s::integer,
    p_quarter_hour_retention_days => %(quarter_hour_retention_days)s::integer,
    p_by => %(by)s::uuid)
"""
LIST = f"""
  select {FIELDS}
  from api.tenant_list(
    p_after => %(after)s::text, p_limit => %(limit)s::integer, p_tenant => %(tenant)s::uuid)
"""
UPDATE = f"""
  select {FIELDS}
  from api.tenant_update(
    p_tenant => %(tenant)s::uuid,
    p_name => %(name)s::text,
    p_event_retention_days => %(event_retention_days)s::integer,
    p_quarter_hour_retention_days => %(quarter_hour_retention_days)s::integer,
    p_rate_limits_per_minute => %(rate_limits_per_minute)s::jsonb,
    p_quotas => %(quotas)s::jsonb,
    p_by => %(by)s::uuid)
"""
DELETION = """
    tenant_id, state, event_count, first_occurred_at, last_occurred_at, summary_count, requested_at,
    finished_at, logins_left"""
DELETE = f"""
  select {DELETION}
  from api.tenant_delete(
    p_tenant => %(tenant)s::uuid, p_name => %(name)s::text, p_by => %(by)s::uuid)
"""
FIND_DELETION = f"""
  select {DELETION}
  from api.tenant_deletion_find(p_tenant => %(tenant)s::uuid)
"""
EVERY = UUID(int=0)
# How long a request goes on removing what is left of a tenant.
REMOVING_SECONDS = 2.0
Quotas = dict[Quota, Annotated[int, Meta(ge=0, le=1_000_000_000_000_000)]]
Days = Annotated[int, Meta(ge=1, le=36_500)]


class NewTenant(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """A tenant to be made."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    time_zone: Annotated[str, Meta(max_length=64, description="IANA name.")] = "UTC"
    week_start: Annotated[int, Meta(ge=1, le=7, description="1 Monday to 7 Sunday.")] = 1
    event_retention_days: Annotated[
        Days | None, Meta(description="How long raw events are kept; for ever, if null.")
    ] = None
    quarter_hour_retention_days: Annotated[
        Days | None,
        Meta(description="How long quarter hours are kept, no shorter than events."),
    ] = None


class TenantChange(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """What to change; what is absent stays."""

    name: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    event_retention_days: Annotated[
        Days | msgspec.UnsetType | None, Meta(description="null keeps raw events for ever.")
    ] = msgspec.UNSET
    quarter_hour_retention_days: Annotated[
        Days | msgspec.UnsetType | None, Meta(description="null keeps quarter hours for ever.")
    ] = msgspec.UNSET
    rate_limits_per_minute: Annotated[
        Limits | None, Meta(description="Replaces all: limits that all keys of the tenant share.")
    ] = None
    quotas: Annotated[
        Quotas | None,
        Meta(
            description="Replaces all: most that is stored. Events beyond are refused with 403 and "
            "the code `quota_exceeded`; of rejected events and receipts the oldest go."
        ),
    ] = None


class Tenant(msgspec.Struct, rename="camel", omit_defaults=True):
    """A tenant; when it is made, with its first key, which is shown this once."""

    id: UUID
    name: str
    time_zone: str
    week_start: int
    event_retention_days: int | None
    quarter_hour_retention_days: int | None
    rate_limits_per_minute: dict[str, int]
    created_at: datetime
    quotas: Annotated[dict[str, int], Meta(description="Absent if there are none.")] = {}
    usage: Annotated[
        dict[str, int],
        Meta(description="What is stored, measured each minute; of tenants with quotas."),
    ] = {}
    api_key: str | None = None


class TenantsQuery(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Which page of the tenants, in the order of their names."""

    after: Annotated[str, Meta(max_length=200, description="The last name of the page before.")] = (
        ""
    )
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 1000


class DeletionQuery(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """A safeguard: which tenant is meant."""

    name: Annotated[
        str, Meta(max_length=200, description="Needed: the name of the tenant, exactly.")
    ] = ""


class Deletion(msgspec.Struct, rename="camel"):
    """What the deletion of a tenant has removed so far. It is kept, without the tenant's name."""

    id: UUID
    state: Annotated[
        Literal["marked", "removing", "done"],
        Meta(
            description="marked: requests are refused, and those that had begun are waited for; "
            "removing: its rows go; done: nothing is left."
        ),
    ]
    events: int
    first_occurred_at: datetime | None
    last_occurred_at: datetime | None
    summaries: int
    requested_at: datetime
    finished_at: datetime | None
    logins_left: Annotated[
        list[str], Meta(description="BI logins, which only who has the database can drop.")
    ]


_new_tenant = msgspec.json.Decoder(NewTenant)
_change = msgspec.json.Decoder(TenantChange)


@post(
    "/tenants",
    operation=Operation(scope="admin", installation=True, rate_class="tenants", body=NewTenant),
    summary="Make a tenant and its first key",
)
async def create_tenant(request: Incoming, db: Db) -> Response[Tenant]:
    """The tenant's key has the scopes ingest, read and admin. The name is a label: another tenant
    may have it too."""
    tenant = await read_struct(request, _new_tenant)
    parameters = {**msgspec.structs.asdict(tenant), "by": caller_of(request).key_id}
    rows = await db.call(CREATE, parameters, repeatable=False)
    return respond(Tenant(*rows[0]), 201)


@get(
    "/tenants",
    operation=Operation(scope="admin", installation=True, rate_class="tenants", query=TenantsQuery),
    summary="All tenants",
)
async def list_tenants(request: Incoming, db: Db) -> Response[list[Tenant]]:
    """In the order of their names; those of one name come on one page, even beyond `limit`."""
    query, _ = split_query(request, TenantsQuery)
    rows = await db.call(LIST, {"after": query.after, "limit": query.limit, "tenant": EVERY})
    return respond([Tenant(*row) for row in rows])


@get(
    "/tenants/{tenant_id:uuid}",
    operation=Operation(scope="admin", installation=True, rate_class="tenants", errors=(410,)),
    summary="One tenant",
)
async def get_tenant(db: Db, tenant_id: FromPath[UUID]) -> Response[Tenant]:
    """404 if there is none with this id, 410 if it was deleted."""
    rows = await db.call(LIST, {"after": "", "limit": 1, "tenant": tenant_id})
    if not rows:
        raise Problem(404, "no such tenant")
    return respond(Tenant(*rows[0]))


@patch(
    "/tenants/{tenant_id:uuid}",
    operation=Operation(
            scope="admin", installation=True, rate_class="tenants", body=TenantChange,
            body_optional=True, errors=(410,),
        ),
    summary="Change a tenant",
)  # fmt: skip
async def update_tenant(request: Incoming, db: Db, tenant_id: FromPath[UUID]) -> Response[Tenant]:
    """Name, retention, rate limits (held within seconds) and quotas (within two minutes)."""
    change = await read_struct(request, _change)
    parameters = {
        "tenant": tenant_id,
        "name": change.name or "",
        "event_retention_days": _days(change.event_retention_days),
        "quarter_hour_retention_days": _days(change.quarter_hour_retention_days),
        "rate_limits_per_minute": Jsonb(change.rate_limits_per_minute),
        "quotas": Jsonb(change.quotas),
        "by": caller_of(request).key_id,
    }
    rows = await db.call(UPDATE, parameters)
    return respond(Tenant(*rows[0]))


@delete(
    "/tenants/{tenant_id:uuid}",
    status_code=200,
    operation=Operation(
            scope="admin", installation=True, rate_class="tenants", query=DeletionQuery,
            also={202: "Marked: nobody reads or stores anything of it any more. Rows are left."},
        ),
    summary="Delete a tenant",
)  # fmt: skip
async def delete_tenant(request: Incoming, db: Db, tenant_id: FromPath[UUID]) -> Response[Deletion]:
    """For good, with all its events, summaries and keys. From now on its keys get 410, and 401 once
    they are gone too.

    202 where rows are left after some seconds: the hourly maintain goes on with them, or repeat the
    request. 200 when it is done.
    """
    query, _ = split_query(request, DeletionQuery)
    parameters = {"tenant": tenant_id, "name": query.name, "by": caller_of(request).key_id}
    until = time.monotonic() + REMOVING_SECONDS
    while True:
        before = time.monotonic()
        deletion = Deletion(*(await db.call(DELETE, parameters))[0])
        if deletion.state == "done" or before > until:
            return respond(deletion, 200 if deletion.state == "done" else 202)
        if deletion.state == "marked":
            await asyncio.sleep(0.05)


@get(
    "/tenants/{tenant_id:uuid}/deletion",
    operation=Operation(scope="admin", installation=True, rate_class="tenants"),
    summary="What became of a deleted tenant",
)
async def get_tenant_deletion(db: Db, tenant_id: FromPath[UUID]) -> Response[Deletion]:
    """The certificate, from the request on and for ever. 404 for a tenant that nobody deleted."""
    rows = await db.call(FIND_DELETION, {"tenant": tenant_id})
    if not rows:
        raise Problem(404, "no tenant with this id was deleted")
    return respond(Deletion(*rows[0]))


def _days(days: int | msgspec.UnsetType | None) -> int:
    """-1 leaves a retention as it is, 0 keeps for ever."""
    return -1 if days is msgspec.UNSET else days or 0
