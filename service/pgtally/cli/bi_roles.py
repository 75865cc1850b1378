"""pgtally bi-role: logins for BI tools."""

import secrets

import psycopg
import rich_click as click

from pgtally.cli.console import (
    Row,
    call,
    connect,
    dsn_option,
    json_option,
    show,
    show_one,
    tenant_id,
)

CREATE = """
  select role_name
  from tally.bi_role_create(
    p_tenant => %(tenant)s::uuid,
    p_label => %(label)s::text,
    p_password => %(password)s::text,
    p_connection_limit => %(connection_limit)s::integer)
"""
CREATE_SCHEMA = """
  select schema_name
  from tally.bi_schema_create(p_role => %(role)s::text, p_name => %(name)s::text) as schema_name
"""
LIST = """
  select *
  from tally.bi_role_list()
"""
CHANGE = """
  select role_name
  from tally.bi_role_set_password(p_role => %(role)s::text, p_password => %(password)s::text)
"""
DROP = """
  call tally.bi_role_drop(p_role => %(role)s::text, p_drop_owned => %(drop_owned)s::boolean)
"""


@click.group("bi-role")
def bi_role() -> None:
    """Logins for BI tools, each of which sees the views of one tenant."""


@bi_role.command("create")
@dsn_option
@json_option
@click.argument("tenant")
@click.argument("label")
@click.option("--connection-limit", default=5, help="Connections at once, 1 to 100.")
@click.option("--schema", help="Also make the schema bi_<tenant>_<SCHEMA> that it may write to.")
def bi_role_create(
    dsn: str, as_json: bool, tenant: str, label: str, connection_limit: int, schema: str | None
) -> None:
    """Make the login bi_<tenant>_<LABEL> and show its password this once."""
    with connect(dsn) as connection:
        password, hashed = _password(connection)
        with connection.transaction():
            (made,) = call(
                connection, CREATE, tenant=tenant_id(connection, tenant), label=label,
                password=hashed, connection_limit=connection_limit,
            )  # fmt: skip
            if schema is not None:
                role = made["role_name"]
                made |= call(connection, CREATE_SCHEMA, role=role, name=schema)[0]
        made |= {
            "password": password, "host": connection.info.host, "port": connection.info.port,
            "database": connection.info.dbname, "schema": "bi",
        }  # fmt: skip
    show_one(made, as_json)


@bi_role.command("password")
@dsn_option
@json_option
@click.argument("role")
def bi_role_password(dsn: str, as_json: bool, role: str) -> None:
    """Give a login a new password and show it this once; open connections go on."""
    with connect(dsn) as connection:
        password, hashed = _password(connection)
        (made,) = call(connection, CHANGE, role=role, password=hashed)
    show_one(made | {"password": password}, as_json)


@bi_role.command("list")
@dsn_option
@json_option
def bi_role_list(dsn: str, as_json: bool) -> None:
    """List the logins, whose figures they see, and their connections."""
    with connect(dsn) as connection:
        rows = call(connection, LIST)
    show(rows, as_json)


@bi_role.command("drop")
@dsn_option
@json_option
@click.argument("role")
@click.option("--drop-owned", is_flag=True, help="Delete the tables and all else that it owns.")
def bi_role_drop(dsn: str, as_json: bool, role: str, drop_owned: bool) -> None:
    """Close a login, end its connections and drop it, unless it owns something."""
    with connect(dsn) as connection:
        connection.execute(DROP, {"role": role, "drop_owned": drop_owned})
    show_one({"dropped": role}, as_json)


def _password(connection: psycopg.Connection[Row]) -> tuple[str, str]:
    """A new one, and its hash: the password itself never reaches the server or its log."""
    password = secrets.token_urlsafe(24)
    hashed = connection.pgconn.encrypt_password(password.encode(), b"", b"scram-sha-256")
    return password, hashed.decode()
