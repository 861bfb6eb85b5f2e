"""Doctors and patients by id, opened: who they are now."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final
from unicodedata import normalize

from domain.log import read
from domain.log.codec import EventMapper, Recorded
from domain.rules import events
from domain.rules.events import Event
from domain.rules.ids import DOCTOR, DoctorId, PatientId, patient_stream
from domain.vault.sealing import PatientDetails
from projections.shapes import DoctorCard, Patient, PatientCard, PublicPatient

if TYPE_CHECKING:
    from domain.postgres.connect import Pool
    from domain.vault.sealing import Vault

ERASED: Final = PatientDetails(name="[erased]")
PEOPLE_KEPT: Final = 20_000
"""People beyond those on loaded boards."""


@dataclass(slots=True)
class Person:
    """A patient as registered now, and the last event that says so."""

    patient_id: PatientId
    details: PatientDetails
    sequence: int
    last_event: str

    def on_board(self, day: date) -> Patient:
        details = self.details
        return Patient(
            id=self.patient_id,
            name=details.name,
            phone=details.phone,
            age=_age(details, day),
            gender=details.gender,
        )

    def in_public(self) -> PublicPatient:
        """Initials; nothing at all of whoever asked for that."""
        if self.details is ERASED:
            return PublicPatient(name=ERASED.name)
        return PublicPatient(name=None if self.details.private else initials(self.details.name))

    def card(self) -> PatientCard:
        """As registered: `age` is the one that was told, if one was."""
        details = self.details
        return PatientCard(
            id=self.patient_id,
            name=details.name,
            phone=details.phone,
            birth_date=details.birth_date,
            age=details.age,
            gender=details.gender,
            mrn=details.mrn,
            private=details.private,
            sequence=self.sequence,
        )


def initials(name: str) -> str:
    """`John Doe` is `J. D.`: the first letters of the first and the last word, in any script."""
    words = normalize("NFC", name).split()
    ends = words[:1] + words[1:][-1:]
    return " ".join(f"{next(filter(str.isalpha, word), word[0])}." for word in ends)


def _age(details: PatientDetails, on: date) -> int | None:
    born = details.birth_date
    if born is None:
        return details.age
    return max(0, on.year - born.year - ((on.month, on.day) < (born.month, born.day)))


class Directory:
    """All doctors; of the patients those on loaded boards, and some more."""

    def __init__(self, pool: Pool, vault: Vault, mapper: EventMapper) -> None:
        self._pool, self._vault, self._mapper = pool, vault, mapper
        self.doctors: dict[DoctorId, DoctorCard] = {}
        self.doctors_last_event: dict[DoctorId, str] = {}
        self._people: OrderedDict[PatientId, Person] = OrderedDict()
        self.applied = 0
        """The projector's position: nobody is shown here as they will be after events that boards have not folded."""
        self._held: Counter[PatientId] = Counter()
        self._being_read: Counter[PatientId] = Counter()
        self._passed: dict[PatientId, int] = {}
        """Of those being read: the last of their events that the projector has seen meanwhile."""
        self.erased: Callable[[PatientId], None] = lambda patient_id: None
        """Called with a patient who is forgotten from now on."""

    def as_of(self, position: int) -> Directory:
        """One of the asker's own, that shows who they were after an event, with nobody in it yet."""
        directory = Directory(self._pool, self._vault, self._mapper)
        directory.applied = position
        return directory

    # --- doctors ---------------------------------------------------------------------------------

    async def load_doctors(self) -> None:
        for row in await read.kind(self._pool, DOCTOR):
            if row.id <= self.applied:
                self.fold_doctor(row, self._mapper.to_domain_event(row))

    def fold_doctor(self, row: Recorded, event: Event) -> None:
        doctor_id = DoctorId(row.subject)
        known = self.doctors.get(doctor_id)
        if known is not None and row.id <= known.sequence:
            return
        if isinstance(event, events.DoctorRegistered | events.DoctorDetailsChanged):
            self.doctors_last_event[doctor_id] = type(event).__name__
            self.doctors[doctor_id] = DoctorCard(
                id=doctor_id,
                name=event.name,
                code=event.code,
                specialty=event.specialty,
                department=event.department,
                room=event.room,
                sequence=row.id,
            )

    # --- patients --------------------------------------------------------------------------------

    def person(self, patient_id: PatientId) -> Person | None:
        """One at hand, or None: see `have`."""
        return self._people.get(patient_id)

    async def have(self, patient_ids: Iterable[PatientId]) -> None:
        """Have all these patients at hand, as far as they exist, as they were when `applied`, at least until the next
        await. Who is erased by now is shown so at once."""
        wanted = set(patient_ids)
        nobody: set[PatientId] = set()
        # Again, where others drove one out while the store was asked, or one changed.
        while missing := {who for who in wanted if who not in self._people and who not in nobody}:
            self._being_read.update(missing)
            until = self.applied
            try:
                known = await read.streams(self._pool, {patient_stream(patient_id): 0 for patient_id in missing})
                rows = [row for row in known if row.id <= until]
                await self._vault.fetch_keys(missing)
                # From here on there is no await. Whoever changed since the rows were read is read again.
                newest = {PatientId(row.subject): row.id for row in rows}
                changed = {who for who in missing if self._passed.get(who, 0) > newest.get(who, 0)}
                for row in rows:
                    if row.subject not in changed:
                        self._fold(row, self._mapper.to_domain_event(row))
                for patient_id in {PatientId(row.subject) for row in known} - changed:
                    if patient_id not in self._people and not self._vault.has_key(patient_id):
                        self._keep(Person(patient_id, ERASED, 0, events.PatientErased.__name__))
            finally:
                self._read_no_more(missing)
            nobody.update(who for who in missing - changed if who not in self._people)
        self._used(wanted - nobody)

    def lacks_key(self, patient_id: PatientId) -> bool:
        """Whether one at hand could not be shown any more after a change of theirs: see `have_keys`."""
        person = self._people.get(patient_id)
        return person is not None and person.details is not ERASED and not self._vault.has_key(patient_id)

    async def have_keys(self, patient_ids: Iterable[PatientId]) -> None:
        """Those at hand may stay longer than their keys."""
        await self._vault.fetch_keys(patient_id for patient_id in patient_ids if self.lacks_key(patient_id))

    def fold_patient(self, row: Recorded, event: Event) -> None:
        """A patient's own event, as it happens."""
        patient_id = PatientId(row.subject)
        if isinstance(event, events.PatientErased):
            self._vault.forget(patient_id)
            # Kept also when nobody has asked: a reading under way may still hold the key.
            self._keep(Person(patient_id, ERASED, row.id, type(event).__name__))
            self._used([patient_id])
            self.erased(patient_id)
            return
        if patient_id in self._being_read:
            self._passed[patient_id] = row.id
        # Whose key is not at hand is somebody else's patient so far: `have` will read them when needed.
        if patient_id in self._people or self._vault.has_key(patient_id):
            self._fold(row, event)
            self._used([patient_id])

    def _read_no_more(self, patient_ids: Iterable[PatientId]) -> None:
        self._being_read.subtract(patient_ids)
        for patient_id in patient_ids:
            if self._being_read[patient_id] <= 0:
                del self._being_read[patient_id]
                self._passed.pop(patient_id, None)

    def _fold(self, row: Recorded, event: Event) -> None:
        """With the patient's key at hand, unless it is forgotten."""
        patient_id = PatientId(row.subject)
        known = self._people.get(patient_id)
        if known is not None and row.id <= known.sequence:
            return
        if isinstance(event, events.PatientRegistered | events.PatientDetailsChanged):
            details = self._vault.open_details(patient_id, event.details)
            self._keep(Person(patient_id, details or ERASED, row.id, type(event).__name__))
        elif isinstance(event, events.PatientErased) and known is not None:
            known.details, known.sequence, known.last_event = ERASED, row.id, type(event).__name__

    def hold(self, patient_ids: Iterable[PatientId]) -> None:
        """They stand on a loaded board now: they stay at hand."""
        self._held.update(patient_ids)

    def let_go(self, patient_ids: Iterable[PatientId]) -> None:
        self._held.subtract(patient_ids)
        for patient_id in [patient_id for patient_id, boards in self._held.items() if boards <= 0]:
            del self._held[patient_id]

    def _keep(self, person: Person) -> None:
        self._people[person.patient_id] = person

    def _used(self, patient_ids: Collection[PatientId]) -> None:
        """These come last when there are too many: nobody can be shown who is not at hand."""
        for patient_id in patient_ids:
            self._people.move_to_end(patient_id)
        while len(self._people) > max(PEOPLE_KEPT, len(patient_ids)) + len(self._held):
            oldest = next(iter(self._people))
            if oldest in self._held:
                self._people.move_to_end(oldest)
            else:
                del self._people[oldest]
