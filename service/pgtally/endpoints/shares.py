"""Share links of a tenant: make, list, revoke. A token is shown once, when it is made."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Response, delete, get, post
from litestar.params import FromPath
from msgspec import Meta
from psycopg.types.json import Jsonb

from pgtally.database import Database
from pgtally.http.body import read_struct
from pgtally.http.operation import Operation
from pgtally.http.passage import Caller, Db, Incoming, caller_of
from pgtally.http.replies import respond
from pgtally.page.view import pairs_of, read_view

CREATE = """
  select share_id, created_at, expires_at, token
  from api.share_create(
    p_tenant => %(tenant)s::uuid,
    p_name => %(name)s::text,
    p_view => %(view)s::jsonb,
    p_expires_at => %(expires_at)s::timestamptz,
    p_by => %(by)s::uuid)
"""
LIST = """
  select share_id, name, view, created_at, expires_at, revoked_at
  from api.share_list(p_tenant => %(tenant)s::uuid)
"""
REVOKE = """
  select revoked_at
  from api.share_revoke(
    p_tenant => %(tenant)s::uuid, p_share_id => %(share)s::uuid, p_by => %(by)s::uuid) as revoked_at
"""
Texts = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=200)]], Meta(min_length=1, max_length=100)
]


class NewShare(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """A share link to be made."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    view: Annotated[
        dict[str, Texts],
        Meta(
            description="The parameters of the page at `/` that shows the same, each with a list "
            'of its texts: `{"range": ["30d"], "type": ["purchase"]}`.'
        ),
    ]
    expires_at: Annotated[
        Annotated[datetime, Meta(tz=True)], Meta(description="At most 366 days from now.")
    ]


class MadeShare(msgspec.Struct, rename="camel"):
    """A new share link, with its token, which is shown this once."""

    id: UUID
    name: str
    view: dict[str, list[str]]
    created_at: datetime
    expires_at: datetime
    token: str
    page: Annotated[str, Meta(description="The path of the page that it opens.")]
    timeline: Annotated[str, Meta(description="The path of the timeline as an SVG image.")]
    breakdown: Annotated[str, Meta(description="The path of the breakdown as an SVG image.")]


class Share(msgspec.Struct, rename="camel"):
    """A share link as it can be listed."""

    id: UUID
    name: str
    view: dict[str, list[str]]
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


class RevokedShare(msgspec.Struct, rename="camel"):
    """A share link that no longer works."""

    id: UUID
    revoked_at: datetime


_new_share = msgspec.json.Decoder(NewShare)


async def make_share(db: Database, caller: Caller, new: NewShare) -> MadeShare:
    """Makes a link. Raises Problem 400 for a view that no page has."""
    read_view(pairs_of(new.view))
    parameters: dict[str, Any] = {
        "tenant": caller.tenant,
        "name": new.name,
        "view": Jsonb(new.view),
        "expires_at": new.expires_at,
        "by": caller.key_id,
    }
    share_id, created_at, expires_at, token = (await db.call(CREATE, parameters, repeatable=False))[
        0
    ]
    return MadeShare(
        share_id, new.name, new.view, created_at, expires_at, token, f"/shared/{token}",
        f"/charts/timeline.svg?share={token}", f"/charts/breakdown.svg?share={token}",
    )  # fmt: skip


async def revoke(db: Database, caller: Caller, share_id: UUID) -> datetime:
    """Ends a link."""
    parameters = {"tenant": caller.tenant, "share": share_id, "by": caller.key_id}
    revoked_at: datetime = (await db.call(REVOKE, parameters))[0][0]
    return revoked_at


async def shares_of(db: Database, caller: Caller) -> list[Share]:
    """The links of the caller's tenant."""
    return [Share(*row) for row in await db.call(LIST, {"tenant": caller.tenant})]


@post(
    "/shares",
    operation=Operation(scope="admin", rate_class="tenants", body=NewShare, errors=(409,)),
    summary="Make a share link",
)
async def create_share(request: Incoming, db: Db) -> Response[MadeShare]:
    """Whoever has the link sees this view, and nothing else, until it expires or is revoked: its
    figures, timeline and breakdown, no raw events. No key makes one that outlives it."""
    new = await read_struct(request, _new_share)
    return respond(await make_share(db, caller_of(request), new), 201)


@get(
    "/shares",
    operation=Operation(scope="admin", rate_class="tenants"),
    summary="The share links of the tenant",
)
async def list_shares(request: Incoming, db: Db) -> Response[list[Share]]:
    """Newest first, at most 1,000; those that ended within 90 days too."""
    return respond(await shares_of(db, caller_of(request)))


@delete(
    "/shares/{share_id:uuid}",
    status_code=200,
    operation=Operation(scope="admin", rate_class="tenants"),
    summary="Revoke a share link",
)
async def revoke_share(
    request: Incoming, db: Db, share_id: FromPath[UUID]
) -> Response[RevokedShare]:
    """Within a second no process accepts it any more. Revoking twice is harmless."""
    return respond(RevokedShare(share_id, await revoke(db, caller_of(request), share_id)))
