"""What a handler declares about itself, and how the clients of a door differ from ours."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from litestar.types import Scope

from pgtally.formats import JSON
from pgtally.problems import FieldError, Problem
from pgtally.vocabulary import RateClass
from pgtally.vocabulary import Scope as KeyScope

Kind = Literal["pgt", "pgs"]


class ProblemBody(msgspec.Struct, omit_defaults=True):
    """The body of every error response, application/problem+json."""

    title: str
    status: int
    detail: str
    instance: str = ""
    # outcome_unknown where the request may have been carried out all the same.
    code: str = ""
    errors: list[FieldError] = []


class Door:
    """How a family of clients presents its key and reads errors. This one is ours; another is a
    subclass beside its endpoints."""

    # Names of security schemes in the OpenAPI document.
    security: tuple[str, ...] = ("apiKey", "bearer")
    # How much of a body is read to look for a key that no header has; 0: not at all.
    max_keyless_bytes = 0
    # May a key that is bound to origins come through? Everybody has it, so only where the answer
    # tells nothing of what is stored.
    takes_public_keys = False

    # The kind of secret that opens it: "pgt", a key, or "pgs", the token of a share link.
    kind: Kind = "pgt"
    # How their errors are sent.
    problem_media_type = "application/problem+json"
    problem_headers: Mapping[str, str] = {}

    def key_of(self, scope: Any, headers: dict[str, str]) -> str:
        """The key of a request; empty if there is none. Raises Problem 401."""
        return self.key_of_headers(headers)

    def refusal(self, problem: Problem, scope: Any) -> Problem:
        """What these clients are told where access refuses them with this problem."""
        return problem

    def key_of_headers(self, headers: dict[str, str]) -> str:
        """The key of X-API-Key or of Authorization: Bearer; empty if there is none. Raises Problem
        401 where two differ."""
        key = headers.get("x-api-key", "")
        scheme, _, token = headers.get("authorization", "").partition(" ")
        token = self.key_of_authorization(scheme.lower(), token.strip())
        if key and token and key != token:
            raise unauthorized("X-API-Key and Authorization name different keys")
        return key or token

    def key_of_authorization(self, scheme: str, token: str) -> str:
        """The key in an Authorization header; empty for a scheme that is not ours."""
        return token if scheme == "bearer" else ""

    def key_of_body(self, body: bytes) -> str:
        """The key in a body of at most max_keyless_bytes; empty if there is none."""
        return ""

    def problem_body(self, body: ProblemBody) -> msgspec.Struct:
        """The body of an error as these clients read it."""
        return body

    def encode_problem(self, body: ProblemBody) -> bytes:
        """The same as it is sent."""
        return msgspec.json.encode(self.problem_body(body))


def unauthorized(detail: str) -> Problem:
    """401."""
    return Problem(401, detail, headers={"WWW-Authenticate": 'Bearer realm="pgtally"'})


OURS = Door()


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """Who may call a handler, what it takes, and what it answers besides its type."""

    # The scope that a key needs, "shared" that of a share link, and the class in which the request
    # counts; both None: no key.
    scope: KeyScope | Literal["shared"] | None = None
    rate_class: RateClass | None = None
    # Needs a key of the installation, which has no tenant.
    installation: bool = False
    door: Door = OURS
    query: type[msgspec.Struct] | None = None
    body: Any = None
    body_optional: bool = False
    # Its media types, and one of the first, run as a request by a test.
    consumes: tuple[str, ...] = (JSON,)
    example: Any = None
    # Takes Idempotency-Key and Prefer.
    preferences: bool = False
    # Answers also as CSV and NDJSON; in pages, with a link to the next; with an ETag.
    list: bool = False
    pages: bool = False
    revalidated: bool = False
    # Tells in headers where retention made the range wider than asked.
    resolves: bool = False
    # Called without Litestar's machinery: see direct.
    direct: bool = False
    # Further answers: successes with what they mean, and errors.
    also: dict[int, str] = {}
    errors: tuple[int, ...] = ()

    @property
    def public(self) -> bool:
        """Open to everyone."""
        return self.scope is None

    def place(self, argument: str) -> FieldError:
        """Where a client finds what SQL calls `argument`: in the body or in the query."""
        name = argument.removeprefix("p_")
        for struct in (self.body, self.query):
            if not isinstance(struct, type) or not issubclass(struct, msgspec.Struct):
                continue
            for field in msgspec.structs.fields(struct):
                if field.name.rstrip("_") == name:
                    if struct is self.body:
                        return FieldError("", pointer=f"/{field.encode_name}")
                    return FieldError("", parameter=field.encode_name)
        return FieldError("")


CLOSED = Operation(scope="admin", rate_class="tenants", installation=True)
OPEN = Operation()


def operation_of(scope: Scope) -> Operation:
    """What the handler of this request declares; a handler that says nothing is closed."""
    handler: Any = scope.get("route_handler")
    if handler is None:
        return OPEN
    found: Operation = handler.opt.get("operation", CLOSED)
    return found
