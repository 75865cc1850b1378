"""Meters: questions about properties, counted as events arrive, and what they have counted."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.params import FromPath
from msgspec import Meta
from psycopg.types.json import Jsonb

from pgtally.database import NAMED
from pgtally.http.body import read_struct
from pgtally.http.operation import Operation
from pgtally.http.passage import Db, Incoming, caller_of
from pgtally.http.query_string import read_query
from pgtally.http.replies import respond, respond_list
from pgtally.problems import Problem
from pgtally.vocabulary import PeriodType

CREATE = """
  select meter_id, version
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
  select
    name, version, event_types, filters, dimensions, value_of, unique_of, max_groups, state,
    created_at, filled_from, filled_at, percentiles
  from api.meter_list(p_tenant => %(tenant)s::uuid, p_name => %(name)s::text)
"""
DELETE = """
  select versions, rows, final_days
  from api.meter_delete(
    p_tenant => %(tenant)s::uuid, p_name => %(name)s::text, p_dry_run => %(dry_run)s::boolean)
"""
SUMMARIES = f"""
  select
    part, group_values, period_on, period_start, period_end, event_count, value_count, value_sum,
    value_min, value_max, value_errors, unique_count, final, as_of, revision, error_bound, p50,
    p90, p99
  from api.meter_summary_list(
    p_tenant => %(tenant)s::uuid,
    p_meter => %(meter)s::text,
    p_period_type => %(period_type)s::text,
    p_from => %(from)s::text,
    p_to => %(to)s::text,
    p_period_start => %(period_start)s::text,
    p_groups => %(groups)s::boolean)
  {NAMED}
"""
CHANGES = f"""
  select
    part, group_values, period_on, period_start, event_count, value_sum, unique_count, final,
    revision, updated_at
  from api.meter_changes(
    p_tenant => %(tenant)s::uuid,
    p_meter => %(meter)s::text,
    p_since => %(since)s::text,
    p_limit => %(limit)s::integer)
  {NAMED}
"""

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Names = list[Name]
Part = Literal["group", "missing", "other", "total"]


class Filter(msgspec.Struct, forbid_unknown_fields=True):
    """A filter on data, as `data.<key>=<value>` in a query string."""

    key: Name
    value: Annotated[str | list[str], Meta(description="A list: one of these.")]
    op: Literal["=", "!=", ">", ">=", "<", "<=", "^="] = "="


class MeterDefinition(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """What a meter counts: events of these types that match the filters, by up to three of type,
    actorId, sessionId and properties."""

    types: Annotated[Names, Meta(max_length=100, description="All types if empty.")] = []
    filters: Annotated[list[Filter], Meta(max_length=20)] = []
    by: Annotated[
        Names, Meta(max_length=3, description="type, actorId, sessionId, data.<key>.")
    ] = []
    of: Annotated[Name, Meta(description="The number that is summed: value or data.<key>.")] = (
        "value"
    )
    unique: Annotated[
        Name, Meta(description="What is counted distinct: actorId, sessionId or data.<key>.")
    ] = "actorId"
    max_groups: Annotated[
        int, Meta(ge=1, le=1000, description="How many groups a day keeps; the rest is other.")
    ] = 100
    percentiles: Annotated[
        bool, Meta(description="Also histograms, for p50, p90 and p99 with an error below 1 %.")
    ] = False


class NewMeter(MeterDefinition, forbid_unknown_fields=True, rename="camel"):
    """A meter to be made."""

    name: Name = ""


class MeterPatch(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """What to change; what is absent stays."""

    types: Annotated[Names, Meta(max_length=100)] | msgspec.UnsetType = msgspec.UNSET
    filters: Annotated[list[Filter], Meta(max_length=20)] | msgspec.UnsetType = msgspec.UNSET
    by: Annotated[Names, Meta(max_length=3)] | msgspec.UnsetType = msgspec.UNSET
    of: Name | msgspec.UnsetType = msgspec.UNSET
    unique: Name | msgspec.UnsetType = msgspec.UNSET
    max_groups: Annotated[int, Meta(ge=1, le=1000)] | msgspec.UnsetType = msgspec.UNSET
    percentiles: bool | msgspec.UnsetType = msgspec.UNSET


class Meter(msgspec.Struct, rename="camel"):
    """A version of a meter."""

    name: str
    version: int
    types: list[str]
    filters: list[Any]
    by: list[str]
    of: str
    unique: str
    max_groups: int
    state: Annotated[
        Literal["filling", "complete", "retired"],
        Meta(
            description="filling: days before filledFrom are answered from raw events; complete; "
            "retired: a newer version has taken over."
        ),
    ]
    created_at: datetime
    filled_from: datetime | None
    filled_at: datetime | None
    percentiles: bool


class MeterDeletionQuery(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Really?"""

    dry_run: Annotated[bool, Meta(description="Only tells what would go.")] = False


class MeterDeletion(msgspec.Struct, rename="camel"):
    """What goes with a meter, or would: versions, rows, and days whose figures were final."""

    name: str
    deleted: bool
    versions: int
    rows: int
    final_days: int


class MeterSummaryQuery(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Which periods: those that begin in a range, or the one that holds a date."""

    period_type: PeriodType = "day"
    from_: Annotated[str, Meta(description="A date or an RFC 3339 time.")] = msgspec.field(
        default="", name="from"
    )
    to: Annotated[str, Meta(description="The first moment after the range.")] = ""
    period_start: Annotated[
        str, Meta(description="A date or time in the one period asked for.")
    ] = ""
    groups: Annotated[bool, Meta(description="false: totals only.")] = True


class MeterSummary(msgspec.Struct, rename="camel"):
    """The figures of a period: of a group, of what lacks a dimension, of other groups, of all."""

    part: Part
    values: list[str] | None
    period_start: date
    starts_at: datetime
    ends_at: datetime
    count: int
    value_count: int
    sum: Decimal | None
    min: Decimal | None
    max: Decimal | None
    value_errors: int
    unique: int
    final: bool
    as_of: datetime
    revision: int
    error_bound: Annotated[
        int, Meta(description="A group may have this many more, on days that did not keep it.")
    ]
    p50: Annotated[
        Decimal | None,
        Meta(description="The median, within 1 %; null unless the meter has percentiles."),
    ]
    p90: Decimal | None
    p99: Decimal | None


class MeterChangesQuery(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Since when."""

    since: Annotated[str, Meta(description="A date or an RFC 3339 time; all if absent.")] = (
        "-infinity"
    )
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 1000


class MeterChange(msgspec.Struct, rename="camel"):
    """A day's figure that was final and has changed; 0 where all its events are gone."""

    part: Part
    values: list[str] | None
    period_start: date
    starts_at: datetime
    count: int
    sum: Decimal | None
    unique: int
    final: bool
    revision: int
    changed_at: datetime


class MeterChanges(msgspec.Struct):
    """Changes, oldest first, and what to ask with next time."""

    changes: list[MeterChange]
    next: str | None


def definition_of(meter: Meter) -> NewMeter:
    """What would make this version again."""
    return NewMeter(
        types=meter.types, filters=msgspec.convert(meter.filters, list[Filter]), by=meter.by,
        of=meter.of, unique=meter.unique, max_groups=meter.max_groups,
        percentiles=meter.percentiles, name=meter.name,
    )  # fmt: skip


_new_meter = msgspec.json.Decoder(NewMeter)
_patch = msgspec.json.Decoder(MeterPatch)


async def _make(
    request: Incoming, db: Db, name: str, definition: MeterDefinition, replace: bool
) -> Meter:
    tenant = caller_of(request).tenant
    arguments = {
        **msgspec.structs.asdict(definition), "tenant": tenant, "name": name, "replace": replace,
        "filters": Jsonb(msgspec.to_builtins(definition.filters)),
    }  # fmt: skip
    await db.call(CREATE, arguments, repeatable=False)
    return Meter(*(await db.read(tenant, LIST, {"tenant": tenant, "name": name}))[0])


@post(
    "/meters",
    operation=Operation(scope="admin", rate_class="tenants", body=NewMeter, errors=(409,)),
    summary="Make a meter",
)
async def create_meter(request: Incoming, db: Db) -> Response[Meter]:
    """Every event from now on is counted as it arrives; what happened before is filled meanwhile,
    and answered from raw events until then."""
    meter = await read_struct(request, _new_meter)
    return respond(await _make(request, db, meter.name, meter, False), 201)


@get(
    "/meters",
    operation=Operation(scope="read", rate_class="analytics", list=True),
    summary="All meters",
)
async def list_meters(request: Incoming, db: Db) -> Response[list[Meter]]:
    """By name, the newest version first."""
    tenant = caller_of(request).tenant
    rows = await db.read(tenant, LIST, {"tenant": tenant, "name": ""})
    return respond_list(request, [Meter(*row) for row in rows], Meter)


@patch(
    "/meters/{name:str}",
    operation=Operation(
        scope="admin", rate_class="tenants", body=MeterPatch, body_optional=True, errors=(409,)
    ),
    summary="Change a meter",
)
async def update_meter(request: Incoming, db: Db, name: FromPath[str]) -> Response[Meter]:
    """What is absent stays. A change is a new version, filled beside the old one, which answers
    until the new one is complete, and keeps the days whose raw events are gone."""
    tenant = caller_of(request).tenant
    rows = await db.read(tenant, LIST, {"tenant": tenant, "name": name})
    if not rows:
        raise Problem(404, "there is no meter of this name")
    patched = await read_struct(request, _patch)
    given = {
        name: value
        for name, value in msgspec.structs.asdict(patched).items()
        if value is not msgspec.UNSET
    }
    changed = msgspec.structs.replace(definition_of(Meter(*rows[0])), **given)
    return respond(await _make(request, db, name, changed, True))


@delete(
    "/meters/{name:str}",
    status_code=200,
    operation=Operation(scope="admin", rate_class="tenants", query=MeterDeletionQuery),
    summary="Delete a meter",
)
async def delete_meter(request: Incoming, db: Db, name: FromPath[str]) -> Response[MeterDeletion]:
    """All its versions. Its name is free at once. With `dryRun` it only tells what would go."""
    query, arguments = read_query(request, MeterDeletionQuery)
    row = (await db.call(DELETE, {**arguments, "name": name}, repeatable=False))[0]
    return respond(MeterDeletion(name, not query.dry_run, *row))


@get(
    "/meters/{name:str}/summaries",
    operation=Operation(
        scope="read", rate_class="summaries", query=MeterSummaryQuery, list=True, errors=(409,)
    ),
    summary="Days, weeks and months of a meter",
)
async def get_meter_summaries(
    request: Incoming, db: Db, name: FromPath[str]
) -> Response[list[MeterSummary]]:
    """By group, with `missing`, `other` and `total`; 409 where it is not filled yet."""
    _, arguments = read_query(request, MeterSummaryQuery)
    rows = await db.read(arguments["tenant"], SUMMARIES, {**arguments, "meter": name})
    return respond_list(request, [MeterSummary(*row) for row in rows], MeterSummary)


@get(
    "/meters/{name:str}/changes",
    operation=Operation(scope="read", rate_class="summaries", query=MeterChangesQuery, list=True),
    summary="Which final days of a meter have moved?",
)
async def get_meter_changes(
    request: Incoming, db: Db, name: FromPath[str]
) -> Response[MeterChanges]:
    """The days that were final and have changed since. Ask again with `next`."""
    query, arguments = read_query(request, MeterChangesQuery)
    rows = await db.read(arguments["tenant"], CHANGES, {**arguments, "meter": name})
    changes = [MeterChange(*row) for row in rows]
    following = changes[-1].changed_at.isoformat() if changes else query.since
    page = MeterChanges(changes, None if following == "-infinity" else following)
    return respond_list(request, changes, MeterChange, page)
