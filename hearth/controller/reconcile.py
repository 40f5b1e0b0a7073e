"""One look at one LLMService: what should be, what is, and the writes that close the gap.

Level-triggered: it reads the world as it is now and may be run at any time, any number of times.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from hearth.api.base import API_VERSION, GROUP, VERSION
from hearth.api.inferenceruntime import InferenceRuntime
from hearth.api.llmservice import LLMService
from hearth.api.manifest import ManifestError, parse_llmservice
from hearth.controller.status import Verdict, World, llmservice_status, runtime_not_resolved, verdicts
from hearth.crd_translator import ClusterFacts, RuntimeNotResolved, render
from hearth.kube.client import KubeClient, KubeObject
from hearth.kube.errors import ApiUnavailable
from hearth.logs import fields

log = logging.getLogger(__name__)

ServiceKey = tuple[str, str]

MANAGER = "hearth-controller"
# Owns spec.replicas = 0 of a new Deployment until KEDA writes it: without an owner the API server would say 1.
CREATOR = "hearth-creator"

COLLECTIONS = {
    "Deployment": "/apis/apps/v1",
    "Service": "/api/v1",
    "PersistentVolumeClaim": "/api/v1",
    "Job": "/apis/batch/v1",
    "ScaledObject": "/apis/keda.sh/v1alpha1",
}


class Reconciler:
    """`services`, `runtimes`, `world` and `facts` say what the informers know now."""

    def __init__(
        self,
        kube: KubeClient,
        services: Mapping[ServiceKey, KubeObject],
        runtimes: Callable[[], list[InferenceRuntime]],
        world: Callable[[ServiceKey], World],
        facts: Callable[[], ClusterFacts],
    ) -> None:
        self._kube = kube
        self._services = services
        self._runtimes = runtimes
        self._world = world
        self._facts = facts

    async def reconcile(self, key: ServiceKey) -> None:
        """Raises ApiUnavailable where a write failed; the caller tries again."""
        item = self._services.get(key)
        if item is None or item["metadata"].get("deletionTimestamp"):
            return  # what it owned goes with it: the garbage collector follows the owner references
        runtime: str | None = None
        try:
            service = parse_llmservice(item, "API server")
            rendered = render(service, self._runtimes(), self._facts())
            runtime = rendered.runtime.metadata.name
            await self._apply(service, item, rendered.objects)
            found = verdicts(self._world(key), runtime)
        except ManifestError as error:
            found = [Verdict("Ready", False, "Invalid", "; ".join(f"{p.path}: {p.message}" for p in error.problems))]
        except RuntimeNotResolved as error:
            found = runtime_not_resolved(str(error))
        except ApiUnavailable as error:
            if error.status is None or error.status >= 500 or error.status in (409, 429):
                raise
            await self._write_status(key, item, [Verdict("Ready", False, "Refused", str(error))], runtime)
            raise
        await self._write_status(key, item, found, runtime)

    async def _apply(self, service: LLMService, item: KubeObject, objects: tuple[KubeObject, ...]) -> None:
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
            if wanted["kind"] == "Deployment":
                await self._apply_deployment(service.key, path, wanted)
            else:
                await self._kube.apply_object(path, wanted, MANAGER)

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

    async def _write_status(self, key: ServiceKey, item: KubeObject, found: list[Verdict], runtime: str | None) -> None:
        old = item.get("status") or {}
        namespace, name = key
        url = f"http://{name}.{namespace}.svc/v1"
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        status = llmservice_status(self._world(key), found, old, runtime, url, item["metadata"]["generation"], now)
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
        if status["phase"] != old.get("phase"):
            log.info("phase", extra=fields(service="/".join(key), phase=status["phase"], before=old.get("phase")))


def object_path(item: KubeObject) -> str:
    """Where the API server has an object that the translator renders."""
    metadata = item["metadata"]
    plural = f"{item['kind'].lower()}s"
    return f"{COLLECTIONS[item['kind']]}/namespaces/{metadata['namespace']}/{plural}/{metadata['name']}"


def _owned_only_by_us(deployment: KubeObject) -> bool:
    """Whether nobody but us says what spec.replicas is."""
    owners = {
        entry["manager"]
        for entry in deployment["metadata"].get("managedFields") or []
        if "f:replicas" in (entry.get("fieldsV1") or {}).get("f:spec", {})
    }
    return owners == {MANAGER}
