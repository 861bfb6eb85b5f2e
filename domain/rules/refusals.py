"""Every rule that can say no: one small class each, with its stable code.

A refusal is an answer, not a failure. The class's docstring is the sentence the asker reads; attributes carry what
a program may want to know. Only the gateway turns one into a status.
"""

from __future__ import annotations

from typing import ClassVar


class Refusal(Exception):
    """The rules said no."""

    code: ClassVar[str]

    def __init__(self, **facts: object) -> None:
        self.facts = facts
        super().__init__((type(self).__doc__ or "").strip())


class Unknown(Refusal):
    """Nothing is known by that id."""


class UnknownDoctor(Unknown):
    """No doctor has this id."""

    code = "unknown_doctor"


class UnknownPatient(Unknown):
    """No patient has this id."""

    code = "unknown_patient"


class UnknownAppointment(Unknown):
    """No appointment has this id."""

    code = "unknown_appointment"


class EffectiveInFuture(Refusal):
    """`effective_at` lies in the future."""

    code = "effective_in_future"


class EffectiveTooEarly(Refusal):
    """`effective_at` lies before the appointment's previous step."""

    code = "effective_too_early"


class DoctorCodeTaken(Refusal):
    """Another doctor has this code."""

    code = "doctor_code_taken"


class MrnTaken(Refusal):
    """Another patient has this medical record number."""

    code = "mrn_taken"


class RunsPastMidnight(Refusal):
    """The clinic would run past midnight."""

    code = "runs_past_midnight"


class ClinicHasBookings(Refusal):
    """The clinic's times are fixed once someone is booked."""

    code = "clinic_has_bookings"


class CapacityBelowBooked(Refusal):
    """A slot above this capacity is taken."""

    code = "capacity_below_booked"


class DateInPast(Refusal):
    """The date is in the past."""

    code = "date_in_past"


class ClinicIsClosed(Refusal):
    """The clinic takes no more bookings."""

    code = "clinic_closed"


class PatientsInConsultation(Refusal):
    """Patients are still in consultation."""

    code = "patients_in_consultation"


class UnknownClinic(Unknown):
    """This doctor has no clinic on this date."""

    code = "unknown_clinic"


class AlreadyBooked(Refusal):
    """The patient already has an appointment with this doctor on this date."""

    code = "already_booked"


class NoSuchSlot(Refusal):
    """The clinic has no slot of this number."""

    code = "no_such_slot"


class ClinicFull(Refusal):
    """The clinic has no free slot."""

    code = "clinic_full"


class SlotTaken(Refusal):
    """The slot is taken."""

    code = "slot_taken"


class PatientBusy(Refusal):
    """The patient has an appointment with another doctor at that time."""

    code = "patient_busy"


class PatientMismatch(Refusal):
    """The appointment belongs to another patient."""

    code = "patient_mismatch"


class AppointmentIsCancelled(Refusal):
    """The appointment is cancelled."""

    code = "appointment_cancelled"


class AppointmentClosed(Refusal):
    """The appointment is over."""

    code = "appointment_closed"


class NotToday(Refusal):
    """The appointment is not for today."""

    code = "not_today"


class NotAllowedFrom(Refusal):
    """The appointment's state does not allow this step."""

    code = "not_allowed_from"


class NothingToUndo(Refusal):
    """No step of this appointment is left to take back."""

    code = "nothing_to_undo"


class DoesNotFit(Refusal):
    """Not everyone fits into the other clinic, so nobody moves."""

    code = "does_not_fit"


class QueueEmpty(Refusal):
    """Nobody is waiting in this clinic."""

    code = "queue_empty"
