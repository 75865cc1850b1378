"""What goes wrong, as RFC 9457 problem details: one shape, over HTTP and for the command line."""

import logging

import msgspec
import psycopg
import psycopg_pool

log = logging.getLogger("pgtally")

# SQLSTATEs that are not our own TYnnn but still mean something to a client.
STATUS_OF_SQLSTATE = {
    "40001": 503,
    "40P01": 503,
    "55P03": 503,  # lock not available
    "57014": 503,  # statement timeout
}
# A quota of the tenant is used up.
QUOTA = "TYQUO"
DISK_FULL = "53100"
DISK_FULL_RETRY_SECONDS = 10


# Classes of SQLSTATEs that refuse what a statement carries: data, constraints, size.
REFUSED_CONTENT = frozenset({"22", "23", "54"})


class FieldError(msgspec.Struct, omit_defaults=True):
    """One thing that is wrong: where (JSON pointer or parameter) and what."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None
    index: int | None = None
    # What SQL calls the place; over HTTP it becomes one of the others.
    argument: str | None = None


class Problem(Exception):
    """Ends a request with this problem."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: list[FieldError] | None = None,
        headers: dict[str, str] | None = None,
        code: str = "",
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.status = status
        self.detail = detail
        self.errors = errors or []
        self.headers = headers or {}


def unavailable(detail: str = "the database is not available", retry_seconds: int = 1) -> Problem:
    """503; the request was not carried out and may be repeated."""
    return Problem(503, detail, headers={"Retry-After": str(retry_seconds)})


def outcome_unknown() -> Problem:
    """503; the connection broke after the statement was sent, so it may have been carried out."""
    return Problem(
        503,
        "the connection to the database broke; the request may or may not have been carried out. "
        "Repeat it if its events have ids or it has an Idempotency-Key; otherwise look first",
        headers={"Retry-After": "1"},
        code="outcome_unknown",
    )


def is_about_content(error: Exception) -> bool:
    """Does the database, or its driver, refuse what the statement carries? Then another statement
    may fare better."""
    if isinstance(error, psycopg.Error):
        state = error.sqlstate or ""
        return state[:2] in REFUSED_CONTENT or (
            not state and not isinstance(error, psycopg.OperationalError)
        )
    return isinstance(error, ValueError | ArithmeticError)


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
    argument: str | None = None,
) -> Problem:  # fmt: skip
    """The problem that a SQLSTATE and its texts mean; 500 if they mean nothing to a client."""
    if state == QUOTA:
        return Problem(403, ". ".join(filter(None, [message, hint])), code="quota_exceeded")
    if state.startswith("TY"):
        errors = []
        if detail and detail.startswith("["):
            errors = msgspec.json.decode(detail, type=list[FieldError])
        elif argument:
            errors = [FieldError(message or "", argument=argument)]
        return Problem(int(state[2:]), ". ".join(filter(None, [message, hint])), errors)
    if state == DISK_FULL:
        return unavailable("the database's disk is full", DISK_FULL_RETRY_SECONDS)
    if state.startswith("53"):
        return unavailable("the database lacks memory, connections or other resources")
    status = STATUS_OF_SQLSTATE.get(state) or (400 if state[:2] in REFUSED_CONTENT else None)
    if status == 400:
        return Problem(400, "a value is malformed or out of range")
    if status == 503:
        return unavailable("the database is too busy")
    return Problem(500, "an unexpected error; it has been logged")
