"""The eventsourcing library as its documentation shows it: an Application, an Aggregate with @event methods, events
that are dataclasses, its JSON transcoder, its PostgreSQL recorder.

One aggregate is one doctor's day, and keeps the same rules as domain/rules/clinic.py: a slot is one patient's, a
patient has one booking. It knows nothing of a patient's day with other doctors, of people, or of who asked.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import DatetimeAsISO, IntegrityError, JSONTranscoder, Mapper, UUIDAsHex

from scripts.benchmarks.hospital import Postgres

NAME = "eventsourcing's Application"


class Refused(Exception):
    """A rule said no."""


class ClinicDay(Aggregate):
    @staticmethod
    def create_id(doctor_id: UUID, date: str) -> UUID:
        return uuid5(NAMESPACE_URL, f"/clinics/{doctor_id}/{date}")

    @event("Opened")
    def __init__(self, doctor_id: UUID, date: str, capacity: int) -> None:
        self.doctor_id, self.date, self.capacity = doctor_id, date, capacity
        self.appointments: dict[UUID, dict[str, Any]] = {}
        self.taken: dict[int, UUID] = {}
        self.tickets = 0

    def book(self, appointment_id: UUID, patient_id: UUID) -> None:
        if any(a["patient_id"] == patient_id and a["status"] == "confirmed" for a in self.appointments.values()):
            raise Refused("already_booked")
        slot = next((n for n in range(1, self.capacity + 1) if n not in self.taken), None)
        if slot is None:
            raise Refused("clinic_full")
        self._booked(appointment_id, patient_id, slot, "routine")

    @event("Booked")
    def _booked(self, appointment_id: UUID, patient_id: UUID, slot: int, priority: str) -> None:
        self.taken[slot] = appointment_id
        self.appointments[appointment_id] = {
            "patient_id": patient_id,
            "slot": slot,
            "priority": priority,
            "status": "confirmed",
            "stage": None,
        }

    @event("CheckedIn")
    def check_in(self, appointment_id: UUID, ticket: str) -> None:
        self.tickets += 1
        self.appointments[appointment_id].update(stage="checked_in", ticket=ticket)

    @event("Called")
    def call(self, appointment_id: UUID) -> None:
        self.appointments[appointment_id]["stage"] = "called"

    @event("Completed")
    def complete(self, appointment_id: UUID) -> None:
        self.appointments[appointment_id].update(stage="completed", status="completed")


@cache
def mapper() -> Mapper[UUID]:
    """As an Application makes it."""
    transcoder = JSONTranscoder()
    transcoder.register(UUIDAsHex())
    transcoder.register(DatetimeAsISO())
    return Mapper(transcoder)


class Clinics(Application[UUID]):
    def open(self, doctor_id: UUID, date: str, capacity: int) -> UUID:
        clinic = ClinicDay(doctor_id=doctor_id, date=date, capacity=capacity)
        self.save(clinic)
        return clinic.id

    def book(self, clinic_id: UUID, patient_id: UUID) -> None:
        """Decided again as often as another thread was faster."""
        while True:
            clinic: ClinicDay = self.repository.get(clinic_id)
            clinic.book(uuid4(), patient_id)
            try:
                self.save(clinic)
                return
            except IntegrityError:
                continue

    def live_through(self, clinic_id: UUID, patients: int) -> None:
        """A whole day: everybody is booked, checked in, called and completed."""
        clinic: ClinicDay = self.repository.get(clinic_id)
        for number in range(1, patients + 1):
            appointment_id = uuid4()
            clinic.book(appointment_id, uuid4())
            clinic.check_in(appointment_id, ticket=f"DOC001-{number}")
            clinic.call(appointment_id)
            clinic.complete(appointment_id)
        self.save(clinic)

    # --- reading a day back ----------------------------------------------------------------------

    def rebuild_by_clinic(self, clinic_ids: Sequence[UUID]) -> int:
        """The repository's way, one query per aggregate. Returns the number of events."""
        return sum(self.repository.get(clinic_id).version for clinic_id in clinic_ids)

    def rebuild_by_page(self, page_rows: int) -> int:
        """The whole log in order, mapped and mutated with no repository in between. Returns the number of events."""
        clinics: dict[UUID, ClinicDay | None] = {}
        after, events = 0, 0
        while page := self.recorder.select_notifications(start=after, limit=page_rows, inclusive_of_start=False):
            for notification in page:
                fact: Any = mapper().to_domain_event(notification)
                clinics[fact.originator_id] = fact.mutate(clinics.get(fact.originator_id))
            after, events = page[-1].id, events + len(page)
        return events

    # --- many callers at once --------------------------------------------------------------------

    def book_for(self, seconds: float, threads: int, clinic_ids: Sequence[UUID]) -> float:
        """That many threads book fresh patients, each into one clinic after another. Returns bookings per second."""
        begins = time.perf_counter()
        ends = begins + seconds

        def caller(first: int) -> int:
            booked = 0
            while time.perf_counter() < ends:
                self.book(clinic_ids[(first + booked) % len(clinic_ids)], uuid4())
                booked += 1
            return booked

        with ThreadPoolExecutor(threads) as callers:
            total = sum(callers.map(caller, range(threads)))
        return total / (time.perf_counter() - begins)


@contextmanager
def library_application(postgres: Postgres, database: str, *, connections: int) -> Iterator[Clinics]:
    at = postgres.for_libpq(database)
    application = Clinics(
        env={
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": at["dbname"],
            "POSTGRES_HOST": at["host"],
            "POSTGRES_PORT": at["port"],
            "POSTGRES_USER": at["user"],
            "POSTGRES_PASSWORD": "none is asked for",
            "POSTGRES_POOL_SIZE": str(connections),
        }
    )
    try:
        yield application
    finally:
        application.close()
