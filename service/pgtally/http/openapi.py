"""The OpenAPI document, from the handlers and the Structs that they use, and its page.

Litestar documents paths and responses; bodies and queries are decoded by our own strict decoders,
so their Structs are added here.
"""

import typing
from collections.abc import Iterable
from typing import Any

import msgspec
from litestar import Litestar, Request
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin
from litestar.router import Router

from pgtally import __version__
from pgtally.formats import CSV, JSON, NDJSON
from pgtally.http.operation import CLOSED, OPEN, Operation, ProblemBody
from pgtally.http.passage import passage_of
from pgtally.http.query_string import takes_filters
from pgtally.page.reference import reference
from pgtally.page.rendering import POLICY

REF = "#/components/schemas/{name}"
SUCCESSES = {"200": "Here it is.", "201": "Made.", "204": "Done."}
ERRORS = {
    400: "What is wrong, where, and what is allowed.",
    401: "No key, or an unknown, expired or revoked one.",
    403: "The key lacks the scope. With the code `quota_exceeded`: the tenant's quota is used up.",
    404: "There is none.",
    408: "The body did not arrive in time.",
    409: "It conflicts with what is there.",
    410: "The tenant was deleted.",
    413: "The body is too large.",
    414: "The query is too long.",
    415: "The content type or encoding is not supported.",
    422: "The Idempotency-Key was used for another request.",
    429: "Too many requests.",
    500: "A defect; it has been logged.",
    503: "The database is not available; nothing was done, try again. With the code "
    "`outcome_unknown` it may have been carried out: send it again if its events have ids.",
    504: "The request took too long and was cancelled.",
}


def _header(description: str, kind: str = "string") -> dict[str, Any]:
    return {"description": description, "schema": {"type": kind}}


EVERYWHERE = {"X-Request-Id": _header("Names the request in logs and in pg_stat_activity.")}
LIMITS = {
    "RateLimit-Policy": _header('The class, its quota and its window: `"ingest";q=1000;w=60`.'),
    "RateLimit": _header("What is left, and the seconds until all of it is back."),
    "X-RateLimit-Limit": _header("Requests a minute.", "integer"),
    "X-RateLimit-Remaining": _header("What is left.", "integer"),
    "X-RateLimit-Reset": _header("Seconds until all of it is back.", "integer"),
}
RETRY = {"Retry-After": _header("Seconds to wait.", "integer")}
OPTIONS = {
    "Preference-Applied": _header("Which preferences were heeded."),
    "Idempotency-Replayed": _header("true where this is the answer of an earlier request."),
}
REVALIDATION = {
    "ETag": _header("Send it as If-None-Match; 304 says that nothing has changed."),
    "Cache-Control": _header("no-cache: a final figure can be reopened, so ask again."),
}
LINK = {"Link": _header('The address of the next page, rel="next".')}
RESOLVED = {
    "Resolved-From": _header("Where retention made the range begin earlier than asked."),
    "Resolved-To": _header("Where retention made the range end later than asked."),
}
CHALLENGE = {"WWW-Authenticate": _header("Bearer: how to send the key.")}
HEADERS = {
    **EVERYWHERE, **LIMITS, **RETRY, **OPTIONS, **REVALIDATION, **LINK, **RESOLVED, **CHALLENGE,
}  # fmt: skip
REQUEST_HEADERS = [
    {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "Makes the request safe to repeat for 7 days, also without event ids.",
        "schema": {"type": "string", "pattern": "^[!-~]{1,200}$"},
    },
    {
        "name": "Prefer",
        "in": "header",
        "required": False,
        "description": "`handling=lenient` stores the good events of a batch and keeps the others; "
        "`tx=rollback` is a dry run; `return=representation` answers a batch with the array of its "
        "events, where all are stored as sent, instead of a receipt. Several go with commas.",
        "schema": {"type": "string"},
        "example": "handling=lenient",
    },
]
# Run as requests by a test.
PARAMETER_EXAMPLES: dict[str, Any] = {
    "from": "2026-01-01",
    "to": "2026-02-01",
    "type": ["purchase"],
    "actorId": "user-17",
    "timezone": "Europe/Berlin",
    "measure": "uniqueActors",
    "interval": "week",
    "groupBy": ["type"],
    "periodType": "month",
    "metric": "purchase",
    "since": "2026-01-01T00:00:00Z",
    "by": ["data.plan"],
    "limit": 50,
}
EVENT = {
    "type": "purchase",
    "id": "01941f29-7c00-7aaa-8aaa-aaaaaaaaaaaa",
    "occurredAt": "2025-01-01T12:00:00Z",
    "actorId": "user-17",
    "value": 12.5,
    "data": {"plan": "pro"},
}
BODY_EXAMPLES: dict[str, Any] = {
    "createTenant": {"name": "Example Ltd", "timeZone": "Europe/Berlin", "weekStart": 1},
    "updateTenant": {"rateLimitsPerMinute": {"ingest": 5000}, "eventRetentionDays": 4000},
    "createShare": {
        "name": "For the board",
        "view": {"range": ["30d"], "type": ["purchase"]},
        "expiresAt": "2027-01-01T00:00:00Z",
    },
    "createKey": {"name": "dashboard", "scopes": ["read"]},
    "rotateKey": {"overlapSeconds": 3600},
    "createEvent": EVENT,
    "createEvents": {"events": [EVENT, {"type": "visit", "actorId": "user-18"}]},
    "replayRejectedEvents": {"ids": []},
    "createMeter": {"name": "sales by plan", "types": ["purchase"], "by": ["data.plan"]},
    "updateMeter": {"maxGroups": 200},
}  # fmt: skip

HIDDEN_DEFAULTS = ("-infinity", "infinity", "")


def _named(names: Iterable[str]) -> dict[str, Any]:
    """These headers, each described once, among the components."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _schemas(structs: list[Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    references, components = msgspec.json.schema_components(structs, ref_template=REF)
    return [_as_sent(one) for one in references], _as_sent(components)


def _parameters(struct: type[msgspec.Struct]) -> list[dict[str, Any]]:
    parameters = []
    for field in msgspec.structs.fields(struct):
        schema = msgspec.json.schema(field.type)
        description = schema.pop("description", "")
        if field.default not in (msgspec.NODEFAULT, None, *HIDDEN_DEFAULTS):
            schema["default"] = field.default
        parameter = {
            "name": field.encode_name,
            "in": "query",
            "required": False,
            "description": description,
            "schema": schema,
        }
        if field.encode_name in PARAMETER_EXAMPLES:
            parameter["example"] = PARAMETER_EXAMPLES[field.encode_name]
        parameters.append(parameter)
    if takes_filters(struct):
        parameters.append(
            {
                "name": "data",
                "in": "query",
                "required": False,
                "description": "Filters on properties: `data[<key>]=<value>`, or, the same, "
                "`data.<key>=<value>`; the value may begin with one of `> >= < <= != ^=` (^=: "
                "begins with). Repeated, it means one of these. A dot in a key goes down a level.",
                "style": "deepObject",
                "explode": True,
                "schema": {"type": "object", "additionalProperties": {"type": "string"}},
            }
        )
    return parameters


def _as_sent(schema: Any) -> Any:
    """The schema as generators of clients need it. A Decimal is a number: our encoder writes it so.
    What has a default may be left out, and an answer may lack it, but generators for TypeScript
    take a default for a promise that it is there; so it becomes a part of the description."""
    if isinstance(schema, list):
        return [_as_sent(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "decimal":
        return {"type": "number"}
    sent = {name: _as_sent(inner) for name, inner in schema.items() if name != "default"}
    if sent.get("type") == "array":
        # A list of anything: to be said, or generators drop the whole schema.
        sent.setdefault("items", {})
    if schema.get("default") not in (None, "", 0, False, [], {}):
        sent["description"] = f"{schema.get('description', '')} If absent: {schema['default']}."
        sent["description"] = sent["description"].strip()
    return sent


def _success(
    operation: dict[str, Any], declared: Operation, handler: Any, schemas: dict[str, Any]
) -> None:
    """Describes the answers that are no errors, from the type that the handler returns."""
    (status,) = [code for code in operation["responses"] if code.startswith("2")]
    success = operation["responses"][status]
    success["description"] = SUCCESSES[status]
    headers = [*EVERYWHERE, *([] if declared.public else LIMITS)]
    for declares, more in (
        (declared.preferences, OPTIONS), (declared.revalidated, REVALIDATION),
        (declared.pages, LINK), (declared.resolves, RESOLVED),
    ):  # fmt: skip
        if declares:
            headers += more
    success["headers"] = _named(headers)
    returned = typing.get_args(typing.get_type_hints(handler.fn).get("return"))
    if status == "204":
        success.pop("content", None)
    elif returned and returned[0] is not Any:
        (schema,), defined = _schemas([returned[0]])
        schemas.update(defined)
        success["content"] = {JSON: {"schema": schema}}
        if declared.pages or declared.list:
            # Named, but not as content: clients would be generated for a union of all three.
            success["description"] += f" As {CSV} or {NDJSON}, if Accept asks for it."
            success["x-also"] = [CSV, NDJSON]
    for other, description in declared.also.items():
        more = _named(RETRY) if other == 503 else {}
        operation["responses"][str(other)] = {
            **success, "description": description, "headers": {**success["headers"], **more},
        }  # fmt: skip
        if other == 304:
            del operation["responses"]["304"]["content"]


def _operation(
    operation: dict[str, Any], handler: Any, schemas: dict[str, Any], problem: dict[str, Any]
) -> None:
    declared: Operation = handler.opt.get("operation", CLOSED)
    statuses = {414, 500, 503, 504, *declared.errors}
    _success(operation, declared, handler, schemas)
    if not declared.public:
        operation["x-key"] = (
            "a key of the installation" if declared.installation
            else f"a key with the scope {declared.scope}"
        )  # fmt: skip
        operation["security"] = [{name: []} for name in declared.door.security]
        statuses |= {400, 401, 403, 429}
        if not declared.installation:
            statuses.add(410)
    in_path = [p for p in operation.get("parameters", []) if p["in"] == "path"]
    if in_path:
        statuses.add(404)
    if struct := declared.query:
        operation["parameters"] = in_path + _parameters(struct)
    if struct := declared.body:
        (reference,), defined = _schemas([struct])
        schemas.update(defined)
        content: dict[str, Any] = {"schema": reference}
        example = declared.example or BODY_EXAMPLES.get(operation["operationId"])
        if example:
            content["example"] = example
        operation["requestBody"] = {
            "required": not declared.body_optional,
            "content": dict.fromkeys(declared.consumes, content),
        }  # fmt: skip
        statuses |= {408, 413, 415}
    if declared.preferences:
        operation["parameters"] = [*operation.get("parameters", []), *REQUEST_HEADERS]
        statuses.add(422)
    for status in sorted(statuses - set(declared.also)):
        headers = [*EVERYWHERE, *([] if declared.public else LIMITS)]
        headers += {401: CHALLENGE, 429: RETRY, 503: RETRY}.get(status, ())
        operation["responses"][str(status)] = {
            "description": ERRORS[status],
            "headers": _named(headers),
            "content": {"application/problem+json": {"schema": problem}},
        }


def document(app: Litestar) -> dict[str, Any]:
    """Litestar's document with bodies, queries, headers, errors and security added."""
    generated = app.openapi_schema.to_schema()
    components = generated.setdefault("components", {})
    components["securitySchemes"] = {
        "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        "bearer": {"type": "http", "scheme": "bearer"},
        "basic": {"type": "http", "scheme": "basic"},
    }
    (problem,), schemas = _schemas([ProblemBody])
    for route in app.routes:
        operations = generated["paths"].get(getattr(route, "path_format", ""), {})
        for handler in getattr(route, "route_handlers", []):
            for method in handler.http_methods:
                if method.lower() in operations:
                    _operation(operations[method.lower()], handler, schemas, problem)
    # The name that SQL has for a place is replaced before an error is sent.
    del schemas["FieldError"]["properties"]["argument"]
    components["schemas"] = schemas
    components["headers"] = HEADERS
    generated["paths"] = dict(sorted(generated["paths"].items()))
    return generated


class Document(JsonRenderPlugin):
    """GET /schema/openapi.json."""

    _made: bytes | None = None

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        if self._made is None:
            self._made = msgspec.json.encode(document(request.app))
        return self._made


class Page(OpenAPIRenderPlugin):
    """GET /schema: the reference page."""

    _made: bytes | None = None

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        if self._made is None:
            self._made = reference(document(request.app))
        passage_of(request.scope).headers["content-security-policy"] = POLICY
        return self._made


def _operation_id(handler: Any, _: Any, __: Any) -> str:
    """count_events is countEvents."""
    first, *rest = handler.handler_name.split("_")
    return "".join([first, *map(str.capitalize, rest)])


def config() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="pgtally",
        version=__version__,
        description="Multi-tenant event analytics: exact, live summaries in PostgreSQL.",
        openapi_router=Router(
            "/schema", route_handlers=[], opt={"operation": OPEN}, include_in_schema=False
        ),
        use_handler_docstrings=True,
        operation_id_creator=_operation_id,
        render_plugins=[Page(path="/"), Document(path="/openapi.json")],
    )
