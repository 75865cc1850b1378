"""Share links in a browser: making them, and what they show."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath

from pgtally.endpoints.shares import NewShare, make_share, revoke, shares_of
from pgtally.http.operation import Operation
from pgtally.http.passage import Db, Incoming, caller_of
from pgtally.page import figures
from pgtally.page.door import PAGES, SHARED, check_same_origin, read_form
from pgtally.page.figures import Question
from pgtally.page.rendering import CHART_POLICY, page, render_svg, see
from pgtally.page.view import MEASURE_NAMES, Address, pairs_of, read_view
from pgtally.problems import Problem

MANAGE = Operation(scope="admin", rate_class="tenants", door=PAGES)
SHOW = Operation(scope="shared", rate_class="analytics", door=SHARED)
DAYS = {"7": "a week", "30": "30 days", "90": "90 days", "365": "a year"}


def _view_of(request: Incoming) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = {}
    for name, text in request.query_params.multi_items():
        if text and name != "find":
            texts.setdefault(name, []).append(text)
    read_view(pairs_of(texts))
    return texts


async def _page(
    request: Incoming, db: Db, view: dict[str, list[str]], made: Any
) -> Response[bytes]:
    now = datetime.now(UTC)
    return page(
        "links.html", address=Address(pairs_of(view)), days=DAYS, made=made,
        origin=f"{request.scope['scheme']}://{request.headers.get('host', '')}",
        links=[
            (link, Address(pairs_of(link.view)), not link.revoked_at and link.expires_at > now)
            for link in await shares_of(db, caller_of(request))
        ],
    )  # fmt: skip


@get("/links", operation=MANAGE, include_in_schema=False)
async def links(request: Incoming, db: Db) -> Response[bytes]:
    """The form that shares the view of this address, and the links that there are."""
    return await _page(request, db, _view_of(request), None)


@post("/links", operation=MANAGE, include_in_schema=False, status_code=200)
async def make_link(request: Incoming, db: Db) -> Response[bytes]:
    """Makes a link and shows it, this once."""
    form = await read_form(request)
    if form.get("days") not in DAYS or not 1 <= len(form.get("name", "").strip()) <= 200:
        raise Problem(400, "a link has a name of 1 to 200 characters, and one of the terms offered")
    view: dict[str, list[str]] = {}
    for name, text in parse_qsl(form.get("view", ""), max_num_fields=200):
        view.setdefault(name, []).append(text)
    expires_at = datetime.now(UTC) + timedelta(days=int(form["days"]))
    made = await make_share(
        db, caller_of(request), NewShare(form["name"].strip(), view, expires_at)
    )
    return await _page(request, db, view, made)


@post("/links/{share_id:uuid}/revoke", operation=MANAGE, include_in_schema=False, status_code=303)
async def revoke_link(request: Incoming, db: Db, share_id: FromPath[UUID]) -> Response[bytes]:
    """Ends a link."""
    check_same_origin(request)
    await revoke(db, caller_of(request), share_id)
    return see("/links")


def _shared(request: Incoming) -> Question:
    """What the link shows, whatever else its address says."""
    caller = caller_of(request)
    pairs = pairs_of(caller.view or {})
    view, filters = read_view(pairs)
    return Question(caller.tenant, view, filters, Address(pairs), links=False)


@get("/shared/{token:str}", operation=SHOW, include_in_schema=False)
async def shared_page(request: Incoming, db: Db, token: FromPath[str]) -> Response[bytes]:
    """The figures of a link; no raw events."""
    question = _shared(request)
    shown = await figures.ask_page(db, question)
    return page(
        "shared.html", page=shown, view=question.view, filters=question.filter_pairs,
        measures=MEASURE_NAMES,
    )  # fmt: skip


def _chart(template: str, **values: Any) -> Response[bytes]:
    return Response(
        render_svg(template, **values),
        media_type="image/svg+xml",
        headers={"Content-Security-Policy": CHART_POLICY},
    )


@get("/charts/timeline.svg", operation=SHOW, include_in_schema=False)
async def timeline_svg(request: Incoming, db: Db) -> Response[bytes]:
    """The timeline of a link as an image."""
    question = _shared(request)
    tenant, shown, timeline = await figures.ask_timeline(db, question)
    name = f"{MEASURE_NAMES[question.view.measure]} by {timeline.interval}"
    text = f"{figures.range_text(shown)}, {tenant.time_zone}"
    return _chart("timeline.svg", timeline=timeline, name=name, text=text)


@get("/charts/breakdown.svg", operation=SHOW, include_in_schema=False)
async def breakdown_svg(request: Incoming, db: Db) -> Response[bytes]:
    """The breakdown of a link as an image."""
    question = _shared(request)
    tenant, shown, breakdown = await figures.ask_breakdown(db, question)
    name = f"{MEASURE_NAMES[question.view.measure]} by {breakdown.name}"
    text = f"{figures.range_text(shown)}, {tenant.time_zone}"
    return _chart("breakdown.svg", breakdown=breakdown, name=name, text=text)


HANDLERS: list[Any] = [
    links, make_link, revoke_link, shared_page, timeline_svg, breakdown_svg,
]  # fmt: skip
