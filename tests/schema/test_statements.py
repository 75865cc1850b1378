"""Every statement that Python sends is a constant, one call in named notation, and may be made."""

import ast
import importlib
import pkgutil
import re
from pathlib import Path

import pgtally
import psycopg
import pytest
from pgtally.vocabulary import (
    EVENT_COLUMNS,
    MEASURES,
    PROPERTY_MEASURES,
    QUOTAS,
    RATE_CLASSES,
    SCOPES,
)

SOURCE = Path(pgtally.__file__).parent
# What runs as the service's login; everything else is for whoever has the database.
SERVICE = (
    "pgtally.endpoints.", "pgtally.doors.", "pgtally.http.", "pgtally.ingest.", "pgtally.page.",
)  # fmt: skip
# Modules that install: they look at the catalog and make roles, which no function does.
INSTALLERS = {"migrate.py", "preflight.py", "jobs.py", "dev/cluster.py", "dev/run.py"}
# Functions of schema api that no statement calls, and why.
WITHOUT_A_STATEMENT = {
    "events_ingest_json": "for psql; replay calls it",
}
ONE_CALL = re.compile(
    r"\s*(select\s[\w\s,*]+\sfrom|call)\s+(api|tally)\.(\w+)\((.*)\)(?: as \w+)?\s*(where \(.*\) is not null)?\s*",
    re.DOTALL,
)
ARGUMENT = re.compile(r"p_\w+ => %\(\w+\)[sb]::[a-z]+(\[\])?", re.DOTALL)


def modules():
    for found in pkgutil.walk_packages(pgtally.__path__, "pgtally."):
        if found.name != "pgtally.__main__":
            yield importlib.import_module(found.name)


def statements():
    """name of the constant -> its text, from where it is defined."""
    found = {}
    for module in modules():
        for name, value in vars(module).items():
            if (
                name.isupper()
                and isinstance(value, str)
                and re.match(r"\s*(select|call|with|insert|update|delete)\b", value)
                and _defines(module, name)
            ):
                found[f"{module.__name__}.{name}"] = value
    return found


def _defines(module, name):
    tree = ast.parse(Path(module.__file__).read_text())
    return any(
        isinstance(node, ast.Assign) and name in [getattr(t, "id", "") for t in node.targets]
        for node in tree.body
    )


def numbered(text):
    """The statement with $1, $2 for its placeholders, as PREPARE wants it."""
    places = {}

    def number(match):
        return f"${places.setdefault(match[0], len(places) + 1)}"

    return re.sub(r"%\(\w+\)[sb]", number, text)


OURS = {
    name: text
    for name, text in statements().items()
    if name.split(".", 1)[1].rpartition(".")[0].replace(".", "/") + ".py" not in INSTALLERS
    or re.search(r"(from|call)\s+(api|tally)\.\w+\(", text)
}


@pytest.mark.parametrize("name", OURS)
def test_a_statement_is_one_call_in_named_notation(name):
    match = ONE_CALL.fullmatch(OURS[name])
    assert match, OURS[name]
    arguments = [one.strip() for one in match[4].split(",") if one.strip()]
    assert all(ARGUMENT.fullmatch(one) for one in arguments), arguments


def test_every_statement_of_the_service_may_be_made_by_its_login(service_dsn):
    of_service = {name: text for name, text in OURS.items() if name.startswith(SERVICE)}
    assert len(of_service) > 20
    with psycopg.connect(service_dsn, autocommit=True) as connection:
        for name, text in of_service.items():
            assert "tally." not in text, name
            connection.execute(f"prepare statement as {numbered(text)}".encode())
            connection.execute("deallocate statement")


def test_every_statement_of_the_command_line_fits_the_catalog(db):
    for name, text in OURS.items():
        if name.startswith(SERVICE) or text.strip().startswith("call"):
            continue
        db.execute(f"prepare statement as {numbered(text)}".encode())
        db.execute("deallocate statement")
    for text in OURS.values():
        if text.strip().startswith("call"):
            # What is called cannot be prepared; its name and arguments have to exist.
            match = ONE_CALL.fullmatch(text)
            names = set(re.findall(r"(p_\w+) =>", text))
            found = db.execute(
                "select proargnames from pg_proc where proname = %s and prokind = 'p'", (match[3],)
            ).fetchall()
            assert any(names <= set(one or ()) for (one,) in found), text


def test_nothing_else_in_python_speaks_sql_to_our_schemas():
    """A text that names a function or table of ours is one of the constants above."""
    strays = []
    for path in SOURCE.rglob("*.py"):
        if str(path.relative_to(SOURCE)) in INSTALLERS:
            continue
        tree = ast.parse(path.read_text())
        constants = [
            node.value
            for node in tree.body
            if isinstance(node, ast.Assign) and node.targets[0].id.isupper()  # type: ignore[attr-defined]
        ]
        inside = {id(part) for constant in constants for part in ast.walk(constant)}
        documented = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and re.search(r"\b(from|call|into|update)\s+(api|tally)\.\w+", node.value)
                and id(node) not in inside | documented
            ):
                strays.append(f"{path.name}:{node.lineno}: {node.value[:60]}")
    assert strays == []


def test_every_function_of_schema_api_has_a_caller(db):
    called = {match[3] for text in OURS.values() if (match := ONE_CALL.fullmatch(text))}
    functions = {
        name
        for (name,) in db.execute(
            "select proname::text from pg_proc where pronamespace = 'api'::regnamespace"
        )
    }
    assert functions - called == WITHOUT_A_STATEMENT.keys()


def test_the_folder_api_is_the_schema_api(db):
    files = {path.stem for path in (SOURCE.parent.parent / "sql/functions/api").glob("*.sql")}
    functions = {
        name
        for (name,) in db.execute(
            "select proname::text from pg_proc where pronamespace = 'api'::regnamespace"
        )
    }
    assert files == functions


def test_python_and_sql_use_the_same_words(db):
    def words(call):
        return tuple(db.execute(f"select {call}".encode()).fetchone()[0])

    assert words("tally.measures()") == MEASURES
    assert words("tally.property_measures()") == PROPERTY_MEASURES
    assert words("tally.rate_classes()") == RATE_CLASSES
    assert words("tally.quota_names()") == QUOTAS
    assert words("tally.scopes()") == SCOPES
    arguments, types = db.execute(
        """
        select proargnames[2:8], array(select t::regtype::text from unnest(proargtypes[1:7]) as t)
        from pg_proc where oid = 'api.events_ingest'::regproc
        """
    ).fetchone()
    short = {"timestamp with time zone[]": "timestamptz[]"}
    assert [name.removeprefix("p_") for name in arguments] == list(EVENT_COLUMNS)
    assert [short.get(one, one) for one in types] == [f"{one}[]" for one in EVENT_COLUMNS.values()]
