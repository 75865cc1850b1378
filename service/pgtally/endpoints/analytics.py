"""GET /analytics/...: figures of a range."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, get
from msgspec import Meta

from pgtally.database import NAMED
from pgtally.http.operation import Operation
from pgtally.http.passage import Db, Incoming
from pgtally.http.query_string import EventQuery, read_query
from pgtally.http.replies import respond, respond_list
from pgtally.problems import FieldError, Problem
from pgtally.vocabulary import Interval, Measure, PropertyMeasure

COUNT = f"""
  select total, resolved_from, resolved_to, previous_total, previous_from, previous_to
  from api.event_count(
    p_tenant => %(tenant)s::uuid,
    p_from => %(from)s::text,
    p_to => %(to)s::text,
    p_types => %(types)s::text[],
    p_measure => %(measure)s::text,
    p_filters => %(filters)s::jsonb,
    p_actor => %(actor)s::text,
    p_time_zone => %(time_zone)s::text,
    p_compare => %(compare)s::boolean)
  {NAMED}
"""
BY_TYPE = f"""
  select event_type, total, resolved_from, resolved_to
  from api.event_by_type(
    p_tenant => %(tenant)s::uuid,
    p_from => %(from)s::text,
    p_to => %(to)s::text,
    p_types => %(types)s::text[],
    p_measure => %(measure)s::text,
    p_filters => %(filters)s::jsonb,
    p_actor => %(actor)s::text,
    p_time_zone => %(time_zone)s::text)
  {NAMED}
"""
TIMELINE = f"""
  select
    bucket_start, bucket_on, event_type, total, previous_start, previous_on, previous_total,
    resolved_from, resolved_to
  from api.event_timeline(
    p_tenant => %(tenant)s::uuid,
    p_interval => %(interval)s::text,
    p_from => %(from)s::text,
    p_to => %(to)s::text,
    p_types => %(types)s::text[],
    p_measure => %(measure)s::text,
    p_filters => %(filters)s::jsonb,
    p_actor => %(actor)s::text,
    p_time_zone => %(time_zone)s::text,
    p_by_type => %(by_type)s::boolean,
    p_compare => %(compare)s::boolean)
  {NAMED}
"""
BREAKDOWN = f"""
  select
    part, group_values, total, event_count, group_count, value_errors, source, is_exact,
    error_bound, relative_error, resolved_from, resolved_to
  from api.event_breakdown(
    p_tenant => %(tenant)s::uuid,
    p_by => %(by)s::text[],
    p_from => %(from)s::text,
    p_to => %(to)s::text,
    p_types => %(types)s::text[],
    p_measure => %(measure)s::text,
    p_of => %(of)s::text,
    p_unique => %(unique)s::text,
    p_filters => %(filters)s::jsonb,
    p_actor => %(actor)s::text,
    p_time_zone => %(time_zone)s::text,
    p_limit => %(limit)s::integer)
  {NAMED}
"""


BREAKDOWN_TIMELINE = f"""
  select
    bucket_start, bucket_on, part, group_values, total, is_exact, error_bound, resolved_from,
    resolved_to
  from api.event_breakdown_timeline(
    p_tenant => %(tenant)s::uuid,
    p_by => %(by)s::text[],
    p_interval => %(interval)s::text,
    p_from => %(from)s::text,
    p_to => %(to)s::text,
    p_types => %(types)s::text[],
    p_measure => %(measure)s::text,
    p_filters => %(filters)s::jsonb,
    p_actor => %(actor)s::text,
    p_time_zone => %(time_zone)s::text,
    p_limit => %(limit)s::integer)
  {NAMED}
"""
Property = Annotated[str, Meta(min_length=1, max_length=200)]


class MeasureQuery(EventQuery, forbid_unknown_fields=True, rename="camel"):
    """Which events, and what to measure. `data.<key>=<value>` filters on a property as well."""

    measure: Measure = "count"


Compare = Annotated[
    Literal["previous"] | None,
    Meta(description="Also the range before: months before months, days before days."),
]


class CountQuery(MeasureQuery, forbid_unknown_fields=True, rename="camel"):
    """The same for one figure."""

    compare: Compare = None


class TimelineQuery(MeasureQuery, forbid_unknown_fields=True, rename="camel"):
    """The same for a timeline."""

    interval: Interval = "day"
    by: Annotated[
        list[Property],
        Meta(
            max_length=3,
            description="type: a row for each type. Or up to three of type, actorId, sessionId and "
            "data.<key>: the largest groups over the range, `missing` and `other`.",
        ),
    ] = msgspec.field(default_factory=list, name="groupBy")
    limit: Annotated[
        int, Meta(ge=1, le=1000, description="How many groups of properties are told.")
    ] = 10
    compare: Compare = None


class BreakdownQuery(EventQuery, forbid_unknown_fields=True, rename="camel"):
    """Which events, what to measure, and by what."""

    by: Annotated[
        list[Property],
        Meta(max_length=3, description="Up to three of type, actorId, sessionId, data.<key>."),
    ] = msgspec.field(default_factory=list)
    measure: PropertyMeasure = "count"
    of: Annotated[Property, Meta(description="The number that is summed: value or data.<key>.")] = (
        "value"
    )
    unique: Annotated[
        Property, Meta(description="What is counted distinct: actorId, sessionId, data.<key>.")
    ] = "actorId"
    limit: Annotated[int, Meta(ge=1, le=1000, description="How many groups are told.")] = 10


class PreviousTotal(msgspec.Struct, rename="camel"):
    """The figure of the range before."""

    total: Decimal | None
    from_: datetime = msgspec.field(name="from")
    to: datetime


class Total(msgspec.Struct, rename="camel", omit_defaults=True):
    """One figure. The resolved range is given where retention made it wider than asked."""

    total: Decimal | None
    resolved_from: datetime | None = None
    resolved_to: datetime | None = None
    previous: PreviousTotal | None = None


class TypeTotal(msgspec.Struct):
    """The figure of one event type."""

    type: str
    total: Decimal | None


class TimelineTotal(msgspec.Struct, rename="camel", omit_defaults=True):
    """The figure of one interval: its local date, or its first instant for hours."""

    date: str
    total: Decimal | None
    type: str | None = None
    # Grouped by properties: group, missing or other, and the values of a group.
    part: str | None = None
    values: list[str] | None = None
    previous_date: str | None = None
    previous_total: Decimal | None = None


class Group(msgspec.Struct, rename="camel", omit_defaults=True):
    """A group: its values in the order of `by`."""

    values: list[str]
    total: Decimal | None
    count: int


class Rest(msgspec.Struct, rename="camel", omit_defaults=True):
    """Events that are in no group that is told, and, where it is known, of how many groups."""

    total: Decimal | None
    count: int
    groups: int | None = None


class Breakdown(msgspec.Struct, rename="camel", omit_defaults=True):
    """Groups, the largest first; they, `missing` and `other` add up to the total."""

    by: list[str]
    groups: list[Group]
    # Events that lack one of the properties; a null and an empty text are values.
    missing: Rest
    other: Rest
    total: Decimal | None
    count: int
    # What was read: summaries, a meter, or events.
    source: str
    # If not, raw events that would be needed are gone, and each group may have this many more.
    exact: bool
    error_bound: int = 0
    # Percentiles of a meter are closer than this to the exact ones; absent: exact.
    relative_error: Decimal | None = None
    # Events where `of` was there and no number.
    value_errors: int = 0
    resolved_from: datetime | None = None
    resolved_to: datetime | None = None


class BreakdownRow(msgspec.Struct, rename="camel"):
    """The same as a list: part is group, missing, other or total."""

    part: str
    values: list[str] | None
    total: Decimal | None
    count: int


def _resolved(response: Response[Any], rows: list[Any]) -> Response[Any]:
    """Says in headers where retention made the range wider than asked: the body is a list."""
    if rows:
        for name, at in (("Resolved-From", rows[0][-2]), ("Resolved-To", rows[0][-1])):
            if at is not None:
                response.headers[name] = at.isoformat()
    return response


@get(
    "/analytics/events/count",
    operation=Operation(scope="read", rate_class="analytics", query=CountQuery),
    summary="One figure for a range",
)
async def count_events(request: Incoming, db: Db) -> Response[Total]:
    """The number of events in a range, or another measure of them."""
    query, arguments = read_query(request, CountQuery)
    arguments["compare"] = query.compare is not None
    row = (await db.read(arguments["tenant"], COUNT, arguments))[0]
    previous = PreviousTotal(*row[3:]) if query.compare else None
    return respond(Total(row[0], row[1], row[2], previous))


@get(
    "/analytics/events/by-type",
    operation=Operation(
        scope="read", rate_class="analytics", query=MeasureQuery, list=True, resolves=True
    ),
    summary="One figure for each event type, largest first",
)
async def count_events_by_type(request: Incoming, db: Db) -> Response[list[TypeTotal]]:
    """At most 1,000 types."""
    _, arguments = read_query(request, MeasureQuery)
    rows = await db.read(arguments["tenant"], BY_TYPE, arguments)
    totals = [TypeTotal(*row[:2]) for row in rows]
    return _resolved(respond_list(request, totals, TypeTotal), rows)


@get(
    "/analytics/events/timeline",
    operation=Operation(
        scope="read", rate_class="analytics", query=TimelineQuery, list=True, resolves=True
    ),
    summary="One figure for each hour, day, week or month",
)
async def event_timeline(request: Incoming, db: Db) -> Response[list[TimelineTotal]]:
    """Gaps are filled; an open range runs from the first event to the newest."""
    query, arguments = read_query(request, TimelineQuery)
    if query.by and query.by != ["type"]:
        if query.compare:
            error = FieldError("goes with groupBy=type only", parameter="compare")
            raise Problem(400, "the query is not valid", [error])
        rows = await db.read(arguments["tenant"], BREAKDOWN_TIMELINE, arguments)
        totals = [
            TimelineTotal(
                (start if query.interval == "hour" else on).isoformat(),
                total,
                part=part,
                values=values,
            )
            for start, on, part, values, total, *_ in rows
        ]
        return _resolved(respond_list(request, totals, TimelineTotal), rows)
    arguments |= {"by_type": bool(query.by), "compare": query.compare is not None}
    rows = await db.read(arguments["tenant"], TIMELINE, arguments)
    totals = timeline_totals(rows, query.interval)
    return _resolved(respond_list(request, totals, TimelineTotal), rows)


def timeline_totals(rows: list[Any], interval: Interval) -> list[TimelineTotal]:
    """Rows of TIMELINE as they are answered."""
    totals = []
    for start, on, event_type, total, old_start, old_on, old_total, *_ in rows:
        old = old_start if interval == "hour" else old_on
        date = (start if interval == "hour" else on).isoformat()
        totals.append(
            TimelineTotal(
                date,
                total,
                event_type,
                previous_date=old and old.isoformat(),
                previous_total=old_total,
            )
        )
    return totals


@get(
    "/analytics/events/breakdown",
    operation=Operation(
        scope="read", rate_class="analytics", query=BreakdownQuery, list=True, resolves=True
    ),
    summary="The largest groups by type or properties, adding up to the total",
)
async def break_down_events(request: Incoming, db: Db) -> Response[Breakdown]:
    """Groups, `missing` and `other` add up to the total. A meter that counts the same answers in
    milliseconds; otherwise raw events are read."""
    query, arguments = read_query(request, BreakdownQuery)
    arguments["by"] = query.by or ["type"]
    rows = await db.read(arguments["tenant"], BREAKDOWN, arguments)
    listed = [BreakdownRow(*row[:4]) for row in rows]
    groups = [Group(row[1], *row[2:4]) for row in rows if row[0] == "group"]
    missing, other = (Rest(*row[2:5]) for row in rows[-3:-1])
    _, _, total, count, _, errors, source, exact, bound, near, start, end = rows[-1]
    answer = Breakdown(
        by=arguments["by"], groups=groups, missing=missing, other=other, total=total, count=count,
        source=source, exact=exact, error_bound=bound,
        relative_error=near or None, value_errors=errors, resolved_from=start, resolved_to=end,
    )  # fmt: skip
    return _resolved(respond_list(request, listed, BreakdownRow, answer), rows)
