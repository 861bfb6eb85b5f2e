"""One route: how it is asked for, what it answers, what it may refuse."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
from aiohttp import web

from domain.audit.looks import PatientViewed
from domain.rules.ids import PatientId
from domain.rules.refusals import Refusal
from gateway.access import asker, viewer
from gateway.parts import PARTS, Parts
from gateway.rest.answer import answer
from gateway.rest.decode import command_from

Read = Callable[[Parts, web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A command to carry out, or something to read. `body`: what a reading needs to be told, and no URL may hold.

    `media_types`: what it answers in; `answers` is what it says in JSON, and of lines of JSON what each of them says.
    `problems`: statuses and codes of its own. `name`: where what it answers does not name it.
    """

    method: str
    path: str
    summary: str
    answers: type
    or_answers: type | None = None
    command: type[msgspec.Struct] | None = None
    read: Read | None = None
    body: type[msgspec.Struct] | None = None
    parameters: tuple[str, ...] = ()
    media_types: tuple[str, ...] = ("application/json",)
    creates: bool = False
    refuses: tuple[type[Refusal], ...] = ()
    problems: tuple[tuple[int, str], ...] = ()
    name: str | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        parts = request.app[PARTS]
        if self.read is not None:
            return await self.read(parts, request)
        assert self.command is not None
        who = asker(request)
        command = await command_from(request, self.command, self.path)
        done = await parts.desk.handle(command, who)
        if done.receipt.kind == "patient" and not done.appended:  # It shows a patient, and no event says to whom.
            await parts.audit.looked(viewer(request), PatientViewed(patient_id=PatientId(done.receipt.id)))
        return await answer(parts, done)
