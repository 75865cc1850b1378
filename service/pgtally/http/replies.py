"""Responses: JSON, lists also as CSV or NDJSON, pages with a link to the next, problems."""

import re
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec
import psycopg
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import Send

from pgtally.formats import CSV, JSON, NDJSON, csv_lines, encode, lines
from pgtally.http.operation import Operation, ProblemBody, operation_of
from pgtally.http.passage import passage_of
from pgtally.problems import FieldError, Problem, log, of_database_error


class JsonResponse(Response[Any]):
    """What respond gives. Litestar's own __init__ looks at headers and cookies that are not there,
    for a twentieth of POST /events."""

    def __init__(self, body: object, status: int) -> None:
        self.content, self.status_code, self.media_type = encode(body), status, JSON
        self.headers, self.cookies, self.response_type_encoders = {}, [], {}
        self.background, self.encoding = None, "utf-8"


def respond(body: object, status: int = 200) -> Response[Any]:
    """A JSON response. Handlers annotate the type of the body, for the documentation."""
    return JsonResponse(body, status)


def respond_list(
    request: Request[Any, Any, Any],
    rows: Sequence[msgspec.Struct],
    shape: type[msgspec.Struct],
    body: object = None,
) -> Response[Any]:
    """A list in the form that Accept asks for: JSON, CSV or NDJSON. `body` is what JSON holds where
    that is more than the list."""
    wanted = request.accept.best_match([JSON, CSV, NDJSON], default=JSON)
    if wanted == CSV:
        content, media_type = csv_lines(rows, shape), f"{CSV}; header=present"
    elif wanted == NDJSON:
        content, media_type = lines(rows), NDJSON
    else:
        content, media_type = encode(rows if body is None else body), JSON
    return Response(content, media_type=media_type, headers={"Vary": "Accept"})


Row = TypeVar("Row", bound=msgspec.Struct)


def respond_page(
    request: Request[Any, Any, Any],
    rows: list[Row],
    is_full: bool,
    page: type[msgspec.Struct],
    parameter: str,
    cursor: Callable[[Row], Any],
) -> Response[Any]:
    """A page of rows as page(rows, next): a full one is followed by another, which begins at the
    cursor of its last row. The next page's address is in a header too: CSV and NDJSON have no
    other place."""
    following = cursor(rows[-1]) if is_full else None
    shape = type(rows[0]) if rows else msgspec.Struct
    response = respond_list(request, rows, shape, page(rows, following))
    if following is not None:
        kept = [(k, v) for k, v in request.query_params.multi_items() if k != parameter]
        query = urlencode([*kept, (parameter, following)])
        response.headers["Link"] = f'<{request.url.path}?{query}>; rel="next"'
    return response


async def send_response(response: Response[Any], send: Send) -> None:
    """Sends a response whose content is bytes, without Litestar."""
    content, status = response.content, response.status_code or 200
    headers = [(name.lower().encode(), text.encode()) for name, text in response.headers.items()]
    if status not in (204, 304):
        media_type = str(response.media_type)
        if media_type.startswith("text/"):
            # As Litestar does.
            media_type += "; charset=utf-8"
        headers += [
            (b"content-type", media_type.encode()), (b"content-length", b"%d" % len(content)),
        ]  # fmt: skip
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content, "more_body": False})


def encode_problem(problem: Problem, scope: Any) -> bytes:
    """The body of the response for a problem, as the door of this request says it."""
    operation = operation_of(scope)
    body = ProblemBody(
        title=HTTPStatus(problem.status).phrase,
        status=problem.status,
        detail=problem.detail,
        instance=f"urn:request:{passage_of(scope).request_id}",
        code=problem.code,
        errors=[_placed(error, operation) for error in problem.errors],
    )
    return operation.door.encode_problem(body)


def _placed(error: FieldError, operation: Operation) -> FieldError:
    """The error with the client's name for the place that SQL named."""
    if error.argument is None:
        return error
    place = operation.place(error.argument)
    return FieldError(error.detail, place.pointer, place.parameter, error.index)


def handle(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The handler of every exception."""
    if isinstance(error, Problem):
        problem = error
    elif isinstance(error, psycopg.Error):
        problem = of_database_error(error)
    elif isinstance(error, HTTPException):
        headers = {k: v for k, v in (error.headers or {}).items() if k.lower() == "allow"}
        methods = {m for m in re.findall(r"\w+", "".join(headers.values())) if m != "OPTIONS"}
        text = {
            404: "no such resource; GET /schema tells which there are",
            405: f"method not allowed; use {', '.join(sorted(methods))}",
        }.get(error.status_code)
        detail = text or error.detail or HTTPStatus(error.status_code).phrase
        problem = Problem(error.status_code, detail, headers=headers)
    else:
        log.error("unexpected error", exc_info=error)
        problem = Problem(500, "an unexpected error; it has been logged")
    door = operation_of(request.scope).door
    return Response(
        encode_problem(problem, request.scope),
        status_code=problem.status,
        media_type=door.problem_media_type,
        headers={**door.problem_headers, **problem.headers},
    )
