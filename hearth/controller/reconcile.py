"""One look at one LLMService: what should be, what is, and the writes that close the gap.

Level-triggered: it reads the world as it is now and may be run at any time, any number of times.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from hearth.api.base import API_VERSION, GROUP, VERSION
from hearth.api.inferenceruntime import InferenceRuntime
from hearth.api.labels import COMPONENT_LABEL, LLMSERVICE_LABEL
from hearth.api.llmservice import LLMService
from hearth.api.manifest import ManifestError, parse_llmservice
from hearth.api.quantity import parse_quantity
from hearth.controller.belongings import Belongings, ServiceKey
from hearth.controller.events import transitions
from hearth.controller.scaledobject import carried_over, given_up, metric_name, nudged
from hearth.controller.status import llmservice_status, runtime_not_resolved, verdicts
from hearth.controller.verdict import Verdict
from hearth.controller.world import World, phase_of, ready_replicas, wanted_replicas
from hearth.crd_translator import ClusterFacts, RuntimeNotResolved, render
from hearth.fleet import Fleet, Seen
from hearth.kube.client import KubeClient, KubeObject
from hearth.kube.errors import ApiUnavailable
from hearth.logs import fields

log = logging.getLogger(__name__)

MANAGER = "hearth-controller"
# Owns spec.replicas = 0 of a new Deployment until KEDA writes it: without an owner the API server would say 1.
CREATOR = "hearth-creator"

KEDA_LOOK_SECONDS = 10.0  # how often to see whether KEDA is there by now
NUDGE_SECONDS = 15.0  # what KEDA gets to act on a nudge, before the next
# How often to look at a service that has replicas: its queue depth and the progress of its start have no event.
LOOK_SECONDS = 5.0

EVENTS = "/apis/events.k8s.io/v1"
EXTERNAL_METRICS = "/apis/external.metrics.k8s.io/v1beta1"
COLLECTIONS = {
    "Deployment": "/apis/apps/v1",
    "Service": "/api/v1",
    "PersistentVolumeClaim": "/api/v1",
    "Job": "/apis/batch/v1",
    "ScaledObject": "/apis/keda.sh/v1alpha1",
}


class Reconciler:
    """`services`, `belongings`, `runtimes` and `facts` say what the informers know now; `look_again(key, seconds)` asks
    for another look; `identity` is this process' name in Events; `fleet` is told what each service is like."""

    def __init__(
        self,
        kube: KubeClient,
        services: Mapping[ServiceKey, KubeObject],
        belongings: Belongings,
        runtimes: Callable[[], list[InferenceRuntime]],
        facts: Callable[[], ClusterFacts],
        look_again: Callable[[ServiceKey, float], None],
        identity: str,
        fleet: Fleet,
    ) -> None:
        self._kube = kube
        self._services = services
        self._belongings = belongings
        self._runtimes = runtimes
        self._facts = facts
        self._look_again = look_again
        self._identity = identity
        self._fleet = fleet
        self._nudged: dict[ServiceKey, float] = {}
        self._settled: dict[ServiceKey, object] = {}

    async def reconcile(self, key: ServiceKey) -> None:
        """Raises ApiUnavailable where a write failed; the caller tries again."""
        item = self._services.get(key)
        if item is None or item["metadata"].get("deletionTimestamp"):
            self._nudged.pop(key, None)
            self._settled.pop(key, None)
            self._fleet.forget(key)
            return  # what it owned goes with it: the garbage collector follows the owner references
        runtime: str | None = None
        try:
            service = parse_llmservice(item, "API server")
            rendered = render(service, self._runtimes(), self._facts())
            runtime = rendered.runtime.metadata.name
            keda = await self._settle(service, item, rendered.objects)
            world = await self._observe(key)
            seen = Seen.of(service, phase_of(world), wanted_replicas(world), ready_replicas(world))
            self._fleet.see(key, seen)
            found = verdicts(world, runtime, keda=keda)
            if not keda:
                self._look_again(key, KEDA_LOOK_SECONDS)
        except ManifestError as error:
            world = self._world(key)
            found = [Verdict("Ready", False, "Invalid", "; ".join(f"{p.path}: {p.message}" for p in error.problems))]
        except RuntimeNotResolved as error:
            world = self._world(key)
            found = runtime_not_resolved(error.reason, str(error))
        except ApiUnavailable as error:
            if error.status is None or error.status >= 500 or error.status in (409, 429):
                raise
            refused = [Verdict("Ready", False, "Refused", str(error))]
            await self._write_status(key, item, self._world(key), refused, runtime)
            raise
        await self._write_status(key, item, world, found, runtime)

    async def _settle(self, service: LLMService, item: KubeObject, objects: tuple[KubeObject, ...]) -> bool:
        """Make what is there what should be; false where there is no KEDA to take the ScaledObject.

        Where nothing that it depends on has changed since this was done, it is not done again.
        """
        now = (objects, self._marks(service.key))
        if self._settled.get(service.key) == now:
            return True
        if not await self._apply(service, item, objects):
            return False
        await self._prune(item, objects)
        # What was seen before: where our own writes changed something, there is one more round.
        self._settled[service.key] = now
        return True

    def _marks(self, key: ServiceKey) -> list[object]:
        """What tells that somebody changed one of the objects that are applied, and does not change with a status."""
        made: list[object] = []
        for child in self._belongings.of(key, *COLLECTIONS):
            metadata = child["metadata"]
            version = metadata.get("generation") or metadata["resourceVersion"]
            made.append(
                (child["kind"], metadata["uid"], version, metadata.get("labels"), metadata.get("ownerReferences"))
            )
            if child["kind"] == "ScaledObject":
                made.append(object() if given_up(child) else None)  # equal to nothing: a nudge may be due
        return made

    async def _prune(self, item: KubeObject, objects: tuple[KubeObject, ...]) -> None:
        """Delete what the LLMService owns and needs no more: the claim of another cache strategy, an earlier Job."""
        wanted = {(rendered["kind"], rendered["metadata"]["name"]) for rendered in objects}
        namespace, name = item["metadata"]["namespace"], item["metadata"]["name"]
        for child in self._belongings.of((namespace, name), *COLLECTIONS):
            metadata = child["metadata"]
            ours = any(owner["uid"] == item["metadata"]["uid"] for owner in metadata.get("ownerReferences") or [])
            if ours and (child["kind"], metadata["name"]) not in wanted and not metadata.get("deletionTimestamp"):
                log.info("deleting what is no longer needed", extra=fields(kind=child["kind"], name=metadata["name"]))
                await self._kube.delete_object(object_path(child), metadata["uid"])

    def _world(self, key: ServiceKey) -> World:
        """What the informers know."""
        deployments, scaled = self._belongings.of(key, "Deployment"), self._belongings.of(key, "ScaledObject")
        pods = [pod for pod in self._belongings.of(key, "Pod") if not pod["metadata"].get("deletionTimestamp")]
        return World(next(iter(deployments), None), next(iter(scaled), None), pods)

    async def _observe(self, key: ServiceKey) -> World:
        """What the informers know, and of a service that has replicas what must be asked for."""
        world = self._world(key)
        if wanted_replicas(world) == 0:
            return replace(world, queue_depth=0 if world.deployment is not None else None)
        self._look_again(key, LOOK_SECONDS)
        events: list[KubeObject] = []
        if phase_of(world) in ("Loading", "Degraded"):
            for pod in world.pods:
                selector = f"involvedObject.uid={pod['metadata']['uid']}"
                listed = await self._kube.list_objects(f"/api/v1/namespaces/{key[0]}/events", field_selector=selector)
                events += sorted(listed.items, key=_time_of)
        return replace(world, events=events, queue_depth=await self._queue_depth(key, world.scaled_object))

    async def _queue_depth(self, key: ServiceKey, scaled_object: KubeObject | None) -> int | None:
        """The metric as KEDA tells it to the HPA; None where it can't be had."""
        name = metric_name(scaled_object)
        if name is None:
            return None
        path = f"{EXTERNAL_METRICS}/namespaces/{key[0]}/{name}"
        try:
            found = await self._kube.get_object(path, f"scaledobject.keda.sh/name={key[1]}")
        except ApiUnavailable:  # KEDA away, or the scaler blind: it is said in KEDA's own condition
            return None
        values: Sequence[KubeObject] = (found or {}).get("items") or []
        return sum(int(parse_quantity(value["value"])) for value in values) if values else None

    async def _apply(self, service: LLMService, item: KubeObject, objects: tuple[KubeObject, ...]) -> bool:
        """Apply everything; false where there is no KEDA to take the ScaledObject."""
        owner = {
            "apiVersion": API_VERSION,
            "kind": "LLMService",
            "name": item["metadata"]["name"],
            "uid": item["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
        for rendered in objects:
            wanted = {**rendered, "metadata": {**rendered["metadata"], "ownerReferences": [owner]}}
            path = object_path(wanted)
            match wanted["kind"]:
                case "Deployment":
                    await self._apply_deployment(service.key, path, wanted)
                case "ScaledObject":
                    if not await self._apply_scaled_object(service.key, path, wanted):
                        return False
                case _:
                    await self._kube.apply_object(path, wanted, MANAGER)
        return True

    async def _apply_scaled_object(self, key: ServiceKey, path: str, wanted: KubeObject) -> bool:
        """False where the API server knows no ScaledObjects. One that KEDA has given up is nudged."""
        found = self._world(key).scaled_object
        if found is not None:
            wanted = carried_over(wanted, found)
            if given_up(found):
                now = asyncio.get_running_loop().time()
                if now - self._nudged.get(key, -NUDGE_SECONDS) >= NUDGE_SECONDS:
                    log.warning("KEDA has given up, nudging it", extra=fields(service="/".join(key)))
                    self._nudged[key] = now
                    wanted = nudged(wanted)
                self._look_again(key, NUDGE_SECONDS)
        try:
            await self._kube.apply_object(path, wanted, MANAGER)
        except ApiUnavailable as error:
            # An unknown API is a plain "404 page not found"; a namespace that is gone answers 404 and names itself.
            if error.status == 404 and "page not found" in str(error):
                return False
            raise
        return True

    async def _apply_deployment(self, key: ServiceKey, path: str, wanted: KubeObject) -> None:
        """Create with no replicas, and leave spec.replicas to KEDA ever after."""
        # The informer may lag behind our own write, so its "there is none" is not enough to say 0.
        found = self._world(key).deployment or await self._kube.get_object(path)
        if found is None:
            with_zero = {**wanted, "spec": {**wanted["spec"], "replicas": 0}}
            found = await self._kube.apply_object(path, with_zero, MANAGER)
        if _owned_only_by_us(found):
            names = {"apiVersion": wanted["apiVersion"], "kind": wanted["kind"]}
            zero = {**names, "metadata": {"name": wanted["metadata"]["name"]}, "spec": {"replicas": 0}}
            await self._kube.apply_object(path, zero, CREATOR)
        await self._kube.apply_object(path, wanted, MANAGER)

    async def _write_status(
        self, key: ServiceKey, item: KubeObject, world: World, found: list[Verdict], runtime: str | None
    ) -> None:
        old = item.get("status") or {}
        namespace, name = key
        url = f"http://{name}.{namespace}.svc/v1"
        now = datetime.now(UTC)
        status = llmservice_status(
            world,
            found,
            old,
            runtime=runtime,
            selector=f"{LLMSERVICE_LABEL}={name},{COMPONENT_LABEL}=engine",
            url=url,
            generation=item["metadata"]["generation"],
            now=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        if status == old:
            return
        document = {
            "apiVersion": API_VERSION,
            "kind": "LLMService",
            "metadata": {"name": name, "namespace": namespace},
            "status": status,
        }
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/llmservices/{name}/status"
        await self._kube.apply_object(path, document, MANAGER)
        for event in transitions(item, old, status, now.isoformat(timespec="microseconds"), self._identity):
            await self._tell(event)
        if status["phase"] != old.get("phase"):
            log.info("phase", extra=fields(service="/".join(key), phase=status["phase"], before=old.get("phase")))

    async def _tell(self, event: KubeObject) -> None:
        """An Event is for people: the status stands even where it can't be written (a namespace that goes away)."""
        try:
            await self._kube.create_object(f"{EVENTS}/namespaces/{event['metadata']['namespace']}/events", event)
        except ApiUnavailable as error:
            if error.status != 409:  # told already
                log.warning("Event not written", extra=fields(reason=str(error)))


def object_path(item: KubeObject) -> str:
    """Where the API server has an object that the translator renders."""
    metadata = item["metadata"]
    plural = f"{item['kind'].lower()}s"
    return f"{COLLECTIONS[item['kind']]}/namespaces/{metadata['namespace']}/{plural}/{metadata['name']}"


def _time_of(event: KubeObject) -> str:
    """When an Event was seen last; RFC 3339 in UTC, which sorts as text."""
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"])


def _owned_only_by_us(deployment: KubeObject) -> bool:
    """Whether nobody but us says what spec.replicas is."""
    owners = {
        entry["manager"]
        for entry in deployment["metadata"].get("managedFields") or []
        if "f:replicas" in (entry.get("fieldsV1") or {}).get("f:spec", {})
    }
    return owners == {MANAGER}
