"""POST /tenants."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response, post
from litestar.datastructures import State
from msgspec import Meta

from service import json
from service.database import Database
from service.decoding import pointer_of, read_body
from service.problems import FieldError, Problem

# The tenant and its first key in one statement, so that neither is made without the other.
CREATE = """
  select
    t.tenant_id, t.name, t.time_zone, t.week_start, t.event_retention_days, t.created_at, k.api_key
  from api.tenant_create(
    p_name => %(name)s::text,
    p_time_zone => %(time_zone)s::text,
    p_week_start => %(week_start)s::integer,
    p_event_retention_days => %(event_retention_days)s::integer) as t
  cross join lateral api.key_create(p_tenant => t.tenant_id) as k
"""


class NewTenant(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """A tenant to be made."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    time_zone: Annotated[str, Meta(max_length=64, description="IANA name.")] = "UTC"
    week_start: Annotated[int, Meta(ge=1, le=7, description="1 Monday to 7 Sunday.")] = 1
    event_retention_days: Annotated[int, Meta(ge=1, le=36_500)] | None = None


class Tenant(msgspec.Struct, rename="camel"):
    """A tenant, with its first key, which is shown this once."""

    id: UUID
    name: str
    time_zone: str
    week_start: int
    event_retention_days: int | None
    created_at: datetime
    api_key: str


_decoder = msgspec.json.Decoder(NewTenant)


@post(
    "/tenants",
    opt={
        "scope": "admin",
        "installation": True,
        "rate": "tenants",
        "body": NewTenant,
        "errors": [409],
    },
    operation_id="createTenant",
    summary="Make a tenant and its first key",
    tags=["Tenants"],
)
async def create_tenant(
    request: Request[Any, Any, State], db: Database, max_body_bytes: int
) -> Response[Tenant]:
    """Needs an admin key. The tenant's key has the scopes ingest, read and admin."""
    body = await read_body(request, max_body_bytes)
    try:
        tenant = _decoder.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        detail, pointer = pointer_of(str(error))
        raise Problem(400, "the tenant is not valid", [FieldError(detail, pointer)]) from error
    if "\0" in tenant.name or "\0" in tenant.time_zone:
        raise Problem(400, "the tenant is not valid", [FieldError("holds a NUL character")])
    rows = await db.call(CREATE, msgspec.structs.asdict(tenant), repeatable=False)
    return json.respond(Tenant(*rows[0]), 201)
