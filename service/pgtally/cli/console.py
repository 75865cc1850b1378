"""What the commands share: the connection, and output for people or, with --json, for programs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, LiteralString
from uuid import UUID

import psycopg
import rich_click as click
from psycopg.rows import dict_row

from pgtally.formats import encode
from pgtally.problems import of_database_error

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

Row = dict[str, Any]
TENANTS = """
  select *
  from api.tenant_list(p_after => %(after)s::text)
"""

dsn_option = click.option(
    "--dsn",
    envvar="PGTALLY_ADMIN_DSN",
    required=True,
    help="Connection string of a superuser; better in PGTALLY_ADMIN_DSN, which `ps` does not show.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


@contextlib.contextmanager
def connect(dsn: str) -> Iterator[psycopg.Connection[Row]]:
    """A connection in autocommit mode. What the database refuses ends the command with exit code 1
    and a line that says why."""
    try:
        with psycopg.connect(
            dsn, autocommit=True, application_name="pgtally cli", row_factory=dict_row
        ) as connection:
            yield connection
    except psycopg.Error as error:
        raise click.ClickException(explain(error)) from error


def explain(error: psycopg.Error) -> str:
    """What went wrong, for who has the database: its own words where they are not ours."""
    if (error.sqlstate or "").startswith("TY"):
        problem = of_database_error(error)
        # An error without an index names an argument; the detail says all of it.
        events = [e for e in problem.errors if e.index is not None]
        return problem.detail + "".join(f"\n  event {e.index}: {e.detail}" for e in events)
    text = str(error).splitlines()[0] if str(error) else repr(error)
    if error.sqlstate in ("42P01", "42883", "3F000"):
        text += "\nThis database has no pgtally, or an older one: pgtally migrate"
    return text


def call(
    connection: psycopg.Connection[Row], text: LiteralString, **parameters: object
) -> list[Row]:
    """The rows of one call."""
    return connection.execute(text, parameters).fetchall()


def all_tenants(connection: psycopg.Connection[Row]) -> Iterator[Row]:
    """All tenants, in the order of their names."""
    after = ""
    while page := call(connection, TENANTS, after=after):
        yield from page
        after = page[-1]["name"]


def tenant_id(connection: psycopg.Connection[Row], tenant: str) -> UUID:
    """The id of the tenant with this id, or of the only one with this name."""
    with contextlib.suppress(ValueError):
        return UUID(tenant)
    found: list[UUID] = [
        row["tenant_id"] for row in all_tenants(connection) if row["name"] == tenant
    ]
    if not found:
        raise click.ClickException(f"no tenant has the id or name {tenant!r}")
    if len(found) > 1:
        ids = ", ".join(map(str, found))
        raise click.ClickException(
            f"several tenants are named {tenant!r}; name one by its id: {ids}"
        )
    return found[0]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key}={number}" for key, number in value.items())
    return str(value)


def show(rows: Sequence[Row], as_json: bool) -> None:
    """A table, or a JSON array of objects."""
    if as_json:
        click.echo(encode(list(rows)))
        return
    if not rows:
        click.echo("none")
        return
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(*(name.replace("_", " ") for name in rows[0]), box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(_text(value) for value in row.values()))
    if not console.is_terminal:
        console.width = 1000
    console.print(table)


def show_one(row: Row, as_json: bool) -> None:
    """A line for each field, or one JSON object."""
    if as_json:
        click.echo(encode(row))
        return
    width = max(map(len, row)) + 2
    for name, value in row.items():
        click.echo(f"{name.replace('_', ' '):{width}}{_text(value)}")


def progress_bar(*columns: str | ProgressColumn) -> Progress:
    """Beside the output, and only where somebody looks on."""
    from rich.console import Console
    from rich.progress import Progress

    return Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())


def progress(text: str) -> None:
    """A line about work that goes on, beside the output."""
    print(text, file=sys.stderr, flush=True)
