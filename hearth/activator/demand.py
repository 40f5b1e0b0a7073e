"""The demand that this activator tells the scalers: figures of every LLMService, and who has not heard them yet."""

import asyncio
import logging
import os
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field

from grpc.aio import ServicerContext

from hearth.activator.beat import Beat
from hearth.activator.lane.hold import Hold
from hearth.api.key import ServiceKey
from hearth.logs import fields
from hearth.proto import demand_pb2 as pb
from hearth.proto.demand_pb2_grpc import DemandServicer
from hearth.tls.mutual import Mutual, admit

log = logging.getLogger(__name__)

COALESCE_SECONDS = 0.1
BEAT_SECONDS = 1.0


@dataclass(slots=True, eq=False)
class _Watcher:
    dirty: set[ServiceKey] = field(default_factory=set)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    active: set[ServiceKey] = field(default_factory=set)
    """Which were active when this one was told of them last."""


class DemandBoard:
    """Figures on the wall: holds write on it, open Watch streams read what is new to them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._instance = f"{os.environ.get('HOSTNAME') or os.getpid()}/{uuid.uuid4().hex[:8]}"
        self._holds: dict[ServiceKey, Hold] = {}
        self._watchers: set[_Watcher] = set()
        self._coalescing: asyncio.TimerHandle | None = None
        self._closing = False

    @property
    def watchers(self) -> int:
        """Scalers that listen."""
        return len(self._watchers)

    def put(self, key: ServiceKey, hold: Hold) -> None:
        self._holds[key] = hold

    def remove(self, key: ServiceKey) -> None:
        """The LLMService is gone, and its demand with it."""
        self._holds.pop(key, None)
        self._mark(key, at_once=True)

    def changed(self, key: ServiceKey) -> None:
        """A hold's figures changed. That it became active is told in this turn of the event loop, unless the scalers
        have not heard yet that it was idle: a warm model's requests one after the other are not news."""
        hold = self._holds.get(key)
        if hold is None:
            return  # the last answers of a deleted LLMService
        news = any(key not in watcher.active for watcher in self._watchers)
        self._mark(key, at_once=news and self._is_active(hold))

    def close(self) -> None:
        """End every stream with OK."""
        self._closing = True
        self._wake_all()

    async def watch(self) -> AsyncGenerator[pb.DemandUpdate, None]:
        """A snapshot, then changes and a beat each second: what Demand.Watch sends."""
        watcher = _Watcher()
        self._watchers.add(watcher)
        try:
            yield self._update(watcher, self._holds, snapshot=True)
            beat = Beat(BEAT_SECONDS)
            while not self._closing:
                if await beat.wait(watcher.wake):
                    # Leases end by the clock alone; a beat tells of those that did, whatever news there is of others.
                    watcher.dirty |= {key for key in watcher.active if not self._is_active(self._holds.get(key))}
                watcher.wake.clear()
                dirty, watcher.dirty = watcher.dirty, set()
                yield self._update(watcher, dirty, snapshot=False)
        finally:
            self._watchers.discard(watcher)

    def _is_active(self, hold: Hold | None) -> bool:
        return hold is not None and (any(hold.asking) or hold.lease(self._clock()))

    def _update(self, watcher: _Watcher, keys: Iterable[ServiceKey], *, snapshot: bool) -> pb.DemandUpdate:
        """What this watcher is told now. What it was told is its own: another one may have heard less, or more."""
        now = self._clock()
        for key in keys:
            (watcher.active.add if self._is_active(self._holds.get(key)) else watcher.active.discard)(key)
        return pb.DemandUpdate(
            activator=self._instance,
            snapshot=snapshot,
            services=[self._figures(key, now) for key in keys],
        )

    def _figures(self, key: ServiceKey, now: float) -> pb.ServiceDemand:
        hold = self._holds.get(key)
        if hold is None:
            return pb.ServiceDemand(namespace=key[0], name=key[1], gone=True)
        waiting, in_flight = hold.asking
        return pb.ServiceDemand(
            namespace=key[0],
            name=key[1],
            waiting=waiting,
            in_flight=in_flight,
            lease=hold.lease(now),
            requests=hold.requests,
        )

    def _mark(self, key: ServiceKey, *, at_once: bool) -> None:
        for watcher in self._watchers:
            watcher.dirty.add(key)
        if at_once:
            self._wake_all()
        elif self._coalescing is None and self._watchers:
            loop = asyncio.get_running_loop()
            self._coalescing = loop.call_later(COALESCE_SECONDS, self._wake_all)

    def _wake_all(self) -> None:
        if self._coalescing is not None:
            self._coalescing.cancel()
            self._coalescing = None
        for watcher in self._watchers:
            watcher.wake.set()


class Demand(DemandServicer):
    """Demand.Watch over gRPC. Its streams say nothing until `known` is set: zero of an activator that does not know its
    LLMServices would be a guess. With `mutual`, of whoever has a scaler's certificate."""

    def __init__(self, board: DemandBoard, known: asyncio.Event, mutual: Mutual | None = None) -> None:
        self._board = board
        self._known = known
        self._mutual = mutual

    async def Watch(
        self,
        request: pb.WatchRequest,
        context: ServicerContext,  # type: ignore[type-arg]
    ) -> AsyncIterator[pb.DemandUpdate]:
        await admit(context, self._mutual)
        log.info("scaler watches", extra=fields(scaler=request.scaler, peer=context.peer()))
        await self._known.wait()
        async for update in self._board.watch():
            yield update
