"""The door: which LLMService a request is for, and what is answered without one."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from prometheus_client import CollectorRegistry

from hearth.activator import errors
from hearth.activator.client import ClientResponse
from hearth.activator.demand import DemandBoard
from hearth.activator.directory import Directory, Entry, ServiceKey
from hearth.activator.errors import ApiError
from hearth.activator.exchange import Exchange, answer_error
from hearth.activator.gate import Gate
from hearth.activator.headers import cross_origin, preflight_answer
from hearth.activator.heartbeat import Heartbeats
from hearth.activator.journey import Journeys
from hearth.activator.metrics import ActivatorMetrics
from hearth.activator.models import models_answer
from hearth.activator.request import Request
from hearth.activator.upstream import Pool

MAX_BODY_BYTES = 64 * 2**20


class Door:
    """Takes requests whose head, then whose body has come, in the event loop's callbacks."""

    def __init__(
        self,
        board: DemandBoard,
        registry: CollectorRegistry,
        max_body_bytes: int = MAX_BODY_BYTES,
        journeys: Journeys | None = None,
    ) -> None:
        self.directory = Directory(self._changed)
        self.max_body_bytes = max_body_bytes
        self._board = board
        self._journeys = journeys or Journeys()
        self._gates: dict[ServiceKey, Gate] = {}
        self._heartbeats = Heartbeats()
        self._pool = Pool()
        self._tasks: set[asyncio.Task[None]] = set()
        now = asyncio.get_running_loop().time
        self._metrics = ActivatorMetrics(registry, self._gates, now, lambda: board.watchers)

    def close(self) -> None:
        """Give up what is still under way, each client told, and close the connections to engines."""
        for gate in self._gates.values():
            gate.close()
        for task in self._tasks:
            task.cancel()
        self._pool.close()

    def take(self, request: Request, client: ClientResponse) -> None:
        """Serve one request; its answer is written when it comes."""
        try:
            entry = self._route(request, client)
        except ApiError as error:
            self.refuse(request, client, error)
            return
        if entry is not None:
            try:
                gate = self._gates[entry.key]
                Exchange(gate, request, client, self._pool, self._spawn, self._journeys).begin()
            except ApiError as error:
                answer_error(client, error, request)

    def refuse(self, request: Request, client: ClientResponse, error: ApiError) -> None:
        """Answer a request for no LLMService with an error, maybe before its body has come."""
        self._metrics.unrouted[error.code or error.type] += 1
        answer_error(client, error, request)

    def _route(self, request: Request, client: ClientResponse) -> Entry | None:
        """Whose request it is; None where it is answered already. Raises ApiError."""
        fields = request.fields
        if fields.get(b"upgrade", b"").lower() == b"websocket":
            raise errors.no_websocket()
        entry = self.directory.by_host(fields.get(b"host", b"").decode("latin-1"))
        if entry is None and (found := self.directory.by_path(request.path)):
            entry, request.path = found
        if request.method == "GET" and (answer := models_answer(self.directory, entry, request.path)) is not None:
            status, document = answer
            headers = [(b"content-type", b"application/json"), *cross_origin(fields)]
            client.answer(status, [*headers, (b"x-request-id", request.request_id.encode())], document)
            return None
        cold = entry is None or not entry.ready
        if cold and request.method == "OPTIONS" and (allowed := preflight_answer(fields)) is not None:
            client.answer(204, allowed, b"")
            return None
        request.read_words()
        if entry is None:
            if request.model is None:
                raise errors.no_model()
            entry = self.directory.by_model(request.model)
        # The engine knows the model by the LLMService's name alone.
        if request.model == entry.name:
            request.rename_model(entry.key[1])
        return entry

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
                self._metrics.forget(key)
            return
        if gate is None:
            gate = self._gates[key] = Gate(entry, self._heartbeats, self._board.changed, self._metrics.tally(key))
            self._board.put(key, gate.hold)
        for address in gate.entry.ready - entry.ready:
            self._pool.forget(address)
        gate.update(entry)
