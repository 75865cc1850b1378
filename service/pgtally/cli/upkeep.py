"""Commands of the DBA: rebuild, verify, doctor."""

import re
import sys

import psycopg
import rich_click as click

from pgtally.cli.console import (
    Row,
    all_tenants,
    call,
    connect,
    dsn_option,
    json_option,
    progress,
    progress_bar,
    show,
    show_one,
    tenant_id,
)

REBUILD = """
  call tally.rebuild(
    p_tenant => %(tenant)s::uuid,
    p_from => %(from)s::timestamptz,
    p_to => %(to)s::timestamptz)
"""
VERIFY = """
  select *
  from tally.verify(p_tenant => %(tenant)s::uuid)
"""
DOCTOR = """
  select *
  from tally.doctor()
"""
ACKNOWLEDGE = """
  select healed
  from tally.healed_acknowledge(p_reason => %(reason)s::text) as healed
"""
PARTITION = r"row security of events_\d{8}"


@click.command("rebuild")
@dsn_option
@json_option
@click.argument("tenant")
@click.option("--from", "start", default="-infinity", help="A time; everything if absent.")
@click.option("--to", "end", default="infinity", help="A time; up to now if absent.")
def rebuild_command(dsn: str, as_json: bool, tenant: str, start: str, end: str) -> None:
    """Recompute a tenant's summaries from its raw events, a day a transaction."""
    with connect(dsn) as connection, progress_bar() as progress:
        bar = progress.add_task("days", total=None)

        def advance(notice: psycopg.errors.Diagnostic) -> None:
            if found := re.fullmatch(r"rebuilt (\d+) of (\d+) days", notice.message_primary or ""):
                progress.update(bar, completed=int(found[1]), total=int(found[2]))

        connection.add_notice_handler(advance)
        found = tenant_id(connection, tenant)
        (row,) = call(connection, REBUILD, tenant=found, **{"from": start, "to": end})
    show_one(row, as_json)


@click.command("verify")
@dsn_option
@json_option
@click.argument("tenant", required=False)
def verify_command(dsn: str, as_json: bool, tenant: str | None) -> None:
    """Compare summaries with raw events, of one tenant or all; exit code 1 if any differ."""
    with connect(dsn) as connection, progress_bar() as progress:
        tenants = (
            [tenant_id(connection, tenant)] if tenant
            else [row["tenant_id"] for row in all_tenants(connection)]
        )  # fmt: skip
        differences = [
            {"tenant_id": one, **row}
            for one in progress.track(tenants, description="tenants")
            for row in call(connection, VERIFY, tenant=one)
        ]
    if differences or as_json:
        show(differences, as_json)
    if not as_json:
        click.echo(f"{len(tenants):,} tenants, {len(differences):,} differences")
    sys.exit(1 if differences else 0)


@click.command("doctor")
@dsn_option
@json_option
@click.option(
    "--acknowledge",
    "reason",
    metavar="REASON",
    help="First say that what jobs have healed until now is known, and why it was to be.",
)
def doctor_command(dsn: str, as_json: bool, reason: str | None) -> None:
    """Check jobs, backlog, partitions, extensions, roles, policies; exit code 1 if any is wrong."""
    with connect(dsn) as connection:
        if reason is not None:
            ((healed,),) = (row.values() for row in call(connection, ACKNOWLEDGE, reason=reason))
            progress(f"{healed:,} healed rows are acknowledged")
        rows = call(connection, DOCTOR)
    if as_json:
        show(rows, True)
    else:
        for row in _folded(rows):
            remedy = f"\n         run: {row['remedy']}" if row["remedy"] else ""
            click.echo(f"{row['status']:8} {row['check_name']}: {row['message']}{remedy}")
    sys.exit(1 if any(row["status"] not in ("ok", "advice") for row in rows) else 0)


def _folded(rows: list[Row]) -> list[Row]:
    """The rows with those of partitions that are as they should be, one a week, in one."""
    weeks = [
        row for row in rows
        if row["status"] == "ok" and re.fullmatch(PARTITION, row["check_name"])
    ]  # fmt: skip
    if not weeks:
        return rows
    name = f"row security of {len(weeks):,} partitions of events"
    folded = {**weeks[0], "check_name": name}
    return [folded if row is weeks[0] else row for row in rows if row not in weeks[1:]]
