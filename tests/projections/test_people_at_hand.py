"""Who is asked for is at hand afterwards, however few people there is room for."""

from __future__ import annotations

import pytest

from domain.rules.ids import PatientId
from gateway.parts import Parts
from projections import directory
from projections.directory import Directory
from tests.log.asking import a_doctor, a_patient, an_appointment
from tests.projections.test_boards_equal import NOW, Morning, afresh, is_equal_when_read_again

PEOPLE = 3


@pytest.fixture(autouse=True)
def room_for_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "PEOPLE_KEPT", PEOPLE)


def _at_hand(people: Directory, patients: list[PatientId]) -> list[PatientId]:
    return [patient for patient in patients if people.person(patient) is not None]


async def test_who_was_at_hand_before_is_not_driven_out_by_those_asked_for_with_them(parts: Parts) -> None:
    patients = [await a_patient(parts, name=f"Asha {number}") for number in range(PEOPLE + 2)]
    boards, _ = afresh(parts)
    people = boards._directory
    people.applied = 2**31
    oldest, *others = patients[:PEOPLE]
    for patient in (oldest, *patients[PEOPLE:]):
        await people.have([patient])
    assert _at_hand(people, [oldest]) == [oldest]
    await people.have([oldest, *others])
    assert _at_hand(people, [oldest, *others]) == [oldest, *others]


async def test_all_who_are_asked_for_together_are_at_hand_though_there_is_no_room_for_so_many(parts: Parts) -> None:
    patients = [await a_patient(parts, name=f"Asha {number}") for number in range(2 * PEOPLE)]
    people = afresh(parts)[0]._directory
    people.applied = 2**31
    await people.have(patients)
    assert _at_hand(people, patients) == patients


async def test_a_board_shows_whom_it_found_at_hand(parts: Parts) -> None:
    """Also the one who would have been the next to go."""
    morning = Morning(parts)
    await morning.begin(doctors=1, patients=PEOPLE)
    for patient in range(PEOPLE):
        await morning.book(0, patient)
    board = await morning.up_to_date()
    elsewhere = [await a_patient(parts) for _ in range(PEOPLE - 1)]

    boards, encoder = afresh(parts)
    await boards._directory.load_doctors()
    for patient in (morning.patients[0], *elsewhere):
        await boards._directory.have([patient])
    assert encoder.day(await boards.get(morning.day), NOW) == parts.encoder.day(board, NOW)


async def test_a_day_with_more_people_than_there_is_room_for_is_shown(parts: Parts) -> None:
    morning = Morning(parts)
    await morning.begin(doctors=1, patients=4)
    for patient in range(4):
        await morning.book(0, patient)
    await an_appointment(parts, await a_doctor(parts))
    await is_equal_when_read_again(morning)
