"""One state after another: what is shown, what is passed over, what is known of what happened."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.client import NotUnderstood
from gateway.client.hearing import reader
from gateway.client.link import FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS, delay_seconds
from gateway.client.shown import Following, Gap, conflated
from projections import shapes
from tests.gateway.client.told import (
    EMPTY,
    happened,
    sequences,
)

read = reader(one_doctor=False, public=False)


def message(kind: str, sequence: int, *, after: int = 0, epoch: str = "e", **keys: Any) -> Any:
    """As it is read. `total_appointments` tells states apart."""
    data = EMPTY | {"total_appointments": keys.pop("total", sequence)}
    told = {"type": kind, "epoch": epoch, "sequence": sequence, "data": data} | keys
    if kind != "snapshot":
        told = {"events": happened(*range(after + 1, sequence + 1))} | told | {"from": after}
    return read(msgspec.json.encode(told))


def following(*told: Any) -> Following[shapes.Day]:
    states: Following[shapes.Day] = Following()
    for each in told:
        states.take(each)
    return states


def test_a_delta_tells_what_happened_after_the_state_before_it_and_nothing_twice() -> None:
    states = following(message("snapshot", 5))
    assert sequences(states.take(message("delta", 7, after=5))) == [6, 7]
    assert sequences(states.take(message("delta", 9, after=5))) == [8, 9]
    assert states.newest is not None
    assert (states.newest.sequence, states.newest.day.total_appointments) == (9, 9)


@pytest.mark.parametrize("kind", ["delta", "update"])
def test_what_is_not_newer_is_not_shown(kind: str) -> None:
    states = following(message("snapshot", 5))
    assert states.take(message(kind, 5, after=3, total=1)) is None
    assert states.take(message(kind, 4, after=3, total=1)) is None
    assert states.newest is not None
    assert states.newest.day.total_appointments == 5


def test_a_delta_from_a_state_that_was_not_shown_does_not_fit() -> None:
    states = following(message("snapshot", 5))
    with pytest.raises(Gap):
        states.take(message("delta", 8, after=6))
    with pytest.raises(Gap):
        states.take(message("delta", 8, after=5, epoch="another"))
    with pytest.raises(Gap):
        following().take(message("delta", 8, after=0))


def test_a_full_state_after_one_that_was_skipped_does_not_claim_to_know_what_happened() -> None:
    states = following(message("snapshot", 5))
    assert sequences(states.take(message("update", 8, after=6))) is None
    assert sequences(states.take(message("update", 9, after=8))) == [9]


def test_a_snapshot_that_says_the_same_again_is_not_shown_again() -> None:
    states = following(message("snapshot", 5))
    assert states.take(message("snapshot", 5)) is None


def test_a_snapshot_is_believed_even_where_it_corrects_or_goes_back() -> None:
    states = following(message("snapshot", 5))
    corrected = states.take(message("snapshot", 5, total=1))
    assert corrected is not None
    assert corrected.day.total_appointments == 1
    restored = states.take(message("snapshot", 3, epoch="restored"))
    assert restored is not None
    assert (restored.sequence, restored.epoch, restored.events) == (3, "restored", None)
    assert sequences(states.take(message("delta", 4, after=3, epoch="restored"))) == [4]


def test_states_that_were_not_taken_become_one_that_tells_of_up_to_a_hundred_events() -> None:
    states = following(message("snapshot", 5))
    shown = [states.take(message("delta", n + 10, after=n)) for n in range(5, 125, 10)]
    ten = shown[0]
    for each in shown[1:10]:
        assert ten is not None
        assert each is not None
        ten = conflated(ten, each)
    assert sequences(ten) == list(range(6, 106))
    assert ten is not None
    assert shown[10] is not None
    assert shown[11] is not None
    assert sequences(conflated(ten, shown[10])) is None
    assert sequences(conflated(conflated(ten, shown[10]), shown[11])) is None


def test_a_kind_of_message_that_came_later_is_passed_over_and_a_known_one_must_be_right() -> None:
    assert read(b'{"type":"weather","sunny":true}') is None
    more = {"type": "snapshot", "epoch": "e", "sequence": 1, "data": EMPTY | {"colour": "blue"}, "weather": 1}
    assert read(msgspec.json.encode(more)) is not None
    for wrong in (b'{"type":"snapshot"}', b'{"type":"heartbeat","sequence":"5"}', b'{"sequence":1}', b"{", b"\xff"):
        with pytest.raises(NotUnderstood):
            read(wrong)
    too_deep = b'{"type":"snapshot","weather":' + b"[" * 100_000
    for garbage in (b'{"type":"\xff"}', b'{"type":"snapshot","epoch":"\xff"}', too_deep):
        with pytest.raises(NotUnderstood):
            read(garbage)


def test_delays_double_up_to_a_bound_and_are_anything_below_it() -> None:
    bounds = [delay_seconds(failures, lambda: 1.0) for failures in range(12)]
    assert bounds[:8] == [FIRST_DELAY_SECONDS * 2**failures for failures in range(7)] + [LONGEST_DELAY_SECONDS]
    assert set(bounds[7:]) == {LONGEST_DELAY_SECONDS}
    assert delay_seconds(5, lambda: 0.0) == 0.0
    assert delay_seconds(5, lambda: 0.5) == bounds[5] / 2
    assert delay_seconds(1_000_000, lambda: 1.0) == LONGEST_DELAY_SECONDS  # a server that was away for a year
