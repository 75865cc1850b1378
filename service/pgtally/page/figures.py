"""The figures of a view: asked with the statements of the endpoints, laid out for the templates."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from pgtally.database import NAMED, Ask, Database
from pgtally.endpoints.analytics import (
    BREAKDOWN,
    COUNT,
    TIMELINE,
    BreakdownRow,
    TimelineTotal,
    timeline_totals,
)
from pgtally.endpoints.raw_events import LAST, LIST, RawEvent, events_of
from pgtally.page import charts
from pgtally.page.charts import Chart, Point
from pgtally.page.view import (
    MEASURE_NAMES,
    PLAIN,
    Address,
    Overview,
    Range,
    View,
    arguments_of,
    interval_of,
    resolve,
)
from pgtally.page.ways import as_curl, as_sql
from pgtally.vocabulary import Interval, Measure

OVERVIEW = f"""
  select name, time_zone, week_start, today, first_on, newest_on, final_to, final_at
  from api.tenant_overview(p_tenant => %(tenant)s::uuid)
  {NAMED}
"""
SHOWN_GROUPS = 12
SHOWN_EVENTS = 20
SEARCHED_INTERVALS = 4
# How many are searched, without reading more than a page can say.
FOUND_GROUPS = 1000
# How the value of a filter may begin that is none of the values.
OPERATORS = "<>!=^"
SHOWN_PROPERTIES = 8
SHOWN_CHARACTERS = 60
CARDS: tuple[Measure, ...] = ("count", "uniqueActors", "sum", "avg")
# Their parts add up to the whole.
ADDITIVE = ("count", "sum")


class Way(msgspec.Struct):
    """The same answer elsewhere."""

    curl: str
    sql: str
    csv: str


class Card(msgspec.Struct):
    """A figure, and how it has changed."""

    name: str
    value: str
    href: str
    is_chosen: bool
    change: str | None = None
    rises: bool = False
    before: str = ""
    before_range: str = ""
    asked: bool = True


class Group(msgspec.Struct):
    """A row of a breakdown: a value, or what has none, or the rest."""

    label: str
    value: str
    share: float
    percent: str
    href: str | None
    kind: str = "group"


class Breakdown(msgspec.Struct):
    """The largest groups, what has none, and the rest."""

    name: str
    groups: list[Group]
    ways: Way
    note: str
    source: str


class Timeline(msgspec.Struct):
    """A chart, and what it says as a table."""

    chart: Chart
    names: list[str]
    points: list[Point]
    interval: str
    coarser: bool
    compares: bool
    ways: Way


class Property(msgspec.Struct):
    """A property of an event, and the view of those that have the same."""

    name: str
    text: str
    href: str | None


class Event(msgspec.Struct):
    """A raw event as a row."""

    at: str
    type: str
    type_href: str
    actor: str
    actor_href: str
    value: str
    data: list[Property]


class Page(msgspec.Struct):
    """All that the first page shows."""

    tenant: Overview
    range: Range
    range_text: str
    cards: list[Card]
    timeline: Timeline
    breakdown: Breakdown
    events: list[Event]
    properties: list[str]
    final: str


class Question(msgspec.Struct):
    """Who asks for what, and where links lead."""

    tenant: UUID
    view: View
    filters: list[dict[str, Any]]
    # The parameters as they were given; a share link's page leads nowhere else.
    address: Address
    links: bool = True

    @property
    def filter_pairs(self) -> list[tuple[str, str]]:
        """The filters on data as an address has them."""
        return [
            (name, text) for name, text in self.address.pairs if name.startswith(("data.", "data["))
        ]


async def ask_page(db: Database, question: Question) -> Page:
    """The answers to everything on the page, of one moment."""

    async def ask_all(ask: Ask) -> Page:
        tenant, shown, arguments = await _begin(ask, question)
        cards = await _cards(ask, question, shown, arguments)
        breakdown, names = await _breakdown(ask, question, shown, arguments)
        timeline = await _timeline(ask, question, tenant, shown, arguments, names)
        events = await _events(ask, question, shown, arguments)
        return Page(
            tenant, shown, range_text(shown), cards, timeline, breakdown,
            rows_of(events, tenant, question), properties_of(events), _final(tenant, shown),
        )  # fmt: skip

    return await db.read_together(question.tenant, ask_all)


async def ask_timeline(db: Database, question: Question) -> tuple[Overview, Range, Timeline]:
    """The timeline alone."""

    async def ask_some(ask: Ask) -> tuple[Overview, Range, Timeline]:
        tenant, shown, arguments = await _begin(ask, question)
        names: list[str] = []
        if question.view.split:
            _, names = await _breakdown(ask, question, shown, arguments)
        timeline = await _timeline(ask, question, tenant, shown, arguments, names)
        return tenant, shown, timeline

    return await db.read_together(question.tenant, ask_some)


async def ask_breakdown(db: Database, question: Question) -> tuple[Overview, Range, Breakdown]:
    """The breakdown alone."""

    async def ask_some(ask: Ask) -> tuple[Overview, Range, Breakdown]:
        tenant, shown, arguments = await _begin(ask, question)
        breakdown, _ = await _breakdown(ask, question, shown, arguments)
        return tenant, shown, breakdown

    return await db.read_together(question.tenant, ask_some)


async def ask_events(db: Database, question: Question) -> list[Event]:
    """The newest events alone."""

    async def ask_some(ask: Ask) -> list[Event]:
        tenant, shown, arguments = await _begin(ask, question)
        return rows_of(await _events(ask, question, shown, arguments), tenant, question)

    return await db.read_together(question.tenant, ask_some)


async def timeline_rows(db: Database, question: Question) -> list[TimelineTotal]:
    """The timeline as the endpoint answers it."""

    async def ask_some(ask: Ask) -> list[TimelineTotal]:
        _, shown, arguments = await _begin(ask, question)
        asked, interval, _ = _timeline_question(question, shown, arguments)
        return timeline_totals(await ask(TIMELINE, asked), interval)

    return await db.read_together(question.tenant, ask_some)


async def breakdown_rows(db: Database, question: Question) -> list[BreakdownRow]:
    """The breakdown as the endpoint answers it."""

    async def ask_some(ask: Ask) -> list[BreakdownRow]:
        _, _, arguments = await _begin(ask, question)
        asked = _breakdown_question(question, arguments)
        return [BreakdownRow(*row[:4]) for row in await ask(BREAKDOWN, asked)]

    return await db.read_together(question.tenant, ask_some)


def _timeline_question(
    question: Question, shown: Range, arguments: dict[str, Any]
) -> tuple[dict[str, Any], Interval, bool]:
    """The arguments of the timeline, its interval, and whether that is coarser than asked for."""
    view = question.view
    interval, coarser = interval_of(view, shown)
    compares = shown.is_bounded and view.compare != "none" and not view.split
    asked = {**arguments, "interval": interval, "by_type": False, "compare": compares}
    return asked, interval, coarser


async def _begin(ask: Ask, question: Question) -> tuple[Overview, Range, dict[str, Any]]:
    tenant = Overview(*(await ask(OVERVIEW, {"tenant": question.tenant}))[0])
    shown = resolve(question.view, tenant)
    filters = Jsonb(question.filters)
    return tenant, shown, arguments_of(question.view, filters, question.tenant, shown)


async def _cards(
    ask: Ask, question: Question, shown: Range, arguments: dict[str, Any]
) -> list[Card]:
    """The figures. What reads raw events, as filters do, is asked for once: the chosen measure."""
    view = question.view
    slow = bool(question.filters or view.actor)
    compares = shown.is_bounded and view.compare != "none"
    chosen = [view.measure] if view.measure not in CARDS else []
    cards = []
    # Where no event has a value, there is no average, and nothing to say of the sum.
    valued = slow or (await ask(COUNT, {**arguments, "measure": "avg"}))[0][0] is not None
    for measure in (*CARDS, *chosen):
        is_chosen = measure == view.measure
        href = question.address.but(measure=None if measure == "count" else measure)
        name = MEASURE_NAMES[measure]
        if measure in ("sum", "avg") and not valued and not is_chosen:
            continue
        if slow and not is_chosen:
            cards.append(Card(name, "", href, False, asked=False))
            continue
        asked = {**arguments, "measure": measure, "compare": compares and not shown.goes_on}
        total, _, _, before, *_ = (await ask(COUNT, asked))[0]
        now = total
        if compares and shown.goes_on:
            # As long a time before, up to this moment: today's rest has not come yet.
            asked |= {"to": datetime.now(UTC).isoformat(timespec="seconds"), "compare": True}
            now, _, _, before, *_ = (await ask(COUNT, asked))[0]
        changed = charts.change(now, before) if compares else None
        cards.append(
            Card(
                name, charts.number(total), href, is_chosen, changed,
                bool(changed and changed.startswith("+")),
                charts.number(before) if compares else "",
                "the same time just before" if compares and shown.goes_on
                else "the range before" if compares else "",
            )
        )  # fmt: skip
    return cards


async def _breakdown(
    ask: Ask, question: Question, shown: Range, arguments: dict[str, Any]
) -> tuple[Breakdown, list[str]]:
    """The groups of the view, and the values of the largest, for a timeline of them."""
    view = question.view
    asked = _breakdown_question(question, arguments)
    rows = await ask(BREAKDOWN, asked)
    found = [(values[0], total) for part, values, total, *_ in rows if part == "group"]
    missing, other, whole = (row[2:5] for row in rows[-3:])
    source, is_exact, bound = rows[-1][6:9]
    # Parts of the whole only where they add up to it.
    total = whole[0] if view.measure in ADDITIVE and all((t or 0) >= 0 for _, t in found) else None
    matching = [row for row in found if view.find.lower() in _text(row[0]).lower()]
    rest = matching[SHOWN_GROUPS:]
    largest = max((abs(t) for _, t in matching if t is not None), default=None)
    groups = [
        _group(_text(value), figure, total, largest, _within(question, value))
        for value, figure in matching[:SHOWN_GROUPS]
    ]
    if not view.find:
        if missing[1]:
            groups.append(_group("missing", missing[0], total, largest, None, "missing"))
        if other[1]:
            count = f"{other[2]:,} more" if other[2] is not None else "all others"
            groups.append(_group(count, other[0], total, largest, None, "other"))
    note = ""
    if view.find and (rest or not matching):
        note = f"{len(rest):,} more match." if matching else "None of the largest matches."
    if not is_exact:
        note += f" Raw events are gone: each group may have up to {bound:,} events more."
    ways = Way(
        as_curl(
            "/analytics/events/breakdown", arguments, question.filter_pairs, by=view.by,
            limit=str(asked["limit"]),
        ),
        as_sql(BREAKDOWN, asked),
        question.address.but("/charts/breakdown.csv"),
    )  # fmt: skip
    name = PLAIN.get(view.by, view.by.removeprefix("data."))
    values = [value for value, _ in found if value][: charts.SERIES - 1]
    return Breakdown(name, groups, ways, note.strip(), source), values


def _breakdown_question(question: Question, arguments: dict[str, Any]) -> dict[str, Any]:
    limit = FOUND_GROUPS if question.view.find else SHOWN_GROUPS
    return {
        **arguments, "by": [question.view.by], "of": "value", "unique": "actorId", "limit": limit,
    }  # fmt: skip


def _text(value: str | None) -> str:
    """A group's value as people read it; null is a value."""
    return "null" if value is None else value or "(empty)"


def _within(question: Question, value: str | None) -> str | None:
    """The view of a group's events, where an address can name it."""
    view = question.view
    if not question.links or not value:
        return None
    if view.by == "type":
        return None if value in view.types else question.address.adding("type", value, find=None)
    if view.by == "actorId":
        return question.address.but(actorId=value, find=None)
    if view.by == "sessionId" or value[0] in OPERATORS or len(value) > 200:
        return None
    return question.address.adding(view.by, value, find=None)


def _group(
    label: str, total: Decimal | None, whole: Decimal | None, largest: Decimal | None,
    href: str | None, kind: str = "group",
) -> Group:  # fmt: skip
    percent = charts.share(total, whole)
    told = "" if whole is None else "<0.1 %" if 0 < percent < 0.1 else f"{percent:.1f} %"
    return Group(label, charts.number(total), charts.share(total, largest), told, href, kind)


async def _timeline(
    ask: Ask, question: Question, tenant: Overview, shown: Range, arguments: dict[str, Any],
    names: list[str],
) -> Timeline:  # fmt: skip
    view, address = question.view, question.address
    asked, interval, coarser = _timeline_question(question, shown, arguments)
    compares = asked["compare"]
    rows = await ask(TIMELINE, asked)
    series: dict[datetime, list[Decimal | None]] = {row[0]: [row[3]] for row in rows}
    shown_names = [MEASURE_NAMES[view.measure]]
    if view.split and names and view.measure in ADDITIVE:
        shown_names = names
        parts = await _parts(ask, question, asked, names)
        for start, whole in series.items():
            values = [parts.get((start, name), Decimal(0)) for name in names]
            known = sum((value or Decimal(0) for value in values), Decimal(0))
            series[start] = [*values, (whole[0] or Decimal(0)) - known]
        if any(values[-1] for values in series.values()):
            shown_names = [*names, "all others"]
        else:
            series = {start: values[:-1] for start, values in series.items()}
    zone = charts.zone_of(view.time_zone or tenant.time_zone)
    points = []
    for row in rows:
        start, on, _, _, old_start, old_on, old = row[:7]
        label, short, is_round = _label(start, on, interval, zone)
        before_label = ""
        if compares and old_on is not None:
            before_label = _label(old_start, old_on, interval, zone)[0]
        href = _narrower(address, start, on, interval, shown) if question.links else None
        points.append(
            Point(
                label, short, series[start], href, old if compares else None, before_label, is_round
            )
        )
    ways = Way(
        as_curl(
            "/analytics/events/timeline", arguments, question.filter_pairs, interval=interval,
            **({"compare": "previous"} if compares else {}),
        ),
        as_sql(TIMELINE, asked),
        address.but("/charts/timeline.csv"),
    )  # fmt: skip
    chart = charts.timeline(points, shown_names)
    return Timeline(chart, shown_names, points, interval, coarser, compares, ways)


async def _parts(
    ask: Ask, question: Question, asked: dict[str, Any], names: list[str]
) -> dict[tuple[datetime, str], Decimal | None]:
    """The figures of each interval and value: of types in one question, of others in one each."""
    by = question.view.by
    questions: list[tuple[str | None, dict[str, Any]]]
    if by == "type":
        questions = [(None, {**asked, "types": names, "by_type": True})]
    elif by == "actorId":
        questions = [(name, {**asked, "actor": name}) for name in names]
    else:
        key = by.removeprefix("data.")
        questions = [
            (
                name,
                {**asked, "filters": Jsonb(
                    [*question.filters, {"key": key, "op": "=", "value": [name]}])},
            )
            for name in names
        ]  # fmt: skip
    return {
        (row[0], name or row[2]): row[3]
        for name, one in questions
        for row in await ask(TIMELINE, one)
    }


def _label(start: datetime, on: date, interval: Interval, zone: Any) -> tuple[str, str, bool]:
    """In full, in short, and whether something greater begins here."""
    if interval == "hour":
        local = start.astimezone(zone)
        midnight = local.hour == 0
        return (
            f"{charts.day(local.date())}, {local:%H:%M %Z}",
            f"{local.day} {local:%b}" if midnight else f"{local:%H:%M}",
            midnight or local.hour % 6 == 0,
        )
    if interval == "day":
        return f"{on:%a} {charts.day(on)}", f"{on.day} {on:%b}", on.weekday() == 0
    if interval == "week":
        end = on + timedelta(7)
        is_first = on.day <= 7
        return f"week of {charts.days(on, end)}", f"{on.day} {on:%b}", is_first
    return f"{on:%B} {on.year}", f"{on:%b} {on.year}" if on.month == 1 else f"{on:%b}", True


def _narrower(
    address: Address, start: datetime, on: date, interval: Interval, shown: Range
) -> str | None:
    """The view of one bar."""
    if interval == "hour":
        end = start + timedelta(hours=1)
        ends = (start.isoformat(), end.isoformat())
    else:
        first = max(on, shown.first) if shown.first and shown.is_bounded else on
        after = charts.following(on, interval)
        if shown.is_bounded and shown.end:
            after = min(after, shown.end)
        ends = (first.isoformat(), after.isoformat())
    return address.but(range=None, until=None, from_=ends[0], to=ends[1], interval=None)


async def _events(
    ask: Ask, question: Question, shown: Range, arguments: dict[str, Any]
) -> list[RawEvent]:
    """The newest events. An index has them; those of a rare type may lie far back among others, so
    only intervals that hold some are read, the newest few."""
    asked = {**arguments, "before_at": LAST[0], "before_id": LAST[1], "limit": SHOWN_EVENTS}
    view = question.view
    if not (view.types or question.filters or view.actor):
        return events_of(await ask(LIST, asked))[0]
    timeline, *_ = _timeline_question(question, shown, arguments)
    rows = await ask(TIMELINE, {**timeline, "measure": "count", "compare": False})
    ends = [*(row[0].isoformat() for row in rows[1:]), arguments["to"]]
    events: list[RawEvent] = []
    within = [(row[0].isoformat(), end) for row, end in zip(rows, ends, strict=True) if row[3]]
    if within:
        # An interval may begin before the range does.
        within[0] = (arguments["from"], within[0][1])
    for begin, end in within[: -SEARCHED_INTERVALS - 1 : -1]:
        one = {**asked, "from": begin, "to": end, "limit": SHOWN_EVENTS - len(events)}
        events += events_of(await ask(LIST, one))[0]
        if len(events) >= SHOWN_EVENTS:
            break
    return events


def rows_of(events: list[RawEvent], tenant: Overview, question: Question) -> list[Event]:
    """Events as rows, on the tenant's clock."""
    zone = charts.zone_of(question.view.time_zone or tenant.time_zone)
    rows = []
    for event in events:
        rows.append(
            Event(
                charts.moment(event.occurred_at, zone, seconds=True),
                event.type,
                question.address.adding("type", event.type),
                event.actor_id or "",
                question.address.but(actorId=event.actor_id),
                charts.number(event.value) if event.value is not None else "",
                _properties(event.data, question),
            )
        )
    return rows


def _properties(data: Any, question: Question) -> list[Property]:
    if not isinstance(data, dict):
        return []
    found = []
    for name, value in list(data.items())[:SHOWN_PROPERTIES]:
        plain = isinstance(value, str | int | float | bool)
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        href = None
        # A filter begins with its operator, and a dot goes down a level.
        if (
            plain
            and text
            and name
            and "." not in name
            and text[0] not in OPERATORS
            and len(text) < 200
        ):
            href = question.address.adding(f"data.{name}", text)
        short = text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
        found.append(Property(name, short, href))
    return found


def properties_of(events: list[RawEvent]) -> list[str]:
    """The properties that the newest events have, which are what can be asked about."""
    found: dict[str, None] = {}
    for event in events:
        data = event.data if isinstance(event.data, dict) else {}
        for name, value in data.items():
            inner = value.items() if isinstance(value, dict) else [("", value)]
            for deeper, plain in inner:
                path = f"{name}.{deeper}" if deeper else name
                if name and path.count(".") == bool(deeper) and not isinstance(plain, dict | list):
                    found[path] = None
    return sorted(found)[:24]


def range_text(shown: Range) -> str:
    """The range as people say it."""
    if shown.first is None or shown.end is None:
        return "no events yet"
    if shown.preset == "custom" and any("T" in (end or "") for end in (shown.from_, shown.to)):
        return f"{shown.from_ or 'the beginning'} to {shown.to or 'now'}"
    return charts.days(shown.first, shown.end)


def _final(tenant: Overview, shown: Range) -> str:
    """What of the range is final, and since when."""
    if tenant.final_to is None or shown.first is None or tenant.final_to <= shown.first:
        return "Live: none of these days is final yet; figures may still grow."
    zone = charts.zone_of(tenant.time_zone)
    checked = f", last on {charts.moment(tenant.final_at, zone)}" if tenant.final_at else ""
    if shown.end is not None and tenant.final_to >= shown.end:
        return f"Final: each of these days was checked against the raw events{checked}."
    return (
        f"Final up to {charts.day(tenant.final_to - timedelta(1))}: checked against the raw events"
        f"{checked}. Later days are live and may still grow."
    )
