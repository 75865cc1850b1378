"""Writes the reference pages from what they describe: the HTTP service's OpenAPI document, the
database's catalog, the command line. `make docs`; a test compares them with the code."""

import inspect
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import msgspec
import psycopg
from pgtally.app import create_app
from pgtally.cli.main import cli
from pgtally.http import openapi
from pgtally.settings import Settings

from bench.setup import scratch_database

FOLDER = Path(__file__).resolve().parent
HEAD = "# {title}\n\nMade by `make docs` from {source}; edit that.\n\n"


def _line(text: str) -> str:
    return " ".join(text.split())


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), ["---" for _ in head], *(list(row) for row in rows)]
    return "".join(
        "| " + " | ".join(_line(cell).replace("|", "\\|") for cell in line) + " |\n"
        for line in lines
    )


def _kind(schema: dict[str, Any]) -> str:
    """A JSON schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    found = str(schema.get("format") or schema.get("type") or "anything")
    bounds = [
        f"{word} {schema[key]:,}"
        for key, word in (
            ("minimum", "from"), ("maximum", "to"), ("minLength", "from"), ("maxLength", "up to"),
            ("maxItems", "up to"),
        )
        if key in schema
    ]  # fmt: skip
    return " ".join([found, *bounds])


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    text = f"### {method.upper()} {path}\n\n{operation['summary'].rstrip('?')}."
    if operation.get("description"):
        text += " " + _line(operation["description"])
    text += f" Needs {operation['x-key']}.\n\n" if "x-key" in operation else " Needs no key.\n\n"
    if parameters := operation.get("parameters"):
        rows = []
        for one in parameters:
            default = one["schema"].get("default")
            told = "" if default in (None, [], "") else f" Default `{default}`."
            meaning = one.get("description", "") + told
            rows.append([f"`{one['name']}`", one["in"], _kind(one["schema"]), meaning])
        text += _table(["parameter", "in", "type", "meaning"], rows) + "\n"
    content = operation.get("requestBody", {}).get("content", {})
    for media in list(content.values())[:1]:
        text += f"Body: {_kind(media['schema'])}"
        if len(content) > 1:
            text += f" as {', '.join(f'`{name}`' for name in content)}"
        if "example" in media:
            example = msgspec.json.format(msgspec.json.encode(media["example"]), indent=2).decode()
            text += f", for example\n\n```json\n{example}\n```\n"
        text += "\n"
    for status, response in operation["responses"].items():
        if status.startswith(("2", "3")):
            kinds = [
                f"{_kind(media['schema'])} as `{name}`"
                for name, media in response.get("content", {}).items()
            ]
            kinds += [f"as `{name}`" for name in response.get("x-also", ())]
            text += f"{status}: {'; '.join(kinds) or _line(response['description'])}\n\n"
    errors = [status for status in operation["responses"] if status >= "4"]
    return text + f"Errors: {', '.join(errors)}\n\n"


def http() -> str:
    """The endpoints."""
    document = openapi.document(create_app(Settings(dsn="postgresql:///")))
    tags: dict[str, str] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            (tag,) = operation["tags"]
            tags[tag] = tags.get(tag, "") + _operation(path, method, operation)
    text = HEAD.format(title="Endpoints", source="the OpenAPI document, which is at `GET /schema`")
    text += (
        "Send the key as `X-API-Key: pgt_...` or `Authorization: Bearer pgt_...`. Every answer"
        " carries `X-Request-Id`, and with a key `RateLimit-Policy`, `RateLimit` and the older"
        " `X-RateLimit-*`. Errors are `application/problem+json`:\n\n"
    )
    text += _table(["status", "means"], [[str(s), m] for s, m in openapi.ERRORS.items()]) + "\n"
    for tag, described in tags.items():
        text += f"## {tag}\n\n{described}"
    text += "## Types\n\n"
    for name, schema in sorted(document["components"]["schemas"].items()):
        text += f"### {name}\n\n{_line(schema.get('description', ''))}\n\n"
        rows = [
            [
                f"`{field}`", _kind(kind),
                "yes" if field in schema.get("required", []) else "", kind.get("description", ""),
            ]
            for field, kind in schema.get("properties", {}).items()
        ]  # fmt: skip
        text += _table(["field", "type", "required", "meaning"], rows) + "\n"
    return text.rstrip() + "\n"


FUNCTIONS = """
  select
    p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), p.prokind::text,
    obj_description(p.oid, 'pg_proc')
  from pg_proc as p
  where p.pronamespace = %s::regnamespace
  order by p.proname
"""
RELATIONS = """
  select c.oid::regclass::text, c.oid, obj_description(c.oid, 'pg_class')
  from pg_class as c
  where c.relnamespace = %s::regnamespace and c.relkind in ('r', 'p', 'v') and not c.relispartition
  order by c.relname
"""
COLUMNS = """
  select
    a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
    col_description(a.attrelid, a.attnum)
  from pg_attribute as a
  where a.attrelid = %s and a.attnum > 0 and not a.attisdropped
  order by a.attnum
"""


def _signature(name: str, arguments: str, result: str | None, kind: str) -> str:
    short = arguments.replace("timestamp with time zone", "timestamptz").replace(
        "DEFAULT", "default"
    )
    short = re.sub(r"('[^']*')::[a-z]+(\[\])?", r"\1", short)
    call = textwrap.fill(
        f"{name}({short})", 96, subsequent_indent="  ", break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
    if kind == "p":
        return f"call {call}"
    shown = (result or "").replace("timestamp with time zone", "timestamptz")
    wrapped = textwrap.fill(
        f"-> {shown}", 96, initial_indent="  ", subsequent_indent="    ", break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
    return f"{call}\n{wrapped}"


def _functions(connection: psycopg.Connection[Any], schema: str) -> str:
    text = ""
    for name, arguments, result, kind, comment in connection.execute(FUNCTIONS, (schema,)):
        signature = _signature(f"{schema}.{name}", arguments, result, kind)
        text += f"### {schema}.{name}\n\n{comment}\n\n```\n{signature}\n```\n\n"
    return text


def _relations(connection: psycopg.Connection[Any], schema: str) -> str:
    text = ""
    for name, oid, comment in connection.execute(RELATIONS, (schema,)).fetchall():
        rows = [
            [f"`{column}`", kind.replace("timestamp with time zone", "timestamptz"),
             "" if not_null else "may be", meaning or ""]
            for column, kind, not_null, meaning in connection.execute(COLUMNS, (oid,))
        ]  # fmt: skip
        text += f"### {name}\n\n{comment}\n\n"
        text += _table(["column", "type", "null", "meaning"], rows) + "\n"
    return text


def sql(connection: psycopg.Connection[Any]) -> str:
    """Functions, views and tables, with their comments."""
    return (
        HEAD.format(title="SQL", source="the comments in `sql/`, as the catalog has them")
        + "Arguments with a default may be left out; name them: "
        "`api.event_count(tenant, p_types => '{sale}')`. What raises `TY400` was asked wrongly, "
        "`TY404` names what does not exist, `TY409` what is not possible now.\n\n"
        "## What clients call: schema api\n\n"
        "As `tally_service`, `tally_owner` or a superuser; each acts for the tenant it is given.\n"
        "\n"
        + _functions(connection, "api")
        + "## What BI logins read: schema bi\n\n"
        + _relations(connection, "bi")
        + _functions(connection, "bi")
        + "## What the DBA calls, and what these are made of: schema tally\n\n"
        + _functions(connection, "tally")
        + "## Tables: schema tally\n\n"
        + _relations(connection, "tally").rstrip()
        + "\n"
    )


def _command(command: click.Command, name: str) -> str:
    context = click.Context(command, info_name=name)
    text = f"## {name}\n\n" if " " in name else ""
    text += f"    {context.command_path} {' '.join(command.collect_usage_pieces(context))}\n\n"
    text += inspect.cleandoc(command.help or "") + "\n\n"
    rows = []
    for one in command.params:
        if isinstance(one, click.Option):
            names = ", ".join(f"`{opt}`" for opt in one.opts)
            help_text = one.help or ""
            if isinstance(one.type, click.Choice):
                help_text += " One of " + ", ".join(f"`{c}`" for c in one.type.choices) + "."
            if one.default not in (None, False, "") and isinstance(one.default, int | float | str):
                help_text += f" Default `{one.default}`."
            rows.append([names, "required" if one.required else "", help_text])
    if rows:
        text += _table(["option", "", "meaning"], rows) + "\n"
    if isinstance(command, click.Group):
        for inner in sorted(command.commands):
            text += _command(command.commands[inner], f"{name} {inner}")
    return text


def command_line() -> str:
    """The commands, their options and their help."""
    text = HEAD.format(title="Command line", source="the commands' own help")
    text += (
        "Exit codes: 0 done; 1 it went wrong, or, for `verify`, `doctor` and `import`, found"
        " something; 2 wrong usage. `--json` prints one JSON document on standard output.\n\n"
    )
    return text + _command(cli, "pgtally").rstrip() + "\n"


def pages(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """The text of each page by its file's name."""
    return {
        "reference-http.md": http(),
        "reference-sql.md": sql(connection),
        "reference-cli.md": command_line(),
    }


def main() -> None:
    with scratch_database(None) as (dsn, _), psycopg.connect(dsn) as connection:
        for name, text in pages(connection).items():
            (FOLDER / name).write_text(text)
            print(f"wrote docs/{name}")


if __name__ == "__main__":
    main()
