"""A date as a page to print: for each doctor who is expected, who has come, and boxes to write down what happens next.

It is HTML that stands for itself: black on white, A4, without a script, and it asks nobody for anything. Of a phone
number it holds the last digits: enough to tell two patients of one name apart, too little to be worth finding.
"""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Final

from projections.shapes import BoardAppointment, ClinicBlock, Day, DoctorBlock, QueueEntry

EMPTY_ROWS: Final = 8
"""For those who walk in."""
PHONE_DIGITS: Final = 4
BOXES: Final = ("arrived", "called", "begun", "done")

_STYLE: Final = (files(__name__.rpartition(".")[0]) / "sheet.css").read_text(encoding="utf-8")
_POLICY: Final = f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'"
_PRINTED: Final = ("Time", "Ticket", "Patient", "Age", "Phone", "Priority", "Status", "Came", "Called")
_COLUMNS: Final = "".join(
    [f'<th class="{"name" if column == "Patient" else ""}">{column}</th>' for column in _PRINTED]
    + [f'<th class="box">{box}</th>' for box in BOXES]
)
_EMPTY_BOXES: Final = '<td class="box"></td>' * len(BOXES) + "</tr>"
_EMPTY_ROW: Final = "<tr>" + "<td></td>" * len(_PRINTED) + _EMPTY_BOXES
_STATES: Final = {"checked_in": "waiting", "in_consultation": "in consultation", "on_hold": "on hold"}


def sheet(day: Day, *, written_at: datetime, up_to: int) -> str:
    """`written_at` is in the hospital's zone; `up_to` the newest event of the log that is in it."""
    foot = _foot(day, written_at, up_to)
    clinics = [_clinic(day, block, place, len(day.doctors), foot) for place, block in enumerate(day.doctors, 1)] or [
        f"<section><h1>{day.date}</h1><p>No clinic on this date.</p><p>{_written(written_at, up_to)}</p></section>"
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>Downtime sheet {day.date}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(clinics)
        + "\n</body>\n</html>\n"
    )


def _clinic(day: Day, block: DoctorBlock, place: int, clinics: int, foot: str) -> str:
    doctor, clinic = block.doctor, block.clinic
    rows = "\n".join(_row(clinic, appointment) for appointment in block.appointments)
    room = f", room <bdi>{escape(clinic.room)}</bdi>" if clinic.room is not None else ""
    return (
        f'<section>\n<header>\n<div><h1 dir="auto">{escape(doctor.code)} · {escape(doctor.name)}</h1>\n'
        f"<p><bdi>{escape(doctor.specialty)}</bdi>{room}</p></div>\n"
        f'<div class="aside"><p><strong>{day.date:%A} {day.date}</strong></p>\n'
        f"<p>{clinic.starts_at}–{_slot_time(clinic, clinic.capacity + 1)}, {clinic.slot_minutes} min a slot, "
        f"{clinic.status}; doctor {place} of {clinics}</p></div>\n</header>\n"
        f"{_note(clinic)}<table>\n<thead><tr>{_COLUMNS}</tr></thead>\n"
        f'<tfoot><tr><td colspan="{len(_PRINTED) + len(BOXES)}">{foot}</td></tr></tfoot>\n'
        f"<tbody>\n{rows}\n{_EMPTY_ROW * EMPTY_ROWS}\n</tbody>\n</table>\n</section>"
    )


def _note(clinic: ClinicBlock) -> str:
    late = f"{clinic.delay_minutes} minutes late. " if clinic.delay_minutes else ""
    if not late and clinic.note is None:
        return ""
    return f'<p class="note" dir="auto">{late}{escape(clinic.note or "")}</p>\n'


def _row(clinic: ClinicBlock, appointment: BoardAppointment) -> str:
    patient, queue = appointment.patient, appointment.queue
    urgent = appointment.priority if appointment.priority != "routine" else ""
    printed = (
        f"<td>{_slot_time(clinic, appointment.slot)}</td>",
        f"<td>{escape(queue.ticket) if queue else ''}</td>",
        f'<td class="name" dir="auto">{escape(patient.name)}</td>',
        f"<td>{patient.age if patient.age is not None else ''}</td>",
        f"<td>{escape(_last_digits(patient.phone))}</td>",
        f'<td class="urgent">{urgent}</td>',
        f'<td class="state">{_standing(appointment, queue)}</td>',
        f"<td>{_clock(queue.checked_in_at) if queue else ''}</td>",
        f"<td>{_clock(queue.called_at) if queue else ''}</td>",
    )
    return "<tr>" + "".join(printed) + _EMPTY_BOXES


def _standing(appointment: BoardAppointment, queue: QueueEntry | None) -> str:
    """How it stands; of those who wait also the place in the line."""
    if queue is None:
        return "booked" if appointment.status == "confirmed" else appointment.status.replace("_", "-")
    state = _STATES.get(queue.status, queue.status.replace("_", "-"))
    return f"{state} {queue.position}" if queue.position else state


def _foot(day: Day, written_at: datetime, up_to: int) -> str:
    at = written_at.replace(year=day.date.year, month=day.date.month, day=day.date.day, hour=9, minute=25, second=0)
    return (
        f"{_written(written_at, up_to)} Write every time into its box. When the system is back, enter each patient's "
        "steps in their order (check in, call, start, complete; those who walked in are registered first), each with "
        f"the time written here as <code>effective_at</code>, such as <code>{at.isoformat(timespec='seconds')}</code>."
    )


def _written(written_at: datetime, up_to: int) -> str:
    zone = escape(str(written_at.tzinfo))
    return f"Written {written_at:%Y-%m-%d %H:%M} ({zone}), up to event {up_to}."


def _slot_time(clinic: ClinicBlock, slot: int) -> str:
    hours, minutes = clinic.starts_at.split(":")
    minute = int(hours) * 60 + int(minutes) + (slot - 1) * clinic.slot_minutes
    return f"{minute // 60:02}:{minute % 60:02}"


def _clock(at: str | None) -> str:
    """Hours and minutes of a time on the wire, which is in the hospital's zone already."""
    return datetime.fromisoformat(at).strftime("%H:%M") if at is not None else ""


def _last_digits(phone: str | None) -> str:
    digits = "".join(filter(str.isalnum, phone or ""))[-PHONE_DIGITS:]
    return f"…{digits}" if digits else ""
