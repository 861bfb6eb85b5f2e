"""A patient's claim on a slot, and how far the patient has come: which step is allowed from where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from domain.rules import events
from domain.rules.events import NO_TIME, AppointmentStep, Order, Stage, State, Status, Step
from domain.rules.ids import AppointmentId, PatientId
from domain.rules.line import Place, place
from domain.rules.refusals import EffectiveTooEarly, NotAllowedFrom, NotToday

NOT_BEGUN: Final[tuple[Stage | None, ...]] = (None, "checked_in", "called", "on_hold")
"""Not here yet, or here and not in consultation."""

ALLOWED_FROM: Final[Mapping[type[AppointmentStep], tuple[Stage | None, ...]]] = {
    events.PatientCalled: ("checked_in",),
    events.PatientRecalled: ("called",),
    events.ConsultationStarted: ("called",),
    events.ConsultationCompleted: ("called", "in_consultation"),
    events.PatientPutOnHold: ("checked_in", "called"),
    events.PatientResumed: ("on_hold",),
    events.PriorityChanged: NOT_BEGUN,
    events.PatientMarkedNoShow: NOT_BEGUN,
    events.AppointmentCancelled: NOT_BEGUN,
}
"""The stages of a confirmed appointment from which a step may be taken."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When a command is decided: `at` is its effective time, `today` that time's date in the hospital's zone.

    `late` says that somebody named `at`. Two servers' clocks differ by a little, so only a named time is held
    against the appointment's previous step.
    """

    at: datetime
    today: date
    late: bool = False


class Appointment:
    """`steps` can be taken back, the newest last."""

    def __init__(
        self,
        appointment_id: AppointmentId,
        patient_id: PatientId,
        state: State,
        *,
        at: datetime,
        steps: Iterable[Step] = (),
    ) -> None:
        self.appointment_id, self.patient_id, self.state = appointment_id, patient_id, state
        self.steps = list(steps)
        self.last_step_at = at

    @property
    def slot(self) -> int:
        return self.state.slot

    @property
    def status(self) -> Status:
        return self.state.status

    @property
    def stage(self) -> Stage | None:
        return self.state.stage

    def place(self, order: Order) -> Place:
        state = self.state
        arrived_at = state.arrived_at or NO_TIME
        return place(order, priority=state.priority, arrived_at=arrived_at, arrival=state.arrival, slot=state.slot)

    # --- rules -----------------------------------------------------------------------------------

    def refuse_too_early(self, moment: Moment) -> None:
        # Boards show whole seconds, so a time copied from one lies a little before the step it stands for.
        if moment.late and moment.at < self.last_step_at.replace(microsecond=0):
            raise EffectiveTooEarly

    def allow(self, step: type[AppointmentStep]) -> None:
        """Raises NotAllowedFrom."""
        self._allow_from(ALLOWED_FROM[step])

    def allow_move(self) -> None:
        """Raises NotAllowedFrom."""
        self._allow_from(NOT_BEGUN)

    def refuse_another_day(self, here: date, there: date) -> None:
        """Who is here is here today. Raises NotToday."""
        if self.stage is not None and here != there:
            raise NotToday

    def _allow_from(self, stages: tuple[Stage | None, ...]) -> None:
        if self.status != "confirmed" or self.stage not in stages:
            raise NotAllowedFrom(appointment_status=self.status, queue_status=self.stage)

    # --- folding ---------------------------------------------------------------------------------

    def take(self, step: AppointmentStep) -> None:
        self.steps.append(Step(type=type(step).__name__, before=self.state))
        self.state, self.last_step_at = step.after(self.state), step.timestamp

    def take_back(self, state: State, at: datetime) -> None:
        """The last step, and what stands after it is `state`."""
        self.steps.pop()
        self.state, self.last_step_at = state, at
