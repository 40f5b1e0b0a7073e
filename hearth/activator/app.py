"""The activator's Starlette application: its own few answers, and the door for everything else."""

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from hearth.activator.door import Door


def create_app(door: Door, ready: Callable[[], bool]) -> Starlette:
    """`ready` says whether the directory is complete and requests are welcome."""

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        return PlainTextResponse("ok\n") if ready() else PlainTextResponse("not ready\n", status_code=503)

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Mount("/", app=door),
        ]
    )
