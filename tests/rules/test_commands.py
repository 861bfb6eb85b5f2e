"""What a request may say, before any rule is asked: limits of the contract."""

from typing import Any
from uuid import UUID

import msgspec
import pytest

from domain.rules import commands
from domain.rules.commands import Command

AN_ID = str(UUID(int=1))
DOCTOR: dict[str, Any] = {"name": "Dr. Amara Okafor", "code": "DOC001", "specialty": "Cardiology"}
CLINIC: dict[str, Any] = {"doctor_id": AN_ID, "date": "2025-11-17", "capacity": 3}
BOOKING: dict[str, Any] = {"doctor_id": AN_ID, "patient_id": AN_ID, "date": "2025-11-17"}


def _taken(command: type, body: dict[str, Any]) -> bool:
    try:
        msgspec.json.decode(msgspec.json.encode(body), type=command)
    except msgspec.ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    ("key", "longest"),
    [("name", 200), ("code", 40), ("specialty", 100), ("department", 100), ("room", 100), ("reason", 200)],
)
def test_texts_have_the_contracts_lengths_counted_in_characters(key: str, longest: int) -> None:
    assert _taken(commands.RegisterDoctor, DOCTOR | {key: "é" * longest})
    assert not _taken(commands.RegisterDoctor, DOCTOR | {key: "é" * (longest + 1)})


@pytest.mark.parametrize("key", ["phone", "mrn"])
def test_a_patients_marks_have_forty_characters_at_most(key: str) -> None:
    assert _taken(commands.RegisterPatient, {"name": "Priya Raman", key: "7" * 40})
    assert not _taken(commands.RegisterPatient, {"name": "Priya Raman", key: "7" * 41})


@pytest.mark.parametrize("name", ["", " ", "\t\n", "\u00a0", "a\x00b", "\x00"])
def test_a_name_is_more_than_blanks_and_has_no_nul(name: str) -> None:
    assert not _taken(commands.RegisterPatient, {"name": name})


@pytest.mark.parametrize("name", ["李", "عبد الله", "O’Brien-Núñez", " Priya ", "a\nb"])
def test_names_come_in_every_script(name: str) -> None:
    assert _taken(commands.RegisterPatient, {"name": name})


@pytest.mark.parametrize(
    ("starts_at", "good"),
    [("00:00", True), ("23:59", True), ("24:00", False), ("9:00", False), ("09:60", False), ("09:00\n", False)],
)
def test_a_clock_time_is_hours_and_minutes(starts_at: str, good: bool) -> None:
    assert _taken(commands.SetUpClinic, CLINIC | {"starts_at": starts_at}) == good


@pytest.mark.parametrize("key", ["capacity", "slot_minutes"])
@pytest.mark.parametrize(
    ("number", "good"), [(0, False), (1, True), (1441, True), (2**31, False), (-1, False), (1.5, False), ("3", False)]
)
def test_a_clinics_numbers_are_whole_and_above_zero(key: str, number: object, good: bool) -> None:
    assert _taken(commands.SetUpClinic, CLINIC | {key: number}) == good


@pytest.mark.parametrize(
    ("instant", "good"),
    [("2025-11-17T09:00:00Z", True), ("2025-11-17T09:00:00+05:30", True), ("2025-11-17T09:00:00", False)],
)
def test_a_late_entry_names_its_time_with_an_offset(instant: str, good: bool) -> None:
    assert _taken(commands.BookAppointment, BOOKING | {"effective_at": instant}) == good


@pytest.mark.parametrize("priority", ["high", "Urgent", "", 1])
def test_a_priority_is_one_of_three(priority: object) -> None:
    assert _taken(commands.BookAppointment, BOOKING | {"priority": "urgent"})
    assert not _taken(commands.BookAppointment, BOOKING | {"priority": priority})


@pytest.mark.parametrize(
    "command", [cls for cls in vars(commands).values() if isinstance(cls, type) and issubclass(cls, Command)]
)
def test_no_command_takes_a_key_it_does_not_know(command: type) -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.json.decode(b'{"colour": "blue"}', type=command)


def test_calling_the_next_is_not_for_late_entry() -> None:
    assert _taken(commands.CallNext, {"doctor_id": AN_ID})
    assert not _taken(commands.CallNext, {"doctor_id": AN_ID, "effective_at": "2025-11-17T09:00:00Z"})


def test_an_erasure_says_why() -> None:
    assert _taken(commands.ErasePatient, {"patient_id": AN_ID, "reason": "asked for it"})
    assert not _taken(commands.ErasePatient, {"patient_id": AN_ID})
    assert not _taken(commands.ErasePatient, {"patient_id": AN_ID, "reason": None})


@pytest.mark.parametrize(
    ("command", "body"),
    [
        (commands.CallPatient, {"appointment_id": AN_ID}),
        (commands.UndoStep, {"appointment_id": AN_ID}),
        (commands.MoveAppointment, {"appointment_id": AN_ID}),
        (commands.ChangePriority, {"appointment_id": AN_ID, "priority": "urgent"}),
        (commands.ReassignClinic, {"doctor_id": AN_ID, "date": "2025-11-17", "to_doctor_id": AN_ID}),
    ],
    ids=lambda part: getattr(part, "__name__", ""),
)
def test_what_is_out_of_turn_says_why(command: type, body: dict[str, Any]) -> None:
    assert _taken(command, body | {"reason": "asked for it"})
    assert not _taken(command, body)
    assert not _taken(command, body | {"reason": None})
    assert not _taken(command, body | {"reason": " "})


@pytest.mark.parametrize(("minutes", "good"), [(0, True), (1440, True), (1441, False), (-1, False), (1.5, False)])
def test_a_delay_is_up_to_a_day(minutes: object, good: bool) -> None:
    assert _taken(commands.DelayClinic, {"doctor_id": AN_ID, "date": "2025-11-17", "minutes": minutes}) == good


@pytest.mark.parametrize("key", ["phone", "birth_date", "age", "gender", "mrn", "private"])
def test_a_patients_change_clears_what_may_be_absent(key: str) -> None:
    assert _taken(commands.ChangePatient, {"patient_id": AN_ID, key: None})
    assert not _taken(commands.ChangePatient, {"patient_id": AN_ID, "name": None})


def test_a_doctors_change_clears_what_may_be_absent() -> None:
    assert _taken(commands.ChangeDoctor, {"doctor_id": AN_ID, "department": None, "room": None})
    for key in ("name", "code", "specialty"):
        assert not _taken(commands.ChangeDoctor, {"doctor_id": AN_ID, key: None})


def test_what_is_left_out_of_a_change_is_told_from_what_is_cleared() -> None:
    change = msgspec.json.decode(msgspec.json.encode({"doctor_id": AN_ID, "room": None}), type=commands.ChangeDoctor)
    assert (change.room, change.department) == (None, msgspec.UNSET)
