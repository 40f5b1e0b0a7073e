"""The embedded autoscaler's talk with our scaler: the same gRPC calls in the same order as KEDA 2.21 makes them.

For each ScaledObject: GetMetricSpec when its HPA is made; StreamIsActive and StreamMetricSpec kept open; GetMetrics
and IsActive at every poll; GetMetrics at every sync of the HPA.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import grpc
from cronsim import CronSim

from hearth.emulators.autoscaler import Autoscaler, ScalingRules
from hearth.logs import fields
from hearth.proto import externalscaler_pb2 as pb
from hearth.proto.externalscaler_pb2_grpc import ExternalScalerStub

log = logging.getLogger(__name__)

HPA_SYNC_SECONDS = 15.0  # kube-controller-manager's --horizontal-pod-autoscaler-sync-period
# A failed stream is retried after 2 s, then 4, 8 … 60 s; a clean end begins anew.
_FIRST_RETRY, _LAST_RETRY = 2.0, 60.0


class EmbeddedKeda:
    """Scales one Deployment. `on_scale(replicas)` is called when the count changes."""

    def __init__(
        self,
        scaled_object: dict[str, Any],
        channel: grpc.aio.Channel,
        on_scale: Callable[[int], None],
        hpa_sync_seconds: float = HPA_SYNC_SECONDS,
    ) -> None:
        self.autoscaler = Autoscaler(ScalingRules.of(scaled_object))
        self.queue_depth = 0.0
        metadata = scaled_object["metadata"]
        trigger = scaled_object["spec"]["triggers"][0]
        self._name = f"{metadata['namespace']}/{metadata['name']}"
        self._ref = pb.ScaledObjectRef(
            name=metadata["name"], namespace=metadata["namespace"], scalerMetadata=trigger["metadata"]
        )
        self._crons = [t["metadata"] for t in scaled_object["spec"]["triggers"][1:]]
        self._scaler = ExternalScalerStub(channel)
        self._on_scale = on_scale
        self._hpa_sync_seconds = hpa_sync_seconds
        self._spec: pb.MetricSpec | None = None

    async def run(self) -> None:
        """Keep KEDA's and the HPA's rules until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._stream(self._pushes))
            group.create_task(self._stream(self._specs))
            group.create_task(self._every(self.autoscaler.rules.polling, self._poll))
            group.create_task(self._every(self._hpa_sync_seconds, self._hpa_sync))

    async def _pushes(self) -> AsyncIterator[None]:
        async for answer in self._scaler.StreamIsActive(self._ref):
            if answer.result:
                self._apply(self.autoscaler.push)
            yield

    async def _specs(self) -> AsyncIterator[None]:
        async for answer in self._scaler.StreamMetricSpec(self._ref):
            self._spec = answer.metricSpecs[0]
            yield

    async def _stream(self, open_stream: Callable[[], AsyncIterator[None]]) -> None:
        delay = _FIRST_RETRY
        while True:
            try:
                async for _ in open_stream():
                    pass
                delay = _FIRST_RETRY
            except grpc.aio.AioRpcError as error:
                log.warning("scaler stream broke", extra=fields(scaled_object=self._name, reason=error.details()))
            await asyncio.sleep(delay)  # KEDA's own back-off
            delay = min(delay * 2, _LAST_RETRY)

    async def _every(self, seconds: float, action: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            await action()
            await asyncio.sleep(seconds)  # the period is what is being reproduced

    async def _poll(self) -> None:
        active: bool | None
        try:
            if self._spec is None:
                self._spec = (await self._scaler.GetMetricSpec(self._ref, timeout=5)).metricSpecs[0]
            await self._value(self._spec)
            active = (await self._scaler.IsActive(self._ref, timeout=5)).result or self._cron_replicas() > 0
        except grpc.aio.AioRpcError as error:
            log.info(
                "scaler has no answer, replicas stay", extra=fields(scaled_object=self._name, reason=error.details())
            )
            active = None
        self._apply(lambda now: self.autoscaler.poll(active, now))

    async def _hpa_sync(self) -> None:
        if self.autoscaler.replicas == 0 or self._spec is None:
            return
        try:
            metrics = [(await self._value(self._spec), self._spec.targetSizeFloat)]
        except grpc.aio.AioRpcError as error:
            log.warning("HPA has no metric", extra=fields(scaled_object=self._name, reason=error.details()))
            return
        if scheduled := self._cron_replicas():
            metrics.append((float(scheduled), 1.0))
        self._apply(lambda now: self.autoscaler.hpa_sync(metrics, now))

    async def _value(self, spec: pb.MetricSpec) -> float:
        request = pb.GetMetricsRequest(scaledObjectRef=self._ref, metricName=spec.metricName)
        answer = await self._scaler.GetMetrics(request, timeout=5)
        self.queue_depth = sum(value.metricValueFloat for value in answer.metricValues)
        return self.queue_depth

    def _cron_replicas(self) -> int:
        """The most replicas that a schedule wants now: KEDA's cron scaler."""
        wanted = 0
        for cron in self._crons:
            now = datetime.now(ZoneInfo(cron["timezone"]))
            # In the window where it ends before it begins again.
            begins, ends = (next(CronSim(cron[edge], now - timedelta(seconds=1))) for edge in ("start", "end"))
            if ends < begins:
                wanted = max(wanted, int(cron["desiredReplicas"]))
        return wanted

    def _apply(self, change: Callable[[float], None]) -> None:
        before = self.autoscaler.replicas
        change(asyncio.get_running_loop().time())
        after = self.autoscaler.replicas
        if after != before:
            log.info("scaled", extra=fields(scaled_object=self._name, before=before, after=after))
            self._on_scale(after)
