"""/metrics, for Prometheus: is the read model current, who watches, has a board ever been wrong. No patient in it.

Everything is read when it is asked for. With several workers, each answers for itself, and says which it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from gateway.live.routes import MONITORS, REPLAYS
from gateway.parts import PARTS

REGISTRY: Final = web.AppKey("registry", CollectorRegistry)


class _Readings(Collector):
    def __init__(self, app: web.Application, worker: int) -> None:
        self._app, self._worker = app, str(worker)

    def collect(self) -> Iterable[Metric]:
        parts, monitors = self._app[PARTS], self._app[MONITORS]
        freshness, prover = parts.freshness, parts.prover
        yield self._gauge("live", "Whether boards follow what happens.", freshness.live)
        yield self._gauge("lag_seconds", "How long ago what is shown was the newest there is.", freshness.lag_seconds())
        yield self._gauge("log_head", "The newest event of the log that is known of.", freshness.head)
        yield self._gauge("applied_position", "The newest event that boards show.", parts.projector.position)
        yield self._gauge("boards_loaded", "Dates in memory.", sum(1 for _ in parts.boards.loaded()))
        yield self._gauge("monitors", "WebSocket connections.", len(monitors))
        yield self._gauge("replays", "Of those, how many are shown a date's past.", self._app[REPLAYS].under_way)
        yield self._counter("board_proofs", "Boards compared with the log.", prover.proofs)
        yield self._counter("board_differences", "Boards that were not what the log says.", prover.differences)

    def _gauge(self, name: str, help_text: str, value: float) -> Metric:
        family = GaugeMetricFamily(f"daysheet_{name}", help_text, labels=["worker"])
        family.add_metric([self._worker], value)
        return family

    def _counter(self, name: str, help_text: str, value: float) -> Metric:
        family = CounterMetricFamily(f"daysheet_{name}", help_text, labels=["worker"])
        family.add_metric([self._worker], value)
        return family


async def _metrics(request: web.Request) -> web.Response:
    return web.Response(body=generate_latest(request.app[REGISTRY]), headers={"Content-Type": CONTENT_TYPE_LATEST})


def add_routes(app: web.Application, worker: int) -> None:
    """`worker`: which of several this is; 0 where it is the only one."""
    app[REGISTRY] = CollectorRegistry(auto_describe=False)
    app[REGISTRY].register(_Readings(app, worker))
    app.router.add_get("/metrics", _metrics)
