"""Commands that install and run: run, remove, init, migrate, serve, config, jobs."""

import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import rich_click as click

from pgtally import resources, settings
from pgtally.cli.console import call, connect, dsn_option, json_option, progress, show, show_one

# What a process needs besides clients' connections: those to the database, logs, libraries.
OWN_FILES = 256
BACKLOG = 4096
MAX_HEAD_BYTES = 32 * 1024
FIRST_KEY = """
  select key_id, api_key
  from tally.installation_key_create(p_name => %(name)s::text)
"""


def _home() -> Path:
    """Where `run` keeps its cluster: in a checkout in .pgtally, else in the user's home."""
    default = (
        resources.CHECKOUT / ".pgtally" if resources.is_checkout()
        else Path.home() / ".local" / "share" / "pgtally"
    )  # fmt: skip
    return Path(os.environ.get("PGTALLY_HOME") or default).resolve()


def _port() -> int:
    text = os.environ.get("PGTALLY_PORT", "8000")
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise click.ClickException(f"PGTALLY_PORT={text!r}: expected a port from 1 to 65535")
    return int(text)


def _other_database(home: Path) -> str | None:
    """The database of PGTALLY_ADMIN_DSN, unless that is the cluster kept here: a shell that read
    `.pgtally/env` may run it again."""
    from pgtally.dev.run import installation

    dsn = os.environ.get("PGTALLY_ADMIN_DSN")
    is_own = (home / "cluster").is_symlink() and dsn == installation(home).get("dsn")
    return None if is_own else dsn


@click.command("run")
def run_command() -> None:
    """Run everything here: a private PostgreSQL cluster, demo data, the service.

    With PGTALLY_ADMIN_DSN set, that database is used and no cluster is made.
    """
    from pgtally.dev.cluster import ClusterError
    from pgtally.dev.demo import DemoError
    from pgtally.dev.run import run
    from pgtally.migrate import MigrationError

    try:
        sys.exit(run(_home(), _port(), _other_database(_home())))
    except (ClusterError, DemoError, MigrationError) as error:
        raise click.ClickException(str(error)) from error


@click.command("remove")
@click.confirmation_option(prompt="Delete the private cluster and all its data?")
def remove_command() -> None:
    """Delete the private cluster that `pgtally run` made, with its data."""
    from pgtally.dev.cluster import Cluster, ClusterError
    from pgtally.dev.run import only_one

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


@click.command("migrate")
@dsn_option
@json_option
def migrate_command(dsn: str, as_json: bool) -> None:
    """Bring a database up to date: migrations, functions, jobs."""
    said: list[str] = []
    _migrate(dsn, said.append if as_json else click.echo)
    if as_json:
        show_one({"done": said}, True)


@click.command("init")
@dsn_option
@json_option
def init_command(dsn: str, as_json: bool) -> None:
    """Migrate, and make a key of the installation, which is shown this once."""
    _migrate(dsn, progress)
    with connect(dsn) as connection:
        (made,) = call(connection, FIRST_KEY, name="pgtally init")
    show_one(made, as_json)


def _migrate(dsn: str, say: Callable[[str], None]) -> None:
    from pgtally.migrate import MigrationError, migrate

    try:
        migrate(dsn, say)
    except MigrationError as error:
        raise click.ClickException(str(error)) from error


def _settings() -> settings.Settings:
    try:
        return settings.load()
    except settings.SettingsError as error:
        raise click.ClickException(str(error)) from error


@click.command("config")
@json_option
def config_command(as_json: bool) -> None:
    """Print the settings in force and where each comes from, without secrets."""
    try:
        found = settings.in_force()
    except settings.SettingsError as error:
        raise click.ClickException(str(error)) from error
    show([one._asdict() for one in found], as_json)


@click.command("serve")
def serve_command() -> None:
    """Serve HTTP. Settings come from PGTALLY_* variables or a file; see docs/configuration.md."""
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.server import Server

    from pgtally.metrics import MULTIPROCESS

    config = _settings()
    if config.workers > 1 and MULTIPROCESS not in os.environ:
        # The processes add up their figures in files of this folder; the library looks for it when
        # it is imported, so begin anew.
        os.environ[MULTIPROCESS] = tempfile.mkdtemp(prefix="pgtally-metrics-")
        os.execv(sys.executable, [sys.executable, "-m", "pgtally", "serve"])  # noqa: S606
    Server(
        "pgtally.app:from_environment",
        factory=True,
        interface=Interfaces.ASGI,
        address=config.host,
        port=config.port,
        workers=config.workers,
        workers_kill_timeout=15,
        respawn_failed_workers=True,
        # Where it may be HTTP/2 too, the time for a head begins with its first byte, so whoever
        # sends nothing holds a connection for ever.
        http=HTTPModes.http1,
        websockets=False,
        http1_settings=HTTP1Settings(
            header_read_timeout=config.head_timeout_ms,
            # A connection keeps as much as its largest head took: 44 KB, of the default 443 KB.
            max_buffer_size=MAX_HEAD_BYTES,
        ),
        log_access=False,
        backlog=BACKLOG,
        backpressure=connections_of_a_worker(config.connections),
    ).serve()
    if MULTIPROCESS in os.environ:
        shutil.rmtree(os.environ[MULTIPROCESS], ignore_errors=True)


def connections_of_a_worker(wanted: int) -> int:
    """How many connections a worker takes at a time: as many as its limit of open files leaves,
    since a server that runs out of those spins."""
    # Importing the server has raised the soft limit to the hard one.
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    possible = wanted if files == resource.RLIM_INFINITY else max(16, files - OWN_FILES)
    if possible < wanted:
        progress(
            f"the limit of {files:,} open files leaves {possible:,} of the {wanted:,} connections "
            "of PGTALLY_CONNECTIONS; raise it with ulimit -n or LimitNOFILE"
        )
    return min(wanted, possible)


@click.command("jobs")
@dsn_option
def jobs_command(dsn: str) -> None:
    """Run the jobs on their schedule, in the foreground, for servers without pg_cron."""
    from pgtally.jobs import run_jobs

    try:
        run_jobs(dsn, progress)
    except KeyboardInterrupt:
        progress("stopping")
