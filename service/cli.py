"""The command pgtally."""

import contextlib
import gzip
import io
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import psycopg
import rich_click as click
from click.shell_completion import get_completion_class
from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.server import Server
from rich.progress import Progress

from service import admin, settings, transfer
from service.cluster import Cluster, ClusterError
from service.console import (
    all_tenants,
    call,
    connect,
    dsn_option,
    explain,
    json_option,
    show,
    show_one,
    tenant_id,
)
from service.demo import DemoError
from service.metrics import MULTIPROCESS
from service.migrate import MigrationError, migrate
from service.run import only_one, run

tenant_option = click.option("--tenant", required=True, help="The id or the name of the tenant.")


def _home() -> Path:
    root = Path(__file__).resolve().parent.parent
    return Path(os.environ.get("PGTALLY_HOME") or root / ".pgtally").resolve()


def _port() -> int:
    text = os.environ.get("PGTALLY_PORT", "8000")
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise click.ClickException(f"PGTALLY_PORT={text!r}: expected a port from 1 to 65535")
    return int(text)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Multi-tenant event analytics in PostgreSQL."""


for group in (admin.tenant, admin.key, admin.bi_role):
    cli.add_command(group)


@cli.command("run")
def run_command() -> None:
    """Run everything here: a private PostgreSQL cluster, demo data, the service.

    With PGTALLY_ADMIN_DSN set, that database is used and no cluster is made.
    """
    try:
        sys.exit(run(_home(), _port(), os.environ.get("PGTALLY_ADMIN_DSN")))
    except (ClusterError, DemoError, MigrationError) as error:
        raise click.ClickException(str(error)) from error


@cli.command("remove")
@click.confirmation_option(prompt="Delete the private cluster and all its data?")
def remove_command() -> None:
    """Delete the private cluster that `pgtally run` made, with its data."""
    home = _home()
    try:
        with only_one(home):
            cluster = Cluster(home)
            if cluster.link.is_symlink():
                cluster.remove()
            for name in ("dev.json", "env"):
                (home / name).unlink(missing_ok=True)
    except ClusterError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"removed the cluster of {home}")


@cli.command("migrate")
@dsn_option
@json_option
def migrate_command(dsn: str, as_json: bool) -> None:
    """Bring a database up to date: migrations, functions, jobs."""
    _migrate(dsn, as_json)


def _migrate(dsn: str, quiet: bool) -> None:
    said: list[str] = []
    try:
        migrate(dsn, said.append if quiet else click.echo)
    except (MigrationError, psycopg.OperationalError) as error:
        raise click.ClickException(str(error)) from error
    if quiet:
        show_one({"done": said}, True)


@cli.command("init")
@dsn_option
@json_option
def init_command(dsn: str, as_json: bool) -> None:
    """Migrate, and make an admin key, which is shown this once."""
    try:
        migrate(dsn, lambda text: click.echo(text, err=True))
    except (MigrationError, psycopg.OperationalError) as error:
        raise click.ClickException(str(error)) from error
    with connect(dsn) as connection:
        (made,) = call(
            connection,
            "select key_id, api_key from tally.admin_key_create('pgtally init')",
        )
    show_one(made, as_json)


def _settings() -> settings.Settings:
    try:
        return settings.load()
    except settings.SettingsError as error:
        raise click.ClickException(str(error)) from error


@cli.command("config")
@json_option
def config_command(as_json: bool) -> None:
    """Print the settings in force and where each comes from, without secrets."""
    try:
        found = settings.in_force()
    except settings.SettingsError as error:
        raise click.ClickException(str(error)) from error
    show([one._asdict() for one in found], as_json)


@cli.command("serve")
def serve_command() -> None:
    """Serve HTTP. Settings come from PGTALLY_* variables or a file; see docs/configuration.md."""
    config = _settings()
    if config.workers > 1 and MULTIPROCESS not in os.environ:
        # The processes add up their figures in files of this folder; the library looks for it when
        # it is imported, so begin anew.
        os.environ[MULTIPROCESS] = tempfile.mkdtemp(prefix="pgtally-metrics-")
        os.execv(sys.executable, [sys.executable, "-m", "service.cli", "serve"])  # noqa: S606
    Server(
        "service.app:from_environment",
        factory=True,
        interface=Interfaces.ASGI,
        address=config.host,
        port=config.port,
        workers=config.workers,
        workers_kill_timeout=15,
        http1_settings=HTTP1Settings(header_read_timeout=config.request_timeout_ms),
        log_access=False,
        backlog=1024,
    ).serve()
    if MULTIPROCESS in os.environ:
        shutil.rmtree(os.environ[MULTIPROCESS], ignore_errors=True)


@cli.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the completion script of a shell: `eval "$(pgtally completion bash)"`."""
    found = get_completion_class(shell)
    if found is None:
        raise click.ClickException(f"no completion for {shell}")
    click.echo(found(cli, {}, "pgtally", "_PGTALLY_COMPLETE").source())


def _zone(_: Any, __: Any, value: str | None) -> ZoneInfo | None:
    try:
        return ZoneInfo(value) if value else None
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise click.BadParameter(f"unknown time zone {value!r}") from error


@cli.command("import")
@dsn_option
@json_option
@tenant_option
@click.option(
    "--format", "form", type=click.Choice(["ndjson", "csv", "segment"]),
    help="ndjson: as POST /events takes events, one a line; csv: names of fields and properties in "
    "its first line; segment: Segment's messages, one a line. By the file's name if absent.",
)  # fmt: skip
@click.option("--time-zone", callback=_zone, help="Of times without an offset in CSV files.")
@click.option("--from-line", default=1, help="Where to go on after an interruption.")
@click.option("--bad-lines", type=click.File("wb"), help="A file for the lines that are no events.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True), default="-")
def import_command(
    dsn: str,
    as_json: bool,
    tenant: str,
    form: transfer.Format | None,
    time_zone: ZoneInfo | None,
    from_line: int,
    bad_lines: io.BufferedWriter | None,
    file: str,
) -> None:
    """Import events from a file or standard input, also gzip.

    Importing a file twice adds nothing. Bad lines are listed with their numbers and left out; then
    the exit code is 1. Each event needs a time: occurredAt, or an id that is a UUIDv7.
    """
    form = form or transfer.guess_format(file)
    raw: Any = sys.stdin.buffer if file == "-" else Path(file).open("rb")  # noqa: SIM115
    size = None if file == "-" else Path(file).stat().st_size
    result = transfer.ImportResult(line=from_line - 1)
    with Progress(disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("lines", total=size)

        def bad(one: transfer.BadLine) -> None:
            click.echo(f"line {one.line}: {one.detail}", err=True)
            if bad_lines:
                bad_lines.write(one.content + b"\n")

        started = time.monotonic()
        told = started

        def progress(now: transfer.ImportResult) -> None:
            nonlocal told
            done = raw.tell() if size else 0
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
            with connect(dsn) as connection:
                found = tenant_id(connection, tenant)
            lines = transfer.read_lines(transfer.open_input(raw), form, time_zone)
            transfer.import_events(
                lambda: psycopg.connect(dsn, autocommit=True, application_name="pgtally import"),
                found, lines, form, from_line, bad, result, progress,
            )  # fmt: skip
        except (psycopg.Error, KeyboardInterrupt, OSError, EOFError) as error:
            text = (
                explain(error) if isinstance(error, psycopg.Error) else str(error) or "interrupted"
            )
            raise click.ClickException(
                f"{text}\n{result.accepted:,} events are stored; "
                f"go on with --from-line {result.line + 1}"
            ) from error
    if as_json:
        show_one(msgspec.structs.asdict(result), True)
    else:
        click.echo(f"{result.accepted:,} new, {result.duplicates:,} duplicates, {result.bad:,} bad")
    sys.exit(1 if result.bad else 0)


@cli.command("export")
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


@cli.command("rebuild")
@dsn_option
@json_option
@click.argument("tenant")
@click.option("--from", "start", default="-infinity", help="A time; everything if absent.")
@click.option("--to", "end", default="infinity", help="A time; up to now if absent.")
def rebuild_command(dsn: str, as_json: bool, tenant: str, start: str, end: str) -> None:
    """Recompute a tenant's summaries from its raw events, a day a transaction."""
    with connect(dsn) as connection, Progress(disable=as_json) as progress:
        bar = progress.add_task("days", total=None)

        def advance(notice: psycopg.errors.Diagnostic) -> None:
            if found := re.fullmatch(r"rebuilt (\d+) of (\d+) days", notice.message_primary or ""):
                progress.update(bar, completed=int(found[1]), total=int(found[2]))

        connection.add_notice_handler(advance)
        (row,) = call(
            connection,
            "call tally.rebuild(%(tenant)s::uuid, %(start)s::timestamptz, %(end)s::timestamptz)",
            tenant=tenant_id(connection, tenant), start=start, end=end,
        )  # fmt: skip
    show_one(row, as_json)


@cli.command("verify")
@dsn_option
@json_option
@click.argument("tenant", required=False)
def verify_command(dsn: str, as_json: bool, tenant: str | None) -> None:
    """Compare summaries with raw events, of one tenant or all; exit code 1 if any differ."""
    with connect(dsn) as connection, Progress(disable=as_json) as progress:
        tenants: list[UUID] = [tenant_id(connection, tenant)] if tenant else all_tenants(connection)
        differences = [
            {"tenant_id": one, **row}
            for one in progress.track(tenants, description="tenants")
            for row in call(connection, "select * from tally.verify(%(tenant)s)", tenant=one)
        ]
    if differences or as_json:
        show(differences, as_json)
    if not as_json:
        click.echo(f"{len(tenants):,} tenants, {len(differences):,} differences")
    sys.exit(1 if differences else 0)


@cli.command("doctor")
@dsn_option
@json_option
def doctor_command(dsn: str, as_json: bool) -> None:
    """Check jobs, backlog, partitions, extensions, roles, policies; exit code 1 if any is wrong."""
    with connect(dsn) as connection:
        rows = call(connection, "select * from tally.doctor()")
    if as_json:
        show(rows, True)
    else:
        for row in rows:
            remedy = f"\n         run: {row['remedy']}" if row["remedy"] else ""
            click.echo(f"{row['status']:8} {row['check_name']}: {row['message']}{remedy}")
    sys.exit(1 if any(row["status"] != "ok" for row in rows) else 0)


@cli.command("bench")
@click.option("--dsn", help="A superuser's connection; a private cluster if absent.")
@json_option
@click.option(
    "--size", type=click.Choice(["quick", "standard", "full"]), default="standard",
    help="quick: two minutes, to try it; standard: ten; full, to 50 million events: half an hour.",
)  # fmt: skip
@click.option(
    "--output", default=".", type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder for RESULTS.md and its pictures.",
)  # fmt: skip
def bench_command(
    dsn: str | None, as_json: bool, size: Literal["quick", "standard", "full"], output: Path
) -> None:
    """Measure ingest, reads, jobs and footprint beside what one would do without pgtally.

    In a database of its own, which is dropped at the end.
    """
    try:
        from bench.suite import run as run_bench
    except ImportError as error:
        raise click.ClickException(
            f"{error}; the pictures need it: pip install 'pgtally[bench]'"
        ) from error
    try:
        results = run_bench(dsn, size, output)
    except (ClusterError, MigrationError, psycopg.Error) as error:
        text = explain(error) if isinstance(error, psycopg.Error) else str(error)
        raise click.ClickException(text) from error
    show_one({"results": str(results)}, as_json)


def main() -> None:
    """The entry point."""
    cli()


if __name__ == "__main__":
    main()
