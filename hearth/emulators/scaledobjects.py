"""KEDA's operator and its metrics adapter: each ScaledObject scaled by keda.py, its status, its external metrics.

Replicas are written through the scale subresource of the Deployment, as KEDA and the HPA do. A trigger's certificate is
read when its ScaledObject is taken, by a ClusterTriggerAuthentication, from KEDA's own namespace. Left out: the HPA as
an object, pausing in one direction, fallback, and Secrets that the engine's environment names.
"""

import asyncio
import base64
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc

from hearth.emulators.apiserver import external_metric_value
from hearth.emulators.autoscaler import NotReproduced
from hearth.emulators.causes import cause
from hearth.emulators.keda import HPA_SYNC_SECONDS, EmbeddedKeda
from hearth.emulators.kinds import KindTable, KubeObject
from hearth.emulators.refusals import Refusal
from hearth.emulators.selectors import Predicate
from hearth.emulators.store import Event, ObjectStore, timestamp
from hearth.emulators.writes import Target, WriteOptions, Writes
from hearth.logs import fields
from hearth.proto import externalscaler_pb2 as pb
from hearth.proto.externalscaler_pb2_grpc import ExternalScalerStub
from hearth.tls.certificates import Pair, ends
from hearth.tls.credentials import Held
from hearth.tls.mutual import channel_to

log = logging.getLogger(__name__)

MANAGER = NAMESPACE = "keda"
_PAUSED, _PAUSED_REPLICAS = (f"autoscaling.keda.sh/{name}" for name in ("paused", "paused-replicas"))
_TRUE = ("1", "t", "T", "true", "True", "TRUE")  # Go's strconv.ParseBool
NAME_LABEL = "scaledobject.keda.sh/name"
_FIRST_RETRY, _LAST_RETRY = 0.5, 30.0  # between two looks for a scaler

Key = tuple[str, str]
Resolve = Callable[[str, int], str | None]
"""Where host:port is reached from here; None while there is nobody."""


@dataclass(frozen=True, slots=True)
class Pause:
    """KEDA leaves the Deployment alone, once it has brought it to `replicas`; None: to as many as there are.
    https://keda.sh/docs/latest/concepts/scaling-deployments/#pausing-autoscaling"""

    replicas: int | None

    @classmethod
    def of(cls, item: KubeObject) -> "Pause | None":
        """What a ScaledObject's annotations ask for."""
        annotations = item["metadata"].get("annotations") or {}
        if _PAUSED_REPLICAS in annotations:
            count = annotations[_PAUSED_REPLICAS]
            return cls(int(count) if count.isdecimal() else None)
        return cls(None) if annotations.get(_PAUSED) in _TRUE else None


class KedaOperator:
    """Scales what ScaledObjects name, until cancelled."""

    def __init__(
        self, store: ObjectStore, kinds: KindTable, resolve: Resolve, hpa_sync_seconds: float = HPA_SYNC_SECONDS
    ) -> None:
        self._store = store
        self._writes = Writes(store, kinds)
        self._deployments = kinds.named("deployments")
        self._resolve = resolve
        self._hpa_sync_seconds = hpa_sync_seconds
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._scalers: dict[Key, EmbeddedKeda] = {}
        self._taken: dict[Key, tuple[int, Pause | None]] = {}
        self._channels: dict[tuple[str, Held | None], grpc.aio.Channel] = {}

    async def run(self) -> None:
        """Raises what goes wrong in here; a scaler that can't be reached does not."""
        try:
            async with asyncio.TaskGroup() as group:
                stop = self._store.listen(lambda event: self._hear(group, event))
                try:
                    for item in self._store.find("scaledobjects"):
                        self._take(group, item)
                    await asyncio.Event().wait()
                finally:
                    stop()
        finally:
            for channel in self._channels.values():
                await channel.close()

    async def external_metrics(self, namespace: str, metric: str, selected: Predicate) -> list[KubeObject]:
        """What the HPA would be told: asked of the scaler now. Raises Refusal."""
        values = []
        for item in self._store.find("scaledobjects", namespace):
            labels = {NAME_LABEL: item["metadata"]["name"]}
            names = (item.get("status") or {}).get("externalMetricNames") or []
            if metric not in names or not selected({"metadata": {"labels": labels}}):
                continue
            trigger = item["spec"]["triggers"][int(metric.partition("-")[0][1:])]
            if "scalerAddress" not in trigger["metadata"]:
                continue  # a schedule: its value is the adapter's own
            request = pb.GetMetricsRequest(scaledObjectRef=_ref(item), metricName=metric.partition("-")[2])
            try:
                answer = await ExternalScalerStub(self._channel(trigger)).GetMetrics(request, timeout=5)
            except (grpc.aio.AioRpcError, LookupError) as error:
                raise Refusal(500, "InternalError", f"error getting metric {metric}: {error}") from error
            value = sum(each.metricValueFloat for each in answer.metricValues)
            values.append(external_metric_value(metric, labels, value))
        if not values:
            raise Refusal(404, "NotFound", f"No matching metrics found for {metric}")
        return values

    def _hear(self, group: asyncio.TaskGroup, event: Event) -> None:
        metadata = event.object["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        if event.resource == "scaledobjects":
            if event.type == "DELETED":
                self._drop(key)
                self._taken.pop(key, None)
            else:
                self._take(group, event.object)
        elif event.resource == "deployments":
            replicas = event.object["spec"].get("replicas", 1)
            for item in self._store.find("scaledobjects", key[0], lambda item: _scales(item, key[1])):
                scaler = self._scalers.get((key[0], item["metadata"]["name"]))
                if scaler is not None:  # somebody may have scaled it by hand: the HPA goes on from there
                    scaler.autoscaler.replicas = replicas

    def _take(self, group: asyncio.TaskGroup, item: KubeObject) -> None:
        """Begin with a ScaledObject, or begin anew where its spec has changed, or whether it is paused."""
        key = (item["metadata"]["namespace"], item["metadata"]["name"])
        pause = Pause.of(item)
        now, taken = (item["metadata"]["generation"], pause), self._taken.get(key)
        if taken == now:
            return
        before = self._scalers.get(key)
        self._drop(key)
        self._taken[key] = now
        if pause is not None:
            if pause.replicas is not None:
                self._write(key, (key[0], item["spec"]["scaleTargetRef"]["name"]), pause.replicas)
            self._write_status(key, _condition("Paused", "True", "ScaledObjectPaused", "ScaledObject is paused"))
            return
        if taken is not None and taken[1] is not None:
            gone = "pause annotation removed for ScaledObject"
            self._write_status(key, _condition("Paused", "False", "ScaledObjectUnpaused", gone))
        last_active = before.autoscaler.last_active if before is not None else None
        self._tasks[key] = group.create_task(self._scale(key, item, last_active), name=f"keda {'/'.join(key)}")

    def _drop(self, key: Key) -> None:
        self._scalers.pop(key, None)
        if (task := self._tasks.pop(key, None)) is not None:
            task.cancel()

    async def _scale(self, key: Key, item: KubeObject, last_active: float | None) -> None:
        """Scale until cancelled; what goes wrong is told in this ScaledObject's status and is its own alone."""
        try:
            await self._scale_one(key, item, last_active)
        except Exception as error:
            log.exception("a ScaledObject failed", extra=fields(scaled_object="/".join(key)))
            self._write_status(key, _failed(f"{type(cause(error)).__name__}: {cause(error)}"))

    async def _scale_one(self, key: Key, item: KubeObject, last_active: float | None) -> None:
        target = (key[0], item["spec"]["scaleTargetRef"]["name"])
        channel = await self._reached(key, item)
        crons = [f"s{number}-cron" for number in range(1, len(item["spec"]["triggers"]))]
        try:
            keda = EmbeddedKeda(
                item,
                channel,
                lambda replicas: self._write(key, target, replicas),
                self._hpa_sync_seconds,
                lambda metric, error: self._write_hpa(key, metric, error, crons),
            )
        except NotReproduced as error:
            self._write_status(key, _failed(str(error)))
            return
        deployment = self._store.get("deployments", *target)
        keda.autoscaler.replicas = ((deployment or {}).get("spec") or {}).get("replicas", 0)
        keda.autoscaler.last_active = last_active
        self._scalers[key] = keda
        await keda.run()

    async def _reached(self, key: Key, item: KubeObject) -> grpc.aio.Channel:
        """The way to the scaler, as soon as there is one."""
        delay = _FIRST_RETRY
        while True:
            try:
                return self._channel(item["spec"]["triggers"][0])
            except LookupError as error:
                self._write_status(key, _failed(f"failed to ensure HPA is correctly created for ScaledObject: {error}"))
            await asyncio.sleep(delay)  # KEDA's own back-off
            delay = min(delay * 2, _LAST_RETRY)

    def _write_hpa(self, key: Key, metric: str | None, error: str, crons: list[str]) -> None:
        """What became of a try to make the HPA, which is no object here: hpaName would name nothing. Beside a schedule
        it is made without our metric."""
        if metric is None and not crons:
            self._write_status(key, _failed(f"failed to ensure HPA is correctly created for ScaledObject: {error}"))
            return
        message = "ScaledObject is defined correctly and is ready for scaling"
        self._write_status(
            key,
            _condition("Ready", "True", "ScaledObjectReady", message),
            externalMetricNames=[*([] if metric is None else [f"s0-{metric}"]), *crons],
            scaleTargetKind="apps/v1.Deployment",
        )
        self._write_active(key, self._scalers[key].autoscaler.replicas)

    def _channel(self, trigger: dict[str, Any]) -> grpc.aio.Channel:
        """To the scaler that a trigger names. Raises LookupError while there is nobody."""
        given = trigger["metadata"]["scalerAddress"]
        host, _, port = given.rpartition(":")
        address = self._resolve(host, int(port))
        if address is None:
            raise LookupError(f"{given}: no endpoints are ready")
        held = self._certificate(trigger)
        if (address, held) not in self._channels:
            self._channels[address, held] = channel_to(address, held, host)
        return self._channels[address, held]

    def certificate(self) -> Held | None:
        """What the first ClusterTriggerAuthentication that there is leads to; None where that is nothing yet."""
        with contextlib.suppress(LookupError):
            for found in self._store.find("clustertriggerauthentications"):
                return self._read_certificate(found)
        return None

    def _certificate(self, trigger: dict[str, Any]) -> Held | None:
        """What a trigger's authenticationRef leads to. Raises LookupError where something of it is not there."""
        reference = trigger.get("authenticationRef")
        if reference is None:
            return None
        found = self._store.get("clustertriggerauthentications", "", reference["name"])
        if reference.get("kind") != "ClusterTriggerAuthentication" or found is None:
            raise LookupError(f"{reference.get('kind')} {reference['name']} is not there")
        return self._read_certificate(found)

    def _read_certificate(self, found: KubeObject) -> Held:
        given = {}
        for target in found["spec"]["secretTargetRef"]:
            secret = self._store.get("secrets", NAMESPACE, target["name"]) or {}
            given[target["parameter"]] = base64.b64decode((secret.get("data") or {}).get(target["key"], ""))
        if not all(given.values()):
            raise LookupError(f"Secret {NAMESPACE}/{target['name']} is not there, or has nothing in it")
        pair = Pair(given["tlsClientCert"], given["tlsClientKey"])
        return Held(pair, given["caCert"], ends(pair.certificate), 0.0)

    def _write(self, key: Key, target: Key, replicas: int) -> None:
        with contextlib.suppress(Refusal):  # the Deployment is gone, and what it was scaled by goes next
            scale = {"spec": {"replicas": replicas}}
            self._writes.replace(Target(self._deployments, *target, "scale"), scale, WriteOptions(MANAGER))
            self._write_active(key, replicas)

    def _write_active(self, key: Key, replicas: int) -> None:
        if replicas:
            message = "Scaling is performed because triggers are active"
            active = _condition("Active", "True", "ScalerActive", message)
            self._write_status(key, active, lastActiveTime=timestamp())
        else:
            message = "Scaling is not performed because triggers are not active"
            self._write_status(key, _condition("Active", "False", "ScalerNotActive", message))

    def _write_status(self, key: Key, condition: KubeObject, **changes: Any) -> None:
        item = self._store.get("scaledobjects", *key)
        if item is None:
            return
        status = item.get("status") or {}
        others = [each for each in status.get("conditions") or [] if each["type"] != condition["type"]]
        conditions = sorted([*others, condition], key=lambda each: str(each["type"]))
        item["status"] = {**status, **changes, "conditions": conditions}
        self._store.put("scaledobjects", item)


def _ref(item: KubeObject) -> pb.ScaledObjectRef:
    metadata, trigger = item["metadata"], item["spec"]["triggers"][0]
    return pb.ScaledObjectRef(
        name=metadata["name"], namespace=metadata["namespace"], scalerMetadata=trigger["metadata"]
    )


def _scales(item: KubeObject, deployment: str) -> bool:
    return bool(item["spec"]["scaleTargetRef"]["name"] == deployment)


def _failed(message: str) -> KubeObject:
    return _condition("Ready", "False", "ScaledObjectCheckFailed", message)


def _condition(kind: str, status: str, reason: str, message: str) -> KubeObject:
    return {"type": kind, "status": status, "reason": reason, "message": message}
