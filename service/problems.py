"""Errors as RFC 9457 problem details: one shape for everything that goes wrong."""

import logging
from http import HTTPStatus
from typing import Any

import msgspec
import psycopg
import psycopg_pool
from litestar import Request, Response
from litestar.exceptions import HTTPException

log = logging.getLogger("pgtally")

# SQLSTATEs that are not our own TYnnn but still mean something to a client.
STATUS_OF_SQLSTATE = {
    "22003": 400,  # a number out of range
    "22007": 400,  # a malformed time
    "22008": 400,  # a time out of range
    "22021": 400,  # a byte sequence that is not UTF-8
    "22P02": 400,  # text that does not parse
    "22P05": 400,  # a character that cannot be stored
    "23514": 400,  # a table constraint
    "40001": 503,
    "40P01": 503,
    "53300": 503,  # too many connections
    "55P03": 503,  # lock not available
    "57014": 503,  # statement timeout
}


class FieldError(msgspec.Struct, omit_defaults=True):
    """One thing that is wrong: where (JSON pointer or parameter) and what."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None
    index: int | None = None


class ProblemBody(msgspec.Struct, omit_defaults=True):
    """The body of every error response, application/problem+json."""

    title: str
    status: int
    detail: str
    instance: str = ""
    errors: list[FieldError] = []
    code: str = ""
    message: str = ""


class Problem(Exception):
    """Ends a request with this problem."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: list[FieldError] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors or []
        self.headers = headers or {}


def unavailable(detail: str = "the database is not available") -> Problem:
    """503; the request was not carried out and may be repeated."""
    return Problem(503, detail, headers={"Retry-After": "1"})


def of_database_error(error: psycopg.Error) -> Problem:
    """Turns an error of the database into a problem. Only our own TYnnn texts reach the client."""
    if isinstance(error, psycopg_pool.PoolTimeout | psycopg_pool.TooManyRequests):
        return unavailable()
    diag = error.diag
    problem = problem_of(
        error.sqlstate or "", diag.message_primary, diag.message_detail, diag.message_hint,
        diag.column_name,
    )  # fmt: skip
    if problem.status == 500:
        if isinstance(error, psycopg.OperationalError):
            return unavailable()
        log.error("unexpected database error %s", error.sqlstate, exc_info=error)
    return problem


def problem_of(
    state: str, message: str | None, detail: str | None, hint: str | None = None,
    column: str | None = None,
) -> Problem:  # fmt: skip
    """The problem that a SQLSTATE and its texts mean; 500 if they mean nothing to a client."""
    if state.startswith("TY"):
        errors = []
        if detail and detail.startswith("["):
            errors = msgspec.json.decode(detail, type=list[FieldError])
        elif column:
            errors = [FieldError(message or "", parameter=column)]
        return Problem(int(state[2:]), ". ".join(filter(None, [message, hint])), errors)
    status = STATUS_OF_SQLSTATE.get(state)
    if status == 400:
        return Problem(400, "a value is malformed or out of range")
    if status == 503:
        return unavailable("the database is too busy")
    return Problem(500, "an unexpected error; it has been logged")


def encode(problem: Problem, request_id: str, path: str) -> bytes:
    """The body of the response for a problem."""
    body = ProblemBody(
        title=HTTPStatus(problem.status).phrase,
        status=problem.status,
        detail=problem.detail,
        instance=f"urn:request:{request_id}",
        errors=problem.errors,
    )
    if path.startswith("/v1/"):
        # Without these, some Segment clients take an error for a broken network and try again.
        body.code, body.message = body.title.lower().replace(" ", "_"), problem.detail
    return msgspec.json.encode(body)


def respond(request: Request[Any, Any, Any], problem: Problem) -> Response[bytes]:
    """The response for a problem."""
    return Response(
        encode(problem, request.scope["state"]["request_id"], request.scope["path"]),
        status_code=problem.status,
        media_type="application/problem+json",
        headers=problem.headers,
    )


def handle(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The handler of every exception."""
    if isinstance(error, Problem):
        return respond(request, error)
    if isinstance(error, psycopg.Error):
        return respond(request, of_database_error(error))
    if isinstance(error, HTTPException):
        headers = {k: v for k, v in (error.headers or {}).items() if k.lower() == "allow"}
        text = {404: "no such resource", 405: "method not allowed"}.get(error.status_code)
        detail = text or error.detail or HTTPStatus(error.status_code).phrase
        return respond(request, Problem(error.status_code, detail, headers=headers))
    log.error("unexpected error", exc_info=error)
    return respond(request, Problem(500, "an unexpected error; it has been logged"))
