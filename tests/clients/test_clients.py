"""Clients that are generated from the OpenAPI document, not written for this service: they are
generated, compile, and do what their program says."""

import os
import re
import shutil
import subprocess
import sys

import httpx
import pytest

from tests.conftest import ROOT

HERE = ROOT / "tests" / "clients"
# Stored one with the plan, then six; of seven, those with at least 4 seats; pages of five. The two
# largest groups by seats, what the others hold, and all. As each language prints it, without spaces.
SEEN = 'pro|6|3|[5,2]|[[["5"],2],[["0"],1]]|4|7'


def seen(output):
    spaceless = re.sub(r"(?<=[,\[])\s|\s(?=\])", "", output.strip())
    return re.sub(r"\s", "|", spaceless.replace("'", '"'))


@pytest.fixture
def document(service, tmp_path):
    path = tmp_path / "openapi.json"
    path.write_bytes(httpx.get(service.url + "/schema/openapi.json").content)
    return path


@pytest.fixture
def environment(service):
    key = service.tenant().headers["X-API-Key"]
    return {**os.environ, "PGTALLY_URL": service.url, "PGTALLY_KEY": key}


def run(*command, **how):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **how)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_a_generated_python_client_stores_counts_breaks_down_and_pages(
    document, environment, tmp_path
):
    generator = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"]
    made = run(
        *generator, "--path", document, "--output-path", tmp_path / "generated", cwd=tmp_path,
        env={**environment, "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}"},
    )  # fmt: skip
    # A stream of lines is the one answer that this generator has no words for. The doors are
    # for clients of their own.
    skipped = [
        line
        for line in (made.stdout + made.stderr).splitlines()
        if "WARNING" in line and not re.search("within (post_hog|cloud_events|browser)", line)
    ]
    assert skipped == ["WARNING parsing GET /events/export within events."]
    environment["PYTHONPATH"] = str(tmp_path)
    program = run(sys.executable, HERE / "program.py", env=environment)
    assert seen(program.stdout) == SEEN


@pytest.mark.typescript
def test_a_generated_typescript_client_compiles_stores_counts_breaks_down_and_pages(
    document, environment, tmp_path
):
    folder = tmp_path / "typescript"
    shutil.copytree(HERE / "typescript", folder, ignore=shutil.ignore_patterns("node_modules"))
    (folder / "node_modules").symlink_to(HERE / "typescript" / "node_modules")
    npx = ["npx", "--no-install"]
    run(*npx, "openapi-typescript", document, "-o", "build/pgtally.d.ts", cwd=folder)
    run(*npx, "tsc", cwd=folder)
    program = run("node", "build/program.js", cwd=folder, env=environment)
    assert seen(program.stdout) == SEEN


def test_no_property_has_a_default_and_answers_are_of_one_type(document):
    """What generators for TypeScript read as: it is always there, and: one of all of these."""
    schema = httpx.Response(200, content=document.read_bytes()).json()
    properties = [
        (name, field, told)
        for name, one in schema["components"]["schemas"].items()
        for field, told in one["properties"].items()
    ]
    assert len(properties) > 80
    assert [(name, field) for name, field, told in properties if "default" in told] == []
    answers = [
        (path, told["content"])
        for path, operations in schema["paths"].items()
        for operation in operations.values()
        for status, told in operation["responses"].items()
        if status.startswith("2") and "content" in told
    ]
    assert len(answers) > 20
    assert [path for path, content in answers if len(content) > 1] == []
