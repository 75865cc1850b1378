"""Brings a database up to date: migrations, then functions, then jobs."""

import contextlib
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

from pgtally.preflight import prepare
from pgtally.resources import folder

LOCK = 7_463_298_455_901  # any constant; held while a database is migrated
FINGERPRINT = "Loaded from sql/functions and sql/jobs, fingerprint "
SETUP = """
  select *
  from tally.database_setup() as undone
"""
MAINTAIN = """
  call tally.maintain()
"""


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


def sql_files(name: str) -> list[Path]:
    """The files of a folder of sql/ and its sub-folders, in the order of their names."""
    found = sorted((folder("sql") / name).rglob("*.sql"), key=lambda path: path.name)
    if not found:
        raise MigrationError(f"no SQL files in {folder('sql') / name}: the installation is broken")
    return found


def _read_migrations() -> yoyo.migrations.MigrationList:
    migrations = yoyo.read_migrations(str(folder("migrations")))
    if not migrations:
        raise MigrationError(f"no migrations in {folder('migrations')}: the installation is broken")
    return migrations


def _sha256(migration: Any) -> str:
    return hashlib.sha256(Path(migration.path).read_bytes()).hexdigest()


def _recorded(connection: psycopg.Connection[Any]) -> dict[str, str | None]:
    """The migrations that have recorded themselves, each with its sha256 once that is known."""
    row = connection.execute("select to_regclass('tally.schema_migrations')").fetchone()
    if row is None or row[0] is None:
        return {}
    found = connection.execute("select migration_id, sha256 from tally.schema_migrations")
    return dict(found.fetchall())


def _check_unchanged(
    migrations: yoyo.migrations.MigrationList, recorded: dict[str, str | None]
) -> None:
    """Raises MigrationError for a migration whose text is not what was applied, or is unknown."""
    texts = {migration.id: _sha256(migration) for migration in migrations}
    newer = sorted(recorded.keys() - texts.keys())
    if newer:
        raise MigrationError(
            f"the database has migrations that this version does not know: {', '.join(newer)}. "
            "Install the version of pgtally that made them, or a newer one."
        )
    changed = sorted(name for name, sha256 in recorded.items() if sha256 not in (None, texts[name]))
    if changed:
        raise MigrationError(
            f"the text of these migrations has changed since they were applied: "
            f"{', '.join(changed)}. Migrations are never edited; install the version of pgtally "
            "that made this database, or a newer one."
        )


def _apply_migrations(
    connection: psycopg.Connection[Any], dsn: str, say: Callable[[str], None]
) -> bool:
    """Says whether there was anything to apply."""
    migrations = _read_migrations()
    recorded = _recorded(connection)
    _check_unchanged(migrations, recorded)
    backend = yoyo.get_backend(_yoyo_url(dsn))
    try:
        waiting = backend.to_apply(migrations)
        for migration in waiting:
            if migration.id in recorded:
                # A run was cut off between the migration's commit and its mark.
                backend.mark_one(migration)
                say(f"marked migration {migration.id}, which an interrupted run had applied")
            else:
                backend.apply_one(migration)
                say(f"applied migration {migration.id}")
    finally:
        backend.connection.close()
    for migration in migrations:
        connection.execute(
            "update tally.schema_migrations set sha256 = %s "
            "where migration_id = %s and sha256 is null",
            (_sha256(migration), migration.id),
        )
    return len(waiting) > 0


def _has_cron(connection: psycopg.Connection[Any]) -> bool:
    # Who may not read the setting goes by the extension, which exists in that database only.
    row = connection.execute(
        """
        select case
          when pg_has_role('pg_read_all_settings', 'usage')
            then current_setting('cron.database_name', true) = current_database()
          else exists (select from pg_extension where extname = 'pg_cron')
        end
        """
    ).fetchone()
    return bool(row and row[0])


def _routines(connection: psycopg.Connection[Any]) -> dict[str, dict[int, str]]:
    """The routines of our schemas: name -> oid -> what to drop."""
    found: dict[str, dict[int, str]] = {}
    for name, oid, routine in connection.execute(
        """
        select p.proname, p.oid, 'routine ' || p.oid::regprocedure::text
        from pg_proc as p
        where p.pronamespace in ('api'::regnamespace, 'bi'::regnamespace, 'tally'::regnamespace)
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


UNSCHEDULE = """
  select cron.unschedule(jobid)
  from cron.job
  where jobname like 'pgtally %' and database = current_database()
"""


def _schedule(connection: psycopg.Connection[Any], jobs: list[Path]) -> None:
    connection.execute("create extension if not exists pg_cron")
    connection.execute(UNSCHEDULE)
    connection.execute(
        "do $$ begin if not has_schema_privilege('tally_jobs', 'cron', 'usage') then "
        "grant usage on schema cron to tally_jobs; end if; end $$"
    )
    # Only a superuser schedules jobs for others, so tally_jobs schedules its own.
    connection.execute("set local role tally_jobs")
    connection.execute(UNSCHEDULE)
    for path in jobs:
        connection.execute(path.read_bytes())
    connection.execute("reset role")


def _load_functions(connection: psycopg.Connection[Any], say: Callable[[str], None]) -> None:
    functions, jobs = sql_files("functions"), sql_files("jobs")
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
    schema = "".join(path.read_text() for path in sql_files("schema"))
    kept = set(re.findall(r"^create function tally\.(\w+)", schema, re.MULTILINE))
    with connection.transaction():
        connection.execute("set local check_function_bodies = off")
        connection.execute("set local client_min_messages = warning")
        stale = _routines(connection)
        # Whom a function is given to must be allowed to create it, unless a superuser gives it.
        connection.execute("grant create on schema api to tally_tenant")
        for path in functions:
            _load_function(connection, path, stale.pop(path.stem, {}))
        for name in stale.keys() - kept:
            _drop(connection, stale[name].values())
        connection.execute("revoke create on schema api from tally_tenant")
        if cron:
            _schedule(connection, jobs)
        connection.execute(sql.SQL("comment on schema api is {}").format(comment))
    say(f"loaded {len(functions)} functions")
    if cron:
        say(f"scheduled {len(jobs)} jobs")
    else:
        say(
            "scheduled no jobs: pg_cron does not run in this database. Set cron.database_name to "
            "it and migrate again, or keep `pgtally jobs` running, which does the same"
        )


def _analyze(connection: psycopg.Connection[Any]) -> None:
    """Plans want statistics, which a new table or column does not have yet."""
    for (table,) in connection.execute(
        """
        select format('tally.%I', c.relname) from pg_class as c
        where c.relnamespace = 'tally'::regnamespace and c.relkind in ('r', 'p')
          and not c.relispartition
        """
    ).fetchall():
        connection.execute(f"analyze {table}".encode())


def migrate(dsn: str, say: Callable[[str], None] = print) -> None:
    """Brings a database up to date, as a superuser or as a login that has what pgtally.preflight
    asks for. At most one at a time; others wait.

    Raises MigrationError, with what the database said if it refused something.
    """
    try:
        with psycopg.connect(
            dsn, autocommit=True, application_name="pgtally migrate"
        ) as connection:
            row = connection.execute("select current_setting('server_version_num')::int").fetchone()
            if row and int(row[0] or 0) < 150_000:
                raise MigrationError("pgtally needs PostgreSQL 15 or newer")
            # Who may not take it learns that from prepare.
            with contextlib.suppress(psycopg.errors.InsufficientPrivilege):
                connection.execute("select pg_advisory_lock(%s)", (LOCK,))
            missing = prepare(connection)
            if missing:
                raise MigrationError(
                    "this login lacks what an administrator can give it:\n"
                    + "\n".join(f"  {right.problem}\n    {right.statement};" for right in missing)
                )
            applied = _apply_migrations(connection, dsn, say)
            _load_functions(connection, say)
            undone = connection.execute(SETUP).fetchall()
            connection.execute(MAINTAIN)
            if applied:
                _analyze(connection)
            if undone:
                say(
                    f"{len(undone)} settings are left to an administrator: "
                    "`pgtally doctor` says which"
                )
    except psycopg.Error as error:
        text = str(error).strip() or repr(error)
        raise MigrationError(f"the database refused a step of the migration: {text}") from error
