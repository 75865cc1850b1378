"""API keys of a tenant: make, list, rotate, revoke. A key is shown once, when it is made."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.datastructures import State
from msgspec import Meta
from psycopg.types.json import Jsonb

from service import json
from service.authentication import Caller
from service.database import Database
from service.decoding import read_struct
from service.problems import Problem
from service.queries import split_query

CREATE = """
  select key_id, key_prefix, created_at, api_key
  from api.key_create(
    p_tenant => %(tenant)s::uuid,
    p_name => %(name)s::text,
    p_scopes => %(scopes)s::text[],
    p_expires_at => %(expires_at)s::timestamptz,
    p_rate_limits_per_minute => %(rate_limits_per_minute)s::jsonb,
    p_by => %(by)s::uuid)
"""
LIST = """
  select
    key_id, name, key_prefix, scopes, rate_limits_per_minute, created_at, expires_at, revoked_at,
    last_used_at
  from api.key_list(p_tenant => %(tenant)s::uuid)
"""
ROTATE = """
  select
    key_id, name, key_prefix, scopes, rate_limits_per_minute, created_at, old_expires_at, api_key
  from api.key_rotate(
    p_tenant => %(tenant)s::uuid,
    p_key_id => %(key)s::uuid,
    p_overlap => %(overlap)s::interval,
    p_by => %(by)s::uuid)
"""
REVOKE = """
  select revoked_at
  from api.key_revoke(
    p_tenant => %(tenant)s::uuid, p_key_id => %(key)s::uuid, p_by => %(by)s::uuid) as revoked_at
"""
Scope = Literal["ingest", "read", "admin"]
Kind = Literal["ingest", "bulk", "analytics", "summaries", "tenants"]
Limits = dict[Kind, Annotated[int, Meta(ge=0, le=100_000_000)]]


class TenantQuery(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Whose keys."""

    tenant_id: Annotated[
        UUID | None,
        Meta(description="Needed with an admin key of the installation, and only then."),
    ] = None


class NewKey(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """A key to be made."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=3)]
    expires_at: Annotated[
        Annotated[datetime, Meta(tz=True)] | None, Meta(description="Never, if absent.")
    ] = None
    rate_limits_per_minute: Annotated[
        Limits,
        Meta(description="Limits of this key alone. Only the installation's admin may set them."),
    ] = {}


class Rotation(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """How to replace a key."""

    overlap_seconds: Annotated[
        int, Meta(ge=0, le=7_776_000, description="How long the old key still works.")
    ] = 86_400


class MadeKey(msgspec.Struct, rename="camel", omit_defaults=True):
    """A new key, with the key itself, which is shown this once."""

    id: UUID
    name: str
    prefix: str
    scopes: list[str]
    rate_limits_per_minute: dict[Kind, int]
    created_at: datetime
    expires_at: datetime | None
    api_key: str
    old_key_expires_at: datetime | None = None


class Key(msgspec.Struct, rename="camel"):
    """A key as it can be listed."""

    id: UUID
    name: str
    prefix: str
    scopes: list[str]
    rate_limits_per_minute: dict[Kind, int]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class RevokedKey(msgspec.Struct, rename="camel"):
    """A key that no longer works."""

    id: UUID
    revoked_at: datetime


_new_key = msgspec.json.Decoder(NewKey)
_rotation = msgspec.json.Decoder(Rotation)


def _tenant(request: Request[Any, Any, State]) -> UUID:
    """The tenant of the key, or the one that an installation's admin names."""
    query, _ = split_query(request, TenantQuery)
    caller: Caller = request.scope["state"]["caller"]
    if caller.tenant_id is not None:
        if query.tenant_id not in (None, caller.tenant_id):
            raise Problem(403, "this key manages the keys of its own tenant only")
        return caller.tenant_id
    if query.tenant_id is None:
        raise Problem(400, "an admin key of the installation has to name the tenant: tenantId")
    return query.tenant_id


@post(
    "/keys",
    opt={"scope": "admin", "rate": "tenants", "query": TenantQuery, "body": NewKey},
    operation_id="createKey",
    summary="Make a key",
    tags=["Keys"],
)
async def create_key(request: Request[Any, Any, State], db: Database) -> Response[MadeKey]:
    """The key itself is in the answer, this once."""
    tenant = _tenant(request)
    caller: Caller = request.scope["state"]["caller"]
    new = await read_struct(request, _new_key)
    if new.rate_limits_per_minute and caller.tenant_id is not None:
        raise Problem(403, "only an admin key of the installation sets rate limits")
    parameters: dict[str, Any] = {
        "tenant": tenant,
        "name": new.name,
        "scopes": list(dict.fromkeys(new.scopes)),
        "expires_at": new.expires_at or "infinity",
        "rate_limits_per_minute": Jsonb(new.rate_limits_per_minute),
        "by": caller.key_id,
    }
    key_id, prefix, created_at, api_key = (await db.call(CREATE, parameters, repeatable=False))[0]
    made = MadeKey(
        key_id, new.name, prefix, parameters["scopes"], new.rate_limits_per_minute, created_at,
        new.expires_at, api_key,
    )  # fmt: skip
    return json.respond(made, 201)


@get(
    "/keys",
    opt={"scope": "admin", "rate": "tenants", "query": TenantQuery},
    operation_id="listKeys",
    summary="The keys of a tenant",
    tags=["Keys"],
)
async def list_keys(request: Request[Any, Any, State], db: Database) -> Response[list[Key]]:
    """Newest first, at most 1,000, revoked and expired ones too."""
    rows = await db.call(LIST, {"tenant": _tenant(request)})
    return json.respond([Key(*row) for row in rows])


@post(
    "/keys/{key_id:uuid}/rotate",
    opt={
        "scope": "admin", "rate": "tenants", "query": TenantQuery, "body": Rotation,
        "body_optional": True,
    },
    operation_id="rotateKey",
    summary="Replace a key",
    tags=["Keys"],
)  # fmt: skip
async def rotate_key(
    request: Request[Any, Any, State], db: Database, key_id: UUID
) -> Response[MadeKey]:
    """A new key with the same name, scopes and limits; both work for `overlapSeconds`."""
    caller: Caller = request.scope["state"]["caller"]
    tenant = _tenant(request)
    rotation = await read_struct(request, _rotation)
    parameters = {
        "tenant": tenant,
        "key": key_id,
        "overlap": timedelta(seconds=rotation.overlap_seconds),
        "by": caller.key_id,
    }
    rows = await db.call(ROTATE, parameters, repeatable=False)
    made_id, name, prefix, scopes, limits, created_at, old_expires_at, api_key = rows[0]
    made = MadeKey(made_id, name, prefix, scopes, limits, created_at, None, api_key, old_expires_at)
    return json.respond(made, 201)


@delete(
    "/keys/{key_id:uuid}",
    status_code=200,
    opt={"scope": "admin", "rate": "tenants", "query": TenantQuery},
    operation_id="revokeKey",
    summary="Revoke a key",
    tags=["Keys"],
)
async def revoke_key(
    request: Request[Any, Any, State], db: Database, key_id: UUID
) -> Response[RevokedKey]:
    """Within a second no process accepts it any more. Revoking twice is harmless."""
    caller: Caller = request.scope["state"]["caller"]
    parameters = {"tenant": _tenant(request), "key": key_id, "by": caller.key_id}
    return json.respond(RevokedKey(key_id, (await db.call(REVOKE, parameters))[0][0]))
