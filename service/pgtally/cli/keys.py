"""pgtally key: make, list, rotate, revoke API keys, of a tenant or of the installation."""

from datetime import datetime

import rich_click as click
from psycopg.types.json import Jsonb

from pgtally.cli.console import call, connect, dsn_option, json_option, show, show_one, tenant_id
from pgtally.cli.tenants import limit_option
from pgtally.vocabulary import SCOPES

CREATE = """
  select *
  from api.key_create(
    p_tenant => %(tenant)s::uuid,
    p_name => %(name)s::text,
    p_scopes => %(scopes)s::text[],
    p_expires_at => %(expires_at)s::timestamptz,
    p_rate_limits_per_minute => %(rate_limits_per_minute)s::jsonb,
    p_origins => %(origins)s::text[])
"""
LIST = """
  select *
  from api.key_list(p_tenant => %(tenant)s::uuid)
"""
ROTATE = """
  select *
  from api.key_rotate(
    p_tenant => %(tenant)s::uuid,
    p_key_id => %(key)s::uuid,
    p_overlap_seconds => %(overlap_seconds)s::integer)
"""
REVOKE = """
  select *
  from api.key_revoke(p_tenant => %(tenant)s::uuid, p_key_id => %(key)s::uuid) as revoked_at
"""
INSTALLATION_CREATE = """
  select *
  from tally.installation_key_create(p_name => %(name)s::text)
"""
INSTALLATION_LIST = """
  select *
  from tally.installation_key_list()
"""
INSTALLATION_REVOKE = """
  select *
  from tally.installation_key_revoke(p_key_id => %(key)s::uuid) as revoked_at
"""
tenant_option = click.option("--tenant", help="The id or the name of the tenant.")
installation_option = click.option(
    "--installation", is_flag=True, help="A key of the installation, which may make tenants."
)


@click.group()
def key() -> None:
    """API keys: make, list, rotate, revoke."""


@key.command("create")
@dsn_option
@json_option
@limit_option
@tenant_option
@installation_option
@click.option("--name", default="default", help="What the key is for.")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(SCOPES), default=SCOPES,
    help="Repeatable.",
)  # fmt: skip
@click.option(
    "--origin", "origins", multiple=True,
    help="For pages: https://example.com; with --scope ingest. Repeatable.",
)  # fmt: skip
@click.option("--expires", type=click.DateTime(), help="In UTC; never, if absent.")
def key_create(
    dsn: str,
    as_json: bool,
    limits: dict[str, int],
    tenant: str | None,
    installation: bool,
    name: str,
    scopes: tuple[str, ...],
    origins: tuple[str, ...],
    expires: datetime | None,
) -> None:
    """Make a key, of a tenant or of the installation, and show it this once."""
    _one_of(tenant, installation)
    with connect(dsn) as connection:
        if installation:
            (made,) = call(connection, INSTALLATION_CREATE, name=name)
        else:
            (made,) = call(
                connection, CREATE, tenant=tenant_id(connection, tenant or ""), name=name,
                scopes=list(scopes), expires_at=f"{expires}Z" if expires else "infinity",
                rate_limits_per_minute=Jsonb(limits), origins=list(origins),
            )  # fmt: skip
    show_one(made, as_json)


@key.command("list")
@dsn_option
@json_option
@tenant_option
@installation_option
def key_list(dsn: str, as_json: bool, tenant: str | None, installation: bool) -> None:
    """List keys, revoked and expired ones too; never the keys themselves."""
    _one_of(tenant, installation)
    with connect(dsn) as connection:
        if installation:
            rows = call(connection, INSTALLATION_LIST)
        else:
            rows = call(connection, LIST, tenant=tenant_id(connection, tenant or ""))
    show(rows, as_json)


@key.command("rotate")
@dsn_option
@json_option
@tenant_option
@click.argument("key_id", type=click.UUID)
@click.option("--overlap-hours", default=24.0, help="How long the old key still works.")
def key_rotate(
    dsn: str, as_json: bool, tenant: str | None, key_id: object, overlap_hours: float
) -> None:
    """Make a successor of a tenant's key; both work for a while."""
    _one_of(tenant, False)
    with connect(dsn) as connection:
        (made,) = call(
            connection, ROTATE, tenant=tenant_id(connection, tenant or ""), key=key_id,
            overlap_seconds=round(overlap_hours * 3600),
        )  # fmt: skip
    show_one(made, as_json)


@key.command("revoke")
@dsn_option
@json_option
@tenant_option
@installation_option
@click.argument("key_id", type=click.UUID)
def key_revoke(
    dsn: str, as_json: bool, tenant: str | None, installation: bool, key_id: object
) -> None:
    """End a key: within a second no process accepts it."""
    _one_of(tenant, installation)
    with connect(dsn) as connection:
        if installation:
            (row,) = call(connection, INSTALLATION_REVOKE, key=key_id)
        else:
            found = tenant_id(connection, tenant or "")
            (row,) = call(connection, REVOKE, tenant=found, key=key_id)
    show_one({"key_id": key_id, **row}, as_json)


def _one_of(tenant: str | None, installation: bool) -> None:
    if (tenant is None) != installation:
        raise click.UsageError(
            "name a tenant with --tenant, or say --installation where it is allowed"
        )
