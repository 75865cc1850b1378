"""API keys of a tenant: make, list, rotate, revoke. A key is shown once, when it is made."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Response, delete, get, post
from litestar.params import FromPath
from msgspec import Meta
from psycopg.types.json import Jsonb

from pgtally.http.body import read_struct
from pgtally.http.operation import Operation
from pgtally.http.passage import Db, Incoming, caller_of
from pgtally.http.query_string import split_query
from pgtally.http.replies import respond
from pgtally.problems import Problem
from pgtally.vocabulary import RateClass, Scope

CREATE = """
  select key_id, key_prefix, created_at, api_key, expires_at, rate_limits_per_minute
  from api.key_create(
    p_tenant => %(tenant)s::uuid,
    p_name => %(name)s::text,
    p_scopes => %(scopes)s::text[],
    p_expires_at => %(expires_at)s::timestamptz,
    p_rate_limits_per_minute => %(rate_limits_per_minute)s::jsonb,
    p_by => %(by)s::uuid,
    p_origins => %(origins)s::text[])
"""
LIST = """
  select
    key_id, name, key_prefix, scopes, rate_limits_per_minute, created_at, expires_at, revoked_at,
    last_used_at, origins
  from api.key_list(p_tenant => %(tenant)s::uuid)
"""
ROTATE = """
  select
    key_id, name, key_prefix, scopes, rate_limits_per_minute, created_at, expires_at, api_key,
    old_expires_at, origins
  from api.key_rotate(
    p_tenant => %(tenant)s::uuid,
    p_key_id => %(key)s::uuid,
    p_overlap_seconds => %(overlap_seconds)s::integer,
    p_by => %(by)s::uuid)
"""
REVOKE = """
  select revoked_at
  from api.key_revoke(
    p_tenant => %(tenant)s::uuid, p_key_id => %(key)s::uuid, p_by => %(by)s::uuid) as revoked_at
"""
Limits = dict[RateClass, Annotated[int, Meta(ge=0, le=1_000_000_000_000)]]


class TenantQuery(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Whose keys."""

    tenant_id: Annotated[
        UUID | None,
        Meta(description="Needed with a key of the installation, and only then."),
    ] = None


class NewKey(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """A key to be made."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=3)]
    expires_at: Annotated[
        Annotated[datetime, Meta(tz=True)] | None,
        Meta(description="If absent, never, or when the key that asks does."),
    ] = None
    rate_limits_per_minute: Annotated[
        Limits,
        Meta(
            description="Limits of this key's own. Only a key of the installation sets them; other "
            "keys pass on theirs, or 0."
        ),
    ] = {}
    origins: Annotated[
        list[str],
        Meta(
            max_length=20,
            description="For pages: `https://example.com`. The key is public then, has the scope "
            "ingest alone, and works from these pages only.",
        ),
    ] = []


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
    rate_limits_per_minute: dict[RateClass, int]
    created_at: datetime
    expires_at: datetime | None
    api_key: str
    old_key_expires_at: datetime | None = None
    origins: list[str] = []


class Key(msgspec.Struct, rename="camel"):
    """A key as it can be listed."""

    id: UUID
    name: str
    prefix: str
    scopes: list[str]
    rate_limits_per_minute: dict[RateClass, int]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    origins: list[str]


class RevokedKey(msgspec.Struct, rename="camel"):
    """A key that no longer works."""

    id: UUID
    revoked_at: datetime


_new_key = msgspec.json.Decoder(NewKey)
_rotation = msgspec.json.Decoder(Rotation)


def _tenant(request: Incoming) -> UUID:
    """The tenant of the key, or the one that a key of the installation names."""
    query, _ = split_query(request, TenantQuery)
    caller = caller_of(request)
    if caller.tenant_id is not None:
        if query.tenant_id not in (None, caller.tenant_id):
            raise Problem(403, "this key manages the keys of its own tenant only")
        return caller.tenant_id
    if query.tenant_id is None:
        raise Problem(400, "a key of the installation has to name the tenant: tenantId")
    return query.tenant_id


@post(
    "/keys",
    operation=Operation(
        scope="admin", rate_class="tenants", query=TenantQuery, body=NewKey, errors=(404,)
    ),
    summary="Make a key",
)
async def create_key(request: Incoming, db: Db) -> Response[MadeKey]:
    """The key itself is in the answer, this once. No key makes one that may more than itself."""
    tenant = _tenant(request)
    caller = caller_of(request)
    new = await read_struct(request, _new_key)
    parameters: dict[str, Any] = {
        "tenant": tenant,
        "name": new.name,
        "scopes": list(dict.fromkeys(new.scopes)),
        "expires_at": new.expires_at or "infinity",
        "rate_limits_per_minute": Jsonb(new.rate_limits_per_minute),
        "by": caller.key_id,
        "origins": list(dict.fromkeys(new.origins)),
    }
    rows = await db.call(CREATE, parameters, repeatable=False)
    key_id, prefix, created_at, api_key, expires_at, limits = rows[0]
    made = MadeKey(
        key_id, new.name, prefix, parameters["scopes"], limits, created_at, expires_at, api_key,
        origins=parameters["origins"],
    )  # fmt: skip
    return respond(made, 201)


@get(
    "/keys",
    operation=Operation(scope="admin", rate_class="tenants", query=TenantQuery),
    summary="The keys of a tenant",
)
async def list_keys(request: Incoming, db: Db) -> Response[list[Key]]:
    """Newest first, at most 1,000, revoked and expired ones too."""
    rows = await db.call(LIST, {"tenant": _tenant(request)})
    return respond([Key(*row) for row in rows])


@post(
    "/keys/{key_id:uuid}/rotate",
    operation=Operation(
            scope="admin", rate_class="tenants", query=TenantQuery, body=Rotation,
            body_optional=True,
        ),
    summary="Replace a key",
)  # fmt: skip
async def rotate_key(request: Incoming, db: Db, key_id: FromPath[UUID]) -> Response[MadeKey]:
    """A new key with the same name, scopes, limits, origins and expiry; both work for
    `overlapSeconds`, and count as one. No key gets one that may more than itself."""
    caller = caller_of(request)
    tenant = _tenant(request)
    rotation = await read_struct(request, _rotation)
    parameters = {
        "tenant": tenant,
        "key": key_id,
        "overlap_seconds": rotation.overlap_seconds,
        "by": caller.key_id,
    }
    rows = await db.call(ROTATE, parameters, repeatable=False)
    return respond(MadeKey(*rows[0]), 201)


@delete(
    "/keys/{key_id:uuid}",
    status_code=200,
    operation=Operation(scope="admin", rate_class="tenants", query=TenantQuery),
    summary="Revoke a key",
)
async def revoke_key(request: Incoming, db: Db, key_id: FromPath[UUID]) -> Response[RevokedKey]:
    """Within a second no process accepts it any more. Revoking twice is harmless."""
    caller = caller_of(request)
    parameters = {"tenant": _tenant(request), "key": key_id, "by": caller.key_id}
    return respond(RevokedKey(key_id, (await db.call(REVOKE, parameters))[0][0]))
