"""GET /analytics/... and GET /summaries."""

import hashlib
import re
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from litestar import Request, Response, get
from litestar.datastructures import State
from msgspec import Meta
from psycopg.types.json import Jsonb

from service import json
from service.authentication import Caller
from service.database import Database
from service.problems import FieldError, Problem

COUNT = """
  select total, resolved_from, resolved_to
  from api.event_count(
    p_tenant => api.for_request(%(tenant)s::uuid, %(request)s::text),
    p_from => api.instant(%(tenant)s::uuid, %(from)s::text, %(timezone)s::text, 'from'),
    p_to => api.instant(%(tenant)s::uuid, %(to)s::text, %(timezone)s::text, 'to'),
    p_types => %(type)s::text[],
    p_measure => %(measure)s::text,
    p_filters => %(filters)s::jsonb,
    p_actor => %(actorId)s::text)
"""
BY_TYPE = """
  select event_type, total, resolved_from, resolved_to
  from api.event_by_type(
    p_tenant => api.for_request(%(tenant)s::uuid, %(request)s::text),
    p_from => api.instant(%(tenant)s::uuid, %(from)s::text, %(timezone)s::text, 'from'),
    p_to => api.instant(%(tenant)s::uuid, %(to)s::text, %(timezone)s::text, 'to'),
    p_types => %(type)s::text[],
    p_measure => %(measure)s::text,
    p_filters => %(filters)s::jsonb,
    p_actor => %(actorId)s::text)
"""
TIMELINE = """
  select bucket_start, bucket_on, event_type, total, resolved_from, resolved_to
  from api.event_timeline(
    p_tenant => api.for_request(%(tenant)s::uuid, %(request)s::text),
    p_interval => %(interval)s::text,
    p_from => api.instant(%(tenant)s::uuid, %(from)s::text, %(timezone)s::text, 'from'),
    p_to => api.instant(%(tenant)s::uuid, %(to)s::text, %(timezone)s::text, 'to'),
    p_types => %(type)s::text[],
    p_measure => %(measure)s::text,
    p_filters => %(filters)s::jsonb,
    p_actor => %(actorId)s::text,
    p_time_zone => %(timezone)s::text,
    p_by_type => %(by_type)s::boolean)
"""
COUNT_COMPARED = """
  select
    c.total, c.resolved_from, c.resolved_to, p.total, r.previous_from, r.previous_to
  from api.instant(%(tenant)s::uuid, %(from)s::text, %(timezone)s::text, 'from') as range_from
  cross join api.instant(%(tenant)s::uuid, %(to)s::text, %(timezone)s::text, 'to') as range_to
  cross join lateral api.range_previous(
    %(tenant)s::uuid, range_from, range_to, %(timezone)s::text) as r
  cross join lateral api.event_count(
    p_tenant => api.for_request(%(tenant)s::uuid, %(request)s::text),
    p_from => range_from,
    p_to => range_to,
    p_types => %(type)s::text[],
    p_measure => %(measure)s::text,
    p_filters => %(filters)s::jsonb,
    p_actor => %(actorId)s::text) as c
  cross join lateral api.event_count(
    p_tenant => api.for_request(%(tenant)s::uuid, %(request)s::text),
    p_from => r.previous_from,
    p_to => r.previous_to,
    p_types => %(type)s::text[],
    p_measure => %(measure)s::text,
    p_filters => %(filters)s::jsonb,
    p_actor => %(actorId)s::text) as p
"""
TIMELINE_COMPARED = """
  select
    e.bucket_start, e.bucket_on, e.event_type, e.total, e.resolved_from, e.resolved_to, v.previous
  from api.instant(%(tenant)s::uuid, %(from)s::text, %(timezone)s::text, 'from') as range_from
  cross join api.instant(%(tenant)s::uuid, %(to)s::text, %(timezone)s::text, 'to') as range_to
  cross join lateral api.range_previous(
    %(tenant)s::uuid, range_from, range_to, %(timezone)s::text) as r
  cross join lateral (
    values (false, range_from, range_to), (true, r.previous_from, r.previous_to)
  ) as v (previous, starts_at, ends_at)
  cross join lateral api.event_timeline(
    p_tenant => api.for_request(%(tenant)s::uuid, %(request)s::text),
    p_interval => %(interval)s::text,
    p_from => v.starts_at,
    p_to => v.ends_at,
    p_types => %(type)s::text[],
    p_measure => %(measure)s::text,
    p_filters => %(filters)s::jsonb,
    p_actor => %(actorId)s::text,
    p_time_zone => %(timezone)s::text,
    p_by_type => %(by_type)s::boolean) as e
"""
SUMMARY = """
  select
    metric, period_on, period_start, period_end, value, event_count, value_count, value_sum,
    value_min, value_max, unique_actors, final, as_of, revision
  from api.period_first(%(tenant)s::uuid, %(periodType)s::text, %(periodStart)s::date) as first
  cross join lateral api.summary_list(
    p_tenant => api.for_request(%(tenant)s::uuid, %(request)s::text),
    p_period_type => %(periodType)s::text,
    p_from => first,
    p_to => first + 1,
    p_metric => %(metric)s::text,
    p_measure => %(measure)s::text)
"""
SUMMARIES = """
  select
    metric, period_on, period_start, period_end, value, event_count, value_count, value_sum,
    value_min, value_max, unique_actors, final, as_of, revision
  from api.summary_list(
    p_tenant => api.for_request(%(tenant)s::uuid, %(request)s::text),
    p_period_type => %(periodType)s::text,
    p_from => %(from)s::date,
    p_to => %(to)s::date,
    p_metric => %(metric)s::text,
    p_measure => %(measure)s::text)
"""
CHANGES = """
  select
    metric, period_type, period_on, period_start, event_count, value_sum, unique_actors, final,
    revision, updated_at
  from api.summary_changes(
    p_tenant => api.for_request(%(tenant)s::uuid, %(request)s::text),
    p_since => api.instant(%(tenant)s::uuid, %(since)s::text, '', 'since'),
    p_limit => %(limit)s::integer)
"""

Measure = Literal["count", "uniqueActors", "sum", "avg", "min", "max"]
Text = Annotated[str, Meta(min_length=1, max_length=200)]


class RangeQuery(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Which events, and what to measure. `data.<key>=<value>` filters on a property as well."""

    from_: Annotated[
        str,
        Meta(description="A date (local midnight) or an RFC 3339 time; open if absent."),
    ] = msgspec.field(default="-infinity", name="from")
    to: Annotated[str, Meta(description="The first moment after the range; open if absent.")] = (
        "infinity"
    )
    type: Annotated[list[Text], Meta(max_length=100, description="Only these types.")] = []
    actor_id: Annotated[str, Meta(max_length=200, description="Only this actor's events.")] = ""
    timezone: Annotated[str, Meta(description="IANA name; the tenant's own if absent.")] = ""
    measure: Measure = "count"


Compare = Annotated[
    Literal["previous"] | None,
    Meta(description="Also the range before: months before months, days before days."),
]


class CountQuery(RangeQuery, forbid_unknown_fields=True, rename="camel"):
    """The same for one figure."""

    compare: Compare = None


class TimelineQuery(RangeQuery, forbid_unknown_fields=True, rename="camel"):
    """The same for a timeline."""

    interval: Literal["hour", "day", "week", "month"] = "day"
    group_by: Literal["type"] | None = None
    compare: Compare = None


class SummaryQuery(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """One period by `periodStart`, or the periods that begin from `from` until before `to`."""

    period_type: Literal["day", "week", "month"] = "day"
    metric: Annotated[str, Meta(max_length=200, description="An event type; all if absent.")] = ""
    period_start: Annotated[date | None, Meta(description="A date within the period.")] = None
    from_: date | None = msgspec.field(default=None, name="from")
    to: date | None = None
    measure: Measure = "count"


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
    previous_date: str | None = None
    previous_total: Decimal | None = None


class ChangesQuery(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Changes after a moment: `next` of the answer before, or a time."""

    since: Annotated[str, Meta(description="A date or an RFC 3339 time; all if absent.")] = (
        "-infinity"
    )
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 1000


class Change(msgspec.Struct, rename="camel"):
    """A figure that was final and has changed; 0 where all its events are gone."""

    metric: str
    period_type: str
    period_start: date
    starts_at: datetime
    count: int
    sum: Decimal | None
    unique_actors: int
    final: bool
    revision: int
    changed_at: datetime


class Changes(msgspec.Struct):
    """Changes, oldest first, and what to ask with next time."""

    changes: list[Change]
    next: str | None


class Summary(msgspec.Struct, rename="camel"):
    """The figures of one period. A final one was checked against the raw events."""

    metric: str
    period_type: str
    period_start: date
    starts_at: datetime
    ends_at: datetime
    value: Decimal | None
    count: int
    value_count: int
    sum: Decimal | None
    min: Decimal | None
    max: Decimal | None
    unique_actors: int
    final: bool
    as_of: datetime
    revision: int


TIMES = ("from", "to", "since")
_operator = re.compile(r"(>=|<=|!=|>|<)?(.*)", re.DOTALL)
_lost_plus = re.compile(r" (\d\d:\d\d)$")


Shape = TypeVar("Shape", bound=msgspec.Struct)


def takes_filters(shape: type[msgspec.Struct]) -> bool:
    """Do filters on data go with this query? With all that select events by type."""
    return "type" in shape.__struct_fields__


def split_query(
    request: Request[Any, Any, State], shape: type[Shape]
) -> tuple[Shape, list[dict[str, str]]]:
    """The query string as a struct, and its filters on data. Raises Problem 400 for what is off."""
    known = {field.encode_name: field.type for field in msgspec.structs.fields(shape)}
    values: dict[str, Any] = {}
    filters = []
    errors = []
    for name, text in request.query_params.multi_items():
        if "\0" in name or "\0" in text:
            errors.append(FieldError("holds a NUL character", parameter=name.replace("\0", "")))
        elif name.startswith("data.") and takes_filters(shape):
            # `data.k>=1` parses as the name `data.k>` and the value `1`.
            key, suffix = re.fullmatch(r"(.*?)([<>!]?)", name.removeprefix("data."), re.S).groups()  # type: ignore[union-attr]
            operator, value = _operator.fullmatch(text).groups()  # type: ignore[union-attr]
            if suffix:
                operator, value = suffix + "=", text
            if not key:
                errors.append(FieldError("names no key", parameter=name))
            filters.append({"key": key, "op": operator or "=", "value": value})
        elif name not in known:
            allowed = ", ".join(known) + (", data.<key>" if takes_filters(shape) else "")
            errors.append(FieldError(f"unknown parameter; known are {allowed}", parameter=name))
        elif name == "type":
            values.setdefault(name, []).append(text)
        elif name in values:
            errors.append(FieldError("given more than once", parameter=name))
        else:
            # An offset's plus sign that was not escaped arrives as a space.
            values[name] = _lost_plus.sub(r"+\1", text) if name in TIMES else text
    for name, value in values.items():
        try:
            values[name] = msgspec.convert(value, known[name], strict=False)
        except msgspec.ValidationError as error:
            detail = str(error)[:1].lower() + str(error)[1:]
            errors.append(FieldError(detail.replace("`", ""), parameter=name))
    if errors:
        raise Problem(400, "the query is not valid", errors)
    return msgspec.convert(values, shape), filters


def _parameters(query: RangeQuery, filters: list[dict[str, str]], caller: Caller) -> dict[str, Any]:
    return {
        "tenant": caller.tenant,
        "from": query.from_,
        "to": query.to,
        "timezone": query.timezone,
        "type": query.type,
        "measure": query.measure,
        "filters": Jsonb(filters),
        "actorId": query.actor_id,
    }


def _resolved(response: Response[Any], rows: list[Any]) -> Response[Any]:
    """Says in headers where retention made the range wider than asked: the body is a list."""
    if rows:
        for name, at in (("Resolved-From", rows[0][-2]), ("Resolved-To", rows[0][-1])):
            if at is not None:
                response.headers[name] = at.isoformat()
    return response


@get(
    "/analytics/events/count",
    opt={"scope": "read", "rate": "analytics", "query": CountQuery},
    operation_id="countEvents",
    summary="One figure for a range",
    tags=["Analytics"],
)
async def count_events(request: Request[Any, Any, State], db: Database) -> Response[Total]:
    """The number of events in a range, or another measure of them."""
    query, filters = split_query(request, CountQuery)
    parameters = _parameters(query, filters, request.scope["state"]["caller"])
    if query.compare:
        row = (await db.read(parameters["tenant"], COUNT_COMPARED, parameters))[0]
        return json.respond(Total(row[0], row[1], row[2], PreviousTotal(*row[3:])))
    total, resolved_from, resolved_to = (await db.read(parameters["tenant"], COUNT, parameters))[0]
    return json.respond(Total(total, resolved_from, resolved_to))


@get(
    "/analytics/events/by-type",
    opt={
        "scope": "read", "rate": "analytics", "query": RangeQuery, "list": True, "range": True,
    },
    operation_id="countEventsByType",
    summary="One figure for each event type, largest first",
    tags=["Analytics"],
)  # fmt: skip
async def events_by_type(
    request: Request[Any, Any, State], db: Database
) -> Response[list[TypeTotal]]:
    """At most 1,000 types."""
    query, filters = split_query(request, RangeQuery)
    parameters = _parameters(query, filters, request.scope["state"]["caller"])
    rows = await db.read(parameters["tenant"], BY_TYPE, parameters)
    totals = [TypeTotal(*row[:2]) for row in rows]
    return _resolved(json.respond_list(request, totals, TypeTotal), rows)


@get(
    "/analytics/events/timeline",
    opt={
        "scope": "read", "rate": "analytics", "query": TimelineQuery, "list": True, "range": True,
    },
    operation_id="eventTimeline",
    summary="One figure for each hour, day, week or month",
    tags=["Analytics"],
)  # fmt: skip
async def event_timeline(
    request: Request[Any, Any, State], db: Database
) -> Response[list[TimelineTotal]]:
    """Gaps are filled; an open range runs from the first event to the newest."""
    query, filters = split_query(request, TimelineQuery)
    parameters = _parameters(query, filters, request.scope["state"]["caller"])
    parameters |= {"interval": query.interval, "by_type": query.group_by == "type"}
    statement = TIMELINE_COMPARED if query.compare else TIMELINE
    rows = await db.read(parameters["tenant"], statement, parameters)
    hours = query.interval == "hour"
    dated = [((at if hours else on).isoformat(), kind, total) for at, on, kind, total, *_ in rows]
    if not query.compare:
        totals = [TimelineTotal(date, total, kind) for date, kind, total in dated]
        return _resolved(json.respond_list(request, totals, TimelineTotal), rows)
    now = [one for one, row in zip(dated, rows, strict=True) if not row[6]]
    before = [one for one, row in zip(dated, rows, strict=True) if row[6]]
    totals = _side_by_side(now, before)
    return _resolved(
        json.respond_list(request, totals, TimelineTotal), [row[:6] for row in rows if not row[6]]
    )


def _side_by_side(
    now: list[tuple[str, str | None, Any]], before: list[tuple[str, str | None, Any]]
) -> list[TimelineTotal]:
    """The first interval beside the first of the range before, and so on; the range before may
    have fewer, and types that this one does not have come after."""
    days: dict[str, dict[str | None, Any]] = {}
    for start, kind, total in now:
        days.setdefault(start, {})[kind] = total
    old_days: dict[str, dict[str | None, Any]] = {}
    for start, kind, total in before:
        old_days.setdefault(start, {})[kind] = total
    old = list(old_days.items())
    totals = []
    for number, (start, kinds) in enumerate(days.items()):
        old_start, old_kinds = old[number] if number < len(old) else (None, {})
        for kind in {**kinds, **old_kinds}:
            figures = kinds.get(kind), kind, old_start, old_kinds.get(kind)
            totals.append(TimelineTotal(start, *figures))
    return totals


@get(
    "/summaries",
    opt={
        "scope": "read",
        "rate": "summaries",
        "query": SummaryQuery,
        "list": True,
        "revalidated": True,
        "also": {304: "Nothing has changed."},
    },
    operation_id="getSummaries",
    summary="Pre-calculated days, weeks and months",
    tags=["Summaries"],
)
async def summaries(
    request: Request[Any, Any, State], db: Database
) -> Response[Summary | list[Summary]]:
    """One summary for `metric` and `periodStart`, a list otherwise.

    Cache-Control is no-cache: a final figure is reopened by a late event, so ask again, with
    If-None-Match; 304 says that nothing has changed.

    `final` tells a figure that has been checked after its period ended from one that may still
    grow; a final 0 is a 0.
    """
    query, _ = split_query(request, SummaryQuery)
    caller: Caller = request.scope["state"]["caller"]
    parameters: dict[str, Any] = {
        "tenant": caller.tenant,
        "periodType": query.period_type,
        "metric": query.metric,
        "measure": query.measure,
    }
    if query.period_start is not None:
        if query.from_ is not None or query.to is not None:
            raise Problem(400, "give periodStart, or from and to, not both")
        parameters["periodStart"] = query.period_start
        rows = await db.read(caller.tenant, SUMMARY, parameters)
    elif query.from_ is None or query.to is None:
        raise Problem(400, "give periodStart, or both from and to")
    else:
        parameters |= {"from": query.from_, "to": query.to}
        rows = await db.read(caller.tenant, SUMMARIES, parameters)
    found = [Summary(metric, query.period_type, *rest) for metric, *rest in rows]
    one = query.period_start is not None and query.metric
    # asOf moves with the clock while a figure is open; the figures are what a client has to know.
    figures = [tuple(row[:12]) + tuple(row[13:]) for row in rows]
    tag = f'"{hashlib.sha256(repr((one, figures)).encode()).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if one:
        response = json.respond(found[0])
    else:
        response = json.respond_list(request, found, Summary)
        headers["ETag"] = tag = f'{tag[:-1]}-{str(response.media_type).partition(";")[0][-3:]}"'
    if tag in re.split(r"\s*,\s*", request.headers.get("if-none-match", "").replace("W/", "")):
        response = Response(b"", status_code=304, media_type=response.media_type)
    response.headers.update(headers)
    return response


@get(
    "/summaries/changes",
    opt={"scope": "read", "rate": "summaries", "query": ChangesQuery, "list": True},
    operation_id="getSummaryChanges",
    summary="Which final figures have moved?",
    tags=["Summaries"],
)
async def summary_changes(request: Request[Any, Any, State], db: Database) -> Response[Changes]:
    """The days, weeks and months that were final and have changed since. Ask again with `next`."""
    query, _ = split_query(request, ChangesQuery)
    caller: Caller = request.scope["state"]["caller"]
    parameters: dict[str, Any] = {
        "tenant": caller.tenant,
        "since": query.since,
        "limit": query.limit,
    }
    changes = [Change(*row) for row in await db.read(parameters["tenant"], CHANGES, parameters)]
    following = changes[-1].changed_at.isoformat() if changes else query.since
    page = Changes(changes, None if following == "-infinity" else following)
    return json.respond_list(request, changes, Change, page)
