"""The commands about tenants, keys and BI logins: each is one call of a SQL function."""

import secrets
from datetime import datetime
from typing import Any

import rich_click as click
from psycopg.types.json import Jsonb

from service.console import call, connect, dsn_option, json_option, show, show_one, tenant_id

KINDS = ("ingest", "bulk", "analytics", "summaries", "tenants")
SCOPES = ("ingest", "read", "admin")


def _limits(_: Any, __: Any, values: tuple[str, ...]) -> dict[str, int]:
    limits = {}
    for value in values:
        kind, _equals, number = value.partition("=")
        if kind not in KINDS or not number.isdigit():
            raise click.BadParameter(f"{value!r}: expected class=number, class one of {KINDS}")
        limits[kind] = int(number)
    return limits


limit_option = click.option(
    "--limit", "limits", multiple=True, callback=_limits, metavar="CLASS=NUMBER",
    help="Requests a minute, for example ingest=5000; repeatable. 0 refuses all.",
)  # fmt: skip
tenant_option = click.option("--tenant", help="The id or the name of the tenant.")
admin_option = click.option(
    "--admin", is_flag=True, help="An admin key of the installation, which may make tenants."
)


@click.group()
def tenant() -> None:
    """Tenants: make, list, change."""


@tenant.command("create")
@dsn_option
@json_option
@click.argument("name")
@click.option("--time-zone", default="UTC", help="IANA name, in which days begin.")
@click.option("--week-start", default=1, help="1 Monday to 7 Sunday.")
@click.option("--retention-days", type=int, help="How long raw events are kept; else for ever.")
def tenant_create(
    dsn: str, as_json: bool, name: str, time_zone: str, week_start: int, retention_days: int | None
) -> None:
    """Make a tenant and its first key, which is shown this once."""
    with connect(dsn) as connection, connection.transaction():
        (made,) = call(
            connection,
            """
            select t.*, k.api_key
            from api.tenant_create(%(name)s, %(zone)s, %(week_start)s, %(days)s) as t
            cross join lateral api.key_create(t.tenant_id) as k
            """,
            name=name, zone=time_zone, week_start=week_start, days=retention_days,
        )  # fmt: skip
    show_one(made, as_json)


@tenant.command("list")
@dsn_option
@json_option
def tenant_list(dsn: str, as_json: bool) -> None:
    """List all tenants by name."""
    rows: list[dict[str, Any]] = []
    with connect(dsn) as connection:
        while page := call(
            connection,
            "select * from api.tenant_list(%(after)s)",
            after=rows[-1]["name"] if rows else "",
        ):
            rows += page
    show(rows, as_json)


@tenant.command("update")
@dsn_option
@json_option
@limit_option
@click.argument("tenant")
@click.option("--name", default="", help="A new name.")
@click.option("--retention-days", default=-1, help="0 keeps raw events for ever.")
@click.option("--no-limits", is_flag=True, help="Back to the limits of the installation.")
def tenant_update(
    dsn: str,
    as_json: bool,
    limits: dict[str, int],
    tenant: str,
    name: str,
    retention_days: int,
    no_limits: bool,
) -> None:
    """Change a tenant's name, retention or rate limits (all of them, to those given)."""
    new_limits = limits if limits or no_limits else None
    with connect(dsn) as connection:
        (changed,) = call(
            connection,
            "select * from api.tenant_update(%(tenant)s, %(name)s, %(days)s, %(limits)s)",
            tenant=tenant_id(connection, tenant), name=name, days=retention_days,
            limits=Jsonb(new_limits),
        )  # fmt: skip
    show_one(changed, as_json)


@tenant.command("set-calendar")
@dsn_option
@json_option
@click.argument("tenant")
@click.argument("time_zone")
@click.option("--week-start", default=1, help="1 Monday to 7 Sunday.")
def tenant_set_calendar(
    dsn: str, as_json: bool, tenant: str, time_zone: str, week_start: int
) -> None:
    """Change time zone and week start; days, weeks and months are recomputed."""
    with connect(dsn) as connection:
        (row,) = call(
            connection,
            """
            select tally.tenant_set_calendar(%(tenant)s, %(zone)s, %(week_start)s) as changed_rows
            """,
            tenant=tenant_id(connection, tenant), zone=time_zone, week_start=week_start,
        )  # fmt: skip
    show_one(row, as_json)


@click.group()
def key() -> None:
    """API keys: make, list, rotate, revoke."""


@key.command("create")
@dsn_option
@json_option
@limit_option
@tenant_option
@admin_option
@click.option("--name", default="default", help="What the key is for.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    default=SCOPES,
    help="Repeatable.",
)
@click.option("--expires", type=click.DateTime(), help="In UTC; never, if absent.")
def key_create(
    dsn: str,
    as_json: bool,
    limits: dict[str, int],
    tenant: str | None,
    admin: bool,
    name: str,
    scopes: tuple[str, ...],
    expires: datetime | None,
) -> None:
    """Make a key, of a tenant or of the installation, and show it this once."""
    _one_of(tenant, admin)
    with connect(dsn) as connection:
        if admin:
            (made,) = call(connection, "select * from tally.admin_key_create(%(name)s)", name=name)
        else:
            (made,) = call(
                connection,
                """
                select * from api.key_create(
                  %(tenant)s, %(name)s, %(scopes)s::text[], %(expires)s::timestamptz, %(limits)s)
                """,
                tenant=tenant_id(connection, tenant or ""), name=name, scopes=list(scopes),
                expires=f"{expires}Z" if expires else "infinity", limits=Jsonb(limits),
            )  # fmt: skip
    show_one(made, as_json)


@key.command("list")
@dsn_option
@json_option
@tenant_option
@admin_option
def key_list(dsn: str, as_json: bool, tenant: str | None, admin: bool) -> None:
    """List keys, revoked and expired ones too; never the keys themselves."""
    _one_of(tenant, admin)
    with connect(dsn) as connection:
        if admin:
            rows = call(connection, "select * from tally.admin_key_list()")
        else:
            rows = call(
                connection,
                "select * from api.key_list(%(tenant)s)",
                tenant=tenant_id(connection, tenant or ""),
            )
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
            connection,
            "select * from api.key_rotate(%(tenant)s, %(key)s, %(hours)s * interval '1 hour')",
            tenant=tenant_id(connection, tenant or ""), key=key_id, hours=overlap_hours,
        )  # fmt: skip
    show_one(made, as_json)


@key.command("revoke")
@dsn_option
@json_option
@tenant_option
@admin_option
@click.argument("key_id", type=click.UUID)
def key_revoke(dsn: str, as_json: bool, tenant: str | None, admin: bool, key_id: object) -> None:
    """End a key: within a second no process accepts it."""
    _one_of(tenant, admin)
    with connect(dsn) as connection:
        if admin:
            (row,) = call(
                connection, "select tally.admin_key_revoke(%(key)s) as revoked_at", key=key_id
            )
        else:
            (row,) = call(
                connection,
                "select api.key_revoke(%(tenant)s, %(key)s) as revoked_at",
                tenant=tenant_id(connection, tenant or ""), key=key_id,
            )  # fmt: skip
    show_one({"key_id": key_id, **row}, as_json)


def _one_of(tenant: str | None, admin: bool) -> None:
    if (tenant is None) != admin:
        raise click.UsageError("name a tenant with --tenant, or say --admin where it is allowed")


@click.group("bi-role")
def bi_role() -> None:
    """Logins for BI tools, each of which sees the views of one tenant."""


@bi_role.command("create")
@dsn_option
@json_option
@click.argument("tenant")
@click.argument("label")
@click.option("--connection-limit", default=5, help="Connections at once, 1 to 100.")
def bi_role_create(dsn: str, as_json: bool, tenant: str, label: str, connection_limit: int) -> None:
    """Make the login bi_<tenant>_<LABEL> and show its password this once."""
    password = secrets.token_urlsafe(24)
    with connect(dsn) as connection:
        # Hashed here: the password itself never reaches the server or its log.
        hashed = connection.pgconn.encrypt_password(password.encode(), b"", b"scram-sha-256")
        (made,) = call(
            connection,
            """
            select role_name
            from tally.bi_role_create(%(tenant)s, %(label)s, %(hash)s, %(limit)s)
            """,
            tenant=tenant_id(connection, tenant), label=label, hash=hashed.decode(),
            limit=connection_limit,
        )  # fmt: skip
        made |= {
            "password": password, "host": connection.info.host, "port": connection.info.port,
            "database": connection.info.dbname, "schema": "bi",
        }  # fmt: skip
    show_one(made, as_json)


@bi_role.command("list")
@dsn_option
@json_option
def bi_role_list(dsn: str, as_json: bool) -> None:
    """List the logins, whose figures they see, and their connections."""
    with connect(dsn) as connection:
        rows = call(connection, "select * from tally.bi_role_list()")
    show(rows, as_json)


@bi_role.command("drop")
@dsn_option
@json_option
@click.argument("role")
def bi_role_drop(dsn: str, as_json: bool, role: str) -> None:
    """End a login's connections and drop it."""
    with connect(dsn) as connection:
        call(connection, "select tally.bi_role_drop(%(role)s)", role=role)
    show_one({"dropped": role}, as_json)
