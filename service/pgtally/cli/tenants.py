"""pgtally tenant: make, list, change, delete."""

import sys
import time
from typing import Any
from uuid import UUID

import psycopg
import rich_click as click
from psycopg.types.json import Jsonb

from pgtally.cli.console import (
    Row,
    all_tenants,
    call,
    connect,
    dsn_option,
    json_option,
    progress_bar,
    show,
    show_one,
    tenant_id,
)
from pgtally.vocabulary import QUOTAS, RATE_CLASSES

CREATE = """
  select
    tenant_id, name, time_zone, week_start, event_retention_days, quarter_hour_retention_days,
    created_at, api_key
  from api.tenant_create(
    p_name => %(name)s::text,
    p_time_zone => %(time_zone)s::text,
    p_week_start => %(week_start)s::integer,
    p_event_retention_days => %(event_retention_days)s::integer,
    p_quarter_hour_retention_days => %(quarter_hour_retention_days)s::integer)
"""
UPDATE = """
  select *
  from api.tenant_update(
    p_tenant => %(tenant)s::uuid,
    p_name => %(name)s::text,
    p_event_retention_days => %(event_retention_days)s::integer,
    p_quarter_hour_retention_days => %(quarter_hour_retention_days)s::integer,
    p_rate_limits_per_minute => %(rate_limits_per_minute)s::jsonb,
    p_quotas => %(quotas)s::jsonb)
"""
SET_CALENDAR = """
  select *
  from tally.tenant_set_calendar(
    p_tenant => %(tenant)s::uuid,
    p_time_zone => %(time_zone)s::text,
    p_week_start => %(week_start)s::integer) as changed_rows
"""

DELETE = """
  select *
  from tally.tenant_remove(
    p_tenant => %(tenant)s::uuid, p_name => %(name)s::text, p_limit => %(limit)s::integer)
"""
DELETIONS = """
  select *
  from tally.tenant_deletion_list()
"""


def _numbers(values: tuple[str, ...], names: tuple[str, ...], what: str) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for value in values:
        name, _equals, number = value.partition("=")
        if name not in names or not number.isdigit():
            raise click.BadParameter(
                f"{value!r}: expected {what}=number, {what} one of {', '.join(names)}"
            )
        numbers[name] = int(number)
    return numbers


def _limits(_: Any, __: Any, values: tuple[str, ...]) -> dict[str, int]:
    return _numbers(values, RATE_CLASSES, "class")


def _quotas(_: Any, __: Any, values: tuple[str, ...]) -> dict[str, int]:
    return _numbers(values, QUOTAS, "quota")


limit_option = click.option(
    "--limit", "limits", multiple=True, callback=_limits, metavar="CLASS=NUMBER",
    help="Requests a minute, for example ingest=5000; repeatable. 0 refuses all.",
)  # fmt: skip


@click.group()
def tenant() -> None:
    """Tenants: make, list, change, copy, delete."""


@tenant.command("create")
@dsn_option
@json_option
@click.argument("name")
@click.option("--time-zone", default="UTC", help="IANA name, in which days begin.")
@click.option("--week-start", default=1, help="1 Monday to 7 Sunday.")
@click.option("--retention-days", type=int, help="How long raw events are kept; else for ever.")
@click.option(
    "--quarter-hour-retention-days", type=int, help="The same for quarter-hour summaries."
)
def tenant_create(
    dsn: str,
    as_json: bool,
    name: str,
    time_zone: str,
    week_start: int,
    retention_days: int | None,
    quarter_hour_retention_days: int | None,
) -> None:
    """Make a tenant and its first key, which is shown this once."""
    with connect(dsn) as connection:
        (made,) = call(
            connection, CREATE, name=name, time_zone=time_zone, week_start=week_start,
            event_retention_days=retention_days,
            quarter_hour_retention_days=quarter_hour_retention_days,
        )  # fmt: skip
    show_one(made, as_json)


@tenant.command("list")
@dsn_option
@json_option
def tenant_list(dsn: str, as_json: bool) -> None:
    """List all tenants by name."""
    with connect(dsn) as connection:
        show(list(all_tenants(connection)), as_json)


@tenant.command("update")
@dsn_option
@json_option
@limit_option
@click.argument("tenant")
@click.option("--name", default="", help="A new name.")
@click.option("--retention-days", default=-1, help="0 keeps raw events for ever.")
@click.option("--quarter-hour-retention-days", default=-1, help="0 keeps quarter hours for ever.")
@click.option(
    "--quota", "quotas", multiple=True, callback=_quotas, metavar="QUOTA=NUMBER",
    help="Most that is stored, for example events=1000000; repeatable.",
)  # fmt: skip
@click.option("--no-quotas", is_flag=True, help="Store without bound.")
@click.option("--no-limits", is_flag=True, help="Back to the limits of the installation.")
def tenant_update(
    dsn: str,
    as_json: bool,
    limits: dict[str, int],
    tenant: str,
    name: str,
    retention_days: int,
    quarter_hour_retention_days: int,
    quotas: dict[str, int],
    no_quotas: bool,
    no_limits: bool,
) -> None:
    """Change a tenant's name, retention, or rate limits or quotas (all of them, to those given)."""
    new_limits = limits if limits or no_limits else None
    with connect(dsn) as connection:
        (changed,) = call(
            connection, UPDATE, tenant=tenant_id(connection, tenant), name=name,
            event_retention_days=retention_days,
            quarter_hour_retention_days=quarter_hour_retention_days,
            rate_limits_per_minute=Jsonb(new_limits),
            quotas=Jsonb(quotas if quotas or no_quotas else None),
        )  # fmt: skip
    show_one(changed, as_json)


@tenant.command("set-calendar")
@dsn_option
@json_option
@click.argument("tenant")
@click.argument("time_zone")
@click.option("--week-start", default=1, help="1 Monday to 7 Sunday.")
def tenant_set_calendar(
    dsn: str, as_json: bool, tenant: str, time_zone: str, week_start: int
) -> None:
    """Change time zone and week start; periods are cut anew, final figures that move are told."""
    with connect(dsn) as connection:
        (row,) = call(
            connection, SET_CALENDAR, tenant=tenant_id(connection, tenant), time_zone=time_zone,
            week_start=week_start,
        )  # fmt: skip
    show_one(row, as_json)


@tenant.command("delete")
@dsn_option
@json_option
@click.argument("tenant")
@click.option(
    "--confirm", required=True, metavar="NAME",
    help="The name of the tenant, exactly: deleting is for good.",
)  # fmt: skip
@click.option("--batch", default=10_000, help="Rows a transaction.")
def tenant_delete(dsn: str, as_json: bool, tenant: str, confirm: str, batch: int) -> None:
    """Delete a tenant for good: events, summaries, keys, BI logins.

    A certificate stays. Nobody reads or stores anything of the tenant from the first moment; its
    rows go while others work. Interrupted, run it again, or leave the rest to the hourly maintain.
    Exit code 1 if BI logins are left: they are named. `pgtally tenant export` keeps a copy, before.
    """
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    told: set[str | None] = set()

    def tell(notice: psycopg.errors.Diagnostic) -> None:
        if notice.message_primary not in told:
            told.add(notice.message_primary)
            click.echo(notice.message_primary, err=True)

    try:
        with connect(dsn) as connection, progress_bar(*columns) as bar:
            connection.add_notice_handler(tell)
            task = bar.add_task("marking", total=None)
            found = _deletable(connection, tenant)
            before: Row = {}
            told_at = time.monotonic()
            while True:
                (now,) = call(connection, DELETE, tenant=found, name=confirm, limit=batch)
                text = _progress(now)
                bar.update(task, description=text)
                if bar.disable and time.monotonic() - told_at > 5:
                    told_at = time.monotonic()
                    click.echo(text, err=True)
                if now["state"] == "done":
                    break
                if now == before:
                    # Others still work on it.
                    time.sleep(0.1)
                before = now
    except KeyboardInterrupt as error:
        raise click.ClickException(
            "interrupted: what was marked stays so; run it again to go on, or leave it to maintain"
        ) from error
    show_one(now, as_json)
    sys.exit(1 if now["logins_left"] else 0)


def _deletable(connection: psycopg.Connection[Row], tenant: str) -> UUID:
    """The tenant with this id or name, also where its deletion is under way."""
    for row in call(connection, DELETIONS):
        if row["name"] == tenant:
            found: UUID = row["tenant_id"]
            return found
    return tenant_id(connection, tenant)


def _progress(now: Row) -> str:
    if now["state"] == "marked":
        return "marked; waiting for transactions that stored events before"
    return f"{now['event_count']:,} events, {now['summary_count']:,} summaries removed"


@tenant.command("deletions")
@dsn_option
@json_option
def tenant_deletions(dsn: str, as_json: bool) -> None:
    """List deleted tenants by their ids, newest first: the certificates."""
    with connect(dsn) as connection:
        rows = call(connection, DELETIONS)
    show(rows, as_json)
