"""pgtally import, pgtally export."""

from __future__ import annotations

import contextlib
import gzip
import io
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import psycopg
import rich_click as click

from pgtally.cli.console import (
    connect,
    dsn_option,
    explain,
    json_option,
    progress_bar,
    show_one,
    tenant_id,
)

if TYPE_CHECKING:
    from pgtally.cli import transfer

tenant_option = click.option("--tenant", required=True, help="The id or the name of the tenant.")


def _zone(_: Any, __: Any, value: str | None) -> ZoneInfo | None:
    try:
        return ZoneInfo(value) if value else None
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise click.BadParameter(f"unknown time zone {value!r}") from error


@click.command("import")
@dsn_option
@json_option
@tenant_option
@click.option(
    "--format", "form", type=click.Choice(["ndjson", "csv", "segment"]),
    help="ndjson: as POST /events takes events, one a line; csv: names of fields and properties in "
    "its first line; segment: Segment's messages, one a line. By the file's name if absent.",
)  # fmt: skip
@click.option("--time-zone", callback=_zone, help="Of times without an offset in CSV files.")
@click.option(
    "--numbers", default="", metavar="COLUMN,...",
    help="Columns of a CSV file that hold numbers; other properties are texts, which > and < do "
    "not compare with numbers.",
)  # fmt: skip
@click.option("--from-line", default=1, help="Where to go on after an interruption.")
@click.option("--bad-lines", type=click.File("wb"), help="A file for the lines that are no events.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True), default="-")
def import_command(
    dsn: str,
    as_json: bool,
    tenant: str,
    form: transfer.Format | None,
    time_zone: ZoneInfo | None,
    numbers: str,
    from_line: int,
    bad_lines: io.BufferedWriter | None,
    file: str,
) -> None:
    """Import events from a file or standard input, also gzip.

    Importing a file twice adds nothing. Bad lines are listed with their numbers and left out; then
    the exit code is 1. Each event needs a time: occurredAt, or an id that is a UUIDv7.
    """
    from pgtally.cli import transfer

    form = form or transfer.guess_format(file)
    columns = [name.strip() for name in numbers.split(",") if name.strip()]
    if columns and form != "csv":
        raise click.UsageError("--numbers is for CSV files: JSON says itself what is a number")
    with connect(dsn) as connection:
        found = tenant_id(connection, tenant)
    source = Source(file)
    lines = transfer.read_lines(transfer.open_input(source.raw), form, time_zone, columns)
    result = run_import(dsn, found, source, lines, form, from_line, bad_lines)
    if as_json:
        show_one(msgspec.structs.asdict(result), True)
    else:
        click.echo(f"{result.accepted:,} new, {result.duplicates:,} duplicates, {result.bad:,} bad")
    sys.exit(1 if result.bad else 0)


class Source:
    """A file that is imported, or standard input, whose size is not known."""

    def __init__(self, file: str) -> None:
        self.raw: Any = sys.stdin.buffer if file == "-" else Path(file).open("rb")  # noqa: SIM115
        self.size = None if file == "-" else Path(file).stat().st_size


def run_import(
    dsn: str,
    tenant: UUID,
    source: Source,
    lines: Iterable[tuple[int, bytes]],
    form: transfer.Format = "ndjson",
    from_line: int = 1,
    bad_lines: io.BufferedWriter | None = None,
    again: str = "go on with --from-line {line}",
) -> transfer.ImportResult:
    """Imports lines and tells how far it is. What ends it ends the command."""
    from pgtally.cli import transfer

    result = transfer.ImportResult(line=from_line - 1)
    size = source.size
    with progress_bar() as bar:
        task = bar.add_task("lines", total=size)

        def bad(one: transfer.BadLine) -> None:
            click.echo(f"line {one.line}: {one.detail}", err=True)
            if bad_lines:
                bad_lines.write(one.content + b"\n")

        started = time.monotonic()
        told = started

        def progress(now: transfer.ImportResult) -> None:
            nonlocal told
            done = source.raw.tell() if size else 0
            bar.update(task, completed=done, description=f"{now.line:,} lines")
            if bar.disable and time.monotonic() - told > 5:
                told = time.monotonic()
                rate = (now.accepted + now.duplicates) / (told - started)
                left = (
                    f", {(told - started) * (size - done) / done:.0f} s left"
                    if size and done
                    else ""
                )
                click.echo(f"{now.line:,} lines, {rate:,.0f} events/s{left}", err=True)

        try:
            transfer.import_events(
                lambda: psycopg.connect(dsn, autocommit=True, application_name="pgtally import"),
                tenant, lines, form, from_line, bad, result, progress,
            )  # fmt: skip
        except (psycopg.Error, KeyboardInterrupt, OSError, EOFError, transfer.NoColumn) as error:
            text = (
                explain(error) if isinstance(error, psycopg.Error) else str(error) or "interrupted"
            )
            raise click.ClickException(
                f"{text}\n{result.accepted:,} events are stored; "
                + again.format(line=result.line + 1)
            ) from error
    return result


@click.command("export")
@dsn_option
@tenant_option
@click.option("--from", "start", default="-infinity", help="A date or a time; all if absent.")
@click.option("--to", "end", default="infinity", help="The first moment after the range.")
@click.option("--time-zone", default="", help="Of dates; the tenant's own if absent.")
@click.option("--format", "form", type=click.Choice(["ndjson", "csv"]), help="By the file's name.")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True), default="-")
def export_command(
    dsn: str,
    tenant: str,
    start: str,
    end: str,
    time_zone: str,
    form: transfer.Format | None,
    file: str,
) -> None:
    """Export raw events, oldest first, to a file or standard output; gzip if the name ends in .gz.

    `pgtally import` takes what this writes.
    """
    from pgtally.cli import transfer

    form = form or transfer.guess_format(file)
    with contextlib.ExitStack() as stack:
        target: Any = sys.stdout.buffer
        if file != "-":
            opened: Any = gzip.open if file.endswith(".gz") else open
            target = stack.enter_context(opened(file, "wb"))
        connection = stack.enter_context(connect(dsn))
        found = tenant_id(connection, tenant)
        plain = stack.enter_context(psycopg.connect(dsn, autocommit=True))
        count = transfer.export_events(plain, found, start, end, time_zone, target.write, form)
    click.echo(f"{count:,} events", err=True)
