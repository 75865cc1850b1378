"""The reference page at /schema, as a browser shows it."""

import os
import subprocess

import httpx
import pytest


@pytest.fixture(scope="module")
def document(service):
    return httpx.get(service.url + "/schema/openapi.json").json()


def operations(document):
    return [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_operation_parameter_and_type_of_the_document_can_be_read(new_browser, document):
    page = new_browser().open("/schema")
    for path, method, operation in operations(document):
        shown = page.locator(f"#{operation['operationId']}").inner_text()
        assert f"{method.upper()} {path}" in shown
        assert operation["summary"] in shown
        for parameter in operation.get("parameters", []):
            assert parameter["name"] in shown
        for status in operation["responses"]:
            assert status in shown
    for name, schema in document["components"]["schemas"].items():
        shown = page.locator(f"#type-{name}").inner_text()
        for field in schema.get("properties", {}):
            assert field in shown


def test_every_link_within_the_page_leads_to_a_place_and_places_are_unique(new_browser):
    page = new_browser().open("/schema")
    ids = page.eval_on_selector_all("[id]", "found => found.map(one => one.id)")
    assert len(ids) == len(set(ids))
    targets = page.eval_on_selector_all(
        "a[href^='#']", "found => found.map(one => one.getAttribute('href').slice(1))"
    )
    assert len(targets) > 50
    assert set(targets) <= set(ids)


def test_the_examples_work_in_a_shell(new_browser, service, document):
    """Those that read, with a key of a tenant; the others are sent by the contract's tests."""
    client = service.tenant()
    page = new_browser().open("/schema")
    tried = 0
    for path, method, operation in operations(document):
        if method != "get" or "{" in path or "installation" in operation.get("x-key", ""):
            continue
        example = page.locator(f"#{operation['operationId']} pre").inner_text()
        done = subprocess.run(
            ["sh", "-c", example.replace("curl", "curl -s -o /dev/null -w '%{http_code}'", 1)],
            env={**os.environ, "URL": service.url, "KEY": client.headers["X-API-Key"]},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout == "200", example
        tried += 1
    assert tried > 8


@pytest.mark.parametrize("width", [360, 1280])
def test_the_reference_needs_no_scrolling_sideways(new_browser, width):
    page = new_browser(viewport={"width": width, "height": 800}).open("/schema")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_reference_has_no_script(new_browser):
    page = new_browser(java_script_enabled=False).open("/schema")
    assert "count" in page.locator("#countEvents").inner_text().lower()
    assert page.locator("script").count() == 0
