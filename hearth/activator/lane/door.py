"""The door: whose a request is, and which of the two ways it takes.

A request that names an LLMService takes the lane, everything else is Starlette's. Every connection hands its requests
to the door; the Starlette application's inference route comes here too, under any server.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from prometheus_client import CollectorRegistry

from hearth import faults
from hearth.activator import errors
from hearth.activator.body import decoding, prompt_prefix
from hearth.activator.directory import Directory, Entry
from hearth.activator.errors import ApiError
from hearth.activator.feed import Feed
from hearth.activator.journeys import Journeys
from hearth.activator.keyring import CREDENTIALS, Keyring
from hearth.activator.lane.exchange import Exchange, answer_plainly
from hearth.activator.lane.gate import Gate
from hearth.activator.lane.heartbeat import Heartbeats
from hearth.activator.lane.hold import Hold
from hearth.activator.lane.inference import Inference, given_id, id_fields, new_id
from hearth.activator.lane.tally import Tally
from hearth.activator.looks import Looks
from hearth.activator.metrics import ActivatorMetrics
from hearth.activator.origins import Origins
from hearth.activator.paths import (
    GET,
    PATHS,
    PROBES,
    Path,
    addressed_service,
    dialect_of,
    is_own,
    likely,
    path_of,
    unknown_service,
)
from hearth.activator.starts import AddressStarts
from hearth.api.key import ServiceKey
from hearth.http1 import asgi
from hearth.http1.gathering import Gathering
from hearth.http1.limits import Budget, Limits
from hearth.http1.message import OVERLOADED, Refusal, Request, body_too_large
from hearth.http1.response import Response, TransportResponse
from hearth.http1.upstream import Pool

BUDGET_BYTES: Final = 512 * 2**20
"""Of all requests' bodies together: what an activator's memory limit of 2 GiB leaves room for."""

UNREAD_BYTES: Final = 8 * 1024
"""Of a body that nobody reads: of probes, preflights, lists of models, for some of which no key is needed."""

_IDENTITY: Final = frozenset((b"", b"identity"))


class Board(Protocol):
    """Where the figures of each LLMService's demand stand, for the scalers (hearth/activator/demand.py)."""

    @property
    def watchers(self) -> int: ...
    def put(self, key: ServiceKey, hold: Hold) -> None: ...
    def remove(self, key: ServiceKey) -> None: ...
    def changed(self, key: ServiceKey) -> None: ...


class Door:
    """`app` answers what is no LLMService's; it is set once it is made, since it asks the door."""

    def __init__(
        self,
        board: Board,
        registry: CollectorRegistry,
        limits: Limits | None = None,
        budget: Budget | None = None,
        journeys: Journeys | None = None,
        origins: Origins | None = None,
        keyring: Keyring | None = None,
        addresses: AddressStarts | None = None,
    ) -> None:
        self.addresses = addresses or AddressStarts()
        self.keyring = keyring or Keyring()
        self.directory = Directory(self._changed)
        self.limits = limits or Limits()
        self.budget = budget or Budget(BUDGET_BYTES)
        self.origins = origins or Origins()
        self.gates: dict[ServiceKey, Gate] = {}
        self.feed = Feed()
        self.app: asgi.App | None = None
        self.leaving = False
        """Set when this activator is told to end: clients' pools go elsewhere with each answer, before it does."""
        self.starting = False
        """Set until the directory is complete: what is not in it may be there all the same."""
        self._board = board
        self._journeys = journeys or None
        self._heartbeats = Heartbeats(self.failed)
        self._pool = Pool()
        self._tasks: set[asyncio.Task[None]] = set()
        self._decoding = asyncio.Semaphore(1)
        self._looks = Looks(self._waits, self.directory.put_answered, self.spawn)
        self.keyring.now = now = asyncio.get_running_loop().time
        self._metrics = ActivatorMetrics(
            *(registry, self.gates, now, lambda: board.watchers, self.budget, self.keyring)
        )

    def close(self) -> None:
        """Give up what is still under way, each client told, and close the connections to engines."""
        self.feed.close()
        for gate in self.gates.values():
            gate.close()
        for task in self._tasks:
            task.cancel()
        self._pool.close()

    # what connections hand over (hearth.http1.connection.Handler)

    def refused_by_head(self, request: Request) -> Refusal | None:
        """Why a request is not served, whatever its body says."""
        try:
            self.check_head(request)
        except ApiError as error:
            return Refusal(error.status, error.code or error.type, error.message)
        return None

    def body_limit(self, request: Request) -> int:
        """How many bytes its body may have, as its head says what it is about."""
        return min(UNREAD_BYTES, self.limits.body_bytes) if self._is_own(request) else self.limits.body_bytes

    def take(self, request: Request, response: TransportResponse) -> None:
        """Serve one request; its answer is written when it comes."""
        if self._is_own(request):
            self.spawn(self._serve(request, response))
        elif not is_coded(request):
            self._enter(request, response)
        else:
            response.attach(self.spawn(self._decode_and_enter(request, response)))

    def refuse(self, request: Request, response: Response, refusal: Refusal) -> None:
        """Answer a request that is none for here, maybe before its body has come."""
        self.answer(request, response, errors.of_refusal(refusal))

    def failed(self, where: str, error: BaseException) -> None:
        """A mistake of ours: told and counted, and of consequence only for what it happened to."""
        faults.tell("timer" if where == "heartbeat" else "request", error, place=where)

    def turned_away(self) -> None:
        """A connection over the limit."""
        self._metrics.turned_away += 1

    # what the lane and the inference route share

    def check_started(self) -> None:
        """Raises ApiError while the directory is not complete."""
        if self.starting:
            raise errors.activator_starting()

    def check_head(self, request: Request) -> None:
        """Raises ApiError where nobody with this head is let in: a page's request that no browser asked about, or one
        without a key. A preflight has none."""
        path, fields = request.path, request.fields
        if (b"origin" in fields or b"sec-fetch-site" in fields) and self.origins.unasked(request.method, fields):
            raise errors.origin_not_allowed()
        if not self.keyring.locked or self.starting or request.method == "OPTIONS" or path in PROBES:
            return
        host = request.fields.get(b"host", b"").decode("latin-1")
        entry = self.addressed(path, host)[0]
        if entry is None and (named := addressed_service(path)) is not None:
            raise self.keyring.nobodys(named, request.fields)
        self.keyring.check_head(entry.key if entry is not None else None, request.fields)

    def route(self, request: Request) -> tuple[Entry, Inference]:
        """Whose request this is, with what it asks. Raises ApiError where it is nobody's, or asks nothing."""
        self.check_started()
        directory, fields = self.directory, request.fields
        if fields.get(b"upgrade", b"").lower() == b"websocket":
            raise errors.no_websocket()
        host = fields.get(b"host", b"").decode("latin-1")
        entry, path, prefix = self.addressed(request.path, host)
        # A path that only some runtimes serve is whose the body says: it is looked at again when that is known.
        serves = directory.serves(path) if entry is None else path in entry.paths
        known = self._known(request, path, entry, serves=serves)
        asked = Inference(request, path, prefix, known)
        words = asked.read_words()
        if entry is None:
            named = directory.by_model(asked.model) if asked.model is not None else None
            entry = named or directory.by_short_host(host)
        if entry is None:
            raise errors.no_model(asked.no_name) if asked.model is None else self.keyring.nobodys(asked.model, fields)
        if self.keyring.locked:
            self._unlock(entry, asked)
        if serves and path not in entry.paths:
            self._known(request, path, entry, serves=False)
        if not entry.ready and not asked.asks:  # an engine that is there says so itself; none is woken to say it
            raise errors.asks_nothing(known.needs)
        if entry.policy.prefix_affinity:
            asked.prompt = prompt_prefix(words)
        # The engine knows the model by the LLMService's name alone.
        if asked.model is not None and asked.model != entry.key[1] and asked.model == entry.name:
            asked.rename_model(entry.key[1])
        return entry, asked

    def _unlock(self, entry: Entry, asked: Inference) -> None:
        """Raises ApiError where the request has no key for this LLMService. No engine is told any key of ours."""
        request = asked.request
        asked.grant = self.keyring.admit(entry.key, request.fields, asked.model)
        if asked.grant is not None:
            request.headers = [field for field in request.headers if field[0] not in CREDENTIALS]
        else:
            request.headers = self.keyring.without_ours(request.headers)

    def addressed(self, path: str, host: str) -> tuple[Entry | None, str, str]:
        """The LLMService that the address names by itself (None: the body must), the engine's path, and what was in
        front of it."""
        if path not in PATHS and (found := self.directory.by_path(path)) is not None:
            entry, rest = found
            return entry, rest, path[: len(path) - len(rest)]
        # Of a Host that names a Service: as most do not, they are not cut into labels.
        return self.directory.by_host(host) if ".svc" in host.lower() else None, path, ""

    def begin(self, entry: Entry, asked: Inference, response: Response) -> None:
        """Let a request into its LLMService's gate. Raises ApiError where it does not let it in."""
        gate = self.gates[entry.key]
        origin = self.origins.headers(asked.request.fields)
        if self.budget.used * 2 > self.budget.limit:
            self._check_share(gate, response.held)
        Exchange(gate, asked, response, origin, self._pool, self.spawn, self._journeys).begin()

    async def decode(self, request: Request, response: Response) -> None:
        """Take the content coding off a body: one at a time, and counted as it comes. Raises ApiError."""
        step = decoding(request.body, request.fields[b"content-encoding"])
        limit, plain = self.limits.body_bytes, Gathering()
        async with self._decoding:
            while piece := await asyncio.to_thread(step):
                plain.add(piece)
                if plain.size > limit:
                    raise errors.of_refusal(body_too_large(limit))
                if not response.hold(len(request.body) + plain.size):
                    raise errors.of_refusal(OVERLOADED)
        request.body = plain.whole()
        response.hold(len(request.body))
        request.headers = [field for field in request.headers if field[0] != b"content-encoding"]

    def answer(self, request: Request, response: Response, error: ApiError) -> None:
        """Answer a request for no LLMService with an error."""
        self.count_unrouted(error)
        named = given_id(request) or new_id().encode()
        dialect = dialect_of(request.path)
        answer_plainly(response, error, dialect, [*self.origins.headers(request.fields), *id_fields(named, dialect)])

    def count_unrouted(self, error: ApiError) -> None:
        """A request for no LLMService was answered with this."""
        self._metrics.unrouted[error.code or error.type] += 1

    def spawn(self, work: Coroutine[Any, Any, None]) -> Callable[[], object]:
        """Run a coroutine as a task of the door's; returns what cancels it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task.cancel

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed("task", error)

    def _known(self, request: Request, path: str, entry: Entry | None, *, serves: bool) -> Path:
        """What is known of a path. `serves`: a runtime adds it. Raises ApiError for one that is not served, or not
        so."""
        method = request.method
        known = path_of(path, more=serves)
        if known is None:
            if is_own(path) and method not in GET:
                raise errors.method_not_allowed(method, GET)
            if entry is None and (service := unknown_service(path)) is not None:
                raise self.keyring.nobodys(service, request.fields)
            prefix, meant = request.path[: len(request.path) - len(path)], likely(path)
            raise errors.unknown_path(request.path, f"{prefix}{meant}" if meant is not None else None)
        if method not in known.methods:
            raise errors.method_not_allowed(method, known.methods)
        return known

    def _is_own(self, request: Request) -> bool:
        """Whether the API itself answers, and no engine: at a path of its own, maybe below an LLMService's
        (/NAMESPACE/NAME/v1/models)."""
        path = request.path
        if request.method == "OPTIONS":
            return True
        if path in PATHS:
            return False
        return is_own(path) or ((found := self.directory.by_path(path)) is not None and is_own(found[1]))

    async def _serve(self, request: Request, response: TransportResponse) -> None:
        """Let the application answer."""
        assert self.app is not None
        try:
            await asgi.serve(self.app, request, response)
        except Exception as error:  # noqa: BLE001 - told by `failed`; of consequence for this one alone
            self.failed("application", error)
            if response.started:
                response.abort()
            else:
                response.keep_alive = False
                response.answer(500, [], b"")

    def _enter(self, request: Request, response: Response) -> None:
        try:
            entry, asked = self.route(request)
        except ApiError as error:
            self.answer(request, response, error)
            return
        try:
            self.begin(entry, asked, response)
        except ApiError as error:
            origin = self.origins.headers(request.fields)
            named = id_fields(asked.request_id.encode("latin-1"), asked.dialect)
            answer_plainly(response, error, asked.dialect, [*origin, *named])

    async def _decode_and_enter(self, request: Request, response: Response) -> None:
        try:
            await self.decode(request, response)
        except ApiError as error:
            self.answer(request, response, error)
        else:
            self._enter(request, response)

    def _check_share(self, gate: Gate, size: int) -> None:
        """Where memory is short, one LLMService's requests leave room for another's. Raises ApiError."""
        holding = sum(1 for other in self.gates.values() if other is not gate and other.held_bytes())
        if gate.held_bytes() + size > self.budget.limit // (holding + 2):
            raise gate.rejected(errors.over_share(gate.name))

    def _demand(self, key: ServiceKey) -> None:
        self._board.changed(key)
        if self.feed.watched:
            self.feed.changed(key)

    def _waits(self, key: ServiceKey) -> bool:
        gate = self.gates.get(key)
        return gate is not None and gate.hold.waiting > 0

    def _changed(self, key: ServiceKey, entry: Entry | None) -> None:
        self._looks.see(key, entry)
        gate = self.gates.get(key)
        if entry is None:
            if gate is not None:
                gate.delete()
                for address in gate.entry.ready:
                    self._pool.forget(address)
                del self.gates[key]
                self.keyring.remove_service(key)
                self._board.remove(key)
                self.feed.changed(key)
            return
        before: frozenset[str] = frozenset()
        if gate is None or gate.entry.policy.keys != entry.policy.keys:
            self.keyring.put_service(key, entry.policy.keys)
        if gate is None:
            gate = Gate(entry, self._heartbeats, self._demand, Tally(), self.failed, self.addresses)
            self.gates[key] = gate
            self._board.put(key, gate.hold)
        else:
            before = gate.entry.ready
        for address in before - entry.ready:
            self._pool.forget(address)
        for address in entry.ready:
            self._pool.welcome(address)
        gate.update(entry)


def is_coded(request: Request) -> bool:
    """Whether the body has a content coding, which must be taken off before it is read."""
    return request.fields.get(b"content-encoding", b"").lower() not in _IDENTITY
