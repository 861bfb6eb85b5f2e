"""One server for all tests of a module: each has doctors, patients and dates of its own on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import date, timedelta
from itertools import count

import pytest
import pytest_asyncio

from tests.conftest import TIMEZONE, Database, new_database
from tests.server import Server, started

pytest.register_assert_rewrite("tests.gateway.contract", "tests.gateway.raw")

_dates = count()


@pytest.fixture(scope="module")
def module_database(postgres: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with new_database(postgres, template, tmp_path_factory.mktemp("hospital")) as database:
        yield database


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hospital(module_database: Database) -> AsyncIterator[Server]:
    """A server that must still be well, and have logged no defect, when the module's last test is over."""
    options = ("--database-url", module_database.url, "--data-dir", str(module_database.folder), "--timezone", TIMEZONE)
    async with started(*options) as server:
        yield server
        doctor, patient = await server.a_doctor(), await server.a_patient()
        booked = await server.post(
            "/appointments", {"doctor_id": doctor, "patient_id": patient, "date": await server.today()}
        )
        assert booked.status == 201
        assert await server.stop() == 0
    log = server.log.decode(errors="replace")
    assert "Traceback" not in log, log
    assert '"level": "error"' not in log, log


@pytest.fixture
def past() -> str:
    """A date that is over, and on which no other test has anything."""
    return (date(2021, 1, 4) + timedelta(days=next(_dates))).isoformat()


@pytest.fixture
def future() -> str:
    """A date that is to come, and on which no other test has anything."""
    return (date(2091, 1, 4) + timedelta(days=next(_dates))).isoformat()
