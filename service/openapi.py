"""The OpenAPI document, from the handlers and the Structs that they use, and its page.

Litestar documents paths and responses; bodies and queries are decoded by our own strict decoders,
so their Structs are added here. The page and its script are served from this process.
"""

import base64
import hashlib
from typing import Any

import msgspec
from litestar import Request
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin
from litestar.router import Router
from litestar.static_files import create_static_files_router
from swagger_ui_bundle import swagger_ui_path

from service.problems import ProblemBody
from service.queries import takes_filters

REF = "#/components/schemas/{name}"
PAGE = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><title>pgtally</title><link rel="icon" href="data:,">
<link rel="stylesheet" href="/schema/assets/swagger-ui.css">
</head>
<body><div id="ui"></div>
<script src="/schema/assets/swagger-ui-bundle.js"></script>
<script>%s</script>
</body>
</html>
"""
SCRIPT = b'SwaggerUIBundle({url: "/schema/openapi.json", dom_id: "#ui"})'
# The page runs its own scripts and calls its own origin, nothing else.
PAGE_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; "
    f"script-src 'self' 'sha256-{base64.b64encode(hashlib.sha256(SCRIPT).digest()).decode()}'; "
    "frame-ancestors 'none'"
)
ERRORS = {
    400: "What is wrong, where, and what is allowed.",
    401: "No key, or an unknown, expired or revoked one.",
    403: "The key lacks the scope.",
    404: "There is none.",
    408: "The body did not arrive in time.",
    409: "The name is taken.",
    413: "The body is too large.",
    415: "The content type or encoding is not supported.",
    429: "Too many requests; see Retry-After.",
    503: "The database is not available; see Retry-After.",
    504: "The request took too long and was cancelled.",
}
HIDDEN_DEFAULTS = ("-infinity", "infinity", "")


def _schemas(structs: list[Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    references, components = msgspec.json.schema_components(structs, ref_template=REF)
    return list(references), components


def _parameters(struct: type[msgspec.Struct]) -> list[dict[str, Any]]:
    parameters = []
    for field in msgspec.structs.fields(struct):
        schema = msgspec.json.schema(field.type)
        description = schema.pop("description", "")
        if field.default not in (msgspec.NODEFAULT, None, *HIDDEN_DEFAULTS):
            schema["default"] = field.default
        parameters.append(
            {
                "name": field.encode_name,
                "in": "query",
                "required": False,
                "description": description,
                "schema": schema,
            }
        )
    if takes_filters(struct):
        parameters.append(
            {
                "name": "data",
                "in": "query",
                "required": False,
                "description": "Filters: `data.<key>=<value>`; the value may begin with one of "
                "`> >= < <= !=`. A dot in the key goes down a level.",
                "style": "form",
                "explode": True,
                "schema": {"type": "object", "additionalProperties": {"type": "string"}},
            }
        )
    return parameters


def document(request: Request[Any, Any, Any], generated: dict[str, Any]) -> dict[str, Any]:
    """The generated document with bodies, queries, errors and security added."""
    components = generated.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    components["securitySchemes"] = {
        "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        "bearer": {"type": "http", "scheme": "bearer"},
    }
    (problem,), defined = _schemas([ProblemBody])
    schemas.update(defined)
    for route in request.app.routes:
        operations = generated["paths"].get(route.path, {})
        for handler in getattr(route, "route_handlers", []):
            for method in handler.http_methods:
                operation = operations.get(method.lower())
                if operation is None:
                    continue
                statuses = [503]
                if handler.opt.get("public"):
                    statuses = []
                else:
                    operation["security"] = [{"apiKey": []}, {"bearer": []}]
                    statuses += [400, 401, 403, 429, 504]
                if struct := handler.opt.get("query"):
                    in_path = [p for p in operation.get("parameters", []) if p["in"] == "path"]
                    operation["parameters"] = in_path + _parameters(struct)
                if struct := handler.opt.get("body"):
                    (reference,), defined = _schemas([struct])
                    schemas.update(defined)
                    operation["requestBody"] = {
                        "required": True,
                        "content": {"application/json": {"schema": reference}},
                    }
                    statuses += [408, 413, 415]
                statuses += handler.opt.get("errors", [])
                for status in sorted(statuses):
                    operation["responses"][str(status)] = {
                        "description": ERRORS[status],
                        "content": {"application/problem+json": {"schema": problem}},
                    }
    return generated


class Document(JsonRenderPlugin):
    """GET /schema/openapi.json."""

    _made: bytes | None = None

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        if self._made is None:
            self._made = msgspec.json.encode(document(request, openapi_schema))
        return self._made


class Page(OpenAPIRenderPlugin):
    """GET /schema: the reference page."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        request.scope["state"]["headers"]["Content-Security-Policy"] = PAGE_POLICY
        return PAGE % SCRIPT

    def receive_router(self, router: Router) -> None:
        router.register(
            create_static_files_router(
                path="/assets", directories=[swagger_ui_path], opt={"public": True}
            )
        )


def config() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="pgtally",
        version="1",
        description="Multi-tenant event analytics: exact, live summaries in PostgreSQL.",
        path="/schema",
        render_plugins=[Page(path="/"), Document(path="/openapi.json")],
    )
