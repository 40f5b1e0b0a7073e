"""The door: which LLMService a request is for, and what is answered without one."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any

from hearth.activator import errors
from hearth.activator.client import ClientResponse
from hearth.activator.demand import DemandBoard
from hearth.activator.directory import Directory, Entry, ServiceKey
from hearth.activator.errors import ApiError
from hearth.activator.exchange import Exchange, answer_error
from hearth.activator.gate import Gate
from hearth.activator.headers import Headers, get, preflight_answer
from hearth.activator.heartbeat import Heartbeats
from hearth.activator.models import models_answer
from hearth.activator.request import Request
from hearth.activator.upstream import Pool

MAX_BODY_BYTES = 64 * 2**20


class Door:
    """Takes requests whose head, then whose body has come, in the event loop's callbacks."""

    def __init__(self, board: DemandBoard, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self.directory = Directory(self._changed)
        self.max_body_bytes = max_body_bytes
        self._board = board
        self._gates: dict[ServiceKey, Gate] = {}
        self._heartbeats = Heartbeats()
        self._pool = Pool()
        self._tasks: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """Give up what is still under way, each client told, and close the connections to engines."""
        for gate in self._gates.values():
            gate.close()
        for task in self._tasks:
            task.cancel()
        self._pool.close()

    def take(self, scope: dict[str, Any], client: ClientResponse, body: list[bytes], length: int) -> None:
        """Serve one request; its answer is written when it comes. `scope` is ASGI's."""
        headers: Headers = scope["headers"]
        peer = scope["client"]
        request = Request(
            scope["method"],
            scope["raw_path"].decode("latin-1"),  # as it was written, so that it is passed on as it was written
            scope["query_string"],
            headers,
            body,
            length,
            peer[0] if peer else "",
            scope["scheme"],
            (get(headers, b"x-request-id") or b"").decode("latin-1")[:128] or os.urandom(16).hex(),
        )
        try:
            self._serve(request, client)
        except ApiError as error:
            answer_error(client, error, request)

    def refuse(self, scope: dict[str, Any], client: ClientResponse, error: ApiError) -> None:
        """Answer a request with an error before its body has come."""
        request = Request(
            scope["method"], scope["path"], b"", scope["headers"], [], 0, "", scope["scheme"], os.urandom(16).hex()
        )
        answer_error(client, error, request)

    def _serve(self, request: Request, client: ClientResponse) -> None:
        headers = request.headers
        if (get(headers, b"upgrade") or b"").lower() == b"websocket":
            raise errors.no_websocket()
        entry = self.directory.by_host((get(headers, b"host") or b"").decode("latin-1"))
        if entry is None and (found := self.directory.by_path(request.path)):
            entry, request.path = found
        if request.method == "GET" and (answer := models_answer(self.directory, entry, request.path)) is not None:
            status, document = answer
            client.answer(status, [(b"content-type", b"application/json")], document)
            return
        if (entry is None or not entry.ready) and (allowed := preflight_answer(request.method, headers)) is not None:
            client.answer(204, allowed, b"")
            return
        request.read_words()
        if entry is None:
            if request.model is None:
                raise errors.no_model()
            entry = self.directory.by_model(request.model)
        # The engine knows the model by the LLMService's name alone.
        if request.model is not None and request.model == "/".join(entry.key):
            request.rename_model(entry.key[1])
        Exchange(self._gates[entry.key], request, client, self._pool, self._spawn).begin()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> Callable[[], object]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task.cancel

    def _changed(self, key: ServiceKey, entry: Entry | None) -> None:
        gate = self._gates.get(key)
        if entry is None:
            if gate is not None:
                gate.delete()
                del self._gates[key]
                self._board.remove(key)
            return
        if gate is None:
            gate = self._gates[key] = Gate(entry, self._heartbeats, self._board.changed)
            self._board.put(key, gate.hold)
        for address in gate.entry.ready - entry.ready:
            self._pool.forget(address)
        gate.update(entry)
