"""The eventsourcing library's own PostgreSQL recorder, as it comes: default settings, a thread and a connection for
each writer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from uuid import UUID, uuid4

from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore

from scripts.benchmarks.hospital import Postgres
from scripts.benchmarks.peers.library_application import ClinicDay, mapper

NAME = "eventsourcing's recorder"


class Recorder:
    def __init__(self, recorder: PostgresApplicationRecorder, threads: ThreadPoolExecutor, writers: int) -> None:
        self._recorder, self._threads, self._writers = recorder, threads, writers

    def append_for(self, seconds: float) -> float:
        """Every writer appends event after event to a stream of its own. Returns commands per second."""
        begins = time.perf_counter()
        counts = list(self._threads.map(self._write_until, [begins + seconds] * self._writers))
        return sum(counts) / (time.perf_counter() - begins)

    def _write_until(self, ends: float) -> int:
        stream, version = uuid4(), 0
        while time.perf_counter() < ends:
            version += 1
            self._recorder.insert_events([_called(stream, version)])
        return version


def _called(stream: UUID, version: int) -> StoredEvent:
    event = ClinicDay.Called(  # type: ignore[attr-defined]
        originator_id=stream, originator_version=version, timestamp=datetime.now(UTC), appointment_id=stream
    )
    return mapper().to_stored_event(event)


@contextmanager
def library_recorder(postgres: Postgres, database: str, writers: int) -> Iterator[Recorder]:
    at = postgres.for_libpq(database)
    with PostgresDatastore(
        at["dbname"], at["host"], at["port"], at["user"], password="", pool_size=writers
    ) as datastore:
        recorder = PostgresApplicationRecorder(datastore, events_table_name=f"of_{writers}_writers")
        recorder.create_table()
        with ThreadPoolExecutor(writers) as threads:
            yield Recorder(recorder, threads, writers)
