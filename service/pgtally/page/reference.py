"""The reference page: the OpenAPI document as plain HTML, which browsers search and print."""

import shlex
from typing import Any
from urllib.parse import urlencode

import msgspec

from pgtally.page.rendering import render

# Shown in the examples where an operation takes them.
SHOWN_PARAMETERS = ("from", "to", "type", "interval", "periodType", "metric", "since")


def reference(document: dict[str, Any]) -> bytes:
    """The page for a document."""
    tags: dict[str, list[dict[str, Any]]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            (tag,) = operation["tags"]
            example = _curl(path, method, operation)
            tags.setdefault(tag, []).append(
                {**operation, "path": path, "method": method, "example": example}
            )
    return render(
        "reference.html", info=document["info"], tags=tags, components=document["components"]
    )


def _curl(path: str, method: str, operation: dict[str, Any]) -> str:
    """The request as a command for a shell in which URL and KEY are set."""
    lines = [f"curl -X {method.upper()}" if method != "get" else "curl"]
    schemes = [name for one in operation.get("security", []) for name in one]
    if "apiKey" in schemes:
        lines.append('-H "X-API-Key: $KEY"')
    elif "bearer" in schemes:
        lines.append('-H "Authorization: Bearer $KEY"')
    elif "basic" in schemes:
        lines.append('-u "$KEY:"')
    for media_type, media in operation.get("requestBody", {}).get("content", {}).items():
        if "example" in media:
            body = msgspec.json.format(msgspec.json.encode(media["example"]), indent=2).decode()
            lines += [f"-H 'Content-Type: {media_type}'", f"-d {shlex.quote(body)}"]
            break
    query = urlencode(
        [
            (one["name"], value)
            for one in operation.get("parameters", [])
            if one["in"] == "query" and "example" in one
            and (one["name"] in SHOWN_PARAMETERS or one["required"])
            for value in (one["example"] if isinstance(one["example"], list) else [one["example"]])
        ],
        safe=":",
    )  # fmt: skip
    lines.append(f'"$URL{path}{"?" * bool(query)}{query}"')
    first, second, *others = lines
    return " \\\n  ".join([f"{first} {second}", *others])
