"""given(facts).when(decision).then(facts), or .refused(Refusal): the rules by themselves, with nothing behind them.

    given(OPENED, BOOKED).when(check_in(A1)).then(PatientCheckedIn(appointment_id=A1, ticket="DOC001-1"))
    given(OPENED, BOOKED).there(OPENED).when(move_to(A1)).then(here=[...], there=[...])

Facts are the plain ones of domain/rules/events.py. One whose time is left out happened at nine; one that is expected
with no time of its own is expected at the time of its decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import partial
from typing import Any, Self, cast

import pytest
from eventsourcing.domain import BaseAggregate
from eventsourcing.utils import resolve_topic
from msgspec.structs import asdict, replace

from domain.rules import events
from domain.rules.appointment import Appointment
from domain.rules.clinic import Clinic
from domain.rules.events import NO_TIME, Event
from domain.rules.ids import (
    clinic_stream,
)
from domain.rules.patient import Patient
from domain.rules.patient_day import PatientDay
from domain.rules.refusals import Refusal
from tests.rules.decisions import Decision, DecisionOnTwo
from tests.rules.facts import D2, DAY, NINE, STREAMS


def given(*facts: Event) -> Given:
    return Given(facts)


class Given:
    """What has happened so far, all of it to one aggregate."""

    def __init__(self, facts: tuple[Event, ...]) -> None:
        self._facts = tuple(fact if _timed(fact) else replace(fact, timestamp=NINE) for fact in facts)

    @property
    def clinic(self) -> Clinic:
        return cast(Clinic, fold(self._facts))

    @property
    def patient(self) -> Patient:
        return cast(Patient, fold(self._facts))

    def when(self, decision: Decision) -> When:
        return When(self._facts, decision)

    def there(self, *facts: Event, day: date = DAY) -> GivenTwo:
        """And this has happened in another doctor's clinic, on this date."""
        return GivenTwo(self._facts, Given(facts)._facts, clinic_stream(D2, day))


class When:
    """A decision taken, and what came of it."""

    def __init__(self, facts: tuple[Event, ...], decision: Decision) -> None:
        self._facts, self._at = facts, decision.at
        before: Any = fold(facts, decision.of)
        self._refusal: Refusal | None = None
        self.answer: Any = None
        """What the rule gave back."""
        try:
            self.answer = decision.decide(before)
        except Refusal as refusal:
            self._refusal = refusal
        self._after: Any = self.answer if before is None and self._refusal is None else before
        self._news = [] if self._after is None else list(self._after.pending_events)

    def then(self, *expected: Event) -> Self:
        """Exactly these facts, next in the stream; and folding them leads to the state that the decision left."""
        if self._refusal is not None:
            raise self._refusal
        assert [plain(event) for event in self._news] == [
            fact if _timed(fact) else replace(fact, timestamp=self._at) for fact in expected
        ]
        versions = [event.originator_version for event in self._news]
        assert versions == list(range(len(self._facts) + 1, len(self._facts) + 1 + len(expected)))
        told = (*self._facts, *(plain(event) for event in self._news))
        assert state_of(fold(told, type(self._after))) == state_of(self._after)
        return self

    def refused(self, refusal: type[Refusal], **facts: object) -> None:
        """For this very reason, and nothing was changed."""
        if self._refusal is None:
            pytest.fail(f"not refused, but: {[plain(event) for event in self._news]}")
        assert type(self._refusal) is refusal
        assert self._refusal.facts == facts
        assert self._news == []
        if self._after is not None:
            assert state_of(self._after) == state_of(fold(self._facts, type(self._after)))


class GivenTwo:
    """What has happened so far in two clinics."""

    def __init__(self, here: tuple[Event, ...], there: tuple[Event, ...], stream: str) -> None:
        self._here, self._there, self._stream = here, there, stream

    @property
    def clinics(self) -> tuple[Clinic, Clinic]:
        return cast(Clinic, fold(self._here)), cast(Clinic, fold(self._there, stream=self._stream))

    def when(self, decision: DecisionOnTwo) -> WhenTwo:
        return WhenTwo(self, decision)


class WhenTwo:
    """A decision about two clinics taken, and what came of it."""

    def __init__(self, given: GivenTwo, decision: DecisionOnTwo) -> None:
        self._before, self._at = given, decision.at
        self._clinics = given.clinics
        self._refusal: Refusal | None = None
        self.answer: Any = None
        try:
            self.answer = decision.decide(*self._clinics)
        except Refusal as refusal:
            self._refusal = refusal
        self._news = [news_of(clinic) for clinic in self._clinics]

    def then(self, *, here: Sequence[Event], there: Sequence[Event]) -> Self:
        """Exactly these facts in each; and folding them leads to the state that the decision left."""
        if self._refusal is not None:
            raise self._refusal
        expected = [[e if _timed(e) else replace(e, timestamp=self._at) for e in facts] for facts in (here, there)]
        assert self._news == expected
        before = self._before
        here_told, there_told = (*before._here, *self._news[0]), (*before._there, *self._news[1])
        assert state_of(fold(here_told)) == state_of(self._clinics[0])
        assert state_of(fold(there_told, stream=before._stream)) == state_of(self._clinics[1])
        return self

    def refused(self, refusal: type[Refusal], **facts: object) -> None:
        """For this very reason, and nothing was changed."""
        if self._refusal is None:
            pytest.fail(f"not refused, but: {self._news}")
        assert type(self._refusal) is refusal
        assert self._refusal.facts == facts
        assert self._news == [[], []]
        assert [state_of(clinic) for clinic in self._clinics] == [state_of(clinic) for clinic in self._before.clinics]


def fold(
    facts: Sequence[Event], of: type[BaseAggregate[str]] | None = None, *, stream: str | None = None
) -> BaseAggregate[str] | None:
    """The aggregate these facts lead to. Everyone has every day: a patient's day is there before its first fact."""
    aggregate: Any = PatientDay.untouched(STREAMS[PatientDay]) if of is PatientDay else None
    for version, fact in enumerate(facts, 1):
        cls = cast(type[Event], resolve_topic(fact.TOPIC))
        kind: Any = type(aggregate) if aggregate is not None else resolve_topic(asdict(fact)["originator_topic"])
        event = cls(**(asdict(fact) | {"originator_id": stream or STREAMS[kind], "originator_version": version}))
        aggregate = event.mutate(aggregate)
    return cast("BaseAggregate[str] | None", aggregate)


def plain(event: Event) -> Event:
    """The fact alone, as domain/rules/events.py knows it, out of its stream."""
    cls = next(cls for cls in type(event).__mro__ if cls.__module__ == events.__name__)
    values = asdict(event) | {"originator_id": "", "originator_version": 0}
    return cast(Event, partial(cls, **values)())


def news_of(aggregate: BaseAggregate[str]) -> list[Event]:
    """The facts that wait to be appended."""
    return [plain(cast(Event, event)) for event in aggregate.pending_events]


def state_of(aggregate: Any) -> dict[str, Any]:
    """All that an aggregate knows, apart from when this process touched it and what waits to be appended."""
    known = {name: value for name, value in vars(aggregate).items() if not name.startswith("_pending")}
    if isinstance(aggregate, Clinic):
        known["appointments"] = {each: known_of(appointment) for each, appointment in aggregate.appointments.items()}
    return known


def known_of(appointment: Appointment) -> dict[str, Any]:
    return dict(vars(appointment))


def _timed(fact: Event) -> bool:
    return fact.timestamp != NO_TIME
