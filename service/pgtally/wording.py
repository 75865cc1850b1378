"""What a decoder says of a text that is not what was expected: in the words of JSON, not of
Python, and with what is allowed."""

import difflib
import re
import typing
from collections.abc import Iterable
from functools import cache
from typing import Any, Literal

import msgspec

from pgtally.problems import FieldError

KINDS = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "decimal": "a number",
    "bool": "true or false",
    "object": "an object",
    "array": "an array",
    "null": "null",
    "datetime": "a time such as 2026-01-31T12:00:00Z",
    "uuid": "a UUID such as 01941f29-7c00-7aaa-8aaa-aaaaaaaaaaaa",
}
LENGTHS = {"str": "characters", "array": "elements"}
SAYINGS = {
    "Invalid RFC3339 encoded datetime": f"expected {KINDS['datetime']}",
    "Expected `datetime` with a timezone component": "expected a time with Z or an offset, such as "
    "2026-01-31T12:00:00Z",
    "Invalid UUID": f"expected {KINDS['uuid']}",
    "Input data was truncated": "the JSON ends too early",
}
_length = re.compile(r"Expected `(str|array)` of length (<=|>=) (\d+)")
_kinds = re.compile(r"`([a-z]+)(?: \| null)?`")
_field = re.compile(r"(unknown|required) field `([^`]+)`")


def allowed(kind: Any) -> list[str]:
    """The words that a type allows, as they were written."""
    if typing.get_origin(kind) is Literal:
        return [str(word) for word in typing.get_args(kind)]
    return [word for inner in typing.get_args(kind) for word in allowed(inner)]


@cache
def fields(shape: Any) -> dict[str, Any]:
    """The fields that clients may send of a Struct, and their types; none of another type."""
    if not isinstance(shape, type) or not issubclass(shape, msgspec.Struct):
        return {}
    return {field.encode_name: field.type for field in msgspec.structs.fields(shape)}


def unknown(what: str, known: Iterable[str], name: str = "") -> str:
    """That there is no such field or parameter, which there are, and which one resembles `name`."""
    known = list(known)
    by_lower = {one.lower(): one for one in known}
    near = (
        difflib.get_close_matches(name.lower().replace("_", "")[:50], by_lower, 1) if name else []
    )
    meant = f"did you mean {by_lower[near[0]]}? " if near else ""
    return f"unknown {what}; {meant}known are {', '.join(known)}"


def reworded(message: str, kind: Any = None) -> str:
    """A sentence of msgspec's without its path, for a place of that type."""
    if message in SAYINGS:
        return SAYINGS[message]
    if message.startswith("Invalid enum value "):
        value = message.removeprefix("Invalid enum value ")
        return f"unknown value {value}; use {', '.join(allowed(kind))}"
    if found := _length.match(message):
        if found[2] == ">=":
            return "must not be empty"
        return f"expected at most {int(found[3]):,} {LENGTHS[found[1]]}"
    text = _kinds.sub(lambda found: KINDS.get(found[1], found[1]), message)
    text = text.replace(" >= ", " of at least ").replace(" <= ", " of at most ")
    return text if text.startswith("JSON") else text[:1].lower() + text[1:]


def decode_error(error: Exception, shape: Any, guess: bool = False) -> FieldError:
    """What is wrong with a JSON text that should be a `shape`, with its JSON pointer. With `guess`
    an unknown field is compared with the known ones, which costs 0.1 ms."""
    message, _, path = str(error).partition(" - at `")
    path = path.rstrip("`").removeprefix("key` in `").removeprefix("$")
    names = re.findall(r"[^.\[\]]+", path)
    known = fields(shape)
    kind = known.get(names[0]) if names else None
    detail = reworded(message, kind)
    if found := _field.search(message):
        names.append(found[2].replace("~", "~0").replace("/", "~1"))
        detail = (
            "is required" if found[1] == "required"
            else unknown("field", known, found[2] if guess else "")
        )  # fmt: skip
    pointer = "".join(f"/{name}" for name in names if name != "...")
    return FieldError(detail, pointer=pointer)
