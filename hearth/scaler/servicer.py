"""KEDA's ExternalScaler over gRPC: each call translated to one question of the demand picture.

https://keda.sh/docs/latest/concepts/external-scalers/
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass

import grpc
from grpc.aio import ServicerContext

from hearth.api.key import ServiceKey
from hearth.proto import externalscaler_pb2 as pb
from hearth.proto.externalscaler_pb2_grpc import ExternalScalerServicer
from hearth.scaler.metrics import ScalerMetrics
from hearth.scaler.picture import Blind, DemandPicture
from hearth.scaler.pulses import Pulses
from hearth.tls.mutual import Mutual, admit

METRIC_NAME = "queueDepth"
MAX_TARGET = 2**31 - 1
"""KEDA's targetSize is a whole number; an LLMService's target is no larger."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """What a ScaledObject's external-push trigger asks about."""

    key: ServiceKey
    target: float


class InvalidTrigger(Exception):
    """The trigger's metadata cannot be used; the text names the field."""


def parse_trigger(ref: pb.ScaledObjectRef) -> Trigger:
    """Read the trigger's metadata: `target`, and `namespace` and `name` of the LLMService.

    The ScaledObject's own namespace and name stand in for the last two. Raises InvalidTrigger.
    """
    metadata = ref.scalerMetadata
    key = ServiceKey(metadata.get("namespace") or ref.namespace, metadata.get("name") or ref.name)
    where = f"ScaledObject {ref.namespace}/{ref.name}: trigger metadata"
    if not all(key):
        raise InvalidTrigger(f"{where}: found no namespace or no name; expected those of an LLMService")
    found = metadata.get("target", "")
    try:
        target = float(found)
    except ValueError:
        target = 0.0
    if not 0 < target <= MAX_TARGET:  # NaN is neither
        raise InvalidTrigger(
            f"{where}: target: found {found[:80]!r}; expected a number above zero, at most {MAX_TARGET}"
        )
    return Trigger(key, target)


class _Waiting:
    """What a stream was not told yet: one pulse at most, since true twice is true once, and the end."""

    def __init__(self) -> None:
        self._told = asyncio.Event()
        self._pulsed: float | None = None
        self._ended = False

    def tell(self, pulsed: float | None) -> None:
        """A pulse at this time; None: the end."""
        self._ended = self._ended or pulsed is None
        if self._pulsed is None:
            self._pulsed = pulsed
        self._told.set()

    async def pulse(self) -> float | None:
        """The time of the first pulse that was not taken yet; None at the end."""
        while self._pulsed is None and not self._ended:
            self._told.clear()
            await self._told.wait()
        pulsed, self._pulsed = self._pulsed, None
        return pulsed


class ExternalScaler(ExternalScalerServicer):
    """The five calls of KEDA 2.21's protocol. With `mutual`, of whoever has KEDA's certificate."""

    def __init__(
        self,
        picture: DemandPicture,
        pulses: Pulses,
        metrics: ScalerMetrics,
        clock: Callable[[], float] = time.monotonic,
        mutual: Mutual | None = None,
    ) -> None:
        self._picture = picture
        self._metrics = metrics
        self._pulses = pulses
        self._clock = clock
        self._mutual = mutual

    async def IsActive(self, request: pb.ScaledObjectRef, context: ServicerContext) -> pb.IsActiveResponse:  # type: ignore[type-arg]
        """Whether anybody waits or is being answered. UNAVAILABLE where that is not known: KEDA then does nothing."""
        trigger = await self._trigger(request, context)
        return pb.IsActiveResponse(result=await self._active(trigger, context))

    async def StreamIsActive(
        self,
        request: pb.ScaledObjectRef,
        context: ServicerContext,  # type: ignore[type-arg]
    ) -> AsyncIterator[pb.IsActiveResponse]:
        """The present state, where it is known; then true whenever demand begins, and once more when it ends.

        The stream ends with OK on shutdown, since KEDA's back-off grows with every other end.
        """
        trigger = await self._trigger(request, context)
        waiting = _Waiting()
        with self._pulses.listen(trigger.key, waiting.tell):
            await context.send_initial_metadata(())  # the caller learns that it is listened for, even from the blind
            with suppress(Blind):  # no state is said rather than a guess; the next pulse or KEDA's poll will say
                yield pb.IsActiveResponse(result=self._picture.demand(trigger.key, self._clock()).active)
            while (pulsed := await waiting.pulse()) is not None:
                yield pb.IsActiveResponse(result=True)
                self._metrics.push.observe(self._clock() - pulsed)  # when gRPC has taken it

    async def GetMetricSpec(self, request: pb.ScaledObjectRef, context: ServicerContext) -> pb.GetMetricSpecResponse:  # type: ignore[type-arg]
        """The target per replica, from the trigger's metadata."""
        return _metric_spec(await self._trigger(request, context))

    async def StreamMetricSpec(
        self,
        request: pb.ScaledObjectRef,
        context: ServicerContext,  # type: ignore[type-arg]
    ) -> AsyncIterator[pb.GetMetricSpecResponse]:
        """The target on open. It can't change while the stream lasts: a changed ScaledObject gets a new stream."""
        trigger = await self._trigger(request, context)
        waiting = _Waiting()
        with self._pulses.until_closed(waiting.tell):
            yield _metric_spec(trigger)
            await waiting.pulse()

    async def GetMetrics(self, request: pb.GetMetricsRequest, context: ServicerContext) -> pb.GetMetricsResponse:  # type: ignore[type-arg]
        """queueDepth: requests waiting and in flight over all activators. UNAVAILABLE where that is not known."""
        trigger = await self._trigger(request.scaledObjectRef, context)
        if request.metricName not in ("", METRIC_NAME):
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"metricName: found {request.metricName!r}; this scaler has {METRIC_NAME!r}",
            )
        try:
            depth = self._picture.demand(trigger.key, self._clock()).queue_depth
            self._metrics.told(trigger.key, depth, trigger.target)
        except Blind as blind:
            self._metrics.blind_answers += 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(blind))
        value = pb.MetricValue(metricName=METRIC_NAME, metricValue=depth, metricValueFloat=float(depth))
        return pb.GetMetricsResponse(metricValues=[value])

    async def _active(self, trigger: Trigger, context: ServicerContext) -> bool:  # type: ignore[type-arg]
        try:
            return self._picture.demand(trigger.key, self._clock()).active
        except Blind as blind:
            self._metrics.blind_answers += 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(blind))

    async def _trigger(self, ref: pb.ScaledObjectRef, context: ServicerContext) -> Trigger:  # type: ignore[type-arg]
        await admit(context, self._mutual)
        try:
            return parse_trigger(ref)
        except InvalidTrigger as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))


def _metric_spec(trigger: Trigger) -> pb.GetMetricSpecResponse:
    # targetSize, the deprecated whole number, is for KEDA before 2.17; it must not round down to "no target".
    spec = pb.MetricSpec(
        metricName=METRIC_NAME, targetSize=max(1, round(trigger.target)), targetSizeFloat=trigger.target
    )
    return pb.GetMetricSpecResponse(metricSpecs=[spec])
