"""What patients do, and what the front desk does with them: until they are called, and when they are back."""

from __future__ import annotations

from typing import Final

from scripts.simulation.hospital import DAY, HOUR, MINUTE, OPENED_AT, Case, Hospital, Life, List

EARLIEST: Final = 5 * MINUTE
"""Nobody can check in before the day has begun."""

NO_SHOWS: Final = 0.07
MARKED: Final = 0.6
"""Of those who do not come, the desk marks so many; the others are left to the end of the day."""
AFTER_ALL: Final = 0.25
"""Of those marked, so many come after all."""
CANCEL: Final = 0.04
CALL_BACK: Final = 0.15
"""Of those who cancelled, so many ring again: it was a mistake."""
MOVE_WITHIN: Final = 0.025
MOVE_AWAY: Final = 0.015
ASK_FOR_ANY: Final = 0.25
"""Of those who book, so many take the first slot that is free."""

# What goes wrong at the desk, and is refused or taken back.
ASK_FOR_TAKEN: Final = 0.02
BOOK_TWICE: Final = 0.01
TAP_TWICE: Final = 0.02
WRONG_CHECK_IN: Final = 0.01
MISSPELT: Final = 0.01

CLOSE_EARLY: Final = 0.3
REOPEN: Final = 0.3


def front_desk(h: Hospital, on: List) -> Life:
    """Opens the list two weeks ahead; on the day it may take no more bookings towards the end."""
    settings = on.settings
    h.tell(
        "set_up",
        on,
        capacity=settings.capacity,
        starts_at=settings.starts_at,
        slot_minutes=settings.slot_minutes,
        order=settings.order,
    )
    if h.chance(CLOSE_EARLY):
        yield on.due(1) + (on.due(settings.capacity) - on.due(1)) * 3 // 4
        if on.is_open:
            on.is_open = False
            h.tell("close", on)
            if h.chance(REOPEN):
                yield h.after(5, 20)
                if not on.is_over:
                    on.is_open = True
                    h.tell("reopen", on)


def patient(h: Hospital, case: Case) -> Life:
    """Somebody with an appointment."""
    yield h.rng.randint(OPENED_AT + HOUR, -10 * HOUR)
    _register(h, case)
    _book(h, case)
    yield from _change_of_mind(h, case)
    if case.is_at("gone"):
        return
    if h.chance(NO_SHOWS):
        yield from _stay_away(h, case)
    else:
        yield from _come(h, case)
    yield from wait(h, case)


def walk_in(h: Hospital, case: Case) -> Life:
    on = h.list_of(case)
    opens, closes = on.due(1), on.due(on.settings.capacity)
    yield max(EARLIEST, h.rng.randint(opens - HOUR // 2, closes))
    on = h.list_of(case)
    _register(h, case)
    h.tell("walk_in", case, priority=case.priority)
    free = on.free()
    if not on.is_open or not free:
        case.stage = "gone"  # sent home, or to the hospital next door
        return
    h.takes(case, next((slot for slot in free if on.due(slot) >= h.now), free[0]))
    h.arrives(case)
    yield from wait(h, case)


def _register(h: Hospital, case: Case) -> None:
    who = case.visit.patient
    if who not in h.registered:
        h.registered.add(who)
        h.tell("register", case)
        if h.chance(MISSPELT):
            h.tell("correct", case, phone=f"+999 555 {h.rng.randrange(10_000):04}", reason="Misheard on the phone")


def _book(h: Hospital, case: Case) -> None:
    on = h.list_of(case)
    if on.taken and h.chance(ASK_FOR_TAKEN):
        h.tell("book", case, slot=h.rng.choice(list(on.taken)), priority=case.priority)
    free = on.free()
    if h.chance(ASK_FOR_ANY):
        slot = free[0]
        h.tell("book", case, priority=case.priority)
    else:
        slot = h.rng.choice(free)
        h.tell("book", case, slot=slot, priority=case.priority)
    h.takes(case, slot)
    if h.chance(BOOK_TWICE):
        h.tell("book", case, priority=case.priority)


def _due(h: Hospital, case: Case) -> int:
    assert case.slot is not None
    return h.list_of(case).due(case.slot)


def _change_of_mind(h: Hospital, case: Case) -> Life:
    """Between booking and the day: another slot, another doctor, or not at all."""
    latest = _due(h, case) - HOUR
    if h.chance(MOVE_WITHIN):
        yield h.rng.randint(h.now, max(h.now, latest))
        on = h.list_of(case)
        slots = [slot for slot in on.free() if on.due(slot) > h.now + HOUR]
        if slots and on.is_open and case.is_at("expected"):
            was = case.slot
            slot = h.rng.choice(slots)
            h.tell("move", case, slot=slot, reason="Another time suits better")
            h.takes(case, slot)
            if h.chance(0.15) and was is not None:
                h.tell("undo", case, reason="Meant somebody else")
                h.takes(case, was)
    if h.chance(MOVE_AWAY):
        yield h.rng.randint(h.now, max(h.now, latest))
        _move_away(h, case, "Asked for another doctor")
    if h.chance(CANCEL):
        yield h.rng.randint(h.now, max(h.now, latest))
        if case.is_at("expected"):
            yield from _cancel(h, case)


def _move_away(h: Hospital, case: Case, reason: str) -> None:
    if not case.is_at("expected", "waiting"):
        return
    there = [
        (other, slot)
        for other in h.colleagues(h.list_of(case))
        if (slot := next((s for s in other.free() if other.due(s) > h.now + HOUR), None)) is not None
    ]
    if there:
        other, slot = h.rng.choice(there)
        h.tell("move", case, to=other.number, slot=slot, reason=reason)
        h.goes_to(case, other, slot)


def _cancel(h: Hospital, case: Case) -> Life:
    h.tell("cancel", case, reason=h.rng.choice(("Feels better", "Cannot come", "Goes elsewhere")))
    h.leaves_slot(case)
    h.becomes(case, "gone")
    if h.chance(CALL_BACK):
        yield h.after(2, 30)
        on = h.list_of(case)
        if on.is_over:
            return
        h.tell("undo", case, reason="Rang again: will come")
        if case.slot is not None and case.slot not in on.taken:
            h.takes(case, case.slot)
            h.becomes(case, "expected")


def _come(h: Hospital, case: Case) -> Life:
    """Most a little early, some late."""
    early_or_late = round(h.rng.triangular(-45, 25, -12) * MINUTE)
    arrives_at = max(EARLIEST, _due(h, case) + early_or_late)
    if h.chance(WRONG_CHECK_IN):
        yield max(EARLIEST, arrives_at - h.rng.randint(5, 20) * MINUTE)
        if case.is_at("expected"):
            h.tell("check_in", case)
            h.arrives(case)
            yield h.after(0.3, 2)
            if case.is_at("waiting"):
                h.tell("undo", case, reason="Checked in somebody of the same name")
                h.becomes(case, "expected")
    yield arrives_at
    if case.is_at("expected"):
        _check_in(h, case)


def _check_in(h: Hospital, case: Case) -> None:
    h.tell("check_in", case)
    h.arrives(case)
    if h.chance(TAP_TWICE):
        h.tell("check_in", case)


def _stay_away(h: Hospital, case: Case) -> Life:
    if not h.chance(MARKED):
        return
    yield max(EARLIEST, _due(h, case)) + h.rng.randint(15, 40) * MINUTE
    if not case.is_at("expected"):
        return
    h.tell("no_show", case)
    h.becomes(case, "gone")
    if h.chance(AFTER_ALL):
        yield h.after(3, 40)
        if not h.list_of(case).is_over and h.now < DAY:
            _check_in(h, case)


# --- in the waiting room -------------------------------------------------------------------------


def wait(h: Hospital, case: Case) -> Life:
    """Whatever may happen to somebody who waits and has not been called yet."""
    for life, share in (
        (_step_out, 0.03),
        (_triage, 0.02),
        (_mistake_upon_mistake, 0.01),
        (_marked_by_mistake, 0.01),
        (_resume_too_soon, 0.005),
        (_go_to_a_colleague, 0.01),
        (_give_up, 0.01),
    ):
        if h.chance(share):
            yield h.after(1, 12)
            if not case.is_at("waiting") or case.was_called:
                return
            yield from life(h, case)


def come_back(h: Hospital, case: Case, minutes: tuple[float, float]) -> Life:
    """Somebody on hold, after so many minutes."""
    yield h.after(*minutes)
    if case.is_at("on_hold"):
        h.tell("resume", case)
        h.becomes(case, "waiting")


def _step_out(h: Hospital, case: Case) -> Life:
    h.tell("hold", case, reason=h.rng.choice(("Blood sample", "X-ray", "Parking meter", "Feeding the baby")))
    h.becomes(case, "on_hold")
    yield from come_back(h, case, (4, 25))


def _triage(h: Hospital, case: Case) -> Life:
    case.priority = "emergency" if case.priority == "urgent" or h.chance(0.2) else "urgent"
    h.tell("priority", case, priority=case.priority, reason=h.rng.choice(("Chest pain", "High fever", "Fainted")))
    yield h.now


def _mistake_upon_mistake(h: Hospital, case: Case) -> Life:
    """Two steps that were meant for somebody else, both taken back."""
    before = case.priority
    case.priority = "urgent" if before == "routine" else "routine"
    h.tell("priority", case, priority=case.priority, reason="Temperature of 39.5")
    yield h.after(0.2, 1)
    if not case.is_at("waiting") or case.was_called:
        return  # What would be taken back now is the call.
    h.tell("hold", case, reason="Blood sample")
    h.becomes(case, "on_hold")
    yield h.after(0.5, 2)
    if not case.is_at("on_hold"):
        return
    for _ in range(2):
        h.tell("undo", case, reason="Meant for the next patient")
    case.priority = before
    h.becomes(case, "waiting")


def _marked_by_mistake(h: Hospital, case: Case) -> Life:
    h.tell("no_show", case)
    h.becomes(case, "gone")
    yield h.after(0.3, 2)
    if not h.list_of(case).is_over:
        h.tell("undo", case, reason="Sat in the corridor")
        h.becomes(case, "waiting")


def _resume_too_soon(h: Hospital, case: Case) -> Life:
    """Refused: nobody was on hold."""
    h.tell("resume", case)
    yield h.now


def _go_to_a_colleague(h: Hospital, case: Case) -> Life:
    _move_away(h, case, "Shorter line")
    yield h.now


def _give_up(h: Hospital, case: Case) -> Life:
    h.tell("cancel", case, reason="Did not want to wait")
    h.leaves_slot(case)
    h.becomes(case, "gone")
    yield h.now
