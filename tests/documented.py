"""Is an answer described by the OpenAPI document? Asked of every one that a test gets.

What holds for all answers alike is left out: headers of HTTP itself, those that tell browsers to
keep their hands off, and 404 and 405 for what is no operation.
"""

import re
import threading
from functools import cache
from typing import Any

import httpx

EVERYWHERE = {
    "connection", "content-length", "content-security-policy", "content-type", "date",
    "referrer-policy", "server", "server-timing", "transfer-encoding", "vary",
    "x-content-type-options",
}  # fmt: skip


@cache
def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)))


def undocumented(document: dict[str, Any], response: httpx.Response) -> list[str]:
    """What the document does not say of this answer."""
    path = response.request.url.raw_path.partition(b"?")[0].decode()
    method = response.request.method.lower()
    # The plain paths first: /events/bulk is no /events/{id}.
    for template in sorted(document["paths"], key=lambda one: one.count("{")):
        found = document["paths"][template]
        if _pattern(template).fullmatch(path) and method in found:
            break
    else:
        return []
    name = f"{method.upper()} {path}: {response.status_code}"
    told = found[method]["responses"].get(str(response.status_code))
    if told is None:
        return [name]
    known = EVERYWHERE | {header.lower() for header in told.get("headers", {})}
    if response.headers.get("cache-control") == "no-store":
        known.add("cache-control")
    missing = [
        f"{name}: {header}"
        for header in response.headers
        if header not in known and not header.startswith("access-control-")
    ]
    kind = response.headers.get("content-type", "").partition(";")[0]
    if kind and kind not in [*told.get("content", {}), *told.get("x-also", ())]:
        missing.append(f"{name}: {kind}")
    return missing


_fetched: dict[str, Any] = {}
_fetching = threading.Lock()


def check_every_answer(patch: Any) -> None:
    """From now on an answer that its own service does not describe fails the test that gets it."""
    send = httpx.Client.send

    def send_and_check(self: httpx.Client, request: httpx.Request, **how: Any) -> httpx.Response:
        response = send(self, request, **how)
        if not request.url.path.startswith("/schema"):
            with _fetching:
                if not _fetched:
                    address = request.url.copy_with(raw_path=b"/schema/openapi.json")
                    _fetched.update(httpx.get(address).json())
            missing = undocumented(_fetched, response)
            assert not missing, f"not in the OpenAPI document: {missing}"
        return response

    patch.setattr(httpx.Client, "send", send_and_check)
