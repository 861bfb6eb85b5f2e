"""A downtime sheet as a browser prints it: a page for each doctor, and nobody's name is more than a name."""

from __future__ import annotations

import re
from datetime import date, datetime
from pathlib import Path
from uuid import uuid4
from zoneinfo import ZoneInfo

from gateway.downtime.sheet import BOXES, EMPTY_ROWS, sheet
from projections.shapes import BoardAppointment, BoardDoctor, ClinicBlock, Day, DoctorBlock, Patient, QueueEntry
from tests.web.conftest import Visit

WRITTEN_AT = datetime(2025, 11, 17, 9, 20, tzinfo=ZoneInfo("Asia/Kolkata"))
ODD = '<script>document.title = "owned"</script>&amp;"\''
_PAGE = re.compile(rb"/Type\s*/Page\b")


def _appointment(slot: int, name: str = "Priya Raman", *, waiting: bool = False) -> BoardAppointment:
    queue = QueueEntry(
        position=1,
        checked_in_at="2025-11-17T09:15:00+05:30",
        called_at=None,
        completed_at=None,
        status="checked_in",
        ticket=f"D-{slot}",
    )
    return BoardAppointment(
        appointment_id=uuid4(),  # type: ignore[arg-type]
        slot=slot,
        status="confirmed",
        priority="urgent" if waiting else "routine",
        patient=Patient(id=uuid4(), name=name, phone="+91 98765 43210", age=45, gender="female"),  # type: ignore[arg-type]
        queue=queue if waiting else None,
    )


def _doctor(code: str, appointments: list[BoardAppointment], note: str | None = None) -> DoctorBlock:
    return DoctorBlock(
        doctor=BoardDoctor(id=uuid4(), name=f"Dr. {code} {ODD}", code=code, specialty="Cardiology"),  # type: ignore[arg-type]
        total_appointments=len(appointments),
        checked_in_count=0,
        clinic=ClinicBlock(
            status="open",
            capacity=12,
            booked=len(appointments),
            free=0,
            waiting=0,
            starts_at="09:00",
            slot_minutes=15,
            room="R 7",
            delay_minutes=20 if note else 0,
            note=note,
        ),
        appointments=appointments,
    )


def _day(*blocks: DoctorBlock) -> Day:
    return Day(
        date=date(2025, 11, 17), total_appointments=0, total_doctors=len(blocks), doctors=list(blocks), timestamp=""
    )


async def _open(visit: Visit, day: Day, tmp_path: Path) -> None:
    file = tmp_path / "sheet.html"
    file.write_text(sheet(day, written_at=WRITTEN_AT, up_to=1234), encoding="utf-8")
    await visit.page.goto(file.as_uri())


async def _pages(visit: Visit) -> int:
    return len(_PAGE.findall(await visit.page.pdf(prefer_css_page_size=True)))


async def test_each_doctor_has_a_page_of_their_own(visit: Visit, tmp_path: Path) -> None:
    await _open(visit, _day(*[_doctor(code, [_appointment(1)]) for code in ("A", "B", "C")]), tmp_path)
    assert await _pages(visit) == 3
    assert visit.complaints == []
    assert visit.requests == [(tmp_path / "sheet.html").as_uri()]  # and nobody else is asked for anything


async def test_a_long_list_goes_on_overleaf_under_the_same_head(visit: Visit, tmp_path: Path) -> None:
    await _open(visit, _day(_doctor("A", [_appointment(slot) for slot in range(1, 41)])), tmp_path)
    assert 3 <= await _pages(visit) <= 5
    assert await visit.page.evaluate("getComputedStyle(document.querySelector('thead')).display") == (
        "table-header-group"
    )


async def test_names_are_text_and_run_in_their_own_direction(visit: Visit, tmp_path: Path) -> None:
    names = [ODD, "אברהם כהן", "Jane Doe"]
    rows = [_appointment(slot, name) for slot, name in enumerate(names, 1)]
    await _open(visit, _day(_doctor("A", rows, note=ODD)), tmp_path)
    assert await visit.page.title() == "Downtime sheet 2025-11-17"
    cells = visit.page.locator("tbody td.name")
    assert (await cells.all_text_contents())[:3] == names
    directions = await cells.evaluate_all("cells => cells.map(cell => getComputedStyle(cell).direction)")
    assert directions[:3] == ["ltr", "rtl", "ltr"]
    assert await visit.page.locator("script").count() == 0
    assert ODD in (await visit.page.locator(".note").text_content() or "")
    assert visit.complaints == []


async def test_a_row_says_who_is_expected_and_leaves_room_for_what_happens_next(visit: Visit, tmp_path: Path) -> None:
    await _open(visit, _day(_doctor("A", [_appointment(1), _appointment(3, waiting=True)], note="soon")), tmp_path)
    rows = visit.page.locator("tbody tr")
    assert await rows.count() == 2 + EMPTY_ROWS
    booked = await rows.nth(0).locator("td").all_text_contents()
    assert booked == ["09:00", "", "Priya Raman", "45", "…3210", "", "booked", "", "", *[""] * len(BOXES)]
    waits = await rows.nth(1).locator("td").all_text_contents()
    assert waits[:9] == ["09:30", "D-3", "Priya Raman", "45", "…3210", "urgent", "waiting 1", "09:15", ""]
    page = await visit.page.locator("body").inner_text()
    assert "09:00–12:00, 15 min a slot, open; doctor 1 of 1" in page
    assert "20 minutes late. soon" in page
    assert "Written 2025-11-17 09:20 (Asia/Kolkata), up to event 1234." in page
    assert "2025-11-17T09:25:00+05:30" in page
    assert "98765" not in page
    assert await visit.page.locator("html").get_attribute("lang") == "en"


async def test_a_date_without_a_clinic_says_so(visit: Visit, tmp_path: Path) -> None:
    await _open(visit, _day(), tmp_path)
    assert "No clinic on this date." in await visit.page.locator("body").inner_text()
    assert await _pages(visit) == 1
