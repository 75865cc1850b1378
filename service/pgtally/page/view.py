"""What a page shows: parameters of its address, or of a share link."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import msgspec
from msgspec import Meta

from pgtally.http.query_string import EventQuery, split_pairs
from pgtally.problems import FieldError, Problem
from pgtally.vocabulary import Interval, Measure

Preset = Literal[
    "today", "yesterday", "7d", "30d", "90d", "month", "last-month", "year", "last-year", "all",
    "custom",
]  # fmt: skip
PRESETS: dict[Preset, str] = {
    "today": "Today", "yesterday": "Yesterday", "7d": "7 days", "30d": "30 days",
    "90d": "90 days", "month": "This month", "last-month": "Last month", "year": "This year",
    "last-year": "Last year", "all": "Everything",
}  # fmt: skip
MEASURE_NAMES: dict[Measure, str] = {
    "count": "Events", "uniqueActors": "Unique actors", "sum": "Sum of values",
    "avg": "Average value", "min": "Smallest value", "max": "Largest value",
}  # fmt: skip
DEFAULT_DAYS = 30
# What every event has, besides the properties of its data.
PLAIN = {"type": "type", "actorId": "actor", "sessionId": "session"}
# More bars than that are no chart.
MAX_BUCKETS = 750
HOURS = {"hour": 1, "day": 24, "week": 168, "month": 730}


class View(EventQuery, forbid_unknown_fields=True, rename="camel"):
    """Which figures, of which events, of which time."""

    range_: Annotated[Preset | None, Meta(description="Days of the tenant.")] = msgspec.field(
        default=None, name="range"
    )
    until: Annotated[str, Meta(max_length=10, description="The last day, instead of `to`.")] = ""
    measure: Measure = "count"
    interval: Interval | None = None
    by: Annotated[
        str, Meta(max_length=200, description="type, actorId, sessionId or data.<property>.")
    ] = "type"
    split: Literal["by"] | None = None
    compare: Literal["none"] | None = None
    find: Annotated[str, Meta(max_length=200)] = ""


class Overview(msgspec.Struct):
    """What is known of the tenant: a row of api.tenant_overview."""

    name: str
    time_zone: str
    week_start: int
    today: date
    first_on: date | None
    newest_on: date | None
    final_to: date | None
    final_at: datetime | None


def read_view(pairs: Iterable[tuple[str, str]]) -> tuple[View, list[dict[str, Any]]]:
    """The view, and its filters on data. What is empty counts as absent, as forms send it. Raises
    Problem 400."""
    view, filters = split_pairs([(name, text) for name, text in pairs if text], View)
    if view.by not in PLAIN and not (view.by.startswith("data.") and len(view.by) > 5):
        error = FieldError(f"is one of {', '.join(PLAIN)} or data.<property>", parameter="by")
        raise Problem(400, "the query is not valid", [error])
    return view, filters


def pairs_of(texts: dict[str, list[str]]) -> list[tuple[str, str]]:
    """A stored view as pairs."""
    return [(name, text) for name, found in texts.items() for text in found]


class Address:
    """The parameters of a view, from which the addresses of others are made."""

    def __init__(self, pairs: Iterable[tuple[str, str]], path: str = "/") -> None:
        self._pairs = [(name, text) for name, text in pairs if text]
        self._path = path

    def but(self, path: str | None = None, **changes: str | None) -> str:
        """This address with some parameters replaced, or without those that are None. A trailing _
        of a name is not part of it."""
        changed = {name.rstrip("_"): text for name, text in changes.items()}
        kept = [(name, text) for name, text in self._pairs if name not in changed]
        return self._made(kept + [(n, t) for n, t in changed.items() if t], path)

    def adding(self, name: str, text: str, **changes: str | None) -> str:
        """With a filter more, and changes as in `but`."""
        kept = [(n, t) for n, t in self._pairs if n not in changes and (n, t) != (name, text)]
        made = [*kept, (name, text), *((n, t) for n, t in changes.items() if t)]
        return self._made(made)

    def without(self, name: str, text: str) -> str:
        """Without one filter."""
        return self._made([pair for pair in self._pairs if pair != (name, text)])

    def _made(self, pairs: list[tuple[str, str]], path: str | None = None) -> str:
        path = self._path if path is None else path
        return path + ("?" + urlencode(pairs) if pairs else "")

    @property
    def pairs(self) -> list[tuple[str, str]]:
        return list(self._pairs)


class Range(msgspec.Struct):
    """Local dates, or what was given; None is open."""

    preset: Preset
    from_: str | None
    to: str | None
    first: date | None
    end: date | None
    # Its last day is today, which goes on.
    goes_on: bool = False

    @property
    def arguments(self) -> dict[str, str]:
        return {"from": self.from_ or "-infinity", "to": self.to or "infinity"}

    @property
    def last(self) -> date | None:
        """The last day."""
        return self.end and self.end - timedelta(1)

    @property
    def is_bounded(self) -> bool:
        return self.from_ is not None and self.to is not None


def resolve(view: View, tenant: Overview) -> Range:
    """The range that a view means today, in the tenant's zone."""
    today = tenant.today
    preset = view.range_
    given = [None if end in ("-infinity", "infinity") else end for end in (view.from_, view.to)]
    if until := _date(view.until):
        given[1] = (until + timedelta(1)).isoformat()
    if preset is None and any(given):
        preset = "custom"
    if preset is None:
        recent = tenant.newest_on is None or tenant.newest_on > today - timedelta(DEFAULT_DAYS)
        preset = "30d" if recent else "all"
    if preset == "custom":
        first, end = (_date(text) for text in given)
        first = first or tenant.first_on
        end = end or (tenant.newest_on and tenant.newest_on + timedelta(1))
        return Range(preset, given[0], given[1], first, end)
    if preset == "all":
        after = tenant.newest_on and tenant.newest_on + timedelta(1)
        return Range(preset, None, None, tenant.first_on, after)
    first, end = _days(preset, today)
    return Range(preset, first.isoformat(), end.isoformat(), first, end, end > today)


def _date(text: str | None) -> date | None:
    try:
        return date.fromisoformat((text or "")[:10])
    except ValueError:
        return None


def _days(preset: Preset, today: date) -> tuple[date, date]:
    tomorrow = today + timedelta(1)
    month = today.replace(day=1)
    year = month.replace(month=1)
    if preset.endswith("d"):
        return tomorrow - timedelta(int(preset[:-1])), tomorrow
    return {
        "today": (today, tomorrow),
        "yesterday": (today - timedelta(1), today),
        "month": (month, tomorrow),
        "last-month": ((month - timedelta(1)).replace(day=1), month),
        "year": (year, tomorrow),
        "last-year": (year.replace(year=year.year - 1), year),
    }[preset]


def interval_of(view: View, shown: Range) -> tuple[Interval, bool]:
    """The interval of the timeline, and whether it is coarser than was asked for."""
    days = (shown.end - shown.first).days if shown.first and shown.end else 1
    fitting: Interval = "month"
    for interval, most_days in (("hour", 2), ("day", 120), ("week", 800)):
        if days <= most_days:
            fitting = interval  # type: ignore[assignment]
            break
    if view.interval is None:
        return fitting, False
    if days * 24 / HOURS[view.interval] > MAX_BUCKETS:
        return fitting, True
    return view.interval, False


def arguments_of(view: View, filters: Any, tenant: Any, shown: Range) -> dict[str, Any]:
    """What the questions of a view have in common."""
    return {
        "tenant": tenant, **shown.arguments, "types": view.types, "measure": view.measure,
        "filters": filters, "actor": view.actor, "time_zone": view.time_zone, "compare": False,
    }  # fmt: skip
