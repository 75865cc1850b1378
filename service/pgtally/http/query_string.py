"""Query strings: decoded strictly into Structs, with filters on data, and the cursors of pages.

A field of such a Struct has the name of the SQL argument that it fills, and the name that clients
send: `types: ... = field(name="type")` is `type` in the query and `p_types` in SQL.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from functools import cache
from typing import Annotated, Any, TypeVar
from uuid import UUID

import msgspec
from litestar import Request
from msgspec import Meta
from psycopg.types.json import Jsonb

from pgtally.http.passage import caller_of
from pgtally.problems import FieldError, Problem
from pgtally.wording import fields, reworded, unknown

Text = Annotated[str, Meta(min_length=1, max_length=200)]
From = Annotated[
    str, Meta(description="A date (local midnight) or an RFC 3339 time; open if absent.")
]
To = Annotated[str, Meta(description="The first moment after the range; open if absent.")]
Actor = Annotated[str, Meta(max_length=200, description="Only this actor's events.")]
TimeZone = Annotated[str, Meta(description="IANA name; the tenant's own if absent.")]
Shape = TypeVar("Shape", bound=msgspec.Struct)

TIMES = ("from", "to", "since", "periodStart")
_operator = re.compile(r"(>=|<=|!=|\^=|>|<)?(.*)", re.DOTALL)
# data.<key> and data[<key>], perhaps with the beginning of an operator.
_filter = re.compile(r"data(?:\[(.*)\]|\.(.*?))([<>!^]?)", re.DOTALL)
_lost_plus = re.compile(r" (\d\d:\d\d)$")


class RangeQuery(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """A range, in a zone."""

    from_: From = msgspec.field(default="-infinity", name="from")
    to: To = "infinity"
    actor: Actor = msgspec.field(default="", name="actorId")
    time_zone: TimeZone = msgspec.field(default="", name="timezone")


class EventQuery(RangeQuery, forbid_unknown_fields=True, rename="camel"):
    """Which events. `data.<key>=<value>` filters on a property as well; repeated, it means one of
    these values."""

    types: Annotated[
        list[Text],
        Meta(
            max_length=100,
            description="Only these types; repeat it for several: `type=a&type=b`. One that no "
            "event has counts 0.",
        ),
    ] = msgspec.field(default_factory=list, name="type")


@cache
def _lists(shape: type[msgspec.Struct]) -> set[str]:
    """The parameters that may be repeated."""
    return {f.encode_name for f in msgspec.structs.fields(shape) if f.default_factory is list}


def takes_filters(shape: type[msgspec.Struct]) -> bool:
    """Do filters on data go with this query?"""
    return issubclass(shape, EventQuery)


def read_query(request: Request[Any, Any, Any], shape: type[Shape]) -> tuple[Shape, dict[str, Any]]:
    """The query string as a struct, and as the arguments of a SQL call for the caller's tenant.
    Raises Problem 400 for what is off."""
    query, filters = split_query(request, shape)
    arguments = {name.rstrip("_"): value for name, value in msgspec.structs.asdict(query).items()}
    arguments["tenant"] = caller_of(request).tenant
    if takes_filters(shape):
        arguments["filters"] = Jsonb(filters)
    return query, arguments


def split_query(
    request: Request[Any, Any, Any], shape: type[Shape]
) -> tuple[Shape, list[dict[str, Any]]]:
    """The query string as a struct, and its filters on data. Raises Problem 400 for what is off."""
    return split_pairs(request.query_params.multi_items(), shape)


def split_pairs(
    pairs: Iterable[tuple[str, str]], shape: type[Shape]
) -> tuple[Shape, list[dict[str, Any]]]:
    """The same for names with their texts, from wherever they come."""
    known, lists = fields(shape), _lists(shape)
    values: dict[str, Any] = {}
    filters: list[dict[str, Any]] = []
    errors = []
    for name, text in pairs:
        if "\0" in name or "\0" in text:
            errors.append(FieldError("holds a NUL character", parameter=name.replace("\0", "")))
        elif takes_filters(shape) and (filtered := _filter.fullmatch(name)):
            key, suffix = filtered[1] or filtered[2] or "", filtered[3]
            operator, value = _operator.fullmatch(text).groups()  # type: ignore[union-attr]
            if suffix:
                # `data.k>=1` parses as the name `data.k>` and the value `1`.
                operator, value = suffix + "=", text
            if not key:
                errors.append(FieldError("names no key; write data.plan=pro", parameter=name))
            elif not text and re.search("[<>]", key):
                detail = (
                    "has no value; write data.key=>5 or data.key>=5, with > as %3E and < as %3C"
                )
                errors.append(FieldError(detail, parameter=name))
            operator = operator or "="
            # Repeated, = means one of these.
            same = [f for f in filters if (f["key"], f["op"]) == (key, "=") and operator == "="]
            if same:
                same[0]["value"].append(value)
            else:
                filters.append(
                    {"key": key, "op": operator, "value": [value] if operator == "=" else value}
                )
        elif name not in known:
            # The first only: to compare names takes time.
            detail = unknown("parameter", known, "" if errors else name)
            if takes_filters(shape):
                detail += ", and for a property data.<key>, as in data.plan=pro"
            errors.append(FieldError(detail, parameter=name))
        elif name in lists:
            values.setdefault(name, []).append(text)
        elif name in values:
            errors.append(
                FieldError("given more than once; only lists are repeated", parameter=name)
            )
        else:
            # An offset's plus sign that was not escaped arrives as a space.
            values[name] = _lost_plus.sub(r"+\1", text) if name in TIMES else text
    for name, value in values.items():
        try:
            values[name] = msgspec.convert(value, known[name], strict=False)
        except msgspec.ValidationError as error:
            message = str(error).partition(" - at ")[0]
            errors.append(FieldError(reworded(message, known[name]), parameter=name))
    if errors:
        raise Problem(400, "the query is not valid", errors)
    return msgspec.convert(values, shape), filters


def read_cursor(
    text: str, parameter: str, first: tuple[datetime | str, UUID]
) -> tuple[datetime | str, UUID]:
    """Where a page of events begins: time and id. Raises Problem 400 for what no page has given."""
    if not text:
        return first
    try:
        at, _, event_id = text.partition("_")
        return msgspec.convert(at.replace(" ", "+"), datetime, strict=False), UUID(event_id)
    except (ValueError, msgspec.ValidationError):
        error = FieldError(
            "is not the `next` of a page; leave it out for the first page", parameter=parameter
        )
        raise Problem(400, "the query is not valid", [error]) from None
