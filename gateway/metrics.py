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
        yield self._gauge("replays", "Of those, how many are played a date's past.", self._app[REPLAYS].playing)
        yield self._gauge("looks_waiting", "Looks at patient data that wait to be recorded.", parts.audit.waiting)
        yield self._counter("looks_lost", "Looks at patient data that there was no room to keep.", parts.audit.lost)
        yield self._counter("board_proofs", "Boards compared with the log.", prover.proofs)
        yield self._counter("board_differences", "Boards that were not what the log says.", prover.differences)
        if parts.erasures is not None:
            yield self._gauge("erasures_pending", "Erasures not kept outside yet.", parts.erasures.pending)
        if parts.downtime is not None:
            at = parts.downtime.written_at
            told = "When both downtime sheets were last written; 0 before."
            yield self._gauge("downtime_written_timestamp_seconds", told, at.timestamp() if at else 0)
            yield self._counter("downtime_failures", "Downtime sheets that were not written.", parts.downtime.failures)
        yield from self._ledger()

    def _ledger(self) -> Iterable[Metric]:
        sealer = self._app[PARTS].sealer
        yield self._gauge(
            "ledger_sealing", "Whether this process is the one that seals.", bool(sealer and sealer.elected)
        )
        if sealer is None:
            return
        for name, help_text, rows in (
            ("ledger_sealed", "Rows of a log that are sealed.", sealer.sealed),
            ("ledger_unsealed", "Rows of a log that are not sealed yet.", sealer.unsealed),
        ):
            family = GaugeMetricFamily(f"daysheet_{name}", help_text, labels=["worker", "log"])
            for log, number in rows.items():
                family.add_metric([self._worker, log], number)
            yield family
        yield self._counter("ledger_faults", "Logs found that do not fit what was sealed of them.", sealer.faults)

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
