"""The original's HTML test client, as somebody at a browser meets it."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Locator, WebSocketRoute, expect

from gateway.web import TEST_PAGE, policy
from tests.conftest import Database
from tests.server import Server
from tests.web.conftest import PATIENCE_MS, Visit

PATH: Final = "/test_websocket.html"
FILE: Final = Path(__file__).parents[2] / "gateway" / "web" / "test_websocket.html"
WRONG_CLOCK: Final = "2020-02-29T12:00:00Z"

ODD_NAMES: Final = (
    '<img src="x" onerror="document.title=1"><script>document.title=2</script>',
    "محمد بن عبد الرحمن",
    "Zoë 👩‍⚕️ \N{RIGHT-TO-LEFT OVERRIDE}gnirts",
    "W" * 200,
    "&lt;b&gt; ${name} {{name}}",
)


async def watch(visit: Visit, server: Server) -> None:
    """Open the page at its server, and press Subscribe."""
    await visit.page.goto(server.url + PATH)
    await visit.page.get_by_role("button", name="Subscribe", exact=True).click()
    await is_live(visit)


async def is_live(visit: Visit) -> None:
    await expect(visit.page.locator("#state")).to_have_text("Live", timeout=3 * PATIENCE_MS)


def row(visit: Visit, name: str) -> Locator:
    return visit.page.get_by_role("row").filter(has_text=name)


def cell(visit: Visit, name: str, kind: str) -> Locator:
    return row(visit, name).locator(f"td.{kind}")


def frames(visit: Visit) -> Locator:
    return visit.page.locator("#frames > li")


async def as_a_file(visit: Visit, server_address: str) -> None:
    await visit.page.goto(FILE.as_uri())
    await visit.page.get_by_label("Server").fill(server_address)


def websocket_address(server: Server) -> str:
    return server.ws.removesuffix("/api/v1/ws/queue")


# --- what it shows -------------------------------------------------------------------------------


async def test_today_is_the_hospitals_whatever_this_computer_believes(visit: Visit, server: Server) -> None:
    await visit.page.clock.install(time=WRONG_CLOCK)
    await visit.page.goto(server.url + PATH)
    await expect(visit.page.get_by_label("Date")).to_have_value(await server.today())
    await expect(visit.page.locator("#today")).to_have_text("(today in the hospital)")


async def test_a_booking_a_check_in_a_call_and_an_erasure_appear_in_the_same_row(visit: Visit, server: Server) -> None:
    doctor = await server.a_doctor(name="Dr. Smith", code="DOC001", room="12")
    priya = await server.a_patient(name="Priya Raman", phone="+919800000001", age=45, gender="female")
    await watch(visit, server)
    await expect(visit.page.locator("#empty")).to_have_text("No doctor has a clinic on this date yet.")

    appointment = await server.an_appointment(doctor, priya)
    await expect(cell(visit, "Priya Raman", "status")).to_have_text("Booked")
    await expect(cell(visit, "Priya Raman", "slot")).to_have_text("109:00")
    await expect(cell(visit, "Priya Raman", "patient")).to_contain_text("45 female+919800000001")
    await expect(visit.page.get_by_role("heading", name="Dr. Smith")).to_be_visible()
    await expect(visit.page.locator(".facts").first).to_contain_text("Room: 12")
    await row(visit, "Priya Raman").evaluate("row => row.id = 'the-same'")

    await server.post("/checkins", {"appointment_id": appointment})
    await expect(cell(visit, "Priya Raman", "status")).to_have_text("Checked in")
    await expect(cell(visit, "Priya Raman", "position")).to_have_text("1")
    await expect(cell(visit, "Priya Raman", "ticket")).to_have_text("DOC001-1")
    await expect(visit.page.locator(".counts")).to_contain_text("1 appointment · 1 checked in · 1 waiting · 39 free")

    await server.post("/queue/call-next", {"doctor_id": doctor})
    await expect(cell(visit, "Priya Raman", "status")).to_have_text("Called")
    await expect(cell(visit, "Priya Raman", "position")).to_have_text("")

    await server.post(f"/patients/{priya}/erase", {"reason": "asked for it"})
    await expect(cell(visit, "[erased]", "status")).to_have_text("Called")
    await expect(row(visit, "Priya")).to_have_count(0)
    await expect(visit.page.locator("#the-same")).to_contain_text("[erased]")
    assert visit.complaints == []


async def test_a_cancelled_appointment_leaves_and_the_others_stay_where_they_are(visit: Visit, server: Server) -> None:
    doctor = await server.a_doctor()
    booked = [await server.an_appointment(doctor, await server.a_patient(name=f"Patient {n}")) for n in range(4)]
    await watch(visit, server)
    await expect(visit.page.locator("tbody tr")).to_have_count(4)
    await visit.page.evaluate("""() => {
        window.moved = 0;
        new MutationObserver(records => moved += records.length).observe(
            document.querySelector('tbody'), {childList: true});
    }""")
    await server.post(f"/appointments/{booked[0]}/cancel")
    await expect(visit.page.locator("tbody bdi")).to_have_text(["Patient 1", "Patient 2", "Patient 3"])
    assert await visit.page.evaluate("moved") == 1


async def test_times_are_shown_as_they_were_sent(visit: Visit, server: Server) -> None:
    await server.an_appointment(await server.a_doctor())
    await visit.page.clock.install(time=WRONG_CLOCK)
    await watch(visit, server)
    as_of = visit.page.locator("#as-of")
    await expect(as_of).to_have_text(re.compile(r"^\d\d:\d\d:\d\d$"))
    sent = await as_of.get_attribute("datetime")
    assert sent == f"{await server.today()}T{await as_of.inner_text()}+05:30"


async def test_another_date_takes_the_place_of_the_first(visit: Visit, server: Server) -> None:
    doctor = await server.a_doctor()
    await server.an_appointment(doctor, await server.a_patient(name="Of today"))
    await server.an_appointment(doctor, await server.a_patient(name="Of later"), date="2099-12-31")
    connections: list[WebSocketRoute] = []

    def pass_on(connection: WebSocketRoute) -> None:
        connection.connect_to_server()
        connections.append(connection)

    await visit.page.route_web_socket(server.ws, pass_on)
    await watch(visit, server)
    await expect(row(visit, "Of today")).to_be_visible()
    await visit.page.get_by_label("Date").fill("2099-12-31")
    await visit.page.get_by_role("button", name="Subscribe", exact=True).click()
    await expect(row(visit, "Of later")).to_be_visible()
    await expect(row(visit, "Of today")).to_have_count(0)

    # An update may have been under way already when the page asked for the other date.
    left = (await server.get("/queue")).body | {"type": "update"}
    connections[0].send(json.dumps(left))
    await expect(frames(visit).first).to_contain_text("update")
    await visit.page.evaluate("new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    await expect(visit.page.locator("#shown-date")).to_have_text("2099-12-31")
    await expect(row(visit, "Of today")).to_have_count(0)


async def test_odd_names_are_shown_as_text_and_break_nothing(visit: Visit, server: Server) -> None:
    doctor = await server.a_doctor(name=ODD_NAMES[0], specialty="<i>طب</i>", code="X" * 40, room="<b>" + "R" * 90)
    for name in ODD_NAMES:
        appointment = await server.an_appointment(doctor, await server.a_patient(name=name))
        await server.post("/checkins", {"appointment_id": appointment})
    await watch(visit, server)
    await expect(visit.page.locator("tbody bdi")).to_have_text(list(ODD_NAMES))
    await expect(visit.page.get_by_role("heading", level=3)).to_have_text(ODD_NAMES[0])
    assert await visit.page.title() == "Queue monitor: test client"
    assert await visit.page.locator("main :is(img, script, i, b b)").count() == 0
    directions = await visit.page.locator("tbody bdi").evaluate_all(
        "names => names.map(name => [name.dir, getComputedStyle(name).direction, name.lang])"
    )
    assert directions[1] == ["auto", "rtl", ""]
    assert directions[3] == ["auto", "ltr", ""]
    for width in (320, 700, 1440):
        await visit.page.set_viewport_size({"width": width, "height": 800})
        assert await visit.page.evaluate("document.documentElement.scrollWidth") == width
        beyond = "cards => cards.filter(card => card.scrollWidth > card.clientWidth).length"
        assert await visit.page.locator(".doctor").evaluate_all(beyond) == 0, f"cut off at {width} pixels"
    assert visit.complaints == []


# --- the connection ------------------------------------------------------------------------------


@asynccontextmanager
async def started_again(server: Server, database: Database) -> AsyncIterator[None]:
    """Another process where the first one was."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "serve", "--port", str(urlsplit(server.url).port)),
        *("--database-url", database.url, "--data-dir", str(database.folder)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        assert (await process.stdout.readline()).decode() == f"Daysheet serves {server.url}\n"
        yield
    finally:
        process.terminate()
        await process.wait()


async def test_a_server_that_restarts_is_missed_and_found_again(
    visit: Visit, server: Server, database: Database
) -> None:
    doctor = await server.a_doctor()
    await server.an_appointment(doctor, await server.a_patient(name="Before"))
    await watch(visit, server)
    await expect(row(visit, "Before")).to_be_visible()
    server.process.terminate()
    await server.process.wait()
    await expect(visit.page.locator("#stale")).to_contain_text("Not live: the board shows the queues as of")
    announcer = visit.page.get_by_role("status")
    await expect(announcer).to_have_text("Connection lost. Trying again by itself.")
    await expect(visit.page.locator("#state")).to_have_text("Connection lost")
    await expect(visit.page.locator("#retry")).to_contain_text("attempt")
    await expect(row(visit, "Before")).to_be_visible()

    async with started_again(server, database):
        await server.an_appointment(doctor, await server.a_patient(name="After"))
        await is_live(visit)
        await expect(announcer).to_have_text("Live")
        await expect(row(visit, "After")).to_be_visible()
        await expect(visit.page.locator("#stale")).to_be_hidden()


async def test_a_server_that_falls_silent_is_not_taken_for_live(visit: Visit, server: Server) -> None:
    await visit.page.clock.install()
    await watch(visit, server)
    server.process.send_signal(signal.SIGSTOP)
    try:
        await visit.page.clock.run_for(21_000)
        await expect(frames(visit).first).to_contain_text("ping")
        await visit.page.clock.run_for(10_000)
        await expect(visit.page.get_by_role("status")).to_have_text("Connection lost. Trying again by itself.")
    finally:
        server.process.send_signal(signal.SIGCONT)
    await is_live(visit)


async def test_a_quiet_server_that_answers_pings_stays_live(visit: Visit, server: Server) -> None:
    await visit.page.clock.install()
    await watch(visit, server)
    for _ in range(4):
        seen = await frames(visit).count()
        await visit.page.clock.run_for(21_000)
        await expect(frames(visit)).to_have_count(seen + 2)
        await expect(frames(visit).first).to_contain_text("pong")
    await expect(visit.page.locator("#state")).to_have_text("Live")


async def test_unsubscribe_ends_the_updates_and_keeps_the_connection(visit: Visit, server: Server) -> None:
    doctor = await server.a_doctor()
    await server.an_appointment(doctor, await server.a_patient(name="Before"))
    await watch(visit, server)
    await visit.page.get_by_role("button", name="Unsubscribe").click()
    await expect(frames(visit).first).to_contain_text("unsubscribed")
    await server.an_appointment(doctor, await server.a_patient(name="After"))
    await visit.page.get_by_role("button", name="Ping").click()
    await expect(frames(visit).first).to_contain_text("pong")
    await expect(visit.page.locator("#state")).to_have_text("Connected, not subscribed")
    await expect(visit.page.locator("#stale")).to_be_visible()
    await expect(row(visit, "After")).to_have_count(0)


async def test_an_error_is_said_and_the_connection_stays(visit: Visit, server: Server) -> None:
    await watch(visit, server)
    await visit.page.get_by_label("Date").fill("12025-11-17")
    await visit.page.get_by_role("button", name="Subscribe", exact=True).click()
    await expect(visit.page.get_by_role("alert")).to_contain_text("(invalid_date)")
    await expect(visit.page.locator("#state")).to_have_text("Connected, not subscribed")
    await visit.page.get_by_role("button", name="Dismiss").click()
    await expect(visit.page.get_by_role("alert")).to_be_hidden()
    await visit.page.get_by_label("Date").fill(await server.today())
    await visit.page.get_by_role("button", name="Subscribe", exact=True).click()
    await is_live(visit)


async def test_the_raw_frames_are_kept_up_to_a_bound(visit: Visit, server: Server) -> None:
    doctors = [await server.a_doctor(), await server.a_doctor()]
    for n in range(60):
        await server.an_appointment(doctors[n % 2], await server.a_patient(name=f"{n} {'long ' * 38}"))
    await watch(visit, server)
    snapshot = frames(visit).filter(has_text="snapshot")
    await snapshot.locator("summary").click()
    raw = await snapshot.locator("pre").inner_text()
    assert raw.startswith('{"type":"snapshot","epoch":')
    assert len(raw) < 20_100
    assert raw.endswith("more")
    await visit.page.evaluate("() => { for (let n = 0; n < 40; n++) document.getElementById('ping').click(); }")
    await expect(frames(visit).first).to_contain_text("pong")
    await expect(frames(visit)).to_have_count(50)
    await visit.page.get_by_role("button", name="Clear").click()
    await expect(frames(visit)).to_have_count(0)


# --- opened as a file ----------------------------------------------------------------------------


async def test_opened_as_a_file_it_watches_the_server_that_it_is_told(visit: Visit, server: Server) -> None:
    doctor = await server.a_doctor()
    await visit.page.goto(FILE.as_uri())
    await expect(visit.page.get_by_label("Server")).to_have_value("ws://localhost:8000")
    await visit.page.get_by_label("Server").fill(websocket_address(server))
    await visit.page.get_by_label("Date").fill(await server.today())
    await visit.page.keyboard.press("Enter")
    await is_live(visit)
    await server.an_appointment(doctor, await server.a_patient(name="Priya Raman"))
    await expect(cell(visit, "Priya Raman", "status")).to_have_text("Booked")


async def test_opened_as_a_file_it_asks_the_server_for_today(visit: Visit, server: Server) -> None:
    await visit.page.clock.install(time=WRONG_CLOCK)
    await as_a_file(visit, websocket_address(server))
    await visit.page.get_by_label("Server").press("Tab")
    await expect(visit.page.get_by_label("Date")).to_have_value(await server.today())


async def test_without_a_server_it_says_so_and_takes_this_computers_date(visit: Visit) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"ws://127.0.0.1:{free.getsockname()[1]}"
    await visit.page.clock.install(time=WRONG_CLOCK)
    await as_a_file(visit, nobody)
    await visit.page.get_by_role("button", name="Subscribe", exact=True).click()
    await expect(visit.page.get_by_role("alert")).to_contain_text(f"No answer from {nobody}/api/v1/ws/queue")
    await expect(visit.page.get_by_label("Date")).to_have_value("2020-02-29")
    await expect(visit.page.locator("#today")).to_have_text("(today on this computer)")
    await expect(visit.page.locator("#retry")).to_contain_text("attempt")
    await visit.page.get_by_role("button", name="Unsubscribe").click()
    await expect(visit.page.locator("#state")).to_have_text("Not connected")


# --- for everybody -------------------------------------------------------------------------------


async def test_the_keyboard_alone_is_enough(visit: Visit, server: Server) -> None:
    await server.an_appointment(await server.a_doctor(), await server.a_patient(name="Priya Raman"))
    page = visit.page
    await page.goto(server.url + PATH)
    await expect(page.locator("#today")).to_have_text("(today in the hospital)")

    async def tab_to(target: Locator) -> None:
        for _ in range(8):  # a date field has a stop for each of its parts
            await page.keyboard.press("Tab")
            if await target.evaluate("element => element === document.activeElement"):
                outline = await target.evaluate("element => getComputedStyle(element).outlineStyle")
                assert outline == "solid", f"{target} does not show that it has the focus"
                return
        pytest.fail(f"{target} is not reached by Tab")

    await tab_to(page.get_by_label("Date"))
    await tab_to(page.get_by_role("button", name="Subscribe", exact=True))
    await page.keyboard.press("Enter")
    await is_live(visit)
    await expect(row(visit, "Priya Raman")).to_be_visible()
    await tab_to(page.get_by_role("button", name="Unsubscribe"))
    await tab_to(page.get_by_role("button", name="Ping"))
    await page.keyboard.press("Space")
    await expect(frames(visit).first).to_contain_text("pong")
    await tab_to(page.get_by_role("button", name="Clear"))
    await tab_to(frames(visit).first.locator("summary"))
    await page.keyboard.press("Enter")
    await expect(frames(visit).first.locator("pre")).to_contain_text('{"type":"pong"')
    await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Enter")
    await expect(page.locator("#state")).to_have_text("Connected, not subscribed")
    await expect(page.get_by_role("button", name="Subscribe", exact=True)).to_be_focused()


CONTRASTS: Final = """() => {
  const parts = (color) => color.match(/[\\d.]+/g).map(Number);
  const over = ([r, g, b, a = 1], ground) => [r, g, b].map((part, n) => part * a + ground[n] * (1 - a));
  const light = (color) => color.map(part => part / 255)
    .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, n) => sum + part * [0.2126, 0.7152, 0.0722][n], 0);
  const ground = (element) => element
    ? over(parts(getComputedStyle(element).backgroundColor), ground(element.parentElement))
    : [255, 255, 255];
  const texts = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const shown = element.checkVisibility() && !element.closest('script, noscript, .heard');
    if (shown && walker.currentNode.data.trim()) texts.add(element);
  }
  document.querySelectorAll('input').forEach(input => input.checkVisibility() && texts.add(input));
  return [...texts].map(element => {
    const back = ground(element);
    const [a, b] = [light(over(parts(getComputedStyle(element).color), back)), light(back)];
    const what = [element.tagName, element.className, element.dataset.is, element.textContent.slice(0, 20)].join(' ');
    return [what, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
  });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_text_stands_out_from_its_ground(visit: Visit, server: Server, scheme: Any) -> None:
    await visit.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    doctor = await server.a_doctor()
    for priority in ("routine", "urgent", "emergency"):
        await server.an_appointment(doctor, await server.a_patient(phone="1", age=30), priority=priority)
    await watch(visit, server)
    await expect(visit.page.locator("tbody tr")).to_have_count(3)
    await visit.page.locator("#frames summary").first.click()
    # Whatever state an appointment, a clinic or the connection may be in, all at once.
    await visit.page.evaluate("""() => {
      const tag = document.querySelector('td .tag');
      for (const is of ['checked_in', 'called', 'in_consultation', 'on_hold', 'completed', 'no_show', 'unseen',
        'closed', 'finished', 'late']) {
        const other = tag.cloneNode(true);
        other.dataset.is = is;
        tag.after(other);
      }
      for (const notice of document.querySelectorAll('.notice')) {
        notice.hidden = false;
        notice.firstElementChild.textContent = 'What it says';
      }
    }""")
    for state in ("live", "lost", "behind", "idle"):
        await visit.page.evaluate("state => document.body.dataset.state = state", state)
        measured = await visit.page.evaluate(CONTRASTS)
        assert len(measured) > 40
        assert [(what, ratio) for what, ratio in measured if ratio < 4.5] == []
    ground = await visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(17, 21, 26)") == (scheme == "dark")


async def test_it_asks_nobody_else_for_anything(visit: Visit, server: Server) -> None:
    await server.an_appointment(await server.a_doctor())
    await watch(visit, server)
    api = f"{server.url}/api/v1/queue"
    assert set(visit.requests) - {server.url + PATH, api, server.ws} == set()
    assert visit.complaints == []


async def test_the_policy_lets_nothing_in_but_the_page_itself(visit: Visit, server: Server) -> None:
    response = await visit.page.goto(server.url + PATH)
    assert response is not None
    assert response.headers["content-security-policy"] == policy(TEST_PAGE)
    assert "unsafe" not in policy(TEST_PAGE)
    assert policy(TEST_PAGE).count("'sha256-") == 2
    blocked = await visit.page.evaluate("""async () => {
      const blocked = [];
      document.addEventListener('securitypolicyviolation', event => blocked.push(event.effectiveDirective));
      try { document.body.innerHTML = '<b>markup</b>'; } catch { /* as it should be */ }
      const styled = document.createElement('p');
      styled.setAttribute('style', 'color: red');
      document.body.append(styled);
      new Image().src = 'http://127.0.0.1:9/pixel';
      await fetch('http://127.0.0.1:9/').catch(() => {});
      await new Promise(resolve => setTimeout(resolve, 100));
      return blocked.sort();
    }""")
    assert blocked == ["connect-src", "img-src", "require-trusted-types-for", "style-src-attr"]
