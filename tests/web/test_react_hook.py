"""The original document's React component, in a real browser: with the document's own hook, and with ours in its place.

`original/react_integration.tsx` holds the document's code as it stands there. Its types are taken off by TypeScript,
and React 18 comes as its authors built it for browsers.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from playwright.async_api import expect

from tests.server import Server
from tests.web.conftest import Visit, program
from tests.web.pages import BLANK, Wire, another_origin, package

WEB: Final = Path(__file__).parents[2] / "gateway" / "web"
ORIGINAL: Final = Path(__file__).parent / "original" / "react_integration.tsx"
COMPONENT: Final = "// Usage in component"
ASKED: Final = "useCentralQueueMonitor(date);"
OURS: Final = "import { useCentralQueueMonitor } from './use-central-queue-monitor.js';\n\n"

# React is a global of its builds for browsers; this makes the module of it that bundlers would find.
REACT: Final = "export const { useEffect, useState, memo, createElement } = window.React;"
IMPORTS: Final = json.dumps({"imports": {"react": "/react.js"}})
PAGE: Final = f"""{BLANK}
<script src=/react.development.js></script><script src=/react-dom.development.js></script>
<script type=importmap>{IMPORTS}</script>
<div id=root></div>
<script type=module>
  import {{ Dashboard }} from '/dashboard.js';
  const root = ReactDOM.createRoot(document.getElementById('root'));
  const {{ createElement, StrictMode }} = React;
  window.show = (props) => root.render(createElement(StrictMode, null, createElement(Dashboard, props)));
  window.leave = () => root.unmount();
</script>
"""

# A dashboard that draws a doctor again only when there is another one to draw.
MEMOISED: Final = """
import { memo, createElement } from 'react';
import { useCentralQueueMonitor } from './use-central-queue-monitor.js';

window.drawn = [];
const Doctor = memo(({ block }) => {
  drawn.push(block.doctor.code);
  return createElement('p', null, `${block.doctor.code}: ${block.checked_in_count}`);
});
export function Dashboard({ date, options }) {
  const { queueData, ...rest } = useCentralQueueMonitor(date, options);
  const error = rest.error && rest.error.code;
  return createElement('div', null,
    createElement('output', null, JSON.stringify({ ...rest, error, date: queueData && queueData.date })),
    queueData && queueData.doctors.map((block) => createElement(Doctor, { key: block.doctor.id, block })));
}
"""

WITHOUT_TYPES: Final = """
const ts = require('typescript');
const source = require('fs').readFileSync(0, 'utf8');
const options = { jsx: ts.JsxEmit.React, target: ts.ScriptTarget.ES2019, module: ts.ModuleKind.ESNext };
process.stdout.write(ts.transpileModule(source, { compilerOptions: options }).outputText);
"""


async def without_types(source: str, node_modules: Path) -> str:
    """What a bundler would make of TypeScript with JSX."""
    package(node_modules, "typescript")
    node = await asyncio.create_subprocess_exec(
        *(program("node"), "-e", WITHOUT_TYPES),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={"NODE_PATH": str(node_modules)},
    )
    made, _ = await node.communicate(source.encode())
    assert node.returncode == 0
    return made.decode()


@asynccontextmanager
async def app(dashboard: str, node_modules: Path) -> AsyncIterator[str]:
    """A React app on an origin of its own, as development servers have them; `dashboard` is a module."""
    built = {
        f"{name}.development.js": (package(node_modules, name) / "umd" / f"{name}.development.js").read_text("utf-8")
        for name in ("react", "react-dom")
    }
    ours = {name: (WEB / name).read_text("utf-8") for name in ("daysheet.js", "use-central-queue-monitor.js")}
    async with another_origin(PAGE, {**built, **ours, "react.js": REACT, "dashboard.js": dashboard}) as url:
        yield url


async def show(visit: Visit, **props: Any) -> None:
    await visit.page.wait_for_function("() => Boolean(window.show)")
    await visit.page.evaluate("props => show(props)", props)


def with_our_hook(text: str, server: Server) -> str:
    """The document's component. Its own hook names a server within; ours is told, in an app from elsewhere."""
    assert text.count(COMPONENT) == text.count(ASKED) == 1
    component = text[text.index(COMPONENT) :]
    return OURS + component.replace(ASKED, f"useCentralQueueMonitor(date, {{ url: '{server.url}' }});")


@pytest.mark.parametrize("hook", ["the document's", "ours"])
async def test_the_documents_dashboard_shows_the_day_with_either_hook(
    visit: Visit, server: Server, node_modules: Path, hook: str
) -> None:
    smith = await server.a_doctor(name="Dr. Smith", code="DOC001", specialty="Cardiology")
    appointment = await server.an_appointment(smith, await server.a_patient(name="John Doe"))
    text = ORIGINAL.read_text(encoding="utf-8")
    if hook == "ours":
        text = with_our_hook(text, server)
    text = text.replace("localhost:8000", f"localhost:{urlsplit(server.url).port}")
    dashboard = await without_types(f"{text}\nexport {{ CentralQueueDashboard as Dashboard }};", node_modules)
    async with app(dashboard, node_modules) as url:
        await visit.page.goto(url)
        today = await server.today()
        await show(visit, date=today)
        root = visit.page.locator("#root")
        await expect(root.locator("h1")).to_have_text(f"Central Queue Monitor - {today}")
        await expect(root.locator(".stats > div")).to_have_text(["Total Doctors: 1", "Total Appointments: 1"])
        await expect(root.locator(".doctor-section > *")).to_have_text(
            ["Dr. Smith", "Cardiology", "1 appointments •0 checked in", "Slot 1: John Doe"]
        )
        await server.post("/checkins", {"appointment_id": appointment})
        await expect(root.locator(".appointment")).to_have_text("Slot 1: John Doe - Position #1 (checked_in)")
        await server.stop()
        await expect(root).to_have_text("Connecting...")


async def test_what_did_not_change_is_not_drawn_again(visit: Visit, server: Server, node_modules: Path) -> None:
    doctors = [await server.a_doctor(code=f"DOC00{n}") for n in range(3)]
    appointments = [await server.an_appointment(doctor) for doctor in doctors]
    async with app(MEMOISED, node_modules) as url:
        await visit.page.goto(url)
        await show(visit, date=await server.today(), options={"url": server.url})
        await expect(visit.page.locator("p")).to_have_text(["DOC000: 0", "DOC001: 0", "DOC002: 0"])
        await visit.page.evaluate("drawn.splice(0)")
        await server.post("/checkins", {"appointment_id": appointments[1]})
        await expect(visit.page.locator("p")).to_have_text(["DOC000: 0", "DOC001: 1", "DOC002: 0"])
        assert set(await visit.page.evaluate("drawn")) == {"DOC001"}
    assert visit.complaints == []


async def test_another_date_is_watched_instead_and_unmounting_closes(
    visit: Visit, server: Server, node_modules: Path
) -> None:
    wire = Wire.of(visit.page)
    told = visit.page.locator("output")
    live = {"isConnected": True, "state": "live", "stale": False, "error": None}
    nothing = {"isConnected": False, "state": "idle", "stale": False, "error": None, "date": None}

    async def tells(what: dict[str, Any]) -> None:
        await expect(told).to_have_text(json.dumps(what, separators=(",", ":")))

    async with app(MEMOISED, node_modules) as url:
        await visit.page.goto(url)
        await show(visit, date="", options={"url": server.url})
        await tells(nothing)
        assert wire.sockets == []

        for date in ("2025-11-17", "2025-11-18"):
            await show(visit, date=date, options={"url": server.url})
            await tells(live | {"date": date})
            await wire.until(lambda: wire.open_sockets() == 1)
        assert [message["date"] for message in wire.said] == ["2025-11-17", "2025-11-18"]

        await show(visit, date="2025-11-18", options={"url": server.url})  # the same, in an object of its own
        await show(visit, date="2025-13-01", options={"url": server.url})
        await tells(nothing | {"state": "closed", "error": "invalid_date"})
        await show(visit, date="2025-11-17", options={"url": server.url})
        await tells(live | {"date": "2025-11-17"})
        assert len(wire.sockets) == 4

        await visit.page.evaluate("leave()")
        await wire.until(lambda: wire.open_sockets() == 0)
    assert visit.complaints == []
