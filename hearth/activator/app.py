"""What uvicorn runs: health for operators, and the door for everything else."""

from collections.abc import Callable
from typing import Any

from hearth.activator.client import ClientResponse
from hearth.activator.door import Door
from hearth.activator.errors import ApiError
from hearth.activator.request import Request

_TEXT = [(b"content-type", b"text/plain; charset=utf-8")]


class ActivatorApp:
    """`ready` says whether the directory is complete and requests are welcome."""

    def __init__(self, door: Door, ready: Callable[[], bool]) -> None:
        self.max_body_bytes = door.max_body_bytes
        self.refuse: Callable[[Request, ClientResponse, ApiError], None] = door.refuse
        self._door = door
        self._ready = ready

    def take(self, request: Request, client: ClientResponse) -> None:
        """Serve one request."""
        if request.path == "/healthz":
            client.answer(200, _TEXT, b"ok\n")
        elif request.path == "/readyz":
            client.answer(*((200, _TEXT, b"ok\n") if self._ready() else (503, _TEXT, b"not ready\n")))
        else:
            self._door.take(request, client)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI's, which uvicorn asks of an app and ActivatorProtocol does not use."""
        raise RuntimeError("requests are served by ActivatorProtocol")
