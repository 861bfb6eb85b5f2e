"""What the edge tells of who looks: `parts.audit`.

await audit.looked(viewer, PatientViewed(patient_id=...))       waits until it is on disk, for so long
watch = audit.began(viewer, SubscriptionStarted(...))           never waits
watch.ended(SubscriptionEnded(...))                             never waits
audit.denied(viewer)                                            counted
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import count
from typing import Final
from uuid import UUID

from domain.audit.codec import Viewer, to_draft
from domain.audit.denials import Denials
from domain.audit.looks import (
    Look,
    RecordingInterrupted,
    ReplayEnded,
    ReplayStarted,
    SubscriptionEnded,
    SubscriptionStarted,
    reader_stream,
    replay_stream,
    subscription_stream,
)
from domain.audit.writer import Gap, Writer

RECORDED_WITHIN_SECONDS: Final = 2.0
"""How long whoever looks something up waits for its record to be on disk. Then the answer is given all the same."""
OURSELVES: Final = Viewer(actor="daysheet", role="server")


class Watch:
    """Something that is being looked at for a while. It ends once."""

    __slots__ = ("_recorder", "_stream", "_viewer")

    def __init__(self, recorder: Recorder, viewer: Viewer, stream: str) -> None:
        self._recorder, self._viewer, self._stream = recorder, viewer, stream

    def ended(self, look: SubscriptionEnded | ReplayEnded) -> None:
        self._recorder.put(look, self._viewer, stream=self._stream, version=2)


class Recorder:
    """One for each process: it numbers what the process records, so a record that is missing shows.

    `now` and `new_id` come from outside. `run()` and `tell_denials()` must be running.
    """

    def __init__(self, writer: Writer, now: Callable[[], datetime], new_id: Callable[[], UUID]) -> None:
        self._writer, self._now, self._new_id = writer, now, new_id
        self._stream = reader_stream(new_id())
        self._versions = count(1)
        self._denials = Denials()
        writer.gap_ended = self._tell_gap

    @property
    def lost(self) -> int:
        return self._writer.lost

    @property
    def waiting(self) -> int:
        return self._writer.waiting

    async def looked(self, viewer: Viewer, look: Look) -> None:
        """Returns when it is on disk. If that takes RECORDED_WITHIN_SECONDS it returns too, and the record comes late;
        if there was no room for it, it is counted as lost."""
        recorded = self.put(look, viewer, stream=self._stream, version=next(self._versions))
        await asyncio.wait([recorded], timeout=RECORDED_WITHIN_SECONDS)

    def began(self, viewer: Viewer, look: SubscriptionStarted | ReplayStarted) -> Watch:
        stream = (subscription_stream if isinstance(look, SubscriptionStarted) else replay_stream)(self._new_id())
        self.put(look, viewer, stream=stream, version=1)
        return Watch(self, viewer, stream)

    async def settled(self) -> None:
        """Whoever asks who looked, is to see what this process has recorded so far; for which they wait as long as
        whoever looks something up."""
        await self._writer.settled(seconds=RECORDED_WITHIN_SECONDS)

    def denied(self, viewer: Viewer) -> None:
        for refused, look in self._denials.count(viewer, self._now()):
            self._note(look, refused)

    def put(
        self, look: Look, viewer: Viewer, *, stream: str, version: int, whatever_room: bool = False
    ) -> asyncio.Future[None]:
        at = self._now()
        draft = to_draft(look, viewer, at, stream=stream, version=version)
        return self._writer.put(draft, at, whatever_room=whatever_room)

    async def run(self) -> None:
        """Until close()."""
        await self._writer.run()

    async def tell_denials(self) -> None:
        """For ever: what was counted in a minute is recorded when it is over."""
        while True:
            now = self._now()
            await asyncio.sleep(60.0 - now.second)
            for refused, look in self._denials.over(self._now()):
                self._note(look, refused)

    def close(self) -> None:
        for refused, look in self._denials.all():
            self._note(look, refused)
        self._writer.close()

    def _tell_gap(self, gap: Gap) -> None:
        look = RecordingInterrupted(lost=gap.lost, late=gap.late, since=gap.since, until=gap.until)
        self._note(look, OURSELVES, whatever_room=True)

    def _note(self, look: Look, viewer: Viewer, *, whatever_room: bool = False) -> None:
        self.put(look, viewer, stream=self._stream, version=next(self._versions), whatever_room=whatever_room)


@asynccontextmanager
async def recording(writer: Writer, now: Callable[[], datetime], new_id: Callable[[], UUID]) -> AsyncIterator[Recorder]:
    """A recorder at work, for whoever is no server: a command, such as an export. What it was told is on disk at the
    end, or said to be lost."""
    recorder = Recorder(writer, now, new_id)
    running = asyncio.create_task(recorder.run())
    try:
        yield recorder
    finally:
        recorder.close()
        await running
