"""Every look that the second log can hold. This page is the table of contents.

A look is stored as `TOPIC@class_version` and the JSON of its own fields, as an event is; what columns hold (the subject
and the day) is left out of that JSON: see domain/audit/codec.py. Ids only, and no word that a person typed: what is
kept for ever must still say nothing of anybody when their key is gone.

`sequence` is a position of the log of events: what was shown is the board as it was folded up to there. Who stood on it
then is a question to that log, and needs no clock.
"""

from __future__ import annotations

import datetime
from typing import ClassVar, Literal
from uuid import UUID

import msgspec

from domain.rules.ids import AppointmentId, DoctorId, PatientId

Format = Literal["json", "csv", "fhir"]
By = Literal["recorded", "effective"]
"""The order in which a past is told: see projections/timeline.py."""


class Look(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody was shown something."""

    TOPIC: ClassVar[str]
    class_version: ClassVar[int] = 1
    SUBJECT: ClassVar[str | None] = None  # the field that the column `subject` holds
    DAY: ClassVar[str | None] = None  # the field that the column `day` holds


# --- a patient, an appointment -------------------------------------------------------------------


class PatientViewed(Look, frozen=True, kw_only=True):
    """A patient's details, as registered."""

    TOPIC: ClassVar[str] = "patient-viewed"
    SUBJECT: ClassVar[str | None] = "patient_id"
    patient_id: PatientId


class PatientsSearched(Look, frozen=True, kw_only=True):
    """The patients that a search found and showed. What was searched for is a name, and is not kept."""

    TOPIC: ClassVar[str] = "patients-searched"
    patients: tuple[PatientId, ...]


class HistoryViewed(Look, frozen=True, kw_only=True):
    """All that happened to an appointment, with its reasons."""

    TOPIC: ClassVar[str] = "history-viewed"
    SUBJECT: ClassVar[str | None] = "appointment_id"
    appointment_id: AppointmentId


# --- a date --------------------------------------------------------------------------------------


class BoardLook(Look, frozen=True, kw_only=True):
    """A date's board: of one doctor, of some, of a department, or where none of them is said, of all.

    `public`: as everybody in the waiting room may see it, with tickets and initials.
    """

    DAY: ClassVar[str | None] = "date"
    date: datetime.date
    sequence: int
    doctor_id: DoctorId | None = None
    doctors: tuple[DoctorId, ...] | None = None
    department: str | None = None
    public: bool = False


class BoardViewed(BoardLook, frozen=True, kw_only=True):
    """Once, as it was at `sequence`; by effective time, with some of what the log had up to there."""

    TOPIC: ClassVar[str] = "board-viewed"
    by: By = "recorded"


class SubscriptionStarted(BoardLook, frozen=True, kw_only=True):
    """Live, from `sequence` on."""

    TOPIC: ClassVar[str] = "subscription-started"


class SubscriptionEnded(Look, frozen=True, kw_only=True):
    """The last that it can have shown is `sequence`."""

    TOPIC: ClassVar[str] = "subscription-ended"
    DAY: ClassVar[str | None] = "date"
    date: datetime.date
    sequence: int


class ReplayStarted(BoardLook, frozen=True, kw_only=True):
    """A past day step by step. `sequence`: where the log stood; a day may go on while it is replayed."""

    TOPIC: ClassVar[str] = "replay-started"
    by: By = "recorded"


class ReplayEnded(Look, frozen=True, kw_only=True):
    """Of the positions that it showed, `first` was the lowest and `last` the highest."""

    TOPIC: ClassVar[str] = "replay-ended"
    DAY: ClassVar[str | None] = "date"
    date: datetime.date
    first: int
    last: int


class DayEventsViewed(Look, frozen=True, kw_only=True):
    """A date's events, those after the position `after`, up to `up_to`."""

    TOPIC: ClassVar[str] = "day-events-viewed"
    DAY: ClassVar[str | None] = "date"
    date: datetime.date
    after: int
    up_to: int


class ExportMade(BoardLook, frozen=True, kw_only=True):
    """All that the log had of the date up to `sequence`, taken away as a file of this `format`, with `names` or not."""

    TOPIC: ClassVar[str] = "export-made"
    format: str
    names: bool = False


# --- the record itself ---------------------------------------------------------------------------


class AuditViewed(Look, frozen=True, kw_only=True):
    """Somebody asked who looked, and was shown so many `records`. `actor` is one that the record knows, or nothing."""

    TOPIC: ClassVar[str] = "audit-viewed"
    SUBJECT: ClassVar[str | None] = "patient_id"
    DAY: ClassVar[str | None] = "date"
    patient_id: PatientId | None = None
    date: datetime.date | None = None
    actor: str | None = None
    format: Format
    records: int


class AccessDenied(Look, frozen=True, kw_only=True):
    """So many requests of one actor from one address were refused in the minute that begins at `minute`.

    `together`: of everybody for whom there was no room to count by name.
    """

    TOPIC: ClassVar[str] = "access-denied"
    minute: datetime.datetime
    count: int
    together: bool = False


class RecordingInterrupted(Look, frozen=True, kw_only=True):
    """From `since` to `until` this log did not take records, or not fast enough: a gap.

    `late` were written once it did, with the time at which they happened. `lost` were not: there was no room to keep
    them until then.
    """

    TOPIC: ClassVar[str] = "recording-interrupted"
    lost: int
    late: int
    since: datetime.datetime
    until: datetime.datetime


LOOKS: tuple[type[Look], ...] = (
    PatientViewed,
    PatientsSearched,
    HistoryViewed,
    BoardViewed,
    SubscriptionStarted,
    SubscriptionEnded,
    ReplayStarted,
    ReplayEnded,
    DayEventsViewed,
    ExportMade,
    AuditViewed,
    AccessDenied,
    RecordingInterrupted,
)


# --- streams -------------------------------------------------------------------------------------

SUBSCRIPTION = "subscription"
REPLAY = "replay"
READER = "reader"


def subscription_stream(watch_id: UUID) -> str:
    """Its start is version 1, its end version 2."""
    return f"{SUBSCRIPTION}/{watch_id}"


def replay_stream(watch_id: UUID) -> str:
    """Its start is version 1, its end version 2."""
    return f"{REPLAY}/{watch_id}"


def reader_stream(process_id: UUID) -> str:
    """All else that one server process records, counted: where a number is missing, a record is."""
    return f"{READER}/{process_id}"
