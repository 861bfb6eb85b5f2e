"""Doctors and patients by id, opened: who they are now."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final
from unicodedata import normalize

from domain.log import read
from domain.log.codec import EventMapper, Recorded
from domain.rules import events
from domain.rules.events import Event
from domain.rules.ids import DOCTOR, DoctorId, PatientId, doctor_stream, patient_stream
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
        self._asked_for: Counter[PatientId] = Counter()
        self._passed: dict[PatientId, int] = {}
        """Of those asked for: the last of their events that the projector has seen meanwhile."""
        self.erased: Callable[[PatientId], None] = lambda patient_id: None
        """Called with a patient who is forgotten from now on."""

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

    async def doctor_as_of(self, doctor_id: DoctorId, sequence: int) -> DoctorCard:
        """As registered right after an event of theirs, or later, up to `sequence`."""
        past = self._as_of(sequence)
        for row in await read.streams(self._pool, {doctor_stream(doctor_id): 0}):
            if row.id <= sequence:
                past.fold_doctor(row, self._mapper.to_domain_event(row))
        return past.doctors[doctor_id]

    def _as_of(self, sequence: int) -> Directory:
        past = Directory(self._pool, self._vault, self._mapper)
        past.applied = sequence
        return past

    # --- patients --------------------------------------------------------------------------------

    async def patient_as_of(self, patient_id: PatientId, sequence: int) -> PatientCard:
        """The same of a patient. Whoever is erased by now is so in every past."""
        past = self._as_of(sequence)
        await past.have([patient_id])
        person = past.person(patient_id)
        assert person is not None  # Their event is why this is asked.
        return person.card()

    def person(self, patient_id: PatientId) -> Person | None:
        """One at hand, or None: see `have`."""
        return self._people.get(patient_id)

    async def have(self, patient_ids: Iterable[PatientId]) -> None:
        """Have these patients at hand, as far as they exist, as they were when `applied`: until the next await, and
        longer who is held. Who is erased by now is shown so at once."""
        asked = set(patient_ids)
        self._asked_for.update(asked)
        try:
            missing = {patient_id for patient_id in asked if patient_id not in self._people}
            while missing:
                missing = await self._read(missing)
        finally:
            self._asked_for.subtract(asked)
            for patient_id in [patient_id for patient_id in asked if self._asked_for[patient_id] <= 0]:
                del self._asked_for[patient_id]
                self._passed.pop(patient_id, None)

    async def _read(self, missing: set[PatientId]) -> set[PatientId]:
        """Returns those who changed meanwhile, and are to be read again."""
        until = self.applied
        known = await read.streams(self._pool, {patient_stream(patient_id): 0 for patient_id in missing})
        rows = [row for row in known if row.id <= until]
        await self._vault.fetch_keys(missing)
        # From here on there is no await.
        newest = {PatientId(row.subject): row.id for row in rows}
        changed = {who for who in missing if self._passed.get(who, 0) > newest.get(who, 0)}
        for row in rows:
            if row.subject not in changed:
                self._fold(row, self._mapper.to_domain_event(row))
        for patient_id in {PatientId(row.subject) for row in known} - changed:
            if patient_id not in self._people and not self._vault.has_key(patient_id):
                self._keep(Person(patient_id, ERASED, 0, events.PatientErased.__name__))
        return changed

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
            self.erased(patient_id)
            return
        if patient_id in self._asked_for:
            self._passed[patient_id] = row.id
        # Whose key is not at hand is somebody else's patient so far: `have` will read them when needed.
        if patient_id in self._people or self._vault.has_key(patient_id):
            self._fold(row, event)

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
        while len(self._people) > PEOPLE_KEPT + len(self._held) + len(self._asked_for):
            oldest = next(iter(self._people))
            if oldest in self._held or oldest in self._asked_for:
                self._people.move_to_end(oldest)
            else:
                del self._people[oldest]
