"""pgtally meter: make, list, change, delete meters, and fill them now."""

import re
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import rich_click as click
from psycopg.types.json import Jsonb

from pgtally.cli.console import (
    call,
    connect,
    dsn_option,
    json_option,
    progress,
    show,
    show_one,
    tenant_id,
)

CREATE = """
  select *
  from api.meter_create(
    p_tenant => %(tenant)s::uuid,
    p_name => %(name)s::text,
    p_types => %(types)s::text[],
    p_filters => %(filters)s::jsonb,
    p_by => %(by)s::text[],
    p_of => %(of)s::text,
    p_unique => %(unique)s::text,
    p_max_groups => %(max_groups)s::integer,
    p_replace => %(replace)s::boolean,
    p_percentiles => %(percentiles)s::boolean)
"""
LIST = """
  select *
  from api.meter_list(p_tenant => %(tenant)s::uuid, p_name => %(name)s::text)
"""
DELETE = """
  select *
  from api.meter_delete(
    p_tenant => %(tenant)s::uuid, p_name => %(name)s::text, p_dry_run => %(dry_run)s::boolean)
"""
FILL = """
  call tally.fill()
"""
_filter = re.compile(r"(.+?)(>=|<=|!=|\^=|>|<|=)(.*)", re.DOTALL)


def _filters(_: Any, __: Any, values: tuple[str, ...]) -> list[dict[str, Any]]:
    """Filters as api functions take them; `=` with the same key again means one of these."""
    filters: dict[tuple[str, ...], dict[str, Any]] = {}
    for text in values:
        found = _filter.fullmatch(text)
        if not found:
            raise click.BadParameter(f"{text!r}: write plan=pro, n>5 or path^=/docs")
        key, op, value = found.groups()
        if op != "=":
            filters[key, op, value] = {"key": key, "op": op, "value": value}
            continue
        same = filters.setdefault((key, op), {"key": key, "op": op, "value": []})
        same["value"].append(value)
    return list(filters.values())


tenant_option = click.option("--tenant", required=True, help="The id or the name of the tenant.")
type_option = click.option(
    "--type", "types", multiple=True, help="Only events of this type; repeatable."
)
filter_option = click.option(
    "--filter", "filters", multiple=True, callback=_filters, metavar="KEY=VALUE",
    help="Only events with this property; also != > >= < <= and ^= (begins with). Repeatable; "
    "the same key with = again means one of these.",
)  # fmt: skip
by_option = click.option(
    "--by", "by", multiple=True,
    help="What its groups are: type, actorId, sessionId, data.KEY; up to three.",
)  # fmt: skip


@click.group()
def meter() -> None:
    """Meters: make, list, change, delete, fill."""


@meter.command("create")
@dsn_option
@json_option
@tenant_option
@type_option
@filter_option
@by_option
@click.argument("name")
@click.option("--of", default="value", help="The number that is summed: value or data.KEY.")
@click.option("--unique", default="actorId", help="What is counted distinct.")
@click.option("--max-groups", default=100, help="How many groups a day keeps; the rest is other.")
@click.option("--percentiles", is_flag=True, help="Also p50, p90 and p99, with an error below 1 %.")
def meter_create(dsn: str, as_json: bool, tenant: str, **definition: Any) -> None:
    """Make a meter: counts from now on; a job, or `meter fill`, fills what happened before."""
    definition["filters"] = Jsonb(definition["filters"])
    for name in ("types", "by"):
        definition[name] = list(definition[name])
    with connect(dsn) as connection:
        found = tenant_id(connection, tenant)
        (made,) = call(connection, CREATE, tenant=found, replace=False, **definition)
    show_one(made, as_json)


@meter.command("list")
@dsn_option
@json_option
@tenant_option
def meter_list(dsn: str, as_json: bool, tenant: str) -> None:
    """List a tenant's meters with their versions, and how far they are filled."""
    with connect(dsn) as connection:
        rows = call(connection, LIST, tenant=tenant_id(connection, tenant), name="")
    show(rows, as_json)


@meter.command("update")
@dsn_option
@json_option
@tenant_option
@type_option
@filter_option
@by_option
@click.argument("name")
@click.option("--of", help="The number that is summed: value or data.KEY.")
@click.option("--unique", help="What is counted distinct.")
@click.option("--max-groups", type=int, help="How many groups a day keeps.")
@click.option("--percentiles/--no-percentiles", default=None, help="Also p50, p90 and p99?")
def meter_update(dsn: str, as_json: bool, tenant: str, name: str, **given: Any) -> None:
    """Change a meter by a new version, which answers when it is filled. What is absent stays."""
    with connect(dsn) as connection:
        found = tenant_id(connection, tenant)
        rows = call(connection, LIST, tenant=found, name=name)
        if not rows:
            raise click.ClickException(f"there is no meter named {name!r}")
        now = rows[0]
        known = {
            "types": now["event_types"], "filters": now["filters"], "by": now["dimensions"],
            "of": now["value_of"], "unique": now["unique_of"], "max_groups": now["max_groups"],
            "percentiles": now["percentiles"],
        }  # fmt: skip
        given = {key: value for key, value in given.items() if value not in (None, (), [])}
        changed = {**known, **given}
        changed["filters"] = Jsonb(changed["filters"])
        for key in ("types", "by"):
            changed[key] = list(changed[key])
        (made,) = call(connection, CREATE, tenant=found, name=name, replace=True, **changed)
    show_one(made, as_json)


@meter.command("delete")
@dsn_option
@json_option
@tenant_option
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Only tell what would go.")
def meter_delete(dsn: str, as_json: bool, tenant: str, name: str, dry_run: bool) -> None:
    """Delete a meter with all its versions. Days whose raw events are gone cannot be had again."""
    with connect(dsn) as connection:
        found = tenant_id(connection, tenant)
        (row,) = call(connection, DELETE, tenant=found, name=name, dry_run=dry_run)
    show_one(row, as_json)


@meter.command("fill")
@dsn_option
@json_option
@click.option("--tenant", help="Tell how far the meters of this tenant are.")
def meter_fill(dsn: str, as_json: bool, tenant: str | None) -> None:
    """Fill the meters of all tenants now, as the job does each minute; exit code 1 on failures."""
    told: dict[str, object] = {}
    with connect(dsn) as connection, connect(dsn) as watch, ThreadPoolExecutor(1) as pool:
        found = tenant_id(connection, tenant) if tenant else None
        running = pool.submit(call, connection, FILL)
        while not wait([running], timeout=1).done:
            for row in call(watch, LIST, tenant=found, name="") if found else []:
                name, at = f"{row['name']} version {row['version']}", row["filled_from"]
                if row["state"] == "filling" and at and told.get(name) != at:
                    told[name] = at
                    progress(f"{name}: filled from {at} on")
        (done,) = running.result()
    show_one(done, as_json)
    sys.exit(1 if done["failures"] else 0)
