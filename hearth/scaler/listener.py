"""Listens to the activators: one Demand.Watch stream to each, kept open, its updates put into the picture."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping

import grpc

from hearth.api.key import ServiceKey
from hearth.backoff import backoff
from hearth.faults import contained
from hearth.kube.endpoints import Listing
from hearth.logs import fields
from hearth.proto import demand_pb2 as pb
from hearth.proto.demand_pb2_grpc import DemandStub
from hearth.scaler.picture import DemandPicture, Figures
from hearth.scaler.pulses import Pulses
from hearth.tls.credentials import Held
from hearth.tls.mutual import Mutual, channel_to

log = logging.getLogger(__name__)

# A broken stream is retried soon: while it is down, this replica can't say zero. Seconds.
_FIRST_RETRY, _LAST_RETRY = 0.1, 2.0
# An activator beats each second; a stream silent for longer is broken, whatever TCP thinks.
_SILENCE_SECONDS = 3.0


class DemandListener:
    """One task for each listed activator. `run` owns them all; `list_activators` may be called at any time. With
    `mutual`, both sides have certificates."""

    def __init__(
        self,
        picture: DemandPicture,
        pulses: Pulses,
        identity: str,
        clock: Callable[[], float] = time.monotonic,
        mutual: Mutual | None = None,
    ) -> None:
        self._picture = picture
        self._pulses = pulses
        self._identity = identity
        self._clock = clock
        self._mutual = mutual
        self._plain: Collection[str] = ()
        self._changed = asyncio.Event()

    def list_activators(self, listed: Mapping[str, Listing], plain: Collection[str] = ()) -> None:
        """Take the complete list of activators: host:port of each, and how it is listed; `plain` are those that have no
        certificate."""
        self._plain = plain
        self._pulses.pulse(self._picture.list_activators(listed, self._clock()))
        self._changed.set()

    async def run(self) -> None:
        """Watch every listed activator until cancelled."""
        tasks: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                wanted = set(self._picture.addresses)
                for address in tasks.keys() - wanted:
                    tasks.pop(address).cancel()
                for address in wanted - tasks.keys():
                    tasks[address] = group.create_task(self._watch(address))
                await self._changed.wait()

    async def _watch(self, address: str) -> None:
        """Follow one activator, whatever happens: what nobody foresaw begins anew with a new channel."""
        options = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 1000)]
        failures = 0
        while True:
            # An update that can't be taken breaks its stream: the next one begins with all that this one said.
            with contained("update", address=address):
                held, name = self._held(address), self._mutual.peer if self._mutual is not None else ""
                async with channel_to(address, held, name, options) as channel:
                    await self._follow(address, channel, held)
                failures = 0
                continue  # with another certificate
            failures += 1
            await asyncio.sleep(backoff(failures, _FIRST_RETRY, _LAST_RETRY))

    def _held(self, address: str) -> Held | None:
        """The certificate to speak to this activator with."""
        return None if self._mutual is None or address in self._plain else self._mutual.folder.held

    async def _follow(self, address: str, channel: grpc.aio.Channel, held: Held | None) -> None:
        """Follow one until another certificate is to be used: a stream that is open stays, the next needs it."""
        failures = 0
        while self._held(address) is held:
            stream = DemandStub(channel).Watch(pb.WatchRequest(scaler=self._identity))
            try:
                first = True
                while isinstance(update := await _next(stream), pb.DemandUpdate):
                    if first:
                        log.info("hearing activator", extra=fields(activator=update.activator, address=address))
                        first, failures = False, 0
                    self.hear(address, update)
                log.info("activator ended its stream", extra=fields(address=address))
            except (grpc.aio.AioRpcError, TimeoutError) as error:
                reason = error.details() if isinstance(error, grpc.aio.AioRpcError) else "silent"
                log.warning("activator not heard", extra=fields(address=address, reason=reason))
            finally:
                stream.cancel()
            failures += 1
            await asyncio.sleep(backoff(failures, _FIRST_RETRY, _LAST_RETRY))  # of a broken connection

    def hear(self, address: str, update: pb.DemandUpdate) -> None:
        """Put one update into the picture and push what follows from it."""
        now = self._clock()
        figures: dict[ServiceKey, Figures] = {
            ServiceKey(service.namespace, service.name): Figures(
                waiting=service.waiting,
                in_flight=service.in_flight,
                lease=service.lease,
                requests=service.requests,
                gone=service.gone,
            )
            for service in update.services
        }
        self._pulses.pulse(
            self._picture.hear(address, figures, snapshot=update.snapshot, now=now, instance=update.activator)
        )


async def _next(stream: "grpc.aio.UnaryStreamCall[pb.WatchRequest, pb.DemandUpdate]") -> object:
    """The next update, or grpc.aio.EOF. Raises TimeoutError where the activator is silent for too long."""
    async with asyncio.timeout(_SILENCE_SECONDS):
        return await stream.read()
