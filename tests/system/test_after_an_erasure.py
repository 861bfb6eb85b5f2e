"""What left the database before somebody was erased, and is still ours to clear: sheets, exports, logs."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from gateway.downtime.folder import sheet_file
from tests.gateway.contract import at
from tests.log.writing import until
from tests.system.command import daysheet
from tests.system.conftest import Start

NAME, PHONE, WHY = "Quirin Unverwechselbar", "+49 151 2345678", "afraid of needles"
PERSONAL = (b"Quirin", b"Unverwechselbar", b"2345678", b"5678", b"needles")


def _holding(folder: Path, names: tuple[str, ...]) -> list[str]:
    files = [file for pattern in names for file in folder.rglob(pattern)]
    assert files
    return [file.name for file in files if any(word in file.read_bytes() for word in PERSONAL)]


async def test_neither_exports_nor_sheets_nor_log_files_show_name_phone_or_reason(start: Start, data_dir: Path) -> None:
    sheets = data_dir / "sheets"
    server = await start("--downtime-dir", str(sheets))
    patient = await server.a_patient(name=NAME, phone=PHONE)
    doctor = await server.a_doctor()
    today = await server.today()
    appointment = await server.an_appointment(doctor, patient, reason=WHY)
    await server.post("/checkins", {"appointment_id": appointment, "reason": WHY})
    # What is refused, or makes no sense, is logged no more than what is done.
    await server.post("/checkins", {"appointment_id": appointment, "effective_at": at(today, "00:00"), "name": NAME})
    await server.post("/patients", {"name": NAME, "phone": PHONE * 9})
    await server.stop()
    before = server
    assert NAME in sheet_file(sheets, date.fromisoformat(today)).read_text(encoding="utf-8")

    server = await start("--downtime-dir", str(sheets))
    assert (await server.post(f"/patients/{patient}/erase", {"reason": "asked for it"})).status == 200
    await until(lambda: _holding(sheets, ("*.html",)) == [])
    for query in (("--format", "ndjson"), ("--format", "csv", "--names")):
        ended = await daysheet("export", today, *query, "--to", data_dir / f"{query[1]}.export", "--url", server.url)
        assert ended.code == 0, ended
    await server.stop()
    assert _holding(data_dir, ("*.export", "*.html", "server.log")) == []
    assert not any(word in before.log + server.log for word in PERSONAL)
