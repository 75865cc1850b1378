"""The page at /, as a browser shows it."""

import re
from datetime import UTC, date, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe

HOSTILE = [
    "<script>alert(1)</script>", "\"onmouseover='x'", "&amp; {{ 7 * 7 }} {% raw %}", "‮txt.exe‬",
    "مرحبا", "x" * 200, "a b+c&d=e#f?g%20", "\x01\x0b\x1b[31m",
]  # fmt: skip
PHONE = {"width": 360, "height": 740}


def text_of(locator):
    return re.sub(r"\s+", " ", locator.inner_text())


def sign_in(browser, client):
    """The first page, after signing in with the client's key."""
    page = browser.open("/sign-in")
    page.get_by_label("A key with the scope").fill(client.headers["X-API-Key"])
    follow(page, page.get_by_role("button", name="Sign in"))
    return page


def follow(page, locator, **options):
    """Clicks on what leads elsewhere, and waits until it is there."""
    with page.expect_navigation():
        locator.click(**options)


def send(client, events):
    answer = client.post("/events/bulk", json={"events": events})
    assert answer.status_code == 201, answer.text


@pytest.fixture(scope="module")
def shop(service):
    """A tenant far from UTC with events of the last weeks, values, actors and properties."""
    client = service.tenant(timeZone="Asia/Kathmandu", name="Café & <b>shop</b>")
    now = datetime.now(UTC) - timedelta(minutes=1)
    send(
        client,
        [
            {
                "type": ("visit", "purchase", "refund")[n % 7 // 3],
                "occurredAt": (now - timedelta(hours=11 * n)).isoformat(),
                "actorId": f"user-{n % 23}",
                "data": {"plan": ("pro", "free")[n % 2], "page": f"/{n % 5}"},
                **({"value": n * 1.25} if n % 7 >= 3 else {}),
            }
            for n in range(120)
        ],
    )
    return client


def figures(page):
    """The cards: name -> figure."""
    return {
        card.locator(".name").inner_text(): card.locator(".value").inner_text()
        for card in page.locator(".cards li").all()
    }


def test_the_figures_after_signing_in_are_those_of_the_api(new_browser, shop):
    page = sign_in(new_browser(), shop)
    today = shop.get("/analytics/events/timeline", params={"interval": "day"}).json()[-1]["date"]
    asked = {"from": (date.fromisoformat(today) - timedelta(29)).isoformat()}
    shown = figures(page)
    for name, measure in (
        ("Events", "count"), ("Unique actors", "uniqueActors"), ("Sum of values", "sum"),
        ("Average value", "avg"),
    ):  # fmt: skip
        answer = shop.get("/analytics/events/count", params={**asked, "measure": measure})
        total = answer.json()["total"]
        assert float(shown[name].replace(",", "")) == pytest.approx(total, abs=0.0051)
    rows = {
        row.locator("th").inner_text(): row.locator("td").first.inner_text()
        for row in page.locator(".groups tbody tr").all()
    }
    by_type = shop.get("/analytics/events/by-type", params=asked).json()
    assert rows == {row["type"]: str(row["total"]) for row in by_type}
    page.get_by_text("As a table").click()
    table = [
        int(row.locator("td").first.inner_text()) for row in page.locator(".table tbody tr").all()
    ]
    days = shop.get("/analytics/events/timeline", params={**asked, "interval": "day"}).json()
    assert table[: len(days)] == [day["total"] for day in days]
    assert sum(table) == sum(row["total"] for row in by_type) > 0


def test_the_newest_events_are_those_of_the_api_on_the_tenants_clock(new_browser, shop):
    page = sign_in(new_browser(), shop)
    rows = page.locator("#newest li").all()
    events = shop.get("/events", params={"limit": 20}).json()["events"]
    assert len(rows) == len(events) == 20
    for row, event in zip(rows, events, strict=True):
        shown = text_of(row)
        assert event["type"] in shown
        assert event["actorId"] in shown
        assert event["data"]["page"] in shown
        local = datetime.fromisoformat(event["occurredAt"]).astimezone() + timedelta(0)
        kathmandu = local.astimezone(UTC) + timedelta(hours=5, minutes=45)
        assert kathmandu.strftime("%H:%M:%S") in shown


def test_every_chart_says_how_to_get_the_same_as_curl_sql_and_csv(new_browser, shop, db):
    page = sign_in(new_browser(), shop)
    page.goto("/?type=visit&type=purchase&interval=week&range=90d&compare=none")
    for panel, path in (("timeline", "timeline"), ("breakdown", "breakdown")):
        ways = page.locator(f"section[aria-labelledby={panel}-name] .ways")
        ways.locator("summary").click()
        curl, statement = (ways.locator("pre").nth(n).inner_text() for n in (0, 1))
        query = re.search(rf"/analytics/events/{path}\?([^']*)'", curl)[1]
        said = shop.get(
            f"/analytics/events/{path}", params=parse_qs(query), headers={"Accept": "text/csv"}
        )
        with page.expect_download() as downloading:
            ways.get_by_text("Download as CSV").click()
        with open(downloading.value.path(), newline="") as file:
            assert file.read() == said.text
        assert said.text.count("\n") > 2
        assert shop.tenant_id in statement


def test_the_sql_that_a_chart_gives_answers_the_same_in_psql(new_browser, shop, shared_dsn):
    import psycopg

    page = sign_in(new_browser(), shop)
    page.goto("/?type=visit&type=it%27s%20%5C&data.plan=pro&range=90d")
    summaries = page.locator(".ways summary").all()
    for summary in summaries:
        summary.click()
    shown = page.locator(".ways pre:nth-of-type(2)").all()
    assert len(shown) == 2
    with psycopg.connect(shared_dsn, autocommit=True) as connection:
        for one in shown:
            assert connection.execute(one.inner_text().encode()).fetchall()


def test_a_bar_leads_to_its_days(new_browser, shop):
    page = sign_in(new_browser(), shop)
    page.goto("/?range=90d&interval=week")
    page.get_by_text("As a table").click()
    row = page.locator(".table tbody tr").nth(10)
    total = row.locator("td").first.inner_text()
    bars = page.locator("svg.plot a")
    assert bars.nth(10).get_attribute("href") == row.locator("a").get_attribute("href")
    follow(page, row.locator("a"))
    assert figures(page)["Events"] == total
    assert parse_qs(urlsplit(page.url).query).keys() == {"from", "to"}


def test_a_breakdown_shows_what_has_none_and_the_rest_and_adds_up(new_browser, service):
    client = service.tenant()
    send(
        client,
        [{"type": "view", "data": {"page": f"/{n % 40}"} if n % 10 else {}} for n in range(300)],
    )
    page = sign_in(new_browser(), client)
    follow(page, page.locator(".dimensions").get_by_text("page"))
    rows = page.locator(".groups tbody tr").all()
    shown = [
        (
            row.get_attribute("class"),
            row.locator("th").inner_text(),
            int(row.locator("td").first.inner_text()),
        )
        for row in rows
    ]
    answer = client.get(
        "/analytics/events/breakdown", params={"by": "data.page", "limit": 12}
    ).json()
    assert [(name, count) for kind, name, count in shown if kind == "group"] == [
        (group["values"][0], group["total"]) for group in answer["groups"]
    ]
    assert [(kind, name, count) for kind, name, count in shown[-2:]] == [
        ("missing", "missing", 30),
        ("other", "24 more", answer["other"]["total"]),
    ]
    assert sum(count for *_, count in shown) == answer["total"] == 300
    page.goto("/?by=data.page&split=by")
    assert page.locator(".legend li").count() == 6
    page.get_by_text("As a table").click()
    cells = page.locator(".table tbody tr").last.locator("td").all_inner_texts()
    assert sum(map(int, cells)) == 300


def test_the_newest_events_of_a_rare_type_are_found_without_reading_all_others(
    new_browser, service
):
    """Only days that have some, by the summaries; the newest of them first."""
    client = service.tenant()
    now = datetime.now(UTC)
    send(
        client,
        [
            {"type": "common", "occurredAt": (now - timedelta(hours=n)).isoformat()}
            for n in range(1, 600)
        ]
        + [
            {
                "type": "rare",
                "actorId": f"r{n}",
                "occurredAt": (now - timedelta(days=n)).isoformat(),
            }
            for n in (20, 11, 11, 3)
        ],
    )
    page = sign_in(new_browser(), client)
    page.goto("/?type=rare")
    assert page.locator("#newest .who").all_inner_texts() == ["r3", "r11", "r11", "r20"]


def test_a_filter_narrows_everything_and_goes_away(new_browser, shop):
    page = sign_in(new_browser(), shop)
    everything = figures(page)["Events"]
    follow(page, page.locator(".groups a", has_text="refund"))
    assert figures(page)["Events"] != everything
    assert page.locator(".groups tbody th").all_inner_texts() == ["refund"]
    follow(page, page.locator("#newest .data a", has_text="pro").first)
    narrowed = shop.get(
        "/analytics/events/count",
        params={"type": "refund", "data.plan": "pro", "from": _days_ago(page)},
    ).json()["total"]
    assert figures(page)["Events"] == str(narrowed)
    follow(page, page.get_by_label("Without the filter on plan"))
    follow(page, page.get_by_label("Without the filter refund"))
    assert figures(page)["Events"] == everything


def _days_ago(page):
    return page.locator("input[name=from]").input_value()


def test_newest_events_come_by_themselves(new_browser, service):
    client = service.tenant()
    send(client, [{"type": "first"}])
    browser = new_browser()
    browser.context.route(
        "**/live.js*",
        lambda route: route.fulfill(
            response=(answer := route.fetch()),
            body=answer.text().replace("Number(list.dataset.every)", "100"),
        ),
    )
    page = sign_in(browser, client)
    assert "second" not in text_of(page.locator("#newest"))
    send(client, [{"type": "second"}])
    page.locator("#newest", has_text="second").wait_for()


def test_hostile_names_are_texts(new_browser, service):
    client = service.tenant(name="<img src=x onerror=alert(1)> " + str(datetime.now(UTC)))
    send(
        client,
        [
            {"type": name, "actorId": name, "data": {name.replace(".", ""): name, "plain": name}}
            for name in HOSTILE
        ],
    )
    browser = new_browser(viewport=PHONE)
    page = sign_in(browser, client)
    shown = page.locator(".groups tbody th bdi").evaluate_all("all => all.map(e => e.textContent)")
    assert sorted(shown) == sorted(HOSTILE)
    assert page.locator("main script, main img").count() == 0
    for name in HOSTILE:
        page.goto("/?split=by")
        place = shown.index(name)
        follow(page, page.locator(".groups tbody th a").nth(place))
        assert figures(page)["Events"] == "1", name
        follow(page, page.locator("#newest .who a"))
        assert figures(page)["Events"] == "1", name
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize(
    "path",
    ["/", "/?split=by&range=90d", "/?type=visit&data.plan=pro", "/links", "/sign-in", "/schema"],
)
def test_nothing_scrolls_sideways_on_a_phone(new_browser, shop, path):
    page = sign_in(new_browser(viewport=PHONE), shop)
    page.goto(path)
    for summary in page.locator("main summary").all()[:6]:
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault(new_browser, shop, service, scheme):
    browser = new_browser(color_scheme=scheme)
    page = sign_in(browser, shop)
    found = {}
    paths = ["/", "/?split=by&type=visit&range=90d", "/?range=nothing", "/links", "/sign-in"]
    for path in [*paths, "/schema"] if scheme == "light" else paths:
        page.goto(path)
        if path == "/?range=nothing":
            browser.forget("400")
        for summary in page.locator("main summary").all()[:3]:
            summary.click()
        # Of the reference, which says the same of each operation, a part: all of it takes 20 s.
        part = "section:has(#countEvents)" if path == "/schema" else None
        results = Axe().run(page, context=part)
        if results.violations_count:
            found[path] = results.generate_report()
    assert found == {}


def test_everything_can_be_reached_by_keyboard_and_focus_is_seen(new_browser, shop):
    page = sign_in(new_browser(), shop)
    page.goto("/")
    reached = []
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "[document.activeElement.textContent.trim(), getComputedStyle(document.activeElement).outlineStyle, document.activeElement.tagName]"
            )
        )
    texts = [text for text, _, _ in reached]
    for wanted in ("Skip to the content", "30 days", "Sign out", "As a table", "visit"):
        assert wanted in texts
    assert all(outline != "none" for _, outline, tag in reached if tag == "A")


def test_a_day_at_a_change_of_clocks_is_the_tenants_day(new_browser, service):
    """Hours by the clock of New York on the day with 25 of them; days by its midnights."""
    client = service.tenant(timeZone="America/New_York")
    begin = datetime(2025, 11, 2, 4, tzinfo=UTC)
    send(
        client,
        [
            {"type": "tick", "occurredAt": (begin + timedelta(hours=n, minutes=30)).isoformat()}
            for n in range(-1, 26)
        ],
    )
    page = sign_in(new_browser(), client)
    page.goto("/?from=2025-11-02&until=2025-11-02")
    assert figures(page)["Events"] == "25"
    page.get_by_text("As a table").click()
    hours = page.locator(".table tbody th").all_inner_texts()
    assert len(hours) == 25
    assert hours[1:4] == ["2 Nov 2025, 01:00 EDT", "2 Nov 2025, 01:00 EST", "2 Nov 2025, 02:00 EST"]


def test_ten_thousand_types_stay_usable(new_browser, service):
    client = service.tenant()
    for part in range(2):
        send(client, [{"type": f"type {n:05}"} for n in range(part * 5000, part * 5000 + 5000)])
    send(client, [{"type": "type 00007"}] * 3)
    page = sign_in(new_browser(), client)
    assert page.locator(".groups tbody tr").count() <= 13
    assert page.locator(".groups tbody th").first.inner_text() == "type 00007"
    assert len(page.content()) < 200_000
    page.get_by_label("Find a type").fill("00007")
    page.keyboard.press("Enter")
    page.wait_for_url("**find=00007**")
    assert page.locator(".groups tbody th").all_inner_texts() == ["type 00007"]


def test_an_installation_sees_tenants_jobs_and_checks(new_browser, service, shop):
    page = new_browser().open("/sign-in")
    page.get_by_label("A key with the scope").fill(service.installation_key)
    follow(page, page.get_by_role("button", name="Sign in"))
    assert urlsplit(page.url).path == "/installation"
    shown = text_of(page.locator("main"))
    assert "Café & <b>shop</b>" in shown
    assert "finalize month" in shown
    assert "Doctor" in shown
    page.goto("/")
    assert urlsplit(page.url).path == "/installation"
    assert Axe().run(page).response["violations"] == []
    assert (
        httpx.get(
            service.url + "/installation", cookies={"pgtally": shop.headers["X-API-Key"]}
        ).status_code
        == 403
    )
