"""GET / and what belongs to it."""

from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency

from pgtally.endpoints.analytics import BreakdownRow, TimelineTotal
from pgtally.formats import CSV, csv_lines
from pgtally.http.authentication import Authentication
from pgtally.http.edge import address_of
from pgtally.http.operation import OPEN, Operation
from pgtally.http.passage import Db, Incoming, caller_of
from pgtally.page import figures, installation, sharing
from pgtally.page.door import PAGES, check_same_origin, cookie, local_address, read_form
from pgtally.page.figures import Question
from pgtally.page.rendering import LIVE_POLICY, page, see
from pgtally.page.view import MEASURE_NAMES, PLAIN, PRESETS, Address, read_view
from pgtally.problems import Problem

READ = Operation(scope="read", rate_class="analytics", door=PAGES)


def question_of(request: Incoming) -> Question:
    """What the address asks for. Raises Problem 400."""
    pairs = list(request.query_params.multi_items())
    view, filters = read_view(pairs)
    return Question(caller_of(request).tenant, view, filters, Address(pairs))


@get("/sign-in", operation=OPEN, include_in_schema=False)
async def sign_in_page(request: Incoming) -> Response[bytes]:
    """The form; `next` is where to go then."""
    following = local_address(request.query_params.get("next", "/"))
    return page(
        "sign-in.html", following=following, wrong="", came_back="next" in request.query_params
    )


@post("/sign-in", operation=Operation(), include_in_schema=False, status_code=303)
async def sign_in(
    request: Incoming, authentication: NamedDependency[Authentication]
) -> Response[bytes]:
    """Keeps a key in a cookie, if it is one for reading or one of the installation."""
    form = await read_form(request)
    following = local_address(form.get("next", "/"))
    key = form.get("key", "").strip()
    try:
        caller = await authentication.find(key, address_of(request.scope))
        if caller.tenant_deleted:
            raise Problem(410, "the tenant was deleted")
        if caller.tenant_id is not None and "read" not in caller.scopes:
            raise Problem(403, "this key lacks the scope read")
    except Problem as problem:
        wrong = problem.detail[:1].upper() + problem.detail[1:] + "."
        shown = page(
            "sign-in.html", problem.status, following=following, wrong=wrong, came_back=False
        )
        shown.headers.update(problem.headers)
        return shown
    if caller.tenant_id is None:
        following = "/installation"
    return see(following, **{"Set-Cookie": cookie(request.scope, key)})


@post("/sign-out", operation=Operation(), include_in_schema=False, status_code=303)
async def sign_out(request: Incoming) -> Response[bytes]:
    """Forgets the key."""
    check_same_origin(request)
    return see("/sign-in", **{"Set-Cookie": cookie(request.scope, "")})


@get("/", operation=READ, include_in_schema=False)
async def first_page(request: Incoming, db: Db) -> Response[bytes]:
    """The figures of a view."""
    question = question_of(request)
    shown = await figures.ask_page(db, question)
    response = page(
        "figures.html", page=shown, view=question.view, filters=question.filter_pairs, plain=PLAIN,
        address=question.address, presets=PRESETS, measures=MEASURE_NAMES,
        may_share="admin" in caller_of(request).scopes,
    )  # fmt: skip
    response.headers["Content-Security-Policy"] = LIVE_POLICY
    return response


@get("/newest", operation=READ, include_in_schema=False)
async def newest(request: Incoming, db: Db) -> Response[bytes]:
    """The rows of the newest events, which the page asks for every few seconds."""
    question = question_of(request)
    return page("events.html", events=await figures.ask_events(db, question))


def _download(name: str, rows: Sequence[msgspec.Struct], shape: Any) -> Response[bytes]:
    return Response(
        csv_lines(rows, shape),
        media_type=f"{CSV}; header=present",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@get("/charts/timeline.csv", operation=READ, include_in_schema=False)
async def timeline_csv(request: Incoming, db: Db) -> Response[bytes]:
    """What GET /analytics/events/timeline answers as CSV."""
    rows = await figures.timeline_rows(db, question_of(request))
    return _download("timeline.csv", rows, TimelineTotal)


@get("/charts/breakdown.csv", operation=READ, include_in_schema=False)
async def breakdown_csv(request: Incoming, db: Db) -> Response[bytes]:
    """What GET /analytics/events/breakdown answers as CSV."""
    rows = await figures.breakdown_rows(db, question_of(request))
    return _download("breakdown.csv", rows, BreakdownRow)


HANDLERS: list[Any] = [
    sign_in_page, sign_in, sign_out, first_page, newest, timeline_csv, breakdown_csv,
    *sharing.HANDLERS, *installation.HANDLERS,
]  # fmt: skip
