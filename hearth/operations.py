"""What a cluster and its operators ask a role over HTTP beside its work: whether it lives and is ready, its metrics."""

import asyncio
import contextlib
import errno
import gzip
import socket
from collections.abc import AsyncIterator, Callable, Iterator

import uvicorn
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import choose_encoder, gzip_accepted
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from hearth.metrics import Collected, RoleRegistry

_NO_IPV6 = frozenset((errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL))


class EmbeddedServer(uvicorn.Server):
    """uvicorn, without its own handling of signals: the process has more than one server to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def operations_routes(ready: Callable[[], bool], registry: RoleRegistry) -> list[Route]:
    """/healthz, which answers while the event loop turns; /readyz, which answers 503 until `ready`; and /metrics, in
    the format that is asked for, and in gzip where that is accepted."""

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        return PlainTextResponse("ok\n") if ready() else PlainTextResponse("not ready\n", 503)

    async def metrics(request: Request) -> Response:
        return await exposition(registry, request.headers.get("accept", ""), request.headers.get("accept-encoding", ""))

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]


async def exposition(registry: RoleRegistry, accept: str, accept_encoding: str) -> Response:
    """What a registry tells. States are read in the event loop, one family a turn; writing thousands of series takes a
    tenth of a second and more, and is done in a thread of its own."""
    families: list[Family] = []
    for state in registry.states:
        for family in state.collect():
            families.append(family)
            await asyncio.sleep(0)
    encode, content_type = choose_encoder(accept)
    headers = {"content-type": content_type, "vary": "Accept, Accept-Encoding"}
    coded = gzip_accepted(accept_encoding)
    if coded:
        headers["content-encoding"] = "gzip"

    def write() -> bytes:
        text = encode(Collected(lambda: [*registry.observed(), *families]))
        return gzip.compress(text, 1) if coded else text

    return Response(await asyncio.to_thread(write), headers=headers)


@contextlib.asynccontextmanager
async def operations_server(listen: str, ready: Callable[[], bool], registry: RoleRegistry) -> AsyncIterator[int]:
    """These routes, and nothing else, served on host:port while the context lasts; its port is the value.

    Raises OSError where the address can't be bound.
    """
    listening = bind(listen)
    app = Starlette(routes=operations_routes(ready, registry))
    server = EmbeddedServer(uvicorn.Config(app, lifespan="off", access_log=False, log_config=None, ws="none"))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await serving
        listening.close()


def bind(address: str) -> socket.socket:
    """A listening socket on host:port. [::] is every address of both families, 0.0.0.0 where the kernel has no IPv6.

    Raises OSError that names the address.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        try:
            return _listening(host, int(port))
        except OSError as error:
            if host != "::" or error.errno not in _NO_IPV6:
                raise
            return _listening("0.0.0.0", int(port))
    except (OSError, ValueError, OverflowError) as error:
        raise OSError(f"cannot listen on {address}: {error}") from error


def _listening(host: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != "::")
        made.bind((host, port))
        made.listen(2048)
    except BaseException:
        made.close()
        raise
    return made
