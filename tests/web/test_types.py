"""The types of the browser's client: made from what goes over the wire, and what TypeScript makes of them."""

from __future__ import annotations

import asyncio
import json
import re
import typing
from pathlib import Path
from typing import Final

from gateway.live import messages, protocol
from scripts.typescript import FILE, tagged, types, with_types
from tests.web.conftest import program
from tests.web.pages import package

WEB: Final = FILE.parent
SOURCES: Final = Path(__file__).parent / "typescript"
ORIGINAL: Final = Path(__file__).parent / "original" / "react_integration.tsx"
COMPONENT: Final = "// Usage in component"
COMPILER: Final = {
    "strict": True,
    "skipDefaultLibCheck": True,
    "noEmit": True,
    "jsx": "react",
    "target": "ES2022",
    "lib": ["ES2022", "DOM", "DOM.AsyncIterable"],
    "types": [],
    "module": "ES2022",
    "moduleResolution": "bundler",
    "noUncheckedIndexedAccess": True,
}
# What the televisions of waiting rooms know: nothing that is newer may be called, and no newer syntax used.
OLD_BROWSERS: Final = COMPILER | {
    "allowJs": True,
    "checkJs": True,
    "noImplicitAny": False,
    "strict": False,
    "target": "ES2019",
    "lib": ["ES2019", "DOM"],
}
SAME_IN_2019: Final = """
const ts = require('typescript');
for (const file of process.argv.slice(1)) {
  const source = require('fs').readFileSync(file, 'utf8');
  const made = (target) => ts.transpileModule(source, { compilerOptions: { target, module: 99 } }).outputText;
  if (made(ts.ScriptTarget.ES2019) !== made(ts.ScriptTarget.ESNext)) console.log(`${file} has newer syntax`);
}
"""


def test_the_file_has_what_goes_over_the_wire_today() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert with_types(text) == text, "scripts/types makes it anew"


def test_every_message_of_either_side_is_in_it() -> None:
    made = types()
    asked = {each.__name__ for each in typing.get_args(protocol.Message)}
    said = {"Snapshot<Shown>", "Update<Shown>", "Delta<Change>", "Heartbeat", "Status", "Pong", "ErrorMessage"}
    assert asked <= union(made, "ClientMessage")
    assert said <= union(made, "ServerMessage")
    for each in (*tagged(messages), *tagged(protocol)):
        name = "ErrorMessage" if each is messages.Error else each.__name__
        assert f"export interface {name}" in made


def union(text: str, name: str) -> set[str]:
    found = re.search(rf"export type {name} =\n((?:  \| .*\n?)+)", text)
    assert found
    return set(re.findall(r"  \| ([\w<>]+)", found[1]))


async def compiler_says(folder: Path, node_modules: Path, options: dict[str, object]) -> list[tuple[str, int, str]]:
    """(file, line, complaint), one for each."""
    compiler = package(node_modules, "typescript") / "bin" / "tsc"
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "include": ["*"]}), encoding="utf-8")
    node = await asyncio.create_subprocess_exec(
        *(program("node"), str(compiler), "--pretty", "false", "-p", str(folder)),
        stdout=asyncio.subprocess.PIPE,
        cwd=folder,
    )
    printed, _ = await node.communicate()
    found = re.findall(r"^(\S+)\((\d+),\d+\): error (.*)", printed.decode(), re.MULTILINE)
    assert bool(found) == bool(node.returncode), printed.decode()
    return [(file, int(line), complaint) for file, line, complaint in found]


async def test_typescript_takes_what_is_right_and_finds_every_mistake(tmp_path: Path, node_modules: Path) -> None:
    for file in (*WEB.glob("*.d.ts"), *SOURCES.iterdir()):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    # The document's own component, with nothing changed but where its hook is from.
    component = ORIGINAL.read_text(encoding="utf-8").partition(COMPONENT)[2]
    taken = "import { useCentralQueueMonitor } from './use-central-queue-monitor.js';\n//"
    (tmp_path / "document.tsx").write_text(f"{taken}{component}\nexport {{ CentralQueueDashboard }};", encoding="utf-8")

    complaints = await compiler_says(tmp_path, node_modules, COMPILER)
    lines = (SOURCES / "wrong.tsx").read_text(encoding="utf-8").splitlines()
    mistakes = {number for number, line in enumerate(lines, 1) if line.endswith("// mistake")}
    assert len(mistakes) > 10
    assert [each for each in complaints if each[0] != "wrong.tsx"] == []
    assert {line for _, line, _ in complaints} == mistakes


async def test_browsers_of_2019_can_read_the_modules(tmp_path: Path, node_modules: Path) -> None:
    package(node_modules, "typescript")
    modules = sorted(WEB.glob("*.js"))
    for file in modules:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    node = await asyncio.create_subprocess_exec(
        *(program("node"), "-e", SAME_IN_2019, *map(str, modules)),
        env={"NODE_PATH": str(node_modules)},
        stdout=asyncio.subprocess.PIPE,
    )
    complaints, _ = await node.communicate()
    assert (complaints.decode(), node.returncode) == ("", 0)
    (tmp_path / "react.d.ts").write_text("declare module 'react';", encoding="utf-8")
    assert await compiler_says(tmp_path, node_modules, OLD_BROWSERS) == []
