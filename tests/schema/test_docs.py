"""The documents say what the code does."""

import msgspec

from service.settings import PREFIX, Settings
from tests.conftest import ROOT


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
