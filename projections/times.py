"""When what happened to each appointment of a date, folded from its events, by the time at which it took effect.

A board knows how an appointment stands; this knows how it got there: when it was first called, when the consultation
began. A step that is taken back takes its times with it, and a move within the date keeps them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

import msgspec

from domain.rules import events
from domain.rules.events import AppointmentStep, Event, State
from domain.rules.ids import AppointmentId, DoctorId, PatientId, clinic_of


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """What a State does not keep. `called_at`: the latest call, recalls included."""

    first_called_at: datetime | None = None
    called_at: datetime | None = None
    started_at: datetime | None = None


NOTHING_YET: Final = Times()


@dataclass(slots=True, eq=False)
class Visit:
    """One appointment. `stream`: the clinic it stands in; None while it stands in none of this date."""

    appointment_id: AppointmentId
    patient_id: PatientId
    stream: str | None
    state: State
    booked_at: datetime | None
    """None for one that was booked for another date, and moved to this one."""
    times: Times = NOTHING_YET
    before: list[Times] = field(default_factory=list)
    """The times before each step that can be taken back, the newest last."""

    @property
    def doctor_id(self) -> DoctorId:
        assert self.stream is not None
        return clinic_of(self.stream)[0]

    def waiting(self) -> timedelta | None:
        """From check-in to the first call; None where there was none."""
        return _between(self.state.arrived_at, self.times.first_called_at)

    def consultation(self) -> timedelta | None:
        """From its beginning, where nobody noted that from the last call, to its completion."""
        return _between(self.times.started_at or self.times.called_at, self.state.completed_at)


class DayTimes:
    """The appointments of one date, those included that have left it."""

    def __init__(self, day: date) -> None:
        self._day = day
        self._visits: dict[AppointmentId, Visit] = {}

    def standing(self) -> list[Visit]:
        """Those that stand on this date now, cancelled ones too."""
        return [visit for visit in self._visits.values() if visit.stream is not None]

    def fold(self, event: Event) -> None:
        """The events of the date's clinics, each once and in the log's order."""
        match event:
            case events.AppointmentBooked():
                self._visits[event.appointment_id] = Visit(
                    event.appointment_id, event.patient_id, event.originator_id, event.state(), event.timestamp
                )
            case AppointmentStep():
                visit = self._visits[event.appointment_id]
                visit.before.append(visit.times)
                visit.state, visit.times = event.after(visit.state), _after(visit.times, event)
            case events.AppointmentMovedOut():
                visit = self._visits[event.appointment_id]
                visit.before.append(visit.times)
                _leaves(visit, event.originator_id)
            case events.AppointmentMovedIn():
                self._moved_in(event)
            case events.StepUndone():
                self._undone(event)
            case _:
                pass  # What happens to a whole clinic is no appointment's time.

    def _moved_in(self, event: events.AppointmentMovedIn) -> None:
        known = self._visits.get(event.appointment_id)
        if known is not None and event.steps[-1].date == self._day:
            known.stream, known.state = event.originator_id, event.state
            return
        # Whoever is here is here today: an appointment that comes from another date has no times but its booking's.
        self._visits[event.appointment_id] = Visit(
            event.appointment_id,
            event.patient_id,
            event.originator_id,
            event.state,
            known.booked_at if known is not None else None,
            before=[NOTHING_YET] * len(event.steps),
        )

    def _undone(self, event: events.StepUndone) -> None:
        visit = self._visits[event.appointment_id]
        if event.state is None:
            _leaves(visit, event.originator_id)
            return
        visit.stream, visit.state, visit.times = event.originator_id, event.state, visit.before.pop()


def _leaves(visit: Visit, stream: str) -> None:
    """It may stand in another clinic of the date by now: of a move's two events either may come first."""
    if visit.stream == stream:
        visit.stream = None


def _after(times: Times, step: AppointmentStep) -> Times:
    at = step.timestamp
    match step:
        case events.PatientCheckedIn():
            return NOTHING_YET  # a no-show who was called in vain, and comes after all, arrives now
        case events.PatientCalled() | events.PatientRecalled():
            return msgspec.structs.replace(times, first_called_at=times.first_called_at or at, called_at=at)
        case events.ConsultationStarted():
            return msgspec.structs.replace(times, started_at=at)
        case _:
            return times


def _between(since: datetime | None, until: datetime | None) -> timedelta | None:
    if since is None or until is None:
        return None
    return max(timedelta(), until - since)  # A time copied from a board is whole seconds, and may lie a little before.
