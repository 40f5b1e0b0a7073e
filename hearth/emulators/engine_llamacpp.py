"""What is different where the simulated engine stands for llama.cpp's server: when its port opens, and its figures.

From llama.cpp's tools/server: its port is open while it loads, and everything is a 503 until then; `/metrics` is there
with --metrics alone, and its figures have no labels; whatever model a request names is the one that is served. The rest
is vLLM's face.
"""

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from hearth.emulators.engine_core import EngineCore


class LoadingGate:
    """Until the model is loaded every answer is the same, whatever is asked for."""

    def __init__(self, app: ASGIApp, core: EngineCore) -> None:
        self._app, self._core = app, core

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._core.loaded.is_set():
            await self._app(scope, receive, send)
        else:
            await _error(503, "Loading model", "unavailable_error")(scope, receive, send)


def figures(core: EngineCore) -> CollectorRegistry:
    """The same figures by llama.cpp's names."""
    registry = CollectorRegistry()
    processing = Gauge("llamacpp:requests_processing", "Number of requests processing.", registry=registry)
    deferred = Gauge("llamacpp:requests_deferred", "Number of requests deferred.", registry=registry)
    processing.set_function(lambda: core.running)
    deferred.set_function(lambda: core.waiting)
    return registry


def metrics(registry: CollectorRegistry, served: bool, request: Request) -> Response:
    """`/metrics`, where --metrics was given."""
    if not served:
        message = "This server does not support metrics endpoint. Start it with `--metrics`"
        return _error(501, message, "not_supported_error")
    return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")


def _error(status: int, message: str, kind: str) -> Response:
    return JSONResponse({"error": {"code": status, "message": message, "type": kind}}, status)
