"""The same question in other words: as a command for a shell, and as SQL."""

import re
import shlex
from typing import Any
from urllib.parse import urlencode

from psycopg import sql
from psycopg.types.json import Jsonb

from pgtally.database import NAMED
from pgtally.formats import encode

# What need not be said.
DEFAULTS: dict[str, Any] = {
    "from": "-infinity", "to": "infinity", "types": [], "measure": "count", "actor": "",
    "time_zone": "", "compare": False, "by_type": False, "of": "value", "unique": "actorId",
}  # fmt: skip
NAMES = {"types": "type", "actor": "actorId", "time_zone": "timezone"}
_argument = re.compile(r"p_\w+ => %\((\w+)\)[sb]::([a-z]+(?:\[\])?)")


def as_sql(statement: str, arguments: dict[str, Any]) -> str:
    """A statement constant with its arguments written out, for psql."""
    said = []
    for argument in _argument.finditer(statement):
        name, kind = argument[1], argument[2]
        value = arguments[name]
        if name in DEFAULTS and value == DEFAULTS[name]:
            continue
        if isinstance(value, Jsonb):
            if value.obj == []:
                continue
            value = encode(value.obj).decode()
        suffix = "" if kind in ("text", "boolean", "integer") else f"::{kind}"
        literal = sql.Literal(str(value) if kind == "uuid" else value).as_string(None)
        literal = re.sub(r"::\"?\w+\"?(\[\])?$", "", literal) if suffix == "" else literal
        said.append(f"{argument[0].partition(' ')[0]} => {literal}{suffix}")
    head = statement.replace(NAMED, "").partition("(\n")[0]
    lines = [line.strip() for line in head.strip().splitlines()]
    return "\n".join(lines) + "(\n  " + ",\n  ".join(said) + ");"


def as_curl(
    path: str, arguments: dict[str, Any], filters: list[tuple[str, str]], **more: str
) -> str:
    """The same over HTTP, for a shell in which URL and KEY are set; filters as in an address."""
    pairs: list[tuple[str, str]] = []
    for name in ("from", "to", "types", "measure", "actor", "time_zone"):
        if arguments[name] != DEFAULTS[name]:
            values = arguments[name] if name == "types" else [arguments[name]]
            pairs += [(NAMES.get(name, name), value) for value in values]
    query = urlencode([*pairs, *filters, *more.items()], safe=":")
    address = f'"$URL{path}"' if not query else '"$URL"' + shlex.quote(f"{path}?{query}")
    return f'curl -H "X-API-Key: $KEY" {address}'
