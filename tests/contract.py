"""Requests made from the OpenAPI document, good and bad, against a running service: never a 5xx, and
every answer as documented."""

import contextlib
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, checks
from schemathesis.specs.openapi import checks as openapi_checks

from tests.conftest import Service

# Left out: that what fits the document is accepted. What a schema cannot say decides that for some
# requests: the bounds of times, whether a time zone exists, fields that belong together. And that what
# does not fit is refused, which `Prefer: handling=lenient` asks not to do.
CHECKS = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
]
INSTALLATION = ("/tenants", "/metrics", "/health/details")


def document(service: Service) -> Any:
    """The service's OpenAPI document."""
    return schemathesis.openapi.from_url(f"{service.url}/schema/openapi.json")


def operations(service: Service) -> list[Any]:
    """All operations of the document."""
    return [result.ok() for result in document(service).get_all_operations()]


def check(service: Service, operation: Any, examples: int) -> None:
    """Calls an operation with requests that fit the document and with ones that do not."""
    client = service.tenant()
    key = client.headers["X-API-Key"]
    if operation.path.startswith(INSTALLATION):
        key = service.installation_key
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=examples,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def run(case: Any) -> None:
            response = case.call(base_url=service.url, headers={"X-API-Key": key}, timeout=30)
            case.validate_response(response, checks=CHECKS)

        # An operation without input has no bad requests.
        with contextlib.suppress(Unsatisfiable):
            run()
    # Else it was answered 401 from some moment on, which is documented everywhere.
    own = "/tenants" if key == service.installation_key else "/keys"
    assert httpx.get(service.url + own, headers={"X-API-Key": key}).status_code == 200
