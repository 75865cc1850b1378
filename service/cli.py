"""The command pgtally."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

import psycopg
import rich_click as click
from granian.constants import Interfaces
from granian.server import Server
from rich.progress import Progress

from service import admin, decoding, load, problems, settings
from service.cluster import Cluster, ClusterError
from service.console import dsn_option
from service.demo import DemoError
from service.migrate import MigrationError, migrate
from service.run import only_one, run


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
def migrate_command(dsn: str) -> None:
    """Bring a database up to date: migrations, functions, jobs."""
    try:
        migrate(dsn, click.echo)
    except (MigrationError, psycopg.OperationalError) as error:
        raise click.ClickException(str(error)) from error


@cli.command("init")
@dsn_option
def init_command(dsn: str) -> None:
    """Migrate, and make an admin key, which is shown this once."""
    try:
        migrate(dsn, lambda text: click.echo(text, err=True))
    except (MigrationError, psycopg.OperationalError) as error:
        raise click.ClickException(str(error)) from error
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(
            "select api_key from tally.admin_key_create('pgtally init')"
        ).fetchone()
    click.echo(row[0] if row else "")


@cli.command("serve")
def serve_command() -> None:
    """Serve HTTP. Settings come from PGTALLY_* variables; see docs/configuration.md."""
    try:
        config = settings.load()
    except settings.SettingsError as error:
        raise click.ClickException(str(error)) from error
    Server(
        "service.app:from_environment",
        factory=True,
        interface=Interfaces.ASGI,
        address=config.host,
        port=config.port,
        workers=config.workers,
        workers_kill_timeout=15,
        log_access=False,
        backlog=1024,
    ).serve()


@cli.command("import")
@dsn_option
@click.option("--tenant", required=True, type=click.UUID, help="The tenant's id.")
@click.argument("file", type=click.File("rb"), default="-")
def import_command(dsn: str, tenant: UUID, file: BinaryIO) -> None:
    """Import events from NDJSON, one a line, as POST /events takes them.

    Loading a file twice adds nothing if its events have ids. Bad lines are listed and left out;
    then the exit code is 1.
    """
    bad = 0

    def rows(connection: psycopg.Connection[Any]) -> Iterator[tuple[Any, ...]]:
        nonlocal bad
        number = 0
        while lines := file.readlines(4_000_000):
            batch = decoding.decode_events(
                [line.strip() or b"{}" for line in lines], decoding.utc_now()
            )
            for error in batch.errors:
                bad += 1
                place = f"line {number + (error.index or 0) + 1}{error.pointer or ''}"
                click.echo(f"{place}: {error.detail}", err=True)
            number += len(lines)
            load.make_partitions(connection, load.full_weeks(batch.occurred_at))
            yield from zip(
                batch.occurred_at, batch.event_id, batch.event_type, batch.value, batch.actor_id,
                batch.session_id, (data.obj for data in batch.data), strict=True,
            )  # fmt: skip
            click.echo(f"{number:,} lines read", err=True)

    with psycopg.connect(dsn, autocommit=True) as connection:
        try:
            accepted, duplicates = load.load(
                connection, tenant, rows(connection), lambda count: None
            )
        except psycopg.Error as error:
            problem = problems.of_database_error(error)
            details = "".join(f"\n  event {e.index}: {e.detail}" for e in problem.errors[:20])
            raise click.ClickException(problem.detail + details) from error
    click.echo(f"{accepted:,} new, {duplicates:,} duplicates, {bad:,} bad")
    sys.exit(1 if bad else 0)


@cli.command("rebuild")
@dsn_option
@click.argument("tenant", type=click.UUID)
@click.option("--from", "start", default="-infinity", help="A time; everything if absent.")
@click.option("--to", "end", default="infinity", help="A time; up to now if absent.")
def rebuild_command(dsn: str, tenant: UUID, start: str, end: str) -> None:
    """Recompute a tenant's summaries from its raw events, a day a transaction."""
    with psycopg.connect(dsn, autocommit=True) as connection, Progress() as progress:
        bar = progress.add_task("days", total=None)

        def advance(notice: psycopg.errors.Diagnostic) -> None:
            if found := re.fullmatch(r"rebuilt (\d+) of (\d+) days", notice.message_primary or ""):
                progress.update(bar, completed=int(found[1]), total=int(found[2]))

        connection.add_notice_handler(advance)
        try:
            row = connection.execute(
                "call tally.rebuild(%s::uuid, %s::timestamptz, %s::timestamptz)",
                (tenant, start, end),
            ).fetchone()
        except psycopg.Error as error:
            raise click.ClickException(problems.of_database_error(error).detail) from error
    days, changed = row if row else (0, 0)
    click.echo(f"{days:,} days, {changed:,} rows changed")


@cli.command("verify")
@dsn_option
@click.argument("tenant", type=click.UUID, required=False)
def verify_command(dsn: str, tenant: UUID | None) -> None:
    """Compare summaries with raw events, of one tenant or all; exit code 1 if any differ."""
    differences = 0
    with psycopg.connect(dsn, autocommit=True) as connection, Progress() as progress:
        tenants = [tenant] if tenant else [
            found for (found,) in connection.execute("select tenant_id from tally.tenants")
        ]  # fmt: skip
        for one in progress.track(tenants, description="tenants"):
            try:
                rows = connection.execute("select * from tally.verify(%s)", (one,)).fetchall()
            except psycopg.Error as error:
                raise click.ClickException(problems.of_database_error(error).detail) from error
            for row in rows:
                differences += 1
                progress.console.print(one, *row)
    click.echo(f"{len(tenants):,} tenants, {differences:,} differences")
    sys.exit(1 if differences else 0)


@cli.command("doctor")
@dsn_option
def doctor_command(dsn: str) -> None:
    """Check jobs, backlog, partitions, extensions, roles, policies; exit code 1 if any is wrong."""
    wrong = 0
    with psycopg.connect(dsn, autocommit=True) as connection:
        for name, status, message, remedy in connection.execute("select * from tally.doctor()"):
            wrong += status != "ok"
            click.echo(
                f"{status:8} {name}: {message}" + (f"\n         run: {remedy}" if remedy else "")
            )
    sys.exit(1 if wrong else 0)


def main() -> None:
    """The entry point: what the database refuses is said in a line, not in a traceback."""
    try:
        cli()
    except psycopg.Error as error:
        click.echo(f"Error: {str(error).splitlines()[0] if str(error) else error!r}", err=True)
        if error.sqlstate in ("42P01", "3F000"):
            click.echo("This database has no pgtally, or an older one: pgtally migrate", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
