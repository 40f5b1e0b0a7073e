"""The controller as a process: informers that fill the queue, workers that reconcile."""

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

from hearth.api.base import GROUP, VERSION
from hearth.api.inferenceruntime import InferenceRuntime
from hearth.api.labels import ENGINE_SELECTOR, LLMSERVICE_LABEL
from hearth.api.manifest import ManifestError, parse_runtime
from hearth.controller.leader import Election
from hearth.controller.reconcile import Reconciler, ServiceKey
from hearth.controller.status import World
from hearth.crd_translator import ClusterFacts
from hearth.kube.client import KubeClient, KubeObject
from hearth.kube.errors import ApiUnavailable
from hearth.kube.informer import Informer, ObjectKey
from hearth.kube.workqueue import WorkQueue
from hearth.logs import fields
from hearth.process import run_until, stop_signal

log = logging.getLogger(__name__)

WORKERS = 4


@dataclass(frozen=True, slots=True)
class ControllerConfig:
    """Without `kubeconfig`, the pod's account. `scaler_address` (host:port) and `activator_host` go into what is
    rendered. With a `lease` (namespace, name), only its holder works; `identity` is this process' name on it."""

    kubeconfig: Path | None
    scaler_address: str
    activator_host: str
    lease: tuple[str, str] | None = None
    identity: str = ""


class Controller:
    """What it knows of the cluster, and the queue of LLMServices to look at."""

    def __init__(self, kube: KubeClient, config: ControllerConfig) -> None:
        self._config = config
        self.queue: WorkQueue[ServiceKey] = WorkQueue()
        self._services = Informer(kube, f"/apis/{GROUP}/{VERSION}/llmservices", self._service_changed)
        self._runtimes = Informer(kube, f"/apis/{GROUP}/{VERSION}/inferenceruntimes", self._runtime_changed)
        self._readable: dict[ObjectKey, InferenceRuntime] = {}
        self._nodes = Informer(kube, "/api/v1/nodes", self._cluster_changed)
        self._deployments = Informer(kube, "/apis/apps/v1/deployments", self._child_changed, ENGINE_SELECTOR)
        self._pods = Informer(kube, "/api/v1/pods", self._child_changed, ENGINE_SELECTOR)
        self._scaled = Informer(kube, "/apis/keda.sh/v1alpha1/scaledobjects", self._child_changed, LLMSERVICE_LABEL)
        self._reconciler = Reconciler(
            kube, self._services.objects, self.runtimes, self.world, self.facts, self.queue.add_after, config.identity
        )

    async def run(self) -> None:
        """Watch and reconcile until cancelled."""
        informers = (self._services, self._runtimes, self._nodes, self._deployments, self._pods, self._scaled)
        async with asyncio.TaskGroup() as group:
            for informer in informers:
                group.create_task(informer.run())
            # Without KEDA its ScaledObjects can't be watched; that is said in conditions and not waited for.
            for informer in informers[:-1]:
                await informer.synced.wait()
            log.info("controller watching", extra=fields(services=len(self._services.objects)))
            for _ in range(WORKERS):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            key = await self.queue.take()
            failed = False
            try:
                await self._reconciler.reconcile(key)
            except ApiUnavailable as error:
                failed = True
                log.warning("not reconciled", extra=fields(service="/".join(key), reason=str(error)))
            finally:
                self.queue.done(key, failed=failed)

    def runtimes(self) -> list[InferenceRuntime]:
        """The InferenceRuntimes that can be read, by name."""
        return [runtime for _, runtime in sorted(self._readable.items(), key=lambda pair: pair[0])]

    def facts(self) -> ClusterFacts:
        """What the translator must know of this cluster: the extended resources that some node can allocate."""
        names = {
            name
            for node in self._nodes.objects.values()
            for name, count in ((node.get("status") or {}).get("allocatable") or {}).items()
            if "/" in name and count != "0"
        }
        return ClusterFacts(self._config.activator_host, self._config.scaler_address, frozenset(names) or None)

    def world(self, key: ServiceKey) -> World:
        """What there is for one LLMService."""
        pods = [
            pod
            for (namespace, _), pod in self._pods.objects.items()
            if namespace == key[0]
            and pod["metadata"]["labels"].get(LLMSERVICE_LABEL) == key[1]
            and not pod["metadata"].get("deletionTimestamp")
        ]
        return World(self._deployments.objects.get(key), self._scaled.objects.get(key), pods)

    def _service_changed(self, key: ObjectKey, item: KubeObject | None) -> None:
        self.queue.add(key)

    def _child_changed(self, key: ObjectKey, item: KubeObject | None) -> None:
        """Children that are not pods bear their service's name; a pod that is gone is told by its Deployment."""
        name = key[1] if item is None else item["metadata"]["labels"].get(LLMSERVICE_LABEL, key[1])
        self.queue.add((key[0], name))

    def _runtime_changed(self, key: ObjectKey, item: KubeObject | None) -> None:
        self._readable.pop(key, None)
        if item is not None:
            try:
                self._readable[key] = parse_runtime(item, "API server")
            except ManifestError as error:
                log.warning("InferenceRuntime cannot be read", extra=fields(runtime=key[1], reason=str(error)))
        self._cluster_changed(key, item)

    def _cluster_changed(self, key: ObjectKey, item: KubeObject | None) -> None:
        for service in self._services.objects:
            self.queue.add(service)


async def run_controller(config: ControllerConfig) -> None:
    """Serve until SIGTERM or SIGINT. Raises ApiUnavailable without a way to the API server, LeadershipLost."""
    stop = stop_signal()
    kube = await KubeClient.connect(config.kubeconfig)
    work = Controller(kube, config).run()
    if config.lease is not None:
        work = Election(kube, *config.lease, config.identity).lead(work)
    try:
        await run_until(stop, work)
    finally:
        await kube.close()
    log.info("controller stopped")
