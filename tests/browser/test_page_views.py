"""The script for pages, in Chromium: a site of another origin that loads it from the service."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg
import pytest

from tests.browser.conftest import Watched
from tests.conftest import wait_for

PAGE = """<!doctype html><meta charset="utf-8"><title>{title}</title><link rel="icon" href="data:,">
{head}<script defer src="{service}/pgtally.js" data-key="{key}" {attributes}></script>
<a href="/second">second</a>"""


class Site:
    """Pages that load the script; `headers` and what is in the pages can be changed."""

    def __init__(self, service):
        self.parts = {
            "title": "A page",
            "head": "",
            "service": service.url,
            "key": "",
            "attributes": "",
        }
        self.headers = {}
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                for name, text in site.headers.items():
                    self.send_header(name, text)
                self.end_headers()
                self.wfile.write(PAGE.format(**site.parts).encode())

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def site(service, client):
    site = Site(service)
    body = {"name": "page", "scopes": ["ingest"], "origins": [site.url]}
    site.parts["key"] = client.post("/keys", json=body).json()["apiKey"]
    yield site
    site.server.shutdown()


@pytest.fixture
def client(service):
    return service.tenant()


@pytest.fixture
def stored(shared_dsn, client):
    """Waits for as many events; them, in the order in which they came."""
    with psycopg.connect(shared_dsn, autocommit=True) as db:

        def rows():
            return db.execute(
                """
                select event_type, data, actor_id, session_id, value
                from tally.events where tenant_id = %s order by occurred_at
                """,
                (client.tenant_id,),
            ).fetchall()

        def wait(count):
            wait_for(lambda: len(rows()) >= count)
            assert len(rows()) == count
            return rows()

        yield wait


@pytest.fixture
def watched(chromium, site, service):
    """A browser that asks the site and the service, nobody else, and says nothing."""
    watched = Watched(chromium.new_context(viewport={"width": 1000, "height": 700}, locale="de-DE"))
    yield watched
    watched.context.close()
    foreign = [
        one for one in watched.requests if not one.startswith((site.url, service.url, "data:"))
    ]
    assert foreign == []
    assert watched.console == []
    assert not any("pgt_" in one for one in watched.requests), "a key in an address"


def test_views_of_pages_and_of_a_single_page_application_are_stored(site, watched, stored, client):
    page = watched.open(site.url + "/first?utm_source=mail&token=secret#part")
    ((kind, data, actor, session, value),) = stored(1)
    assert (kind, actor, value) == ("pageview", None, None)
    assert data == {
        "path": "/first", "host": site.url[7:], "title": "A page", "language": "de-DE", "width": 1000,
        "referrer": "", "utm_source": "mail",
    }  # fmt: skip
    page.evaluate("document.title = 'Prices'; history.pushState({}, '', '/prices')")
    stored(2)
    page.evaluate("history.replaceState({}, '', '/prices?sorted=1')")
    page.evaluate("location.hash = 'x'")
    page.evaluate("history.pushState({}, '', '/prices/2')")
    stored(3)
    page.evaluate("history.go(-3)")
    rows = stored(4)
    assert [row[1]["path"] for row in rows] == ["/first", "/prices", "/prices/2", "/first"]
    assert [row[1]["referrer"] for row in rows] == ["", "/first", "/prices", "/prices/2"]
    assert rows[1][1]["title"] == "Prices"
    assert {row[3] for row in rows} == {session}
    page.click("a")
    rows = stored(5)
    assert (rows[4][1]["path"], rows[4][1]["referrer"]) == ("/second", site.url + "/first")
    assert rows[4][3] != session
    assert watched.context.storage_state() == {"cookies": [], "origins": []}
    assert client.get("/analytics/events/count?data.path=/first").json() == {"total": 2}


def test_a_page_sends_its_own_events_also_as_it_closes_and_before_the_script_has_come(
    site, watched, stored
):
    site.parts["head"] = """<script>
      window.pgtally = window.pgtally || function () { (pgtally.q = pgtally.q || []).push(arguments) }
      pgtally("early", {n: 1})
      addEventListener("pagehide", function () { pgtally("left") })
    </script>"""
    page = watched.open(site.url)
    page.evaluate("pgtally('sale', {plan: 'pro'}, {value: 4.5, actorId: 'user-17'})")
    stored(3)
    page.evaluate("pgtally.actorId = 'user-18'; pgtally('later')")
    stored(4)
    page.close(run_before_unload=False)
    by_kind = {row[0]: row[1:] for row in stored(5)}
    assert set(by_kind) == {"pageview", "early", "sale", "later", "left"}
    assert by_kind["early"][0] == {"n": 1}
    assert by_kind["sale"][0] == {"plan": "pro"}
    assert (by_kind["sale"][1], float(by_kind["sale"][3])) == ("user-17", 4.5)
    assert by_kind["later"][1] == by_kind["left"][1] == "user-18"


def test_an_actor_is_kept_only_where_the_page_says_so(site, watched, stored):
    site.parts["attributes"] = "data-store"
    watched.open(site.url + "/1")
    stored(1)
    watched.open(site.url + "/2")
    rows = stored(2)
    assert rows[0][2] == rows[1][2]
    assert len(rows[0][2]) > 20
    assert rows[0][3] != rows[1][3], "a session is that of a tab"
    site.parts["attributes"] = "data-actor='user-1' data-hash"
    page = watched.open(site.url + "/3#a")
    stored(3)
    page.evaluate("location.hash = 'b'")
    rows = stored(4)
    assert [(row[1]["path"], row[2]) for row in rows[2:]] == [
        ("/3#a", "user-1"),
        ("/3#b", "user-1"),
    ]


def test_the_strictest_policies_of_a_page_let_it_work(site, service, watched, stored):
    site.headers = {
        "Content-Security-Policy": f"default-src 'none'; img-src data:; script-src {service.url}; connect-src {service.url}",
        "Referrer-Policy": "no-referrer", "Cross-Origin-Embedder-Policy": "require-corp",
        "Cross-Origin-Opener-Policy": "same-origin",
    }  # fmt: skip
    watched.open(site.url)
    assert stored(1)[0][0] == "pageview"


def test_hostile_titles_and_addresses_are_data(site, watched, stored):
    site.parts["title"] = "</script><b>'\"&amp;\ufffd" + "x" * 500
    page = watched.open(site.url + "/%00/<script>/__proto__?utm___proto__=1&utm_x=%F0%9F%98%80")
    page.evaluate(
        'pgtally(\'__proto__\', JSON.parse(\'{"__proto__": {"a": 1}, "\\\\ud800": "\\\\u0000"}\'))'
    )
    rows = stored(2)
    views = [row[1] for row in rows if row[0] == "pageview"]
    assert views[0]["utm_x"] == "\U0001f600"
    (own,) = [row[1] for row in rows if row[0] == "__proto__"]
    assert own["__proto__"] == {"a": 1}


def test_from_another_origin_nothing_is_stored_and_the_page_goes_on(
    site, chromium, client, service
):
    other = Watched(chromium.new_context())
    page = other.open(site.url.replace("127.0.0.1", "localhost"))
    with page.expect_event("requestfailed") as failed:
        page.evaluate("pgtally('x')")
    assert failed.value.url == service.url + "/browser"
    assert page.evaluate("typeof pgtally") == "function"
    # What browsers say of an answer that a page may not read, and no error of the script.
    assert other.console
    assert all("CORS policy" in one or "net::ERR_FAILED" in one for one in other.console)
    other.context.close()
    assert client.get("/analytics/events/count").json() == {"total": 0}
