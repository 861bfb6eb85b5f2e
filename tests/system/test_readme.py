"""The README promises two commands and a main job: all of it is run as it stands there."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from pathlib import Path

import pytest

from tests.server import Server

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
_TWO_COMMANDS, _MAIN_JOB = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)


async def test_the_main_job_works_as_the_readme_has_it(server: Server) -> None:
    if not shutil.which("curl"):
        pytest.skip("no curl on PATH")
    script = _MAIN_JOB.replace("http://127.0.0.1:8000", server.url)  # the test's server has a port of its own
    assert script != _MAIN_JOB
    process = await asyncio.create_subprocess_exec(
        "bash", "-euo", "pipefail", "-c", script, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    checked_in, called, queue = _documents(out.decode())
    assert checked_in["queue"]["status"] == "checked_in"
    assert called["queue"]["status"] == "called"
    assert called["queue"]["ticket"] == "DOC001-1"
    (shown,) = queue["data"]["doctors"][0]["appointments"]
    assert shown["patient"]["name"] == "Priya Raman"
    assert shown["queue"] == called["queue"]


def _documents(text: str) -> list[dict]:  # type: ignore[type-arg]
    """The JSON objects printed one behind the other."""
    decoder, documents, at = json.JSONDecoder(), [], 0
    while at < len(text.strip()):
        document, at = decoder.raw_decode(text, at)
        documents.append(document)
    return documents


def test_every_command_the_readme_names_is_there() -> None:
    commands = re.findall(r"^(scripts/\w+)", _TWO_COMMANDS, re.MULTILINE)
    assert commands == ["scripts/run", "scripts/test"]
    for command in commands:
        assert (ROOT / command).stat().st_mode & 0o111, f"{command} cannot be executed"


def test_every_place_the_readme_names_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    folders = re.findall(r"^\| `(\w+/)`", README, re.MULTILINE)
    assert links
    assert folders
    missing = [place for place in [*links, *folders] if not (ROOT / place).exists()]
    assert not missing
