"""What a cluster and its operators ask a role over HTTP beside its work: whether it lives, and whether it is ready."""

import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route


class EmbeddedServer(uvicorn.Server):
    """uvicorn, without its own handling of signals: the process has more than one server to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def operations_routes(ready: Callable[[], bool]) -> list[Route]:
    """/healthz, which answers while the event loop turns, and /readyz, which answers 503 until `ready`."""

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        return PlainTextResponse("ok\n") if ready() else PlainTextResponse("not ready\n", 503)

    return [Route("/healthz", healthz), Route("/readyz", readyz)]


def operations_server(ready: Callable[[], bool]) -> EmbeddedServer:
    """A server of these routes and nothing else."""
    app = Starlette(routes=operations_routes(ready))
    return EmbeddedServer(uvicorn.Config(app, lifespan="off", access_log=False, log_config=None, ws="none"))


def bind(address: str) -> socket.socket:
    """A listening socket on host:port. Raises OSError that names the address."""
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host.strip("[]"), int(port)))
    except (OSError, ValueError) as error:
        listening.close()
        raise OSError(f"cannot listen on {address}: {error}") from error
    listening.listen(2048)
    return listening
