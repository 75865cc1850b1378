"""How browsers come in: by a cookie that holds the key, or by the token of a share link.

The cookie holds the key itself: nothing is kept here, no secret has to be shared by processes, and
a revoked key ends the session at once. Scripts cannot read it, other sites cannot make browsers
send it, and it is never in an address.
"""

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import parse_qs, parse_qsl, quote, urlsplit

from pgtally.http.operation import Door, ProblemBody
from pgtally.http.passage import passage_of
from pgtally.page.rendering import PAGE_HEADERS, render
from pgtally.problems import Problem

SESSION_SECONDS = 12 * 3600
MAX_FORM_BYTES = 16_384
TOKEN = "share"  # noqa: S105


def is_encrypted(scope: Any) -> bool:
    """Did the request come by https, as far as we or a trusted proxy know?"""
    return bool(scope.get("scheme") == "https")


def cookie_name(scope: Any) -> str:
    """With the prefix, browsers take the cookie only by https and for this host."""
    return "__Host-pgtally" if is_encrypted(scope) else "pgtally"


def cookie(scope: Any, key: str) -> str:
    """The value of Set-Cookie that keeps a key; an empty one ends the session."""
    return "; ".join(
        [
            f"{cookie_name(scope)}={key}",
            "Path=/",
            f"Max-Age={SESSION_SECONDS if key else 0}",
            "HttpOnly",
            "SameSite=Strict",
            *(["Secure"] if is_encrypted(scope) else []),
        ]
    )


def local_address(text: str) -> str:
    """Where to go after signing in: a view of the first page, never another site."""
    parts = urlsplit(text)
    if parts.scheme or parts.netloc or parts.path != "/" or not text.startswith("/"):
        return "/"
    return "/?" + parts.query if parts.query else "/"


class BrowserDoor(Door):
    """A key in a cookie; errors as pages."""

    problem_media_type = "text/html"
    problem_headers: Mapping[str, str] = PAGE_HEADERS

    def key_of(self, scope: Any, headers: dict[str, str]) -> str:
        sent = headers.get("cookie", "").split(";")
        cookies = dict(one.strip().partition("=")[::2] for one in sent)
        return cookies.get(cookie_name(scope), "")

    def refusal(self, problem: Problem, scope: Any) -> Problem:
        caller = passage_of(scope).caller
        if problem.status == 403 and caller is not None and caller.tenant_id is None:
            return Problem(
                303, "the page of an installation", headers={"Location": "/installation"}
            )
        if problem.status != 401:
            return problem
        query = scope["query_string"].decode("latin-1")
        wanted = "/?" + query if query and scope["path"] == "/" else ""
        location = "/sign-in" + (f"?next={quote(wanted)}" if wanted else "")
        return Problem(303, "sign in", headers={"Location": location})

    def encode_problem(self, body: ProblemBody) -> bytes:
        return render("problem.html", problem=body)


class SharedDoor(BrowserDoor):
    """The token of a share link: in the path of its page, in the query of its charts."""

    kind: Literal["pgt", "pgs"] = "pgs"

    def key_of(self, scope: Any, headers: dict[str, str]) -> str:
        token: str = scope.get("path_params", {}).get("token", "")
        return token or dict(parse_qsl(scope["query_string"].decode("latin-1"))).get(TOKEN, "")

    def refusal(self, problem: Problem, scope: Any) -> Problem:
        if problem.status in (401, 410):
            return Problem(404, "this link does not exist, has expired or was revoked")
        return problem


PAGES = BrowserDoor()
SHARED = SharedDoor()


def check_same_origin(request: Any) -> None:
    """Raises Problem 403 for a form that another site sent. Browsers say where a form comes from;
    who says nothing is refused."""
    site = request.headers.get("sec-fetch-site", "")
    origin = request.headers.get("origin", "")
    if site == "same-origin" or (
        not site and origin and urlsplit(origin).netloc == request.headers.get("host", "")
    ):
        return
    raise Problem(403, "this form was sent from another site")


async def read_form(request: Any) -> dict[str, str]:
    """The fields of a small form of our own; the first of each name. Raises Problem 400, 403, 413
    or 415, before much of it is read."""
    check_same_origin(request)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise Problem(415, "forms are application/x-www-form-urlencoded")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise Problem(413, f"the form is larger than {MAX_FORM_BYTES:,} bytes")
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=40)
    except ValueError:
        raise Problem(400, "the form is malformed") from None
    if any("\0" in text for texts in fields.values() for text in texts):
        raise Problem(400, "the form holds a NUL character")
    return {name: texts[0] for name, texts in fields.items()}
