"""Arguments of a statement that have the form in which they are sent: psycopg would give it to them
when it sends the statement, in the loop that serves everybody."""

from typing import Any, Self

import psycopg
from psycopg.adapt import Dumper, PyFormat, Transformer
from psycopg.pq import Format


class Dumped:
    """A value as it is sent, with its type and form: nothing but NULLs goes as text."""

    __slots__ = ("form", "oid", "sent")

    def __init__(self, sent: Any, oid: int, form: Format) -> None:
        self.sent, self.oid, self.form = sent, oid, form


class DumpedDumper(Dumper):
    """Sends it as it is."""

    format = Format.BINARY

    def get_key(self, obj: Dumped, format: PyFormat) -> Any:
        return (self.cls, obj.oid, obj.form)

    def upgrade(self, obj: Dumped, format: PyFormat) -> Self:
        dumper = type(self)(self.cls)
        dumper.oid, dumper.format = obj.oid, obj.form
        return dumper

    def dump(self, obj: Dumped) -> Any:
        return obj.sent


psycopg.adapters.register_dumper(Dumped, DumpedDumper)


def dump(arguments: dict[str, object]) -> dict[str, object]:
    """Arguments with %(name)b placeholders, dumped by psycopg here and now."""
    transformer = Transformer()
    dumped: dict[str, object] = {}
    for name, value in arguments.items():
        dumper = transformer.get_dumper(value, PyFormat.BINARY)
        dumped[name] = Dumped(dumper.dump(value), dumper.oid, dumper.format)
    return dumped
