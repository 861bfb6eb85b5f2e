"""The browser's client, imported by pages in a real browser, against a real server."""

from __future__ import annotations

import asyncio
import json
import os
import random
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import WebSocketRoute, expect

from tests.conftest import ServerFactory
from tests.server import Answer, Server
from tests.web.conftest import Visit, program
from tests.web.pages import BLANK, Wire, another_origin, open_own, without_time

MODULE: Final = Path(__file__).parents[2] / "gateway" / "web" / "daysheet.js"
HEARTBEAT_SECONDS: Final = 5
STALE_MS: Final = 7_600
LOST_MS: Final = 5_100  # after it became stale
PROBE_MS: Final = 3_500
RANDOM_COMMANDS: Final = (0, 30, 60)

# What a page's author would write, and a record of what they are told.
PAGE: Final = """
<p id=state></p><ul id=board></ul>
<script type=module>
  import * as daysheet from '/daysheet.js';
  window.daysheet = daysheet;
  window.told = { days: [], states: [], events: [], complete: [], errors: [] };
  window.draw = (day) => {
    const rows = day.doctors.flatMap((block) => block.appointments).map(({ slot, patient, queue }) => {
      const row = document.createElement('li');
      row.textContent = `${slot} ${patient.name} ${queue ? queue.status : 'booked'}`;
      return row;
    });
    document.getElementById('board').replaceChildren(...rows);
  };
  window.start = (options) => {
    window.monitor = daysheet.watch({
      ...options,
      onDay: (day) => { told.days.push(day); if (day.doctors) draw(day); },
      onState: (state) => { told.states.push(state); document.getElementById('state').textContent = state; },
      onEvents: (events, complete) => {
        told.events.push(...events.map(({ type }) => type));
        told.complete.push(complete);
      },
      onError: ({ code, message }) => told.errors.push({ code, message, state: monitor.state }),
    });
  };
</script>
"""


class Shown:
    """A page that watches a server with the module."""

    def __init__(self, visit: Visit, server: Server) -> None:
        self.visit, self.page, self.server = visit, visit.page, server
        self.wire = Wire.of(visit.page)

    async def start(self, **options: Any) -> None:
        """`date`: today, unless told."""
        options.setdefault("date", await self.server.today())
        await self.page.evaluate("options => { start(options); }", options)

    async def watch(self, **options: Any) -> None:
        await self.start(**options)
        await self.becomes("live")

    async def watch_through(self) -> WebSocketRoute:
        """The wire, on which something may be said in the server's place."""
        wires: list[WebSocketRoute] = []

        def forward(wire: WebSocketRoute) -> None:
            wire.connect_to_server()
            wires.append(wire)

        await self.page.route_web_socket("**/ws/queue", forward)
        await self.watch()
        return wires[0]

    async def stop_the_clock(self) -> None:
        """From now on the page's timers go on only as they are told; what comes from the server comes all the same."""
        await self.page.clock.install()
        await self.page.clock.pause_at("2100-01-01")

    async def becomes(self, state: str) -> None:
        await expect(self.page.locator("#state")).to_have_text(state, timeout=25_000)

    async def shows(self, *rows: str) -> None:
        await expect(self.page.locator("#board > li")).to_have_text(list(rows))

    async def reaches(self, sequence: int) -> None:
        await self.page.wait_for_function("sequence => monitor.day && monitor.sequence >= sequence", arg=sequence)

    async def told(self, what: str) -> Any:
        return await self.page.evaluate(f"told.{what}")

    async def day(self) -> Any:
        """What it holds, without when it was made."""
        return await self.page.evaluate("(({ timestamp, ...day }) => day)(monitor.day)")


@pytest_asyncio.fixture
async def shown(visit: Visit, server: Server) -> Shown:
    shown = Shown(visit, server)
    await open_own(visit.page, server, PAGE)
    await visit.page.wait_for_function("() => Boolean(window.start)")
    return shown


async def did(answer: Answer) -> int:
    """A command that was carried out; returns its sequence."""
    assert answer.status in (200, 201), answer
    return int(answer.body["sequence"])


# --- what it shows -------------------------------------------------------------------------------


async def test_a_page_shows_the_day_and_what_happens(shown: Shown, server: Server) -> None:
    doctor = await server.a_doctor(name="Dr. Smith", code="DOC001")
    appointment = await server.an_appointment(doctor, await server.a_patient(name="Priya Raman"))
    await shown.watch()
    await shown.shows("1 Priya Raman booked")

    await server.an_appointment(doctor, await server.a_patient(name="John Doe"), slot=3)
    await shown.shows("1 Priya Raman booked", "3 John Doe booked")
    await server.post("/checkins", {"appointment_id": appointment})
    await shown.shows("1 Priya Raman checked_in", "3 John Doe booked")
    await server.post("/queue/call-next", {"doctor_id": doctor})
    await shown.shows("1 Priya Raman called", "3 John Doe booked")
    sequence = await did(await server.post(f"/appointments/{appointment}/complete"))
    await shown.reaches(sequence)
    await shown.shows("1 Priya Raman completed", "3 John Doe booked")

    assert await shown.told("states") == ["connecting", "live"]
    assert await shown.told("events") == [
        "AppointmentBooked",
        "PatientCheckedIn",
        "PatientCalled",
        "ConsultationCompleted",
    ]
    assert set(await shown.told("complete")) == {True}
    assert set(shown.wire.kinds()) == {"snapshot", "delta"}
    assert shown.visit.complaints == []


async def test_after_any_commands_every_kind_of_monitor_shows_what_the_server_has(
    shown: Shown, server: Server, seed: int
) -> None:
    """A monitor made afresh is told a whole state; those that followed must have come to the same."""
    hospital = await Hospital.open(server, random.Random(seed))
    kinds: list[dict[str, Any]] = [
        {},
        {"mode": "full"},
        {"doctorId": hospital.doctors[0]},
        {"doctors": hospital.doctors[1:3]},
        {"department": "Heart"},
        {"view": "public"},
        {"doctorId": hospital.doctors[0], "view": "public"},
    ]
    today = await server.today()
    await shown.page.evaluate(
        """kinds => {
            window.compared = kinds.map(options => [daysheet.watch(options), options]);
            window.withoutTime = ({ timestamp, ...day }) => day;
            window.afresh = async (options) => {
                for await (const day of daysheet.watch({ ...options, mode: 'full' })) return withoutTime(day);
            };
        }""",
        [{"date": today, **kind} for kind in kinds],
    )
    await shown.start()
    for commands in RANDOM_COMMANDS:
        for _ in range(commands):
            await hospital.does_something()
        await shown.reaches((await server.get("/queue")).body["sequence"])
        assert await shown.day() == await without_time(server, "/queue")
        pairs = """async () => Promise.all(compared.map(async ([monitor, options]) => {
            const fresh = await afresh(options);
            for (let n = 0; n < 100 && JSON.stringify(withoutTime(monitor.day)) !== JSON.stringify(fresh); n += 1) {
                await new Promise((soon) => setTimeout(soon, 20));
            }
            return [withoutTime(monitor.day), fresh];
        }))"""
        for kind, (followed, fresh) in zip(kinds, await shown.page.evaluate(pairs), strict=True):
            assert followed == fresh, f"{kind} came to another state, seed {seed}"
    assert set(await shown.page.evaluate("compared.map(([monitor]) => monitor.state)")) == {"live"}
    assert shown.visit.complaints == []


@pytest.fixture
def seed() -> int:
    """Another one in every run, but where a change is judged."""
    return 2025 if os.environ.get("CI") else random.randrange(10_000)


class Hospital:
    """Some doctors and patients, and commands of all kinds, many of which are refused."""

    def __init__(self, server: Server, choose: random.Random, doctors: list[str], patients: list[str]) -> None:
        self.server, self.choose = server, choose
        self.doctors, self.patients, self.appointments = doctors, patients, [""]
        self.codes, self.today = 0, ""

    @staticmethod
    async def open(server: Server, choose: random.Random) -> Hospital:
        departments = ("Heart", "Heart", "Bones", None)
        doctors = [await server.a_doctor(department=each) for each in departments]
        patients = [await server.a_patient(name=f"Patient {n}") for n in range(12)]
        hospital = Hospital(server, choose, doctors, patients)
        hospital.today = await server.today()
        return hospital

    async def does_something(self) -> None:
        someone, who = self.choose.choice(self.appointments), self.choose.choice(self.doctors)
        reason = {"reason": "to see what comes of it"}
        self.codes += 1
        # Beyond the first plane of Unicode, where UTF-16 is ordered otherwise than its characters are.
        code = self.choose.choice(("A", "￮", "😷", "Z")) + str(self.codes)
        new = {"doctor_id": who, "patient_id": self.choose.choice(self.patients), "allow_overlap": True}
        commands: list[tuple[str, str, Any]] = [
            *[("POST", "/appointments", new | {"date": self.today})] * 3,
            ("POST", "/walkins", new),
            *[("POST", "/checkins", {"appointment_id": someone})] * 4,
            *[("POST", "/queue/call-next", {"doctor_id": who, "complete_current": True})] * 2,
            ("POST", f"/appointments/{someone}/hold", {}),
            ("POST", f"/appointments/{someone}/resume", {}),
            ("POST", f"/appointments/{someone}/cancel", {}),
            ("POST", f"/appointments/{someone}/no-show", {}),
            ("POST", f"/appointments/{someone}/undo", reason),
            ("POST", f"/appointments/{someone}/priority", reason | {"priority": "urgent"}),
            ("POST", f"/appointments/{someone}/move", reason | {"doctor_id": who, "allow_overlap": True}),
            ("POST", f"/appointments/{someone}/move", reason | {"slot": self.choose.randint(1, 20)}),
            ("POST", f"/clinics/{who}/{self.today}/delay", {"minutes": self.choose.randint(0, 30)}),
            ("PATCH", f"/doctors/{who}", {"code": code}),
            ("PATCH", f"/doctors/{who}", {"department": self.choose.choice(("Heart", "Bones"))}),
            ("PATCH", f"/patients/{self.choose.choice(self.patients)}", {"name": f"Renamed {self.codes}"}),
        ]
        answer = await self.server.call(*self.choose.choice(commands))
        assert answer.status in (200, 201, 400, 404, 409), answer
        if answer.status == 201 and answer.body.get("appointment_id"):
            self.appointments.append(answer.body["appointment_id"])


async def test_what_did_not_change_is_the_same_object(shown: Shown, server: Server) -> None:
    doctors = [await server.a_doctor(code=f"DOC00{n}") for n in range(2)]
    booked = [await server.an_appointment(doctors[0]) for _ in range(3)]
    await server.an_appointment(doctors[1])
    await shown.watch()
    sequence = await did(await server.post("/checkins", {"appointment_id": booked[1]}))
    await shown.reaches(sequence)
    kept = await shown.page.evaluate("""() => {
        const [before, after] = [told.days[0].doctors, monitor.day.doctors];
        return [
            before[1] === after[1], before[0] === after[0], before[0].doctor === after[0].doctor,
            ...before[0].appointments.map((appointment, n) => appointment === after[0].appointments[n]),
            told.days[0].doctors[0].checked_in_count,
        ];
    }""")
    assert kept == [True, False, True, True, False, True, 0]

    answer = await server.call("PUT", f"/clinics/{doctors[0]}/{await server.today()}", {"capacity": 50})
    await shown.reaches(await did(answer))
    assert await shown.page.evaluate("""() => {
        const [before, after] = told.days.slice(-2).map((day) => day.doctors[0]);
        return [after.clinic.capacity, before === after, before.appointments === after.appointments];
    }""") == [50, False, True]


async def test_a_delta_applied_twice_changes_nothing_and_the_given_day_stays_as_it_is(shown: Shown) -> None:
    outcome = await shown.page.evaluate("""() => {
        const appointment = (id, slot, queue = null) => ({ appointment_id: id, slot, queue });
        const block = (code, ...appointments) => ({ doctor: { id: code, code }, total_appointments: 2, appointments });
        const day = { date: 'd', total_doctors: 3, timestamp: 't1', doctors: [
            block('B', appointment('b1', 1, { position: 2 }), appointment('b2', 2), appointment('b3', 3)),
            block('Y'), block('😷'),
        ] };
        const before = JSON.stringify(day);
        const change = { total_doctors: 3, timestamp: 't2', removed_doctors: ['Y'], doctors: [
            {
                doctor_id: 'B', total_appointments: 1, appointments: [appointment('b3', 0)],
                positions: { b1: 1 }, removed: ['b2'],
            },
            { doctor_id: '￮', ...block('￮', appointment('c1', 1)), positions: {}, removed: [] },
        ] };
        const once = daysheet.apply(day, change);
        const twice = daysheet.apply(once, change);
        return [JSON.stringify(day) === before, JSON.stringify(once) === JSON.stringify(twice), once];
    }""")
    unchanged, same, once = outcome
    assert (unchanged, same) == (True, True)
    assert [block["doctor"]["code"] for block in once["doctors"]] == ["B", "￮", "😷"]
    assert once["doctors"][0]["appointments"] == [
        {"appointment_id": "b3", "slot": 0, "queue": None},
        {"appointment_id": "b1", "slot": 1, "queue": {"position": 1}},
    ]
    assert (once["timestamp"], once["doctors"][0]["total_appointments"]) == ("t2", 1)


async def test_a_loop_gets_each_day_and_closes_when_it_is_left(shown: Shown, server: Server) -> None:
    doctor = await server.a_doctor()
    looping = """async date => {
        const counts = [];
        for await (const day of daysheet.watch({ date })) {
            counts.push(day.total_appointments);
            document.title = String(day.total_appointments);
            if (day.total_appointments === 2) return counts;
        }
    }"""
    counts = asyncio.create_task(shown.page.evaluate(looping, await server.today()))
    await expect(shown.page).to_have_title("0")
    await server.an_appointment(doctor)
    await expect(shown.page).to_have_title("1")
    await server.an_appointment(doctor)
    assert await counts == [0, 1, 2]
    await shown.wire.until(lambda: shown.wire.open_sockets() == 0)


# --- a connection that does not last -------------------------------------------------------------


async def test_a_silent_connection_is_stale_then_lost_and_nothing_of_the_meantime_is_missed(
    shown: Shown, server: Server
) -> None:
    doctor = await server.a_doctor()
    await shown.stop_the_clock()
    await server.an_appointment(doctor, await server.a_patient(name="Before"))
    await shown.watch(heartbeat=HEARTBEAT_SECONDS)
    await shown.page.context.set_offline(True)
    await server.an_appointment(doctor, await server.a_patient(name="Meanwhile"))
    await shown.page.clock.run_for(STALE_MS)
    await shown.becomes("stale")
    await shown.page.clock.run_for(LOST_MS)
    await shown.becomes("reconnecting")
    await shown.shows("1 Before booked")

    await shown.page.context.set_offline(False)
    await shown.becomes("live")  # and no clock had to go on
    await shown.shows("1 Before booked", "2 Meanwhile booked")
    assert shown.wire.said[-1]["resume"]["sequence"] > 0
    assert shown.wire.kinds().count("snapshot") == 1
    assert await shown.told("events") == ["AppointmentBooked"]
    assert set(await shown.told("complete")) == {True}


async def test_heartbeats_keep_a_quiet_day_live(shown: Shown) -> None:
    await shown.stop_the_clock()
    await shown.watch(heartbeat=HEARTBEAT_SECONDS)
    await shown.page.clock.run_for(STALE_MS - 1_000)
    await shown.wire.until(lambda: "heartbeat" in shown.wire.kinds())
    await shown.page.clock.run_for(STALE_MS - 1_000)
    assert await shown.told("states") == ["connecting", "live"]


async def test_back_at_the_page_a_connection_is_kept_if_it_answers_and_given_up_if_not(shown: Shown) -> None:
    looks = "document.dispatchEvent(new Event('visibilitychange', { bubbles: true }))"
    await shown.stop_the_clock()
    await shown.watch(heartbeat=60)
    await shown.page.evaluate(looks)
    await shown.wire.until(lambda: "pong" in shown.wire.kinds())
    await shown.page.clock.run_for(PROBE_MS)
    assert await shown.told("states") == ["connecting", "live"]

    await shown.page.context.set_offline(True)
    await shown.page.evaluate(looks)
    await shown.page.clock.run_for(PROBE_MS)
    await shown.becomes("reconnecting")
    assert shown.wire.said[-1] == {"action": "ping"}

    await shown.page.context.set_offline(False)
    await shown.becomes("live")  # although nothing had happened, and so nothing was missed
    assert len(await shown.told("days")) == 1


async def test_a_server_that_restarts_is_found_again_where_it_was_left(
    shown: Shown, server: Server, serve: ServerFactory
) -> None:
    doctor = await server.a_doctor()
    await server.an_appointment(doctor, await server.a_patient(name="Before"))
    await shown.watch()
    server.process.terminate()
    await server.process.wait()
    await shown.becomes("reconnecting")
    await shown.shows("1 Before booked")
    again = await serve("--port", str(urlsplit(server.url).port))
    await again.an_appointment(doctor, await again.a_patient(name="After"))
    await shown.becomes("live")
    await shown.shows("1 Before booked", "2 After booked")
    assert "resume" in shown.wire.said[-1]
    assert shown.wire.kinds().count("snapshot") == 1
    assert await shown.told("events") == ["AppointmentBooked"]


async def test_a_state_that_was_missed_is_asked_for(shown: Shown, server: Server) -> None:
    """A delta gets lost on the way: what comes next does not fit."""
    doctor = await server.a_doctor()
    lost = asyncio.Event()

    def forward(page: WebSocketRoute) -> None:
        connection = page.connect_to_server()

        def hear(text: str | bytes) -> None:
            if json.loads(text)["type"] == "delta" and not lost.is_set():
                lost.set()
            else:
                page.send(text)

        connection.on_message(hear)

    await shown.page.route_web_socket("**/ws/queue", forward)
    await shown.watch()
    await server.an_appointment(doctor, await server.a_patient(name="Lost"))
    await asyncio.wait_for(lost.wait(), 10)
    await server.an_appointment(doctor, await server.a_patient(name="Found"))
    await shown.shows("1 Lost booked", "2 Found booked")
    await shown.becomes("live")
    assert await shown.told("states") == ["connecting", "live", "stale", "live"]
    assert await shown.told("events") == ["ClinicOpened", "AppointmentBooked", "AppointmentBooked"]
    assert set(await shown.told("complete")) == {True}


async def test_a_heartbeat_that_knows_more_is_believed(shown: Shown, server: Server) -> None:
    doctor = await server.a_doctor()
    lost: list[Any] = []

    def forward(page: WebSocketRoute) -> None:
        connection = page.connect_to_server()

        def hear(text: str | bytes) -> None:
            message = json.loads(text)
            if message["type"] == "delta" and not lost:
                lost.append(text)
                page.send(json.dumps({"type": "heartbeat", "sequence": message["sequence"], "head": 0}))
            else:
                page.send(text)

        connection.on_message(hear)

    await shown.page.route_web_socket("**/ws/queue", forward)
    await shown.watch()
    await server.an_appointment(doctor, await server.a_patient(name="Found"))
    await shown.shows("1 Found booked")
    assert len(lost) == 1


async def test_an_event_is_told_once(shown: Shown, server: Server) -> None:
    """A delta may begin before the state that a monitor has."""
    await server.an_appointment(await server.a_doctor(), await server.a_patient(name="Priya Raman"))
    wire = await shown.watch_through()
    epoch, known = await shown.page.evaluate("[monitor.epoch, monitor.sequence]")
    events = [{"sequence": known, "type": "Known"}, {"sequence": known + 1, "type": "New"}]
    totals = {"total_appointments": 1, "total_doctors": 1, "doctors": [], "timestamp": ""}
    delta = {"type": "delta", "epoch": epoch, "from": known - 1, "sequence": known + 1, "events": events}
    wire.send(json.dumps(delta | {"data": totals}))
    await shown.reaches(known + 1)
    assert (await shown.told("events"), await shown.told("complete")) == (["New"], [True])


async def test_the_server_may_say_that_it_is_behind_itself(shown: Shown) -> None:
    wire = await shown.watch_through()
    wire.send('{"type":"status","live":false,"since":"2025-11-17T10:30:00+05:30"}')
    await shown.becomes("stale")
    wire.send('{"type":"status","live":true,"since":"2025-11-17T10:30:00+05:30"}')
    await shown.becomes("live")


async def test_another_log_is_believed_and_what_happened_in_between_is_not_known(shown: Shown, server: Server) -> None:
    """As after a restore; here one that is undone by the next change."""
    doctor = await server.a_doctor()
    await server.an_appointment(doctor, await server.a_patient(name="Before"))
    wire = await shown.watch_through()
    empty = {"date": await server.today(), "total_appointments": 0, "total_doctors": 0, "doctors": [], "timestamp": ""}
    wire.send(json.dumps({"type": "snapshot", "epoch": "another", "sequence": 1, "data": empty}))
    await shown.shows()
    await server.an_appointment(doctor, await server.a_patient(name="After"))
    await shown.shows("1 Before booked", "2 After booked")
    assert await shown.told("complete") == [False, False]
    assert await shown.told("events") == []


async def test_what_cannot_be_shown_now_is_asked_for_again(shown: Shown, server: Server) -> None:
    await server.an_appointment(await server.a_doctor(), await server.a_patient(name="Priya Raman"))
    asked: list[str | bytes] = []

    def unavailable_twice(page: WebSocketRoute) -> None:
        connection = page.connect_to_server()

        def said(text: str | bytes) -> None:
            asked.append(text)
            if len(asked) > 2:
                connection.send(text)
            else:
                page.send('{"type":"error","code":"unavailable","message":"this date cannot be shown now"}')

        page.on_message(said)

    await shown.page.route_web_socket("**/ws/queue", unavailable_twice)
    await shown.watch()
    await shown.shows("1 Priya Raman booked")
    assert await shown.told("states") == ["connecting", "reconnecting", "live"]
    errors = await shown.told("errors")
    assert [(error["code"], error["state"]) for error in errors] == [("unavailable", "reconnecting")] * 2
    assert await shown.page.evaluate("monitor.error") is None


ATTEMPTS: Final = """(draw) => {
    Math.random = () => draw; // of the longest wait, which is 20 s
    window.attempts = [];
    const begun = Date.now();
    window.answer = null;
    class Brief {
        constructor() {
            attempts.push(Date.now() - begun);
            setTimeout(() => {
                if (answer) {
                    this.onopen();
                    this.onmessage({ data: answer });
                }
                this.onclose({ code: 1006 });
            }, 0);
        }
        send() {}
        close() {}
    }
    start({ date: '2025-11-17', WebSocket: Brief });
}"""


async def test_attempts_are_drawn_from_ever_longer_times_until_it_looks_better(shown: Shown) -> None:
    await shown.stop_the_clock()
    await shown.page.evaluate(ATTEMPTS, 0.4)
    await shown.page.clock.run_for(100_000)
    assert await shown.told("states") == ["connecting", "reconnecting"]
    assert (await waits(shown))[:9] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 8, 8]

    made = await shown.page.evaluate("attempts.length")
    await shown.page.evaluate("dispatchEvent(new Event('online'))")
    assert await shown.page.evaluate("attempts.length") == made + 1  # and no time went by
    await shown.page.clock.run_for(2_000)
    assert (await waits(shown))[made:] == [0.1, 0.2, 0.4, 0.8]

    made = await shown.page.evaluate("attempts.length")
    snapshot = {"type": "snapshot", "epoch": "e", "sequence": 0, "data": {"doctors": []}}
    await shown.page.evaluate("text => { window.answer = text; }", json.dumps(snapshot))
    await shown.page.clock.run_for(3_000)
    assert (await waits(shown))[made : made + 3] == [0.1] * 3


async def waits(shown: Shown) -> list[float]:
    """Seconds between attempts. A timer of 0 ms may take one."""
    return [(later - earlier) // 10 / 100 for earlier, later in pairwise(await shown.page.evaluate("attempts"))]


async def test_a_server_that_never_answers_is_given_up_and_what_it_says_later_is_not_heard(shown: Shown) -> None:
    await shown.stop_the_clock()
    await shown.page.evaluate("""() => {
        Math.random = () => 0;
        window.sockets = [];
        class Mute {
            constructor() { sockets.push(this); }
            close() { this.isClosed = true; }
        }
        start({ date: '2025-11-17', WebSocket: Mute });
    }""")
    await shown.page.clock.run_for(9_000)
    assert await shown.page.evaluate("sockets.length") == 1
    await shown.page.clock.run_for(1_100)
    assert await shown.page.evaluate("sockets.map((socket) => Boolean(socket.isClosed))") == [True, False]
    await shown.page.evaluate("sockets[0].onclose({ code: 1006 })")
    await shown.page.clock.run_for(100)
    assert await shown.page.evaluate("sockets.length") == 2


# --- the end -------------------------------------------------------------------------------------


async def test_close_closes_the_socket_and_no_callback_is_called_any_more(shown: Shown, server: Server) -> None:
    await shown.watch()
    await shown.page.evaluate("monitor.close()")
    await shown.page.evaluate("dispatchEvent(new Event('online')), dispatchEvent(new Event('visibilitychange'))")
    await shown.wire.until(lambda: shown.wire.open_sockets() == 0)
    assert await shown.page.evaluate("monitor.state") == "closed"
    assert await shown.told("states") == ["connecting", "live"]
    assert len(shown.wire.sockets) == 1


async def test_every_callback_may_close(shown: Shown, server: Server) -> None:
    doctor = await server.a_doctor()
    today = await server.today()
    await shown.page.evaluate(
        """today => {
            window.left = {};
            for (const callback of ['onDay', 'onState', 'onEvents', 'onError']) {
                const date = callback === 'onError' ? 'no date' : today;
                const monitor = daysheet.watch({ date, [callback]: () => {
                    monitor.close();
                    (left[callback] = left[callback] || []).push(monitor);
                } });
            }
        }""",
        today,
    )
    await shown.page.wait_for_function("Object.keys(left).length === 3")
    await server.an_appointment(doctor)
    await shown.page.wait_for_function("Object.keys(left).length === 4")
    await shown.wire.until(lambda: shown.wire.open_sockets() == 0)
    outcome = "Object.values(left).map((monitors) => [monitors.length, monitors[0].state])"
    assert await shown.page.evaluate(outcome) == [[1, "closed"]] * 4


async def test_what_would_be_refused_again_is_not_tried_again(shown: Shown) -> None:
    await shown.start(date="2025-13-01")
    await shown.becomes("closed")
    (error,) = await shown.told("errors")
    assert (error["code"], error["state"]) == ("invalid_date", "closed")
    assert len(shown.wire.sockets) == 1
    thrown = """async () => {
        try { for await (const day of daysheet.watch({ date: 'never' })) return day; }
        catch (error) { return [error instanceof daysheet.QueueError, error.name, error.code]; }
    }"""
    assert await shown.page.evaluate(thrown) == [True, "QueueError", "invalid_date"]

    async def refuse(page: WebSocketRoute) -> None:
        await page.close(code=1008, reason="no token")

    await shown.page.route_web_socket("**/ws/queue", refuse)
    await shown.start()
    await shown.becomes("closed")
    assert (await shown.told("errors"))[1:] == [{"code": "refused", "message": "no token", "state": "closed"}]


@pytest.mark.parametrize("garbage", ["<html>502</html>", "null", "{}", b"\0\xff"])
async def test_a_server_that_says_what_is_no_message_ends_it_by_name(shown: Shown, garbage: str | bytes) -> None:
    wire = await shown.watch_through()
    wire.send(garbage)
    await shown.becomes("closed")
    (error,) = await shown.told("errors")
    assert (error["code"], error["state"]) == ("not_understood", "closed")
    assert await shown.page.evaluate("Boolean(monitor.day)")  # the last board stays
    assert shown.visit.complaints == []


# --- where it is from, and where it goes ---------------------------------------------------------


SERVED: Final = {
    "daysheet.js": "text/javascript",
    "daysheet.d.ts": "text/plain",
    "use-central-queue-monitor.js": "text/javascript",
    "use-central-queue-monitor.d.ts": "text/plain",
}


async def test_the_server_has_the_files_and_says_when_they_are_others(server: Server) -> None:
    async with aiohttp.ClientSession(server.url) as session:
        for file, kind in SERVED.items():
            async with session.get(f"/{file}") as response:
                assert response.status == 200
                assert response.headers["Content-Type"] == f"{kind}; charset=utf-8"
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                assert response.headers["Cache-Control"] == "no-cache"
                assert await response.read() == (MODULE.parent / file).read_bytes()
                tag = response.headers["ETag"]
            async with session.get(f"/{file}", headers={"If-None-Match": tag}) as response:
                assert (response.status, await response.read()) == (304, b"")
                assert response.headers["ETag"] == tag
            async with session.get(f"/{file}", headers={"If-None-Match": '"another"'}) as response:
                assert response.status == 200


async def test_a_page_of_an_allowed_origin_may_import_it_and_no_other(visit: Visit, server: Server) -> None:
    await server.an_appointment(await server.a_doctor(), await server.a_patient(name="Priya Raman"))
    shown = Shown(visit, server)
    async with another_origin(BLANK + PAGE.replace("'/daysheet.js'", f"'{server.url}/daysheet.js'")) as elsewhere:
        await visit.page.goto(elsewhere)
        await visit.page.wait_for_function("() => Boolean(window.start)")
        await shown.watch(url=server.url)
        await shown.shows("1 Priya Raman booked")
    assert visit.complaints == []

    async with aiohttp.ClientSession(server.url) as session:
        for origin, status in ((elsewhere, 200), ("https://elsewhere.example", 403)):
            async with session.get("/daysheet.js", headers={"Origin": origin}) as response:
                assert response.status == status
                assert response.headers.get("Access-Control-Allow-Origin") == (origin if status == 200 else None)
                assert response.headers.get("Vary") == "Origin" or status == 403


ADDRESSES: Final = {
    "https://queue.example": "wss://queue.example/api/v1/ws/queue",
    "http://queue.example:8000/": "ws://queue.example:8000/api/v1/ws/queue",
    "ws://localhost:8000/api/v1/ws/queue": "ws://localhost:8000/api/v1/ws/queue",
    "wss://queue.example/behind/?token=t#top": "wss://queue.example/behind/api/v1/ws/queue?token=t",
}


async def test_a_server_is_named_in_any_way(shown: Shown) -> None:
    asked = """(options) => new Promise((asked) => {
        class Asked { constructor(address) { asked(address); } close() {} }
        daysheet.watch({ date: '2025-11-17', WebSocket: Asked, ...options });
    })"""
    assert await shown.page.evaluate(asked, {}) == shown.server.ws
    assert await shown.page.evaluate(asked, {"doctorId": "d-1"}) == f"{shown.server.ws}/d-1"
    assert {url: await shown.page.evaluate(asked, {"url": url}) for url in ADDRESSES} == ADDRESSES


async def test_a_page_opened_as_a_file_names_its_server(visit: Visit, server: Server, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(BLANK + PAGE.replace("'/daysheet.js'", f"'{server.url}/daysheet.js'"), encoding="utf-8")
    await visit.page.goto(page.as_uri())
    await visit.page.wait_for_function("() => Boolean(window.start)")
    with pytest.raises(Exception, match="name the server in `url`"):
        await visit.page.evaluate("start({ date: '2025-11-17' })")
    shown = Shown(visit, server)
    await server.an_appointment(await server.a_doctor(), await server.a_patient(name="Priya Raman"))
    await shown.watch(url=server.url)
    await shown.shows("1 Priya Raman booked")


NODE: Final = """
import { watch } from './daysheet.mjs';
import { WebSocket } from './ws.mjs';
const [url, date] = process.argv.slice(2);
for await (const day of watch({ url, date, WebSocket })) {
  console.log(day.total_appointments);
  if (day.total_appointments === 2) break;
}
console.log('left');
"""


async def test_it_runs_in_node_with_the_websocket_it_is_given(
    server: Server, tmp_path: Path, node_modules: Path
) -> None:
    doctor = await server.a_doctor()
    (tmp_path / "daysheet.mjs").write_bytes(MODULE.read_bytes())
    (tmp_path / "ws.mjs").write_text(f"export {{ WebSocket }} from '{(node_modules / 'ws' / 'wrapper.mjs').as_uri()}';")
    script = tmp_path / "script.mjs"
    script.write_text(NODE, encoding="utf-8")
    node = await asyncio.create_subprocess_exec(
        program("node"), str(script), server.url, await server.today(), stdout=asyncio.subprocess.PIPE
    )
    assert node.stdout is not None
    try:
        async with asyncio.timeout(30):
            for count in range(2):
                assert (await node.stdout.readline()).decode() == f"{count}\n"
                await server.an_appointment(doctor)
            assert (await node.stdout.read()).decode() == "2\nleft\n"
            assert await node.wait() == 0
    finally:
        if node.returncode is None:
            node.kill()
        await node.communicate()
