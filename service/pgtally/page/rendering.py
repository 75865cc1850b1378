"""Templates, and the files that pages load: a style sheet, an icon, a script of twenty lines."""

import hashlib
import re
from base64 import b64encode
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import Response, get
from litestar.params import FromPath
from markupsafe import Markup

from pgtally.http.operation import OPEN
from pgtally.page import charts
from pgtally.problems import Problem

STATIC = Path(__file__).resolve().parent / "static"
# By name: a path that a client made up never reaches the file system.
ASSETS = {"page.css": "text/css", "icon.svg": "image/svg+xml", "live.js": "text/javascript"}
# Nothing runs, nothing is loaded from elsewhere, nobody frames it.
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
# The one page with a script of ours, which asks for the newest events.
LIVE_POLICY = f"{POLICY}; script-src 'self'; connect-src 'self'"

# Charts that stand alone carry their style, and may stand anywhere.
CHART_STYLE = (STATIC / "chart.css").read_text().strip()
CHART_POLICY = (
    "default-src 'none'; frame-ancestors *; "
    f"style-src 'sha256-{b64encode(hashlib.sha256(CHART_STYLE.encode()).digest()).decode()}'"
)


@cache
def _asset(name: str) -> bytes:
    return (STATIC / name).read_bytes()


def asset_address(name: str) -> str:
    """Where browsers find an asset, for ever: another content has another address."""
    return f"/assets/{name}?v={hashlib.sha256(_asset(name)).hexdigest()[:12]}"


_templates = Environment(
    loader=PackageLoader("pgtally.page"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals.update(asset=asset_address)
_templates.filters.update(number=charts.number)


def render(template: str, **values: Any) -> bytes:
    """A template's text; every value is escaped."""
    return _templates.get_template(template).render(values).encode()


# What a page is sent with.
PAGE_HEADERS = {
    "Content-Security-Policy": POLICY,
    # Forms tell where they come from only if addresses may be told to this host.
    "Referrer-Policy": "same-origin",
}
# Of what XML 1.0 can hold no form at all.
_no_xml = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def page(template: str, status: int = 200, **values: Any) -> Response[bytes]:
    """A page."""
    return Response(
        render(template, **values),
        status_code=status,
        media_type="text/html",
        headers=PAGE_HEADERS,
    )


def see(address: str, **headers: str) -> Response[bytes]:
    """Another page."""
    return Response(b"", status_code=303, headers={"Location": address, **headers})


def render_svg(template: str, **values: Any) -> bytes:
    """A chart that stands alone."""
    text = _templates.get_template(template).render(style=Markup(CHART_STYLE), **values)  # noqa: S704
    return _no_xml.sub("\ufffd", text).strip().encode()


@get("/assets/{name:str}", operation=OPEN, include_in_schema=False)
async def get_asset(name: FromPath[str]) -> Response[bytes]:
    """A file that pages load; 404 for any other name."""
    if name not in ASSETS:
        raise Problem(404, "no such resource")
    return Response(
        _asset(name),
        media_type=ASSETS[name],
        headers={"Cache-Control": "public, max-age=31536000, immutable"},
    )
