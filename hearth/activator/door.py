"""The door: what happens to one request, from its head to its last byte."""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from hearth.activator import errors
from hearth.activator.client import EXTENSION, ClientResponse
from hearth.activator.demand import DemandBoard
from hearth.activator.directory import Directory, Entry, ServiceKey
from hearth.activator.errors import ApiError
from hearth.activator.gate import Gate, Held
from hearth.activator.headers import Headers, cross_origin, get, preflight_answer
from hearth.activator.heartbeat import Heartbeats
from hearth.activator.models import models_answer
from hearth.activator.relay import relay
from hearth.activator.request import ClientGone, Request, dialect_of, read_body
from hearth.activator.upstream import Pool, UpstreamError
from hearth.logs import fields

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 2**20


class Door:
    """An ASGI application for every path that the activator does not answer itself."""

    def __init__(self, board: DemandBoard, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self.directory = Directory(self._changed)
        self._board = board
        self._max_body_bytes = max_body_bytes
        self._gates: dict[ServiceKey, Gate] = {}
        self._heartbeats = Heartbeats()
        self._pool = Pool()

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        client: ClientResponse = scope["extensions"][EXTENSION]
        headers: Headers = scope["headers"]
        request_id = (get(headers, b"x-request-id") or b"").decode("latin-1")[:128] or uuid.uuid4().hex
        try:
            await self._serve(scope, receive, client, request_id)
        except ApiError as error:
            _answer_error(client, error, request_id, scope)
        except ClientGone:
            log.debug("client gone", extra=fields(request_id=request_id))

    def close(self) -> None:
        """Close the idle connections to engines."""
        self._pool.close()

    async def _serve(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Any]],
        client: ClientResponse,
        request_id: str,
    ) -> None:
        headers: Headers = scope["headers"]
        if (get(headers, b"upgrade") or b"").lower() == b"websocket":
            raise errors.no_websocket()
        path = scope["raw_path"].decode("latin-1")  # as it was written, so that it is passed on as it was written
        entry = self.directory.by_host((get(headers, b"host") or b"").decode("latin-1"))
        if entry is None and (found := self.directory.by_path(path)):
            entry, path = found
        if scope["method"] == "GET" and (answer := models_answer(self.directory, entry, path)) is not None:
            status, document = answer
            client.answer(status, [(b"content-type", b"application/json")], document)
            return
        if (entry is None or not entry.ready) and (allowed := preflight_answer(scope["method"], headers)) is not None:
            client.answer(204, allowed, b"")
            return
        body, length = await read_body(receive, headers, self._max_body_bytes)
        peer = scope.get("client")
        request = Request(
            scope["method"],
            path,
            scope["query_string"],
            headers,
            body,
            length,
            peer[0] if peer else "",
            scope["scheme"],
            request_id,
        )
        request.read_words()
        if entry is None:
            if request.model is None:
                raise errors.no_model()
            entry = self.directory.by_model(request.model)
        # The engine knows the model by the LLMService's name alone.
        if request.model == "/".join(entry.key):
            request.rename_model(entry.key[1])
        await self._pass(self._gates[entry.key], request, client)

    async def _pass(self, gate: Gate, request: Request, client: ClientResponse) -> None:
        task = asyncio.current_task()
        assert task is not None
        if client.gone:
            raise ClientGone
        held = gate.admit(request, client)
        client.attach(task.cancel)
        try:
            await self._relay(gate, held)
        except asyncio.CancelledError:
            if not client.gone:
                raise  # not the client's going: the server is stopping
            task.uncancel()
            raise ClientGone from None
        finally:
            gate.leave(held)

    async def _relay(self, gate: Gate, held: Held) -> None:
        while True:
            address = await held.wake
            try:
                await relay(gate.name, held.request, held.client, address, self._pool)
            except UpstreamError as error:
                reason = str(error)
                log.warning("replica failed", extra=fields(service=gate.name, address=address, reason=reason))
                gate.back(held)
                continue
            gate.hold.answered(address)
            return

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


def _answer_error(client: ClientResponse, error: ApiError, request_id: str, scope: MutableMapping[str, Any]) -> None:
    """Answer an error in the form that is still possible."""
    dialect = dialect_of(scope["path"])
    if not client.started:
        headers = [*error.headers, *cross_origin(scope["headers"]), (b"x-request-id", request_id.encode())]
        client.answer(error.status, headers, error.body(dialect))
    elif client.opened_events:
        client.write(error.event(dialect))
        client.end()
    else:
        client.write(error.body(dialect))
        client.abort()
