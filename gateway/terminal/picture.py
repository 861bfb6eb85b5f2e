"""A day as a terminal shows it: a panel for each doctor, as many at once as there is room for, over a footer that says
how far to believe it. Pages turn by themselves."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from rich.console import RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gateway.client import Connection
from projections.shapes import (
    BoardAppointment,
    ClinicBlock,
    Day,
    DoctorBlock,
    DoctorDay,
    PublicAppointment,
    PublicDay,
    PublicDoctorBlock,
    PublicDoctorDay,
    QueueEntry,
)

AnyDay = Day | DoctorDay | PublicDay | PublicDoctorDay
Block = DoctorBlock | PublicDoctorBlock | DoctorDay | PublicDoctorDay
Appointment = BoardAppointment | PublicAppointment

PANEL_WIDTH: Final = 44
PANEL_HEIGHT: Final = 8
"""Less is too little to read: then there are more pages instead."""
PANEL_LEAST: Final = 3
FRAME: Final = 2
PAGE_SECONDS: Final = 8

_ORDER: Final = ("in_consultation", "called", "checked_in", "on_hold")
_STATUS_STYLES: Final = {"open": "green", "closed": "yellow", "finished": "dim"}
_PLACES: Final = {
    "in_consultation": ("now", "bold green"),
    "called": ("call", "bold yellow"),
    "on_hold": ("hold", "dim"),
}
_WEIGHTS: Final = {"emergency": "bold red", "urgent": "yellow", "routine": ""}

# A name must not be able to steer the terminal, to begin a line, nor to turn the direction of what stands beside it.
UNSHOWN: Final = dict.fromkeys(
    [*range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)]
)


class Foot(Protocol):
    """The last line of the picture."""

    def line(self, page: str | None) -> RenderableType:
        """`page`: which of several, None where there is one."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """What is known of the connection. `silent_seconds`: since the server last said something, None for never."""

    connection: Connection
    sequence: int | None = None
    silent_seconds: float | None = None
    trouble: str | None = None

    def line(self, page: str | None) -> RenderableType:
        live = self.connection is Connection.LIVE
        parts = [str(self.connection) if live else str(self.connection).upper()]
        if self.sequence is not None:
            parts.append(f"#{self.sequence}")
        if self.silent_seconds is not None:
            parts.append(f"heard {self.silent_seconds:.0f} s ago")
        if page is not None:
            parts.append(page)
        if self.trouble is not None:
            parts.append(plain(self.trouble))
        return cut(Text(" · ".join(parts), style="green" if live else "bold white on red"))


def picture(day: AnyDay | None, foot: Foot, *, width: int, height: int, seconds: float) -> Layout:
    """As large as the terminal. `seconds` of any clock turn the pages."""
    clinics = clinics_of(day) if day is not None else []
    columns = max(1, width // PANEL_WIDTH)
    room = max(PANEL_LEAST, height - FRAME)  # without header and footer
    rows = max(1, min(room // PANEL_HEIGHT, -(-len(clinics) // columns)))
    pages = max(1, -(-len(clinics) // (columns * rows)))
    page = int(seconds / PAGE_SECONDS) % pages
    on_page = clinics[page * columns * rows :][: columns * rows]
    header = Layout(_header(day), size=1)
    panels = Layout(
        _panels(on_page, columns, room // rows) if clinics or day is None else Text("no clinic on this date")
    )
    footer = Layout(foot.line(f"page {page + 1} of {pages}" if pages > 1 else None), size=1)
    whole = Layout()
    # The footer is the last to go: what is shown without it might be of any age.
    whole.split_column(*(header, panels, footer) if height > FRAME else (header, footer) if height > 1 else (footer,))
    return whole


def clinics_of(day: AnyDay) -> list[tuple[Block, ClinicBlock]]:
    """Of those of its doctors who have one."""
    blocks: Sequence[Block] = day.doctors if isinstance(day, Day | PublicDay) else [day]
    return [(block, block.clinic) for block in blocks if block.clinic is not None]


def in_order(appointments: Sequence[Appointment]) -> list[tuple[Appointment, QueueEntry]]:
    """Who is here: in consultation, called, the line, and then who is on hold."""
    here = [(each, each.queue) for each in appointments if each.queue is not None and each.queue.status in _ORDER]
    return sorted(here, key=lambda each: (_ORDER.index(each[1].status), each[1].position))


def plain(text: str) -> str:
    """Without what would move the cursor, or turn the line around."""
    return text.translate(UNSHOWN)


def _header(day: AnyDay | None) -> RenderableType:
    if day is None:
        return Text("Daysheet", style="bold")
    clinics = clinics_of(day)
    waiting = sum(clinic.waiting for _, clinic in clinics)
    counted = (
        f" · {waiting} waiting · {_counted(len(clinics), 'doctor')} · {_counted(day.total_appointments, 'appointment')}"
    )
    return cut(Text.assemble((_written(day.date), "bold"), counted))


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _written(day: datetime.date) -> str:
    return f"{day:%a} {day.day} {day:%b %Y}"


def _panels(clinics: Sequence[tuple[Block, ClinicBlock]], columns: int, height: int) -> RenderableType:
    grid = Table.grid(expand=True)
    for _ in range(min(columns, len(clinics))):
        grid.add_column(ratio=1)
    for at in range(0, len(clinics), columns):
        grid.add_row(*[_panel(block, clinic, height) for block, clinic in clinics[at : at + columns]])
    return grid


def _panel(block: Block, clinic: ClinicBlock, height: int) -> Panel:
    title = cut(Text.assemble((plain(block.doctor.code), "bold"), f" {plain(block.doctor.name)}"))
    content = Table.grid(expand=True)
    content.add_row(_clinic(clinic))
    if clinic.note:
        content.add_row(cut(Text(plain(clinic.note), style="italic")))
    content.add_row(_people(in_order(block.appointments), height - FRAME - content.row_count))
    return Panel(content, title=title, title_align="left", height=height, padding=(0, 1), border_style="dim")


def _clinic(clinic: ClinicBlock) -> Text:
    text = Text.assemble((clinic.status, _STATUS_STYLES[clinic.status]), f" · {clinic.waiting} waiting")
    if clinic.delay_minutes:
        text.append(f" · {clinic.delay_minutes} min late", style="bold red")
    if clinic.room:
        text.append(f" · {plain(clinic.room)}")
    return cut(text)


def _people(here: Sequence[tuple[Appointment, QueueEntry]], room: int) -> Table:
    """The last row counts those for whom there is no room."""
    people = Table.grid(padding=(0, 1), expand=True)
    people.add_column(justify="right", width=4, no_wrap=True)
    people.add_column(no_wrap=True)
    people.add_column(ratio=1, no_wrap=True)
    fitting = here if len(here) <= room else here[: max(0, room - 1)]
    for appointment, queue in fitting:
        people.add_row(*_person(appointment, queue))
    if len(fitting) < len(here):
        people.add_row("…", Text(f"{len(here) - len(fitting)} more", style="dim"))
    return people


def _person(appointment: Appointment, queue: QueueEntry) -> tuple[Text, Text, Text]:
    weight = _WEIGHTS[appointment.priority]
    place, style = _PLACES.get(queue.status, (str(queue.position), weight))
    name = Text(plain(appointment.patient.name or ""), overflow="ellipsis")
    if queue.status == "checked_in" and weight:
        name = Text.assemble((appointment.priority, weight), " ", name, overflow="ellipsis")
    return Text(place, style), Text(plain(queue.ticket), style), name


def cut(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text
