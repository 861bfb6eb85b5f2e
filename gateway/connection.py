"""One client's HTTP connection. What is no HTTP is answered as a problem too, and is not worth a traceback."""

from __future__ import annotations

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from gateway.rest.problem import Problem


class HttpConnection(web.RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if not isinstance(exc, HttpProcessingError) or request.writer.output_size:
            return super().handle_error(request, status, exc, message)
        detail = exc.message.strip().partition("\n")[0][:100].rstrip(":")
        response = Problem(400, "invalid_request", f"this cannot be read as an HTTP request: {detail}").response()
        response.force_close()
        return response
