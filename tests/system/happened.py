"""What the record says happened on a date, to hold against what monitors are told happened."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import asyncpg

from tests.system.watching import Envelope

RECORD: Final = "SELECT position, stream, type, day, subject, data FROM daysheet.event ORDER BY position"


@dataclass(frozen=True)
class Happened:
    """`told`: as an envelope names it. `doctors`: on whose lists of the date it is to be seen."""

    told: dict[str, Any]
    doctors: set[str]


class Happenings:
    """The events of a date, and those of the people who were on it when they became others."""

    def __init__(self, rows: list[asyncpg.Record], day: date) -> None:
        self._happened: list[Happened] = []
        self._departments: dict[str, list[tuple[int, str]]] = defaultdict(list)
        self._listed: dict[str, dict[str, str]] = defaultdict(dict)
        """By doctor: appointments, and whose they are."""
        self._patients: dict[str, str] = {}
        for row in rows:
            self._take(row, day)

    def _take(self, row: asyncpg.Record, day: date) -> None:
        name = row["type"].partition("@")[0].title().replace("-", "")
        told = {"sequence": row["position"], "type": name, "doctor_id": None, "appointment_id": None}
        kind, whose, *_ = row["stream"].split("/")
        data = json.loads(row["data"])
        if row["day"] == day:
            appointment = None if str(row["subject"]) == whose else str(row["subject"])
            told |= {"doctor_id": whose, "appointment_id": appointment}
            self._list(told, data)
            self._happened.append(Happened(told, {whose}))
        elif kind == "patient":
            self._changes(told, {doctor for doctor, listed in self._listed.items() if whose in listed.values()})
        elif kind == "doctor":
            self._departments[whose].append((row["position"], data["department"]))
            self._changes(told, {whose} & self._listed.keys())

    def _changes(self, told: dict[str, Any], doctors: set[str]) -> None:
        """Somebody's details. Who is on no list is nobody's news."""
        if doctors:
            self._happened.append(Happened(told, doctors))

    def _list(self, told: dict[str, Any], data: dict[str, Any]) -> None:
        listed, appointment = self._listed[told["doctor_id"]], told["appointment_id"]
        if "patient_id" in data:
            self._patients[appointment] = data["patient_id"]
        match told["type"]:
            case "AppointmentBooked" | "AppointmentMovedIn":
                listed[appointment] = self._patients[appointment]
            case "StepUndone" if "state" in data:
                listed[appointment] = self._patients[appointment]
            case "AppointmentCancelled" | "AppointmentMovedOut" | "StepUndone":
                del listed[appointment]

    def are_told_by(self, envelope: Envelope) -> None:
        """All of them, in order, and nothing else, or `null`; in public nothing. Raises AssertionError.

        Of a department: all of the doctors who were in it the whole time, and perhaps of those who came or went.
        """
        asked, told = envelope.view.asked, envelope.events
        if told is None:
            return
        chosen = {envelope.view.doctor} if envelope.view.doctor else set(asked.get("doctors", self._departments))
        between = [each for each in self._between(envelope) if chosen & each.doctors]
        staying = (
            chosen if "department" not in asked else {doctor for doctor in chosen if self._stays(doctor, envelope)}
        )
        if asked.get("view") == "public":
            wanted, allowed = [], []
        else:
            wanted = [each.told for each in between if staying & each.doctors]
            allowed = [each.told for each in between]
        wrong = [each for each in wanted if each not in told], [each for each in told if each not in allowed]
        in_order = told == [each for each in allowed if each in told]
        if any(wrong) or not in_order:
            raise AssertionError(f"{envelope} leaves out {wrong[0]}, makes up {wrong[1]}, or is not in order")

    def _between(self, envelope: Envelope) -> list[Happened]:
        ends = (envelope.after, envelope.sequence)
        first, end = (bisect_right(self._happened, at, key=lambda each: each.told["sequence"]) for at in ends)
        return self._happened[first:end]

    def _stays(self, doctor: str, envelope: Envelope) -> bool:
        """Whether a doctor belongs to the department all the time that an envelope is about."""
        changes, ends = self._departments[doctor], (envelope.after, envelope.sequence)
        first, end = (bisect_right(changes, at, key=lambda change: change[0]) for at in ends)
        return {name for _, name in changes[max(first - 1, 0) : end]} == {envelope.view.asked["department"]}
