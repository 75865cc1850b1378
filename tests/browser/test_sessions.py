"""Who is let in: the cookie, forms of other sites, share links."""

import time
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import httpx
import pytest

from tests.browser.test_page import figures, follow, send, sign_in, text_of
from tests.conftest import wait_for

PARTS = ("timeline.svg", "breakdown.svg")


@pytest.fixture(scope="module")
def shop(service):
    client = service.tenant()
    send(
        client,
        [
            {"type": kind, "actorId": f"secret-actor-{n}", "data": {"plan": "pro"}}
            for n, kind in enumerate("aabbbc")
        ],
    )
    return client


def post(service, path, data=None, cookies=None, **headers):
    """A form, sent from the service's own page unless the headers say otherwise."""
    return httpx.post(
        service.url + path, data=data or {}, cookies=cookies,
        headers={"Origin": service.url, **headers},
    )  # fmt: skip


def session(client):
    return {"pgtally": client.headers["X-API-Key"]}


def share(client, view=None, days=1.0, name="a link"):
    answer = client.post(
        "/shares",
        json={
            "name": name, "view": view or {},
            "expiresAt": (datetime.now(UTC) + timedelta(days=days)).isoformat(),
        },
    )  # fmt: skip
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites_and_ends(service, shop):
    answer = post(service, "/sign-in", {"key": shop.headers["X-API-Key"]})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert sorted(answer.headers["set-cookie"].split("; ")) == sorted(
        [
            f"pgtally={shop.headers['X-API-Key']}",
            "Path=/",
            "Max-Age=43200",
            "HttpOnly",
            "SameSite=Strict",
        ]
    )


def test_by_https_the_cookie_is_for_https_and_this_host_alone(service_dsn, dsn):
    from tests.conftest import Service, installation_key, running_service

    with running_service(service_dsn, PGTALLY_TRUSTED_PROXIES="127.0.0.1") as (url, _):
        service = Service(url, installation_key(dsn))
        client = service.tenant()
        secure = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1"}
        key = client.headers["X-API-Key"]
        answer = post(service, "/sign-in", {"key": key}, **secure)
        assert answer.status_code == 303
        assert answer.headers["set-cookie"].startswith(f"__Host-pgtally={key}; ")
        assert answer.headers["set-cookie"].endswith("; Secure")
        # Another host of the domain, or plain http, could have set the name without the prefix.
        for name, status in (("pgtally", 303), ("__Host-pgtally", 200)):
            got = httpx.get(url + "/", cookies={name: key}, headers=secure)
            assert got.status_code == status


def test_the_key_is_in_no_address_and_on_no_page(new_browser, shop):
    browser = new_browser()
    page = sign_in(browser, shop)
    key = shop.headers["X-API-Key"]
    for path in ("/", "/?split=by", "/links"):
        page.goto(path)
        assert key not in page.content()
    assert all(key not in address for address in browser.requests)
    assert page.evaluate("document.cookie") == ""


def test_signing_out_forgets_the_key(new_browser, shop):
    browser = new_browser()
    page = sign_in(browser, shop)
    assert [cookie["name"] for cookie in browser.context.cookies()] == ["pgtally"]
    follow(page, page.get_by_role("button", name="Sign out"))
    assert browser.context.cookies() == []
    page.goto("/?type=a")
    assert urlsplit(page.url).path == "/sign-in"


def test_who_is_signed_out_comes_back_to_the_view(new_browser, shop):
    page = new_browser().open("/?type=a&range=90d")
    page.get_by_label("A key with the scope").fill(shop.headers["X-API-Key"])
    follow(page, page.get_by_role("button", name="Sign in"))
    assert page.url.endswith("/?type=a&range=90d")
    assert figures(page)["Events"] == "2"


@pytest.mark.parametrize(
    "following",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "/keys",
        "javascript:alert(1)",
        "/\t/evil.example",
    ],
)
def test_signing_in_leads_to_no_other_site(service, shop, following):
    answer = post(service, "/sign-in", {"key": shop.headers["X-API-Key"], "next": following})
    assert answer.headers["location"] == "/"
    page = httpx.get(service.url + "/sign-in", params={"next": following})
    assert 'name="next" value="/"' in page.text


def test_a_key_that_is_wrong_or_may_not_read_opens_nothing(new_browser, service, shop):
    ingest = shop.post("/keys", json={"name": "i", "scopes": ["ingest"]}).json()["apiKey"]
    for key, status in (
        ("nonsense", 401),
        ("", 401),
        (shop.headers["X-API-Key"][:-1] + "0", 401),
        (ingest, 403),
    ):
        answer = post(service, "/sign-in", {"key": key})
        assert (answer.status_code, "set-cookie" in answer.headers) == (status, False)
    browser = new_browser()
    page = browser.open("/sign-in")
    page.get_by_label("A key with the scope").fill("pgt_nonsense")
    follow(page, page.get_by_role("button", name="Sign in"))
    assert "Unknown, expired or revoked" in page.get_by_role("alert").inner_text()
    browser.forget("401")


def test_guessing_at_the_form_counts_as_guessing_at_the_api_does(service_dsn):
    from tests.conftest import running_service

    with running_service(service_dsn, PGTALLY_UNAUTHENTICATED_PER_MINUTE="3") as (url, _):
        answers = [
            httpx.post(url + "/sign-in", data={"key": "wrong"}, headers={"Origin": url})
            for _ in range(4)
        ]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
        assert int(answers[-1].headers["retry-after"]) > 0
        # One budget: neither a cookie, nor a link, nor a header gives more tries.
        for got in (
            httpx.get(url + "/", cookies={"pgtally": "wrong"}),
            httpx.get(url + "/shared/pgs_wrong"),
            httpx.get(url + "/charts/timeline.svg?share=wrong"),
            httpx.get(url + "/events", headers={"X-API-Key": "wrong"}),
        ):
            assert got.status_code == 429


def test_a_revoked_key_ends_its_sessions(service, shop):
    made = shop.post("/keys", json={"name": "short", "scopes": ["read"]}).json()
    cookies = {"pgtally": made["apiKey"]}
    assert httpx.get(service.url + "/", cookies=cookies).status_code == 200
    shop.delete(f"/keys/{made['id']}")
    wait_for(lambda: httpx.get(service.url + "/", cookies=cookies).status_code == 303, 3)


def test_the_cookie_opens_the_pages_and_nothing_of_the_api(service, shop):
    for path in ("/events", "/keys", "/analytics/events/count", "/shares"):
        assert httpx.get(service.url + path, cookies=session(shop)).status_code == 401


FORMS = ["/sign-in", "/sign-out", "/links", "/links/00000000-0000-0000-0000-000000000001/revoke"]


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": ""},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"},
    ],
)  # fmt: skip
def test_a_form_of_another_site_is_refused(service, shop, path, headers):
    data = {"key": shop.headers["X-API-Key"], "name": "forged", "days": "7"}
    answer = post(service, path, data, session(shop), **headers)
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
    assert "forged" not in [one["name"] for one in shop.get("/shares").json()]


def test_a_form_cannot_be_huge_or_odd(service, shop):
    assert post(service, "/sign-in", {"key": "x" * 20_000}).status_code == 413
    assert post(service, "/sign-in", {f"f{n}": "x" for n in range(100)}).status_code == 400
    for kind in ("application/json", "text/plain", "multipart/form-data; boundary=x"):
        answer = httpx.post(
            service.url + "/sign-in", content=b"{}",
            headers={"Origin": service.url, "Content-Type": kind},
        )  # fmt: skip
        assert answer.status_code == 415


def test_pages_may_be_framed_by_nobody_and_run_nothing_of_others(service, shop):
    link = share(shop)
    for path in (
        "/",
        "/links",
        "/sign-in",
        "/schema",
        "/newest",
        "/?range=nothing",
        link["page"],
        "/shared/x",
    ):
        policy = httpx.get(service.url + path, cookies=session(shop)).headers[
            "content-security-policy"
        ]
        assert policy.startswith(
            "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'"
        )
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert ("script-src 'self'" in policy) == (path == "/")
    policy = httpx.get(service.url + link["timeline"]).headers["content-security-policy"]
    assert "frame-ancestors *" in policy
    assert "script-src" not in policy


def test_a_link_shows_its_view_and_no_raw_events(new_browser, shop):
    link = share(shop, {"type": ["a", "b"], "range": ["30d"]})
    page = new_browser().open(link["page"])
    assert figures(page)["Events"] == "5"
    assert page.locator(".groups tbody th").all_inner_texts() == ["b", "a"]
    assert "secret-actor" not in page.content()
    assert shop.tenant_id not in page.content()
    assert page.locator("main a, main form").count() == 0


def test_a_link_is_bound_to_its_view(new_browser, service, shop):
    link = share(shop, {"type": ["a"]})
    page = new_browser().open(
        link["page"] + "?type=b&range=all&by=data.plan&actorId=secret-actor-1"
    )
    assert figures(page)["Events"] == "2"
    for part in PARTS:
        plain, changed = (
            httpx.get(f"{service.url}/charts/{part}?share={link['token']}{more}").text
            for more in ("", "&type=b&range=all")
        )
        assert plain == changed


def test_a_link_opens_nothing_that_keys_open(service, shop):
    token = share(shop)["token"]
    for path in ("/events", "/keys", "/analytics/events/count", "/shares", "/events/export"):
        assert httpx.get(service.url + path, headers={"X-API-Key": token}).status_code == 401
    assert httpx.get(service.url + "/", cookies={"pgtally": token}).status_code == 303
    assert post(service, "/sign-in", {"key": token}).status_code == 401
    key = shop.headers["X-API-Key"]
    assert httpx.get(f"{service.url}/shared/{key}").status_code == 404
    assert httpx.get(f"{service.url}/charts/timeline.svg?share={key}").status_code == 404


def statuses(service, link):
    return {
        httpx.get(service.url + path).status_code
        for path in (link["page"], link["timeline"], link["breakdown"])
    }


def test_a_revoked_link_shows_nothing_within_a_second_or_so(service, shop):
    link = share(shop)
    assert statuses(service, link) == {200}
    assert shop.delete(f"/shares/{link['id']}").status_code == 200
    time.sleep(1.1)
    assert statuses(service, link) == {404}


def test_an_expired_link_shows_nothing(service, shop):
    link = share(shop, days=2 / 86400)
    assert statuses(service, link) == {200}
    wait_for(lambda: statuses(service, link) == {404}, 6)


def test_a_link_lives_no_longer_than_the_key_that_makes_it_nor_a_year(service, shop):
    soon = datetime.now(UTC) + timedelta(days=2)
    key = shop.post(
        "/keys", json={"name": "short", "scopes": ["admin"], "expiresAt": soon.isoformat()}
    ).json()["apiKey"]
    body = {"name": "long", "view": {}}
    for days, header, status in (
        (1, key, 201),
        (3, key, 403),
        (3, None, 201),
        (400, None, 400),
        (-1, None, 400),
    ):
        answer = httpx.post(
            service.url + "/shares",
            json={**body, "expiresAt": (datetime.now(UTC) + timedelta(days=days)).isoformat()},
            headers={"X-API-Key": header or shop.headers["X-API-Key"]},
        )
        assert answer.status_code == status, answer.text


def test_only_a_key_with_the_scope_admin_shares(new_browser, service, shop):
    reading = shop.post("/keys", json={"name": "r", "scopes": ["read"]}).json()["apiKey"]
    client = httpx.Client(base_url=service.url, headers={"X-API-Key": reading})
    assert client.get("/shares").status_code == 403
    assert httpx.get(service.url + "/links", cookies={"pgtally": reading}).status_code == 403
    page = sign_in(new_browser(), client)
    assert page.get_by_role("link", name="Share").count() == 0


def test_a_tenant_sees_and_revokes_its_own_links_only(service, shop):
    other = service.tenant()
    link = share(shop)
    assert other.get("/shares").json() == []
    assert other.delete(f"/shares/{link['id']}").status_code == 404
    assert post(service, f"/links/{link['id']}/revoke", None, session(other)).status_code == 404
    assert statuses(service, link) == {200}


@pytest.mark.parametrize(
    "view",
    [
        {"nonsense": ["x"]},
        {"range": ["x"]},
        {"by": ["x"]},
        {"range": []},
        {"type": "a"},
        [],
        {"data.": ["x"]},
    ],
)
def test_a_view_that_no_page_has_is_not_shared(shop, view):
    expires = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    answer = shop.post("/shares", json={"name": "x", "view": view, "expiresAt": expires})
    assert answer.status_code == 400


def test_making_and_revoking_a_link_in_the_browser(new_browser, shop):
    browser = new_browser()
    page = sign_in(browser, shop)
    page.goto("/?type=b")
    follow(page, page.get_by_role("link", name="Share"))
    page.get_by_label("Name").fill("For the <b>board</b>")
    follow(page, page.get_by_role("button", name="Make a link"))
    address = page.locator("pre").first.inner_text().strip()
    guest = new_browser().open(urlsplit(address).path)
    assert figures(guest)["Events"] == "3"
    follow(page, page.get_by_label("Revoke For the <b>board</b>"))
    assert "revoked" in text_of(page.locator("tbody tr").first)
    time.sleep(1.1)
    answer = httpx.get(address)
    assert answer.status_code == 404


def test_a_chart_can_be_embedded_elsewhere_and_is_valid_xml(new_browser, service):
    from xml.etree import ElementTree

    from tests.browser.test_page import HOSTILE

    client = service.tenant()
    send(client, [{"type": name} for name in HOSTILE])
    link = share(client, {"split": ["by"]})
    for part in PARTS:
        answer = httpx.get(f"{service.url}/charts/{part}?share={link['token']}")
        assert answer.headers["content-type"].startswith("image/svg+xml")
        root = ElementTree.fromstring(answer.content)
        tags = {one.tag.rpartition("}")[2] for one in root.iter()}
        assert tags <= {"svg", "style", "rect", "text", "g", "line", "title"}
    browser = new_browser()
    page = browser.context.new_page()
    page.goto(service.url + link["timeline"])
    assert (
        page.locator("rect").first.evaluate("e => getComputedStyle(e).fill") == "rgb(255, 255, 255)"
    )
    page.goto(service.url + "/sign-in")
    for name in ("timeline", "breakdown"):
        width = page.evaluate(
            "src => new Promise(done => { const i = new Image(); i.onload = () => done(i.naturalWidth); i.onerror = () => done(0); i.src = src })",
            link[name],
        )
        assert width > 0


def test_looking_at_links_uses_up_nothing_of_what_keys_have(service_dsn, dsn):
    from tests.conftest import Service, installation_key, running_service

    with running_service(service_dsn, PGTALLY_ANALYTICS_PER_MINUTE="20") as (url, _):
        service = Service(url, installation_key(dsn))
        client = service.tenant()
        link = share(client)
        seen = [httpx.get(url + link["page"]).status_code for _ in range(25)]
        assert set(seen) == {200, 429}
        assert client.get("/analytics/events/count").status_code == 200


def test_a_deleted_tenants_links_are_gone(service):
    client = service.tenant()
    name = service.admin.get(f"/tenants/{client.tenant_id}").json()["name"]
    link = share(client)
    answer = service.admin.delete(f"/tenants/{client.tenant_id}", params={"name": name})
    assert answer.status_code in (200, 202)
    time.sleep(1.1)
    assert statuses(service, link) == {404}
