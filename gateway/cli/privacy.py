"""`daysheet privacy`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import msgspec
from cyclopts import App

from domain.audit.codec import Viewer
from domain.audit.looks import PatientViewed
from domain.audit.recorder import recording
from domain.audit.writer import Writer
from domain.desk.registry import MRN
from domain.log import codec
from domain.rules.ids import PatientId
from domain.vault.held import holder_of
from gateway.cli.failing import EXPECTED, fail
from gateway.cli.store import opened, settings_for
from gateway.settings import Settings, SettingsError
from gateway.terminal.picture import UNSHOWN
from projections.directory import Directory
from projections.encoding import Encoder
from projections.held import Held, HeldEvent, Holdings
from projections.onlookers import Onlookers

ACCOUNT: Final = Viewer(actor=f"account-{os.getuid()}", role="operator")
"""Whoever has an account on this machine that reads the master key."""

privacy = App(name="privacy", help="What is held of a person.")


@privacy.command
def report(
    patient: UUID | None = None,
    /,
    *,
    mrn: bool = False,
    json: bool = False,
    database_url: str | None = None,
    data_dir: Path | None = None,
) -> None:
    """List all that is held of a patient, opened. Needs the master key.

    Parameters
    ----------
    patient
        The patient's id.
    mrn
        Read the patient's medical record number from standard input instead: it is no matter for a command line.
    json
        As JSON, for machines.
    database_url
        The one that the server is given. Without it, the embedded database.
    data_dir
        Where the key file, and the embedded database, are.
    """
    try:
        if (patient is None) is not mrn:
            raise SettingsError("say whose: a patient's id, or --mrn and the number on standard input")
        number = sys.stdin.readline().strip() if mrn else None
        held = asyncio.run(_held(settings_for(database_url, data_dir), patient, number))
    except EXPECTED as error:
        fail(error)
    print(msgspec.json.encode(held).decode() if json else "\n".join(_lines(held)))


async def _held(settings: Settings, patient: UUID | None, mrn: str | None) -> Held:
    async with opened(settings) as store:
        if mrn is not None:
            patient = await holder_of(store.pool, store.digests.claim(MRN, mrn))
        facts = codec.facts()
        encoder = Encoder(Directory(store.pool, store.vault, facts), store.zone)
        holdings = Holdings(store.pool, store.vault, facts, Onlookers(store.pool, facts, encoder), store.zone)
        held = await holdings.of_patient(PatientId(patient)) if patient is not None else None
        if held is None:
            raise SettingsError("no patient of this store has that " + ("number" if mrn is not None else "id"))
        async with recording(Writer(store.url, _now), _now, uuid4) as audit:  # Reporting is looking, too.
            await audit.looked(ACCOUNT, PatientViewed(patient_id=held.patient_id))
        return held


def _now() -> datetime:
    return datetime.now(UTC)


def _lines(held: Held) -> Iterator[str]:
    yield f"patient        {held.patient_id}"
    yield f"registered     {held.registered_at}"
    if held.erased_at is not None:
        yield f"erased         {held.erased_at}: nothing sealed can be opened; ids, positions and times are left"
    yield f"key            {'there' if held.key else 'gone'}"
    yield f"search tokens  {held.search_tokens}"
    yield f"claims         {held.claims}"
    yield f"outcomes       {held.remembered_outcomes} remembered for repeated requests"
    if held.details is not None:
        yield "details"
        yield from _details(msgspec.to_builtins(held.details))
    yield "own events"
    yield from _events(held.events)
    for appointment in held.appointments:
        yield f"appointment    {appointment.appointment_id}  {appointment.date}  doctor {appointment.doctor_id}"
        yield from _events(appointment.events)
    for look in held.looks:
        until = look.detail.get("ended_at")
        yield f"seen           {look.at}{f' to {until}' if until else ''}  {look.kind}  by {look.actor}"


def _events(events: Iterable[HeldEvent]) -> Iterator[str]:
    for event in events:
        sealed = f"  sealed: {', '.join(event.sealed)}" if event.sealed else ""
        yield f"  {event.sequence}  {event.type}  {event.recorded_at}  by {event.actor}{sealed}"
        if event.reason is not None:
            yield _shown(f"      reason: {event.reason}")
        if event.details is not None:
            yield from _details(msgspec.to_builtins(event.details), indent=6)


def _details(details: dict[str, object], indent: int = 2) -> Iterator[str]:
    for name, value in details.items():
        yield _shown(f"{' ' * indent}{name}: {value}")


def _shown(text: str) -> str:
    return text.translate(UNSHOWN)
