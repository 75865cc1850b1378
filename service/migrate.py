"""Brings a database up to date: migrations, then functions, then jobs."""

import hashlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
import yoyo
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

ROOT = Path(__file__).resolve().parent.parent
LOCK = 7_463_298_455_901  # any constant; held while a database is migrated
FINGERPRINT = "Loaded from sql/functions and sql/jobs, fingerprint "


class MigrationError(Exception):
    """The database cannot be migrated; the message says why and what to do."""


def _yoyo_url(dsn: str) -> str:
    parts = {key: str(value) for key, value in conninfo_to_dict(dsn).items() if value is not None}
    host = parts.pop("host", "")
    user = quote(parts.pop("user", "postgres"), safe="")
    password = parts.pop("password", "")
    credentials = user + (":" + quote(password, safe="") if password else "")
    port = parts.pop("port", "")
    database = quote(parts.pop("dbname", "postgres"), safe="")
    if host.startswith("/"):
        parts["host"] = host
        host = ""
        if port:
            parts["port"] = port
            port = ""
    address = f"{host}:{port}" if port else host
    query = f"?{urlencode(parts)}" if parts else ""
    return f"postgresql+psycopg://{credentials}@{address}/{database}{query}"


def _files(folder: str) -> list[Path]:
    found = sorted((ROOT / "sql" / folder).glob("*.sql"))
    if not found:
        raise MigrationError(f"no SQL files in {ROOT / 'sql' / folder}: the installation is broken")
    return found


def _read_migrations() -> yoyo.migrations.MigrationList:
    migrations = yoyo.read_migrations(str(ROOT / "migrations"))
    if not migrations:
        raise MigrationError(f"no migrations in {ROOT / 'migrations'}: the installation is broken")
    return migrations


def _recorded(dsn: str) -> set[str]:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("select to_regclass('tally.schema_migrations')").fetchone()
        if row is None or row[0] is None:
            return set()
        return {
            name
            for (name,) in connection.execute("select migration_id from tally.schema_migrations")
        }


def _apply_migrations(dsn: str, say: Callable[[str], None]) -> None:
    migrations = _read_migrations()
    backend = yoyo.get_backend(_yoyo_url(dsn))
    try:
        known = {migration.id for migration in migrations}
        newer = sorted(set(backend.get_applied_migration_hashes()) - {m.hash for m in migrations})
        if newer:
            with backend.transaction():
                applied = {
                    row[0] for row in backend.execute("select migration_id from _yoyo_migration")
                }
            names = ", ".join(sorted(applied - known))
            raise MigrationError(
                f"the database has migrations that this version does not know: {names}. "
                "Install the version of pgtally that made them, or a newer one."
            )
        for migration in backend.to_apply(migrations):
            if migration.id in _recorded(dsn):
                # A run was cut off between the migration's commit and its mark.
                backend.mark_one(migration)
                say(f"marked migration {migration.id}, which an interrupted run had applied")
            else:
                backend.apply_one(migration)
                say(f"applied migration {migration.id}")
    finally:
        backend.connection.close()


def _has_cron(connection: psycopg.Connection[Any]) -> bool:
    row = connection.execute(
        "select current_setting('cron.database_name', true) = current_database()"
    ).fetchone()
    return bool(row and row[0])


def _routines(connection: psycopg.Connection[Any]) -> dict[str, dict[int, str]]:
    """The routines of our schemas: name -> oid -> what to drop."""
    found: dict[str, dict[int, str]] = {}
    for name, oid, routine in connection.execute(
        """
        select p.proname, p.oid, 'routine ' || p.oid::regprocedure::text
        from pg_proc as p
        where p.pronamespace in ('api'::regnamespace, 'tally'::regnamespace)
        """
    ):
        found.setdefault(name, {})[oid] = routine
    return found


def _drop(connection: psycopg.Connection[Any], routines: Iterable[str]) -> None:
    for routine in routines:
        connection.execute(f"drop {routine}".encode())


def _load_function(connection: psycopg.Connection[Any], path: Path, before: dict[int, str]) -> None:
    """Replaces a function in place, so that calls which are under way still find it; where its
    arguments or its result have changed, the old one is dropped."""
    text = re.sub(
        r"^create (function|procedure) ", r"create or replace \1 ", path.read_text(), flags=re.M
    ).encode()
    if before:
        try:
            with connection.transaction():
                connection.execute(text)
                if _routines(connection)[path.stem].keys() == before.keys():
                    return
                raise psycopg.errors.InvalidFunctionDefinition
        except (psycopg.errors.InvalidFunctionDefinition, psycopg.errors.AmbiguousFunction):
            _drop(connection, before.values())
    connection.execute(text)


def _load_functions(connection: psycopg.Connection[Any], say: Callable[[str], None]) -> None:
    functions, jobs = _files("functions"), _files("jobs")
    cron = _has_cron(connection)
    digest = hashlib.sha256(str(cron).encode())
    for path in functions + jobs:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    comment = FINGERPRINT + digest.hexdigest()
    row = connection.execute(
        "select obj_description('api'::regnamespace, 'pg_namespace')"
    ).fetchone()
    if row and row[0] == comment:
        say("functions and jobs are up to date")
        return
    # Functions that tables, policies and views need live in sql/schema and stay.
    schema = "".join(path.read_text() for path in _files("schema"))
    kept = set(re.findall(r"^create function tally\.(\w+)", schema, re.MULTILINE))
    with connection.transaction():
        connection.execute("set local check_function_bodies = off")
        connection.execute("set local client_min_messages = warning")
        stale = _routines(connection)
        for path in functions:
            _load_function(connection, path, stale.pop(path.stem, {}))
        for name in stale.keys() - kept:
            _drop(connection, stale[name].values())
        if cron:
            connection.execute("create extension if not exists pg_cron")
            connection.execute(
                "select cron.unschedule(jobid) from cron.job "
                "where jobname like 'pgtally %' and database = current_database()"
            )
            for path in jobs:
                connection.execute(path.read_bytes())
        connection.execute(sql.SQL("comment on schema api is {}").format(comment))
    say(f"loaded {len(functions)} functions")
    if cron:
        say(f"scheduled {len(jobs)} jobs")
    else:
        say(
            "scheduled no jobs: pg_cron does not run in this database. Set cron.database_name to "
            "it and migrate again, or call tally.fold(), tally.finalize('day') and the others in "
            "sql/jobs from another scheduler"
        )


def migrate(dsn: str, say: Callable[[str], None] = print) -> None:
    """Brings the database of a superuser's dsn up to date. At most one at a time; others wait.

    Raises MigrationError, or psycopg.Error if the database cannot be reached.
    """
    with psycopg.connect(dsn, autocommit=True, application_name="pgtally migrate") as connection:
        row = connection.execute("select current_setting('server_version_num')::int").fetchone()
        if row and int(row[0] or 0) < 150_000:
            raise MigrationError("pgtally needs PostgreSQL 15 or newer")
        connection.execute("select pg_advisory_lock(%s)", (LOCK,))
        _apply_migrations(dsn, say)
        _load_functions(connection, say)
        connection.execute("select tally.claim_database()")
        connection.execute("call tally.maintain()")
