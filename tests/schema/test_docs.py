"""The documents say what the code does."""

import itertools
import json
import re
import shlex

import click
import httpx
import msgspec
import pytest
from pgtally.cli.main import cli
from pgtally.endpoints.metrics import HELP
from pgtally.settings import PREFIX, Settings

from docs import reference
from tests.conftest import ROOT

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "bench").glob("*.md")])


def test_every_setting_is_documented_with_its_default():
    text = (ROOT / "docs" / "configuration.md").read_text()
    for field in msgspec.structs.fields(Settings):
        (line,) = [
            row
            for row in text.splitlines()
            if row.startswith(f"| `{PREFIX}{field.name.upper()}` |")
        ][:1]
        default = (
            "required"
            if field.required
            else f"`{field.default:g}`"
            if isinstance(field.default, float)
            else "none"
            if field.default == ()
            else f"`{field.default}`"
        )
        assert default in line, line


def test_the_readme_names_every_api_function(db):
    text = (ROOT / "README.md").read_text()
    for (name,) in db.execute(
        "select proname from pg_proc where pronamespace = 'api'::regnamespace"
    ).fetchall():
        assert f"`api.{name}`" in text, name


def test_the_reference_pages_are_what_the_code_says(db):
    for name, text in reference.pages(db).items():
        assert (ROOT / "docs" / name).read_text() == text, f"docs/{name} is stale: make docs"


def _anchors(text):
    titles = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in _anchors(found.read_text()), f"{page.name}: {target}"


def test_every_page_is_within_two_clicks_of_the_readme():
    seen = {ROOT / "README.md"}
    for _ in range(2):
        for page in list(seen):
            for target in re.findall(r"\]\(([^)#\s]+\.md)[^)]*\)", page.read_text()):
                seen.add((page.parent / target).resolve())
    assert set(PAGES) - seen == set()


def _commands(text):
    """The calls of pgtally in code blocks and in code spans."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    blocks += re.findall(r"^    (\S.*)$", text, re.M)
    blocks += re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S))
    for block in blocks:
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"[|;]", re.sub(r"\s#.*", "", line)):
                if found := re.search(r"(?:^|[\s/(])pgtally( [a-z].*)$", part):
                    yield found[1].split(" > ")[0].rstrip(").")


WRITTEN = [page for page in PAGES if not page.name.startswith("reference-")]


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_their_options_exist(page):
    for text in _commands(page.read_text()):
        try:
            words = shlex.split(text)
        except ValueError:
            continue
        if words[0] in ("tenant's", "is", "runs", "would", "promises"):
            continue
        command = cli
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            name = words.pop(0)
            assert name in command.commands, f"{page.name}: pgtally{text}"
            command = command.commands[name]
        known = {opt for one in command.params for opt in one.opts} | {"--help"}
        # What follows a bare -- are no options.
        for word in itertools.takewhile("--".__ne__, words):
            if word.startswith("--"):
                assert word.partition("=")[0] in known, f"{page.name}: pgtally{text}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_sql_names_and_targets_of_make_exist(page, db):
    text = page.read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z-]+)`|^    make ([a-z-]+)", text, re.M):
        name = "".join(target)
        assert re.search(rf"^{name}:", makefile, re.M), f"{page.name}: make {name}"
    known = {
        name
        for (name,) in db.execute(
            """
            select pronamespace::regnamespace || '.' || proname from pg_proc
            union select relnamespace::regnamespace || '.' || relname from pg_class
            """
        )
    }
    for name in re.findall(r"\b((?:api|tally|bi)\.[a-z_]+)\b(?!\.)", text):
        # Settings look like names of tables.
        if name.endswith("_") or name.startswith("tally.keep_") or name == "tally.tenant_id":
            continue
        assert name in known, f"{page.name}: {name}"


def test_settings_that_pages_name_exist():
    known = {PREFIX + field.name.upper() for field in msgspec.structs.fields(Settings)}
    known |= {PREFIX + name for name in ("CONFIG", "HOME", "ADMIN_DSN", "DB_PASSWORD")}
    for page in PAGES:
        for name in re.findall(r"PGTALLY_[A-Z_]+", page.read_text()):
            assert name in known, f"{page.name}: {name}"


def test_every_command_has_help_and_answers_in_json_where_it_answers():
    def walk(command, path):
        if isinstance(command, click.Group):
            for name, inner in command.commands.items():
                yield from walk(inner, [*path, name])
        else:
            yield path, command

    streams = {"run", "remove", "serve", "jobs", "completion", "export"}
    for path, command in walk(cli, []):
        assert command.help, path
        options = {opt for one in command.params for opt in one.opts}
        assert "--json" in options or path[0] in streams, path


def test_the_dashboard_and_the_alerts_name_metrics_that_exist(service):
    text = httpx.get(
        service.url + "/metrics", headers={"Authorization": f"Bearer {service.installation_key}"}
    ).text
    # Some of the database's figures come with the first run of a job.
    known = {f"pgtally_{name}" for name in HELP}
    for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", text, re.M):
        known.add(name)
        if kind == "histogram":
            known |= {f"{name}_{part}" for part in ("bucket", "sum", "count")}
    folder = ROOT / "docs" / "monitoring"
    json.loads((folder / "grafana-dashboard.json").read_text())
    documented = (ROOT / "docs" / "monitoring.md").read_text()
    for page in (documented, *(path.read_text() for path in folder.iterdir())):
        for name in re.findall(r"pgtally_[a-z0-9_]+", page):
            assert name in known, name
    for name, _ in re.findall(r"^# TYPE (pgtally_\w+) (\w+)$", text, re.M):
        if not name.endswith("_created"):
            assert f"`{name}`" in documented, name
