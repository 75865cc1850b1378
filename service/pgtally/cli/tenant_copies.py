"""pgtally tenant export, pgtally tenant import: a whole tenant as one file."""

from __future__ import annotations

import gzip
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
import psycopg
import rich_click as click
from psycopg.types.json import Jsonb

from pgtally.cli.console import Row, call, connect, dsn_option, json_option, show_one, tenant_id
from pgtally.cli.events import Source, run_import
from pgtally.cli.meters import CREATE as CREATE_METER
from pgtally.cli.meters import LIST as LIST_METERS
from pgtally.cli.tenants import CREATE, UPDATE

if TYPE_CHECKING:
    from pgtally.endpoints.meters import NewMeter
    from pgtally.endpoints.tenants import Tenant

FIND = """
  select *
  from tally.tenant_import_find(p_name => %(name)s::text, p_source => %(source)s::uuid)
"""
NOTE = """
  select *
  from tally.audit(
    p_action => %(action)s::text,
    p_tenant => %(tenant)s::uuid,
    p_subject => %(subject)s::text,
    p_details => %(details)s::jsonb) as noted
"""


@click.command("export")
@dsn_option
@json_option
@click.argument("tenant")
@click.argument("file", type=click.Path(dir_okay=False))
def export_command(dsn: str, as_json: bool, tenant: str, file: str) -> None:
    """Write a tenant with its settings, meters and raw events to a gzip FILE, of one snapshot.

    `pgtally tenant import` takes it, here or elsewhere. API keys and BI logins are not in it, nor
    figures of days whose raw events retention has removed.
    """
    from pgtally.cli import transfer

    # Whole or not there: what is cut off keeps another name.
    part = Path(file + ".part")
    with connect(dsn) as connection:
        found = tenant_id(connection, tenant)
        with gzip.open(part, "wb") as target, psycopg.connect(dsn, autocommit=True) as plain:
            settings, count = transfer.export_tenant(plain, found, target.write)
    os.replace(part, file)
    if settings.event_retention_days is not None:
        click.echo(
            f"raw events are kept for {settings.event_retention_days:,} days: figures of older "
            "ones are not in the file",
            err=True,
        )
    show_one({"tenant_id": found, "name": settings.name, "events": count}, as_json)


@click.command("import")
@dsn_option
@json_option
@click.option("--name", default="", help="What to call it; as it was called, if absent.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
def import_command(dsn: str, as_json: bool, name: str, file: str) -> None:
    """Make a tenant from a FILE that `pgtally tenant export` wrote, and its first key.

    It has the zone, week start, retention, limits and meters of the original, which a job fills
    (or `meter fill`). Run it again after an interruption: it goes on with the tenant that it made,
    and stores nothing twice.
    """
    from pgtally.cli import transfer

    source = Source(file)
    try:
        found, lines = transfer.read_copy(transfer.open_input(source.raw))
    except (msgspec.DecodeError, OSError, EOFError, UnicodeDecodeError) as error:
        raise click.ClickException(
            f"This is no file of `pgtally tenant export`: {error}\n"
            "Events alone are for `pgtally import`."
        ) from error
    copy = found.settings
    with connect(dsn) as connection:
        made = _find_or_create(connection, copy, name or copy.name)
        tenant = made["tenant_id"]
    result = run_import(dsn, tenant, source, lines, "copy", again="run it again, it goes on")
    with connect(dsn) as connection:
        _create_meters(connection, tenant, found.meters)
        # Now: with its retention, a tenant refuses older events.
        call(
            connection, UPDATE, tenant=tenant, name="",
            event_retention_days=copy.event_retention_days or 0,
            quarter_hour_retention_days=copy.quarter_hour_retention_days or 0,
            rate_limits_per_minute=Jsonb(copy.rate_limits_per_minute),
            quotas=Jsonb(copy.quotas),
        )  # fmt: skip
    counts = msgspec.structs.asdict(result)
    show_one({**made, **{key: counts[key] for key in ("accepted", "duplicates", "bad")}}, as_json)
    sys.exit(1 if result.bad else 0)


def _find_or_create(connection: psycopg.Connection[Row], copy: Tenant, name: str) -> Row:
    """The tenant that an earlier run has made, or a new one, with its key."""
    found = call(connection, FIND, name=name, source=copy.id)
    if found:
        return {"tenant_id": found[0]["tenant_id"], "name": name}
    # In one transaction, so that a run which is cut off here finds all of it, or nothing.
    with connection.transaction():
        (made,) = call(
            connection, CREATE, name=name, time_zone=copy.time_zone, week_start=copy.week_start,
            event_retention_days=None, quarter_hour_retention_days=None,
        )  # fmt: skip
        call(
            connection, NOTE, action="tenant.import", tenant=made["tenant_id"],
            subject=str(made["tenant_id"]), details=Jsonb({"source": str(copy.id)}),
        )  # fmt: skip
    return {key: made[key] for key in ("tenant_id", "name", "api_key")}


def _create_meters(
    connection: psycopg.Connection[Row], tenant: UUID, meters: list[NewMeter]
) -> None:
    """Those that an earlier run has not made. After the events, which come faster without them."""
    there = {row["name"] for row in call(connection, LIST_METERS, tenant=tenant, name="")}
    for meter in meters:
        if meter.name not in there:
            definition = msgspec.structs.asdict(meter)
            definition["filters"] = Jsonb(msgspec.to_builtins(meter.filters))
            call(connection, CREATE_METER, tenant=tenant, replace=False, **definition)
