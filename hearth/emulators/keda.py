"""The embedded autoscaler's talk with our scaler: the same gRPC calls in the same order as KEDA 2.21 makes them.

For each ScaledObject: GetMetricSpec until its HPA is made, and nothing before; then StreamIsActive and StreamMetricSpec
kept open, GetMetrics and IsActive at every poll and at every sync of the HPA. KEDA's operator sets no deadline on its
calls, so a scaler that hangs holds up the poll, and, by the lock that they share, every push.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import grpc
from cronsim import CronSim

from hearth.emulators.autoscaler import Autoscaler, NotReproduced, ScalingRules
from hearth.emulators.hpa import Metric
from hearth.logs import fields
from hearth.proto import externalscaler_pb2 as pb
from hearth.proto.externalscaler_pb2_grpc import ExternalScalerStub

log = logging.getLogger(__name__)

HPA_SYNC_SECONDS = 15.0  # kube-controller-manager's --horizontal-pod-autoscaler-sync-period
# The HPA asks KEDA through the API server, whose --request-timeout ends what takes longer.
_HPA_REQUEST_SECONDS = 60.0
# A failed stream is retried after 2 s, then 4, 8 … 60 s; a clean end begins anew.
_FIRST_RETRY, _LAST_RETRY = 2.0, 60.0
# controller-runtime's: an HPA that could not be made is tried again after 5 ms, doubled.
_FIRST_RECONCILE, _LAST_RECONCILE = 0.005, 1000.0


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron trigger."""

    timezone: ZoneInfo
    start: str
    end: str
    replicas: int

    @classmethod
    def of(cls, metadata: dict[str, str]) -> "Cron":
        # CronSim has one sign for any value, and robfig/cron, which KEDA reads with, has two.
        start, end = (metadata[edge].replace("?", "*") for edge in ("start", "end"))
        return cls(ZoneInfo(metadata["timezone"]), start, end, int(metadata["desiredReplicas"]))

    def wanted(self, now: datetime) -> int:
        """The replicas that it wants at a moment. KEDA is in the window where the end comes before the next start."""
        local = now.astimezone(self.timezone)
        begins, ends = (next(CronSim(edge, local)) for edge in (self.start, self.end))
        return self.replicas if ends <= begins else 0


class EmbeddedKeda:
    """Scales one Deployment. `on_scale(replicas)` is called when the count changes, `on_hpa(metric, error)` at each try
    to make the HPA: with the name of our metric, or None and what the scaler said. Raises NotReproduced."""

    def __init__(
        self,
        scaled_object: dict[str, Any],
        channel: grpc.aio.Channel,
        on_scale: Callable[[int], None],
        hpa_sync_seconds: float = HPA_SYNC_SECONDS,
        on_hpa: Callable[[str | None, str], None] = lambda metric, error: None,
    ) -> None:
        self.autoscaler = Autoscaler(ScalingRules.of(scaled_object))
        self.queue_depth = 0.0
        metadata = scaled_object["metadata"]
        self._name = f"{metadata['namespace']}/{metadata['name']}"
        trigger, *others = scaled_object["spec"]["triggers"]
        for kind, found in (("external-push", trigger), *(("cron", other) for other in others)):
            if found["type"] != kind:
                raise NotReproduced(
                    f"ScaledObject {self._name}: spec.triggers: found type {found['type']!r}; the embedded KEDA has "
                    "one external-push and then cron"
                )
        self._ref = pb.ScaledObjectRef(
            name=metadata["name"], namespace=metadata["namespace"], scalerMetadata=trigger["metadata"]
        )
        self._crons = [Cron.of(other["metadata"]) for other in others]
        self._scaler = ExternalScalerStub(channel)
        self._on_scale = on_scale
        self._on_hpa = on_hpa
        self._hpa_sync_seconds = hpa_sync_seconds
        self._streamed: pb.MetricSpec | None = None
        self._in_hpa = False
        self._lock = asyncio.Lock()

    async def run(self) -> None:
        """Keep KEDA's and the HPA's rules until cancelled."""
        await self._make_hpa()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._stream_pushes())
            group.create_task(self._stream_specs())
            group.create_task(self._every(self.autoscaler.rules.polling, self._poll))
            # The HPA's first look is a period after it was made: its controller's queue is rate limited so.
            group.create_task(self._every(self._hpa_sync_seconds, self._hpa_sync, self._hpa_sync_seconds))

    async def _make_hpa(self) -> None:
        """Reconcile until there is an HPA. Beside a schedule it is made without our metric where that can't be had, and
        then every push is dropped until the ScaledObject changes (kedacore/keda#8168)."""
        delay = _FIRST_RECONCILE
        while True:
            try:
                made = await self._scaler.GetMetricSpec(self._ref)
            except grpc.aio.AioRpcError as error:
                self._on_hpa(None, error.details() or "")
                log.warning("HPA lacks our metric", extra=fields(scaled_object=self._name, reason=error.details()))
                if self._crons:
                    return
                await asyncio.sleep(delay)  # KEDA's own back-off
                delay = min(delay * 2, _LAST_RECONCILE)
            else:
                self._in_hpa = True
                self._on_hpa(made.metricSpecs[0].metricName, "")
                return

    async def _pushes(self) -> AsyncIterator[bool]:
        async for answer in self._scaler.StreamIsActive(self._ref):
            yield answer.result

    async def _stream_pushes(self) -> None:
        delay = _FIRST_RETRY
        while True:
            try:
                async for active in self._pushes():
                    if active and self._in_hpa:
                        async with self._lock:
                            self._apply(self.autoscaler.push)
                delay = _FIRST_RETRY
            except grpc.aio.AioRpcError as error:
                self._broke("StreamIsActive", error)
            await asyncio.sleep(delay)  # KEDA's own back-off
            delay = min(delay * 2, _LAST_RETRY)

    async def _stream_specs(self) -> None:
        delay = _FIRST_RETRY
        while True:
            try:
                async for answer in self._scaler.StreamMetricSpec(self._ref):
                    self._streamed = answer.metricSpecs[0]
                    delay = _FIRST_RETRY
                delay = _FIRST_RETRY
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    return  # never asked again
                self._broke("StreamMetricSpec", error)
            await asyncio.sleep(delay)  # KEDA's own back-off
            delay = min(delay * 2, _LAST_RETRY)

    def _broke(self, stream: str, error: grpc.aio.AioRpcError) -> None:
        extra = fields(scaled_object=self._name, stream=stream, reason=error.details())
        log.warning("scaler stream broke", extra=extra)

    @staticmethod
    async def _every(seconds: float, action: Callable[[], Coroutine[Any, Any, None]], first: float = 0.0) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + first
        while True:
            await asyncio.sleep(due - loop.time())  # the period is what is being reproduced
            due = loop.time() + seconds
            await action()

    async def _poll(self) -> None:
        async with self._lock:
            active, failed = any(cron.wanted(_now()) for cron in self._crons), False
            try:
                _, ours, _ = await self._asked(None)
                active = active or ours
            except grpc.aio.AioRpcError as error:
                failed = True
                log.info("scaler has no answer", extra=fields(scaled_object=self._name, reason=error.details()))
            self._apply(lambda now: self.autoscaler.poll(active, failed, now))

    async def _hpa_sync(self) -> None:
        if self.autoscaler.replicas == 0:
            self._apply(lambda now: self.autoscaler.hpa_sync([], now))
            return
        metrics: list[Metric] = [(float(cron.wanted(_now())), 1.0) for cron in self._crons]
        if self._in_hpa:
            try:
                value, _, target = await self._asked(_HPA_REQUEST_SECONDS)
                metrics.append((value, target))
            except grpc.aio.AioRpcError as error:
                metrics.append(None)
                log.warning("HPA has no metric", extra=fields(scaled_object=self._name, reason=error.details()))
        self._apply(lambda now: self.autoscaler.hpa_sync(metrics, now))

    async def _asked(self, timeout: float | None) -> tuple[float, bool, float]:
        """Value, activity and target of our metric; KEDA asks a second time where the first fails."""
        spec = self._streamed or (await self._scaler.GetMetricSpec(self._ref, timeout=timeout)).metricSpecs[0]
        target = spec.targetSizeFloat or float(spec.targetSize)
        try:
            return (*await self._state(spec.metricName, timeout), target)
        except grpc.aio.AioRpcError:
            return (*await self._state(spec.metricName, timeout), target)

    async def _state(self, metric: str, timeout: float | None) -> tuple[float, bool]:
        request = pb.GetMetricsRequest(scaledObjectRef=self._ref, metricName=metric)
        answer = await self._scaler.GetMetrics(request, timeout=timeout)
        active = (await self._scaler.IsActive(self._ref, timeout=timeout)).result
        self.queue_depth = sum(value.metricValueFloat or float(value.metricValue) for value in answer.metricValues)
        return self.queue_depth, active

    def _apply(self, change: Callable[[float], None]) -> None:
        before = self.autoscaler.replicas
        change(asyncio.get_running_loop().time())
        after = self.autoscaler.replicas
        if after != before:
            log.info("scaled", extra=fields(scaled_object=self._name, before=before, after=after))
            self._on_scale(after)


def _now() -> datetime:
    return datetime.now().astimezone()
