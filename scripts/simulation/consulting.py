"""What doctors do with a list: from the first call to the last patient, with lunch in between."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from scripts.simulation import reception
from scripts.simulation.hospital import DAY, HOUR, MINUTE, Case, Hospital, Life, List, fits

LATE: Final = 0.25
ILL: Final = 0.012
"""The share of doctors who fall ill within the first two hours, whose patients go to a colleague."""
COMPLETE_BY_CALLING: Final = 0.4
"""The share of doctors who complete a consultation by calling the next."""
STARTS_ARE_RECORDED: Final = 0.6
MOVES_ROOM: Final = 0.06
LUNCH: Final = range(12 * 60, 13 * 60 + 30, 15)
LUNCH_MINUTES: Final = (25, 45)
OVERTIME_MINUTES: Final = (15, 120)
"""So long doctors stay when patients are still there."""
LAST: Final = DAY - 45 * MINUTE
"""Nobody is called later than this, so that the day is over by midnight."""

# Of all calls:
OUT_OF_TURN: Final = 0.015
WRONG_CALL: Final = 0.01
NO_ANSWER: Final = 0.04
FIRST_TO_THE_LAB: Final = 0.04
WRONG_COMPLETION: Final = 0.012

CALL_NOBODY: Final = 0.01
"""Of the minutes with an empty line, in so many the doctor tries to call all the same."""
GO_TOO_SOON: Final = 0.03
"""The share of doctors who finish while somebody is in the room."""


@dataclass(slots=True)
class _Habits:
    by_calling: bool
    records_start: bool
    lunch_at: int
    overtime: int
    ill_at: int | None


def doctor(h: Hospital, on: List) -> Life:
    opens = on.due(1)
    habits = _Habits(
        by_calling=h.chance(COMPLETE_BY_CALLING),
        records_start=h.chance(STARTS_ARE_RECORDED),
        lunch_at=h.rng.choice(LUNCH) * MINUTE,
        overtime=h.rng.randint(*OVERTIME_MINUTES) * MINUTE,
        ill_at=opens + h.rng.randint(20, 120) * MINUTE if h.chance(ILL) else None,
    )
    yield from _arrive(h, on)
    yield from _work(h, on, habits)
    yield from _go_home(h, on)


def _arrive(h: Hospital, on: List) -> Life:
    opens = on.due(1)
    if h.chance(MOVES_ROOM):
        yield max(reception.EARLIEST, opens - HOUR)
        h.tell("set_up", on, capacity=on.settings.capacity, room="Room 12", reason="Water damage")
    if h.chance(LATE):
        minutes = h.rng.randrange(10, 50, 5)
        yield opens + 2 * MINUTE
        h.tell("delay", on, minutes=minutes, note=h.rng.choice(("On the ward", "In theatre", "Stuck in traffic")))
        yield opens + minutes * MINUTE
        h.tell("delay", on, minutes=0)
    else:
        yield opens + h.rng.randint(-5, 4) * MINUTE


def _work(h: Hospital, on: List, habits: _Habits) -> Life:
    """Until the list is done, or it gets too late."""
    had_lunch = h.now >= habits.lunch_at
    while True:
        ends = on.last_due + 20 * MINUTE
        if h.now >= min(ends + habits.overtime, LAST):
            return
        if habits.ill_at is not None and h.now >= habits.ill_at:
            habits.ill_at = None
            _complete(h, on)
            if _hand_over(h, on):
                return
        if not had_lunch and h.now >= habits.lunch_at:
            had_lunch = True
            yield from _have_lunch(h, on)
        line = on.line()
        if line:
            yield from _see(h, on, habits, line)
        elif h.now >= ends and not any(case.is_at("on_hold") for case in h.cases_on(on)):
            return
        else:
            yield from _idle(h, on, habits)


def _idle(h: Hospital, on: List, habits: _Habits) -> Life:
    """Nobody waits."""
    if on.in_the_room is not None:
        if habits.by_calling and h.chance(0.5):
            h.tell("call_next", on, complete_current=True)
            _done(h, on)
        else:
            _complete(h, on)
    elif h.chance(CALL_NOBODY):
        h.tell("call_next", on)
    yield h.after(0.5, 1.5)


def _have_lunch(h: Hospital, on: List) -> Life:
    _complete(h, on)
    minutes = h.rng.randint(*LUNCH_MINUTES)
    h.tell("delay", on, minutes=minutes, note="Lunch")
    yield h.now + minutes * MINUTE
    h.tell("delay", on, minutes=0)


def _see(h: Hospital, on: List, habits: _Habits, line: list[Case]) -> Life:
    case = _call(h, on, habits, line)
    if h.chance(WRONG_CALL):
        yield h.after(0.2, 0.7)
        h.tell("undo", case, reason="Pressed by mistake")
        h.becomes(case, "waiting")
        return
    if h.chance(NO_ANSWER):
        yield from _no_answer(h, on, case, can_be_missed=habits.ill_at is None)
        if not case.is_at("called"):
            return
    elif habits.ill_at is None and h.chance(FIRST_TO_THE_LAB):
        yield h.after(0.5, 3)
        h.tell("hold", case, reason=h.rng.choice(("Blood count first", "X-ray first", "ECG first")))
        h.becomes(case, "on_hold")
        h.begin(reception.come_back(h, case, (15, 40)))
        return
    on.in_the_room = case
    yield h.after(0.3, 1.5)
    if habits.records_start:
        h.tell("start", case)
        h.becomes(case, "in_consultation")
    longest = 1.4 * on.settings.slot_minutes
    yield h.after(0.3 * on.settings.slot_minutes, longest)
    if h.chance(WRONG_COMPLETION):
        yield from _complete_too_soon(h, on, case, habits)
    elif not habits.by_calling:
        _complete(h, on)
    yield h.after(0.1, 1)


def _call(h: Hospital, on: List, habits: _Habits, line: list[Case]) -> Case:
    if len(line) > 1 and h.chance(OUT_OF_TURN):
        _complete(h, on)
        case = h.rng.choice(line[1:])
        h.tell("call", case, reason=h.rng.choice(("In pain", "Small child", "Result is here")))
    elif habits.by_calling:
        case = line[0]
        h.tell("call_next", case, complete_current=True)
        _done(h, on)
    else:
        _complete(h, on)
        case = line[0]
        h.tell("call_next", case)
    case.was_called = True
    h.becomes(case, "called")
    return case


def _no_answer(h: Hospital, on: List, case: Case, *, can_be_missed: bool) -> Life:
    for _ in range(h.rng.randint(1, 3)):
        yield h.after(1, 2)
        h.tell("recall", case)
    if h.chance(0.4) or not can_be_missed:
        return  # Here after all.
    if h.chance(0.7):
        h.tell("hold", case, reason="Does not answer")
        h.becomes(case, "on_hold")
        h.begin(reception.come_back(h, case, (5, 30)))
    else:
        h.tell("no_show", case, reason="Left without a word")
        h.becomes(case, "gone")


def _complete_too_soon(h: Hospital, on: List, case: Case, habits: _Habits) -> Life:
    """One more question at the door; sometimes even what led there is taken back."""
    h.tell("complete", case)
    yield h.after(0.1, 1)
    h.tell("undo", case, reason="One more question")
    if habits.records_start and h.chance(0.3):
        h.tell("undo", case, reason="Began with the wrong file")
        h.tell("start", case)
    yield h.after(1, 3)
    _complete(h, on)


def _complete(h: Hospital, on: List) -> None:
    if on.in_the_room is not None:
        h.tell("complete", on.in_the_room)
        _done(h, on)


def _done(h: Hospital, on: List) -> None:
    if on.in_the_room is not None:
        h.becomes(on.in_the_room, "gone")
        on.in_the_room = None


def _hand_over(h: Hospital, on: List) -> bool:
    """Everybody goes to a colleague who gets the slots for it. Whether there is one."""
    moving = h.cases_on(on)
    for there in sorted(h.colleagues(on), key=lambda other: len(other.taken)):
        free = there.free()
        capacity = there.settings.capacity + max(0, len(moving) - len(free))
        if fits(there.settings, capacity):
            break
    else:
        return False
    if capacity > there.settings.capacity:
        there.settings = replace(there.settings, capacity=capacity)
        h.tell("set_up", there, capacity=capacity, reason=f"{on.doctor.name} is ill")
    h.tell("reassign", on, to=there.number, allow_overlap=True, reason="The doctor is ill")
    there_already = frozenset(there.taken)
    for case in sorted(moving, key=lambda case: case.slot in there_already):  # whoever keeps the number comes first
        free = there.free()
        h.goes_to(case, there, case.slot if case.slot in free else free[0])
    on.is_open = False
    return True


def _go_home(h: Hospital, on: List) -> Life:
    too_soon = on.in_the_room is not None and on.in_the_room.is_at("in_consultation") and h.chance(GO_TOO_SOON)
    if too_soon:
        h.tell("finish", on)
    _complete(h, on)
    yield h.after(1, 5)
    h.tell("finish", on)
    h.is_over(on)
