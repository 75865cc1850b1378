"""The tree itself: modules that import each other in one direction, and SQL files named after what
they make."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pgtally

from tests.conftest import ROOT

PACKAGE = Path(pgtally.__file__).parent


def module_of(path):
    parts = ("pgtally", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports():
    """module -> the modules of ours that it imports, also inside functions and for types only."""
    known = {module_of(path): path for path in PACKAGE.rglob("*.py")}
    found = {}
    for name, path in known.items():
        wanted = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                wanted |= {one.name for one in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                for one in node.names:
                    inner = f"{node.module}.{one.name}"
                    wanted.add(inner if inner in known else node.module)
        found[name] = {one for one in wanted if one in known} - {name}
    return found


def test_no_modules_import_each_other_in_a_circle():
    assert list(TopologicalSorter(imports()).static_order())


def test_no_core_module_knows_a_door_by_name():
    doors = {path.stem for path in (PACKAGE / "doors").glob("[a-z]*.py")}
    assert {"segment", "cloudevents", "posthog", "browser"} == doors
    for path in PACKAGE.rglob("*.py"):
        # An import of a file has to name the form that it is in.
        # The page is for browsers, and says so.
        if not {"doors", "cli", "page"} & {part.name for part in path.parents}:
            assert not doors & set(re.findall(r"\w+", path.read_text().lower())), path


def test_the_service_does_not_need_the_command_line_or_the_demo():
    found = imports()
    seen, todo = set(), ["pgtally.app"]
    while todo:
        module = todo.pop()
        if module not in seen:
            seen.add(module)
            todo += found[module]
    assert not {module for module in seen if module.startswith(("pgtally.cli", "pgtally.dev"))}


def test_a_command_loads_no_library_that_only_others_need():
    """That took 0.4 of 0.7 s of CPU of each `pgtally tenant list`."""
    loads = "import sys, pgtally.cli.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", loads], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"psycopg", "pgtally.cli.events", "pgtally.cli.server"} <= loaded
    assert not {"litestar", "granian", "yoyo", "rich.table", "prometheus_client"} & loaded


def test_a_sql_file_is_named_after_the_function_that_it_makes():
    for path in (ROOT / "sql/functions").rglob("*.sql"):
        made = re.findall(
            r"^create (?:function|procedure) (api|bi|tally)\.(\w+)", path.read_text(), re.M
        )
        assert [name for _, name in made] == [path.stem], path
        folder = path.parent.name
        assert made[0][0] == (folder if folder in ("api", "bi") else "tally"), path


def test_no_function_of_the_bootstrap_hides_a_command_that_it_looks_for():
    """`command -v chromium` found the function chromium, so a fresh machine never got the program."""
    text = (PACKAGE / "dev" / "bootstrap.sh").read_text()
    functions = set(re.findall(r"^(\w+)\(\) \{", text, re.MULTILINE))
    looked_for = set(re.findall(r"command -v (\w+)", text))
    assert len(functions) > 5
    assert {"chromium", "sudo"} <= looked_for
    assert not functions & looked_for
