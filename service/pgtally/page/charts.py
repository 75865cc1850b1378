"""Charts as SVG. Across, everything is a percentage, so that a chart fills whatever width it gets
and its texts stay as large as they are; the template draws what is laid out here."""

import math
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import msgspec

HEIGHT = 200
LABELS = 8
SERIES = 6


class Segment(msgspec.Struct):
    """A coloured part of a bar; pixels from the top."""

    series: int
    y: float
    height: float


class Bar(msgspec.Struct):
    """An interval: where it stands in percent, what it says, and where it leads."""

    x: float
    width: float
    segments: list[Segment]
    title: str
    href: str | None
    # The figure of the range before, in pixels from the top.
    before: float | None = None


class Label(msgspec.Struct):
    """A text below the bars; minor ones are left out on phones."""

    x: float
    text: str
    minor: bool


class Line(msgspec.Struct):
    """A line of the grid and its figure."""

    y: float
    text: str


class Chart(msgspec.Struct):
    """A timeline as it is drawn."""

    bars: list[Bar]
    labels: list[Label]
    lines: list[Line]
    baseline: float
    height: int = HEIGHT


class Point(msgspec.Struct):
    """A figure for each series of an interval."""

    label: str
    short: str
    values: list[Decimal | None]
    href: str | None
    before: Decimal | None = None
    before_label: str = ""
    # Begins a day, month or year: labels prefer it.
    round: bool = False


def number(value: Decimal | int | None) -> str:
    """A figure as people read it: grouped, at most two digits after the point; a dash for none."""
    if value is None:
        return "–"
    text = f"{Decimal(value):,.2f}".rstrip("0").rstrip(".")
    return text.replace("-", "−", 1) if text != "-0" else "0"


def short_number(value: float) -> str:
    """A figure of an axis: 1.5k, 2M."""
    for power, letter in ((12, "T"), (9, "B"), (6, "M"), (3, "k")):
        if abs(value) >= (least := 10.0**power):
            return f"{value / least:g}{letter}".replace("-", "−")
    return f"{value:g}".replace("-", "−")


def change(now: Decimal | None, before: Decimal | None) -> str | None:
    """By how much a figure has changed, in percent; None where that means nothing."""
    if now is None or before is None or before <= 0:
        return None
    percent = (now - before) / before * 100
    sign = "+" if percent > 0 else "−" if percent < 0 else "±"
    return f"{sign}{abs(percent):,.{0 if abs(percent) >= 100 else 1}f} %"


def share(part: Decimal | None, whole: Decimal | None) -> float:
    """A part in percent of the whole, from 0 to 100."""
    if not part or not whole or whole <= 0 or part < 0:
        return 0.0
    return round(min(100.0, float(part / whole * 100)), 3)


def ticks(low: float, high: float) -> list[float]:
    """Round figures from low to high, three to six of them."""
    span = high - low
    if span <= 0 or not math.isfinite(span):
        return [0.0, 1.0]
    raw = span / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    first = math.floor(low / step)
    return [round(step * n, 10) for n in range(first, math.ceil(high / step) + 1)]


def timeline(points: Sequence[Point], names: Sequence[str]) -> Chart:
    """Bars, one an interval; several series stand on one another."""
    stacked = [
        sum((value for value in point.values if value is not None), Decimal(0)) for point in points
    ]
    figures = [float(total) for total in stacked]
    figures += [float(point.before) for point in points if point.before is not None]
    lines = ticks(min([0.0, *figures]), max([0.0, *figures]))
    low, high = lines[0], lines[-1]

    def at(value: float) -> float:
        return round(HEIGHT - (value - low) / (high - low) * HEIGHT, 2)

    step = 100 / max(1, len(points))
    gap = step * (0.22 if len(points) > 2 else 0.5)
    bars = []
    for index, point in enumerate(points):
        level = 0.0
        segments = []
        for series, value in enumerate(point.values):
            if value:
                top, bottom = sorted((at(level), at(level + float(value))))
                segments.append(Segment(series, top, round(max(bottom - top, 0.75), 2)))
                level += float(value)
        bars.append(
            Bar(
                round(index * step + gap / 2, 4), round(step - gap, 4), segments,
                _title(point, names), point.href,
                None if point.before is None else at(float(point.before)),
            )
        )  # fmt: skip
    return Chart(
        bars, _labels(points, step), [Line(at(one), short_number(one)) for one in lines], at(0.0)
    )


def _title(point: Point, names: Sequence[str]) -> str:
    said = [point.label]
    for name, value in zip(names, point.values, strict=True):
        if value or len(names) == 1:
            said.append(f"{name}: {number(value)}" if len(names) > 1 else number(value))
    if point.before_label:
        said.append(f"before ({point.before_label}): {number(point.before)}")
    return "\n".join(said)


def _labels(points: Sequence[Point], step: float) -> list[Label]:
    """As many as there is room for, evenly, at round places if there are enough of them."""
    places = [n for n, point in enumerate(points) if point.round]
    if not 3 <= len(places) <= 14:
        every = max(1, math.ceil(len(points) / LABELS))
        places = list(range(0, len(points), every))
    elif len(places) > LABELS:
        places = places[::2]
    return [
        Label(round((n + 0.5) * step, 4), points[n].short, minor=index % 2 == 1 and len(places) > 4)
        for index, n in enumerate(places)
    ]


def zone_of(name: str) -> ZoneInfo:
    """The tenant's zone; UTC where this machine does not know it."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return ZoneInfo("UTC")


def moment(at: datetime, zone: ZoneInfo, seconds: bool = False) -> str:
    """A moment on the tenant's clock, with the zone's letters: 3 Nov 2013, 01:15 EST."""
    local = at.astimezone(zone)
    clock = local.strftime("%H:%M:%S %Z" if seconds else "%H:%M %Z")
    return f"{day(local.date())}, {clock}"


def day(on: date) -> str:
    """3 Nov 2013."""
    return f"{on.day} {on:%b} {on.year:04d}"


def days(first: date, end: date) -> str:
    """The days before `end` from `first` on: 1 – 30 Nov 2013."""
    last = end - timedelta(1)
    if last <= first:
        return day(first)
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day} – {day(last)}"
    if first.year == last.year:
        return f"{first.day} {first:%b} – {day(last)}"
    return f"{day(first)} – {day(last)}"


def following(on: date, interval: str) -> date:
    """Where the interval that begins on a date ends."""
    if interval == "week":
        return on + timedelta(7)
    if interval == "month":
        return (on.replace(day=1) + timedelta(32)).replace(day=1)
    return on + timedelta(1)
