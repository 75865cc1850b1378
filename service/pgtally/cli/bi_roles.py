"""pgtally bi-role: logins for BI tools."""

import secrets

import rich_click as click

from pgtally.cli.console import call, connect, dsn_option, json_option, show, show_one, tenant_id

CREATE = """
  select role_name
  from tally.bi_role_create(
    p_tenant => %(tenant)s::uuid,
    p_label => %(label)s::text,
    p_password => %(password)s::text,
    p_connection_limit => %(connection_limit)s::integer)
"""
LIST = """
  select *
  from tally.bi_role_list()
"""
DROP = """
  select *
  from tally.bi_role_drop(p_role => %(role)s::text) as dropped
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
def bi_role_create(dsn: str, as_json: bool, tenant: str, label: str, connection_limit: int) -> None:
    """Make the login bi_<tenant>_<LABEL> and show its password this once."""
    password = secrets.token_urlsafe(24)
    with connect(dsn) as connection:
        # Hashed here: the password itself never reaches the server or its log.
        hashed = connection.pgconn.encrypt_password(password.encode(), b"", b"scram-sha-256")
        (made,) = call(
            connection, CREATE, tenant=tenant_id(connection, tenant), label=label,
            password=hashed.decode(), connection_limit=connection_limit,
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
        rows = call(connection, LIST)
    show(rows, as_json)


@bi_role.command("drop")
@dsn_option
@json_option
@click.argument("role")
def bi_role_drop(dsn: str, as_json: bool, role: str) -> None:
    """End a login's connections and drop it."""
    with connect(dsn) as connection:
        call(connection, DROP, role=role)
    show_one({"dropped": role}, as_json)
