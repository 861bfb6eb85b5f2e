"""What a subscription shows of a date: every doctor or some, in full or as everybody in the waiting room may see it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from domain.rules.ids import DoctorId, clinic_stream
from projections.board import NEWS_KEPT, Clinic, DayBoard, News
from projections.shapes import DoctorCard

DETAILS_CHANGED: Final = "DoctorDetailsChanged"

Doctors = Mapping[DoctorId, DoctorCard]


@dataclass(frozen=True, slots=True)
class View:
    """`doctor_id`: this one alone, in a shape of its own. `doctors`, `department`: only these, None for all."""

    doctor_id: DoctorId | None = None
    doctors: frozenset[DoctorId] | None = None
    department: str | None = None
    public: bool = False

    @property
    def filtered(self) -> bool:
        return self.doctors is not None or self.department is not None

    @property
    def everybody(self) -> bool:
        """The whole day, as it is."""
        return self == EVERYBODY

    def shown(self, board: DayBoard, doctors: Doctors) -> Iterator[Clinic]:
        """The clinics that it shows, in no order."""
        for clinic in self._candidates(board):
            if self.department is None or doctors[clinic.doctor_id].department == self.department:
                yield clinic

    def hidden(self, board: DayBoard, doctors: Doctors) -> Iterator[Clinic]:
        """The clinics that it does not show, but may have shown until their doctor's details became others."""
        if self.department is not None:
            for clinic in self._candidates(board):
                if doctors[clinic.doctor_id].department != self.department:
                    yield clinic

    def without_clinic(self, board: DayBoard) -> DoctorId | None:
        """The one doctor who is watched, where that doctor has no clinic on the date."""
        if self.doctor_id is None or clinic_stream(self.doctor_id, board.date) in board.clinics:
            return None
        return self.doctor_id

    def _candidates(self, board: DayBoard) -> Iterable[Clinic]:
        if self.doctor_id is None and self.doctors is None:
            return board.clinics.values()
        wanted = self.doctors if self.doctors is not None else (self.doctor_id,)
        streams = (clinic_stream(doctor_id, board.date) for doctor_id in wanted if doctor_id is not None)
        return [clinic for stream in streams if (clinic := board.clinics.get(stream)) is not None]

    def sequence(self, board: DayBoard, doctors: Doctors) -> int:
        """The newest state of what it shows; 0 where that is nothing. It never goes back.

        A doctor who leaves the department takes away what was shown, and that is news as well. One doctor alone is
        shown without a clinic, too.
        """
        if self.doctor_id is None and not self.filtered:
            return board.sequence
        if (alone := self.without_clinic(board)) is not None:
            return doctors[alone].sequence
        newest = max((clinic.changed for clinic in self.shown(board, doctors)), default=0)
        return max(newest, max((clinic.introduced for clinic in self.hidden(board, doctors)), default=0))

    def news_after(self, board: DayBoard, doctors: Doctors, sequence: int) -> list[News] | None:
        """What happened after `sequence`; None where it is too much to tell. Nothing is told to the public."""
        if self.public:
            return []
        if sequence < board.told_from:
            return None
        if (alone := self.without_clinic(board)) is not None:  # whose changes are in no clinic's news
            return None if doctors[alone].sequence > sequence else []
        if self.doctor_id is None and not self.filtered:
            return _after(board.news, sequence)
        told: dict[int, News] = {}
        for clinic in self.shown(board, doctors):
            news = _after(clinic.news, sequence)
            if news is None:
                return None
            told.update((each.sequence, each) for each in news)
        for clinic in self.hidden(board, doctors):
            told.update((n.sequence, n) for n in clinic.news if n.sequence > sequence and n.type == DETAILS_CHANGED)
        return [told[number] for number in sorted(told)]


EVERYBODY: Final = View()


def _after(kept: deque[News], sequence: int) -> list[News] | None:
    if len(kept) == NEWS_KEPT and kept[0].sequence > sequence:
        return None
    newest = list(takewhile(lambda news: news.sequence > sequence, reversed(kept)))
    newest.reverse()
    return newest
