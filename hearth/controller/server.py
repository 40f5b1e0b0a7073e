"""The controller as a process: informers that fill the queue, workers that reconcile."""

import asyncio
import logging
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry

from hearth.api.inferenceruntime import InferenceRuntime
from hearth.api.key import ServiceKey
from hearth.api.labels import LLMSERVICE_LABEL, POD_SELECTOR
from hearth.api.manifest import ManifestError, parse_runtime
from hearth.api.quantity import amount
from hearth.controller.belongings import Belongings
from hearth.controller.leader import Election
from hearth.controller.metrics import ControllerMetrics
from hearth.controller.reconcile import Reconciler
from hearth.crd_translator import ClusterFacts
from hearth.faults import contained
from hearth.fleet import Fleet
from hearth.kube.client import KubeClient
from hearth.kube.errors import KubeError
from hearth.kube.informer import Informer
from hearth.kube.kinds import INFERENCE_RUNTIME, LLMSERVICE, NODE, POD, RENDERED, SCALED_OBJECT
from hearth.kube.objects import KubeObject, ObjectKey, mapping
from hearth.kube.workqueue import WorkQueue
from hearth.logs import fields
from hearth.metrics import role_registry
from hearth.operations import operations_server
from hearth.process import announce, run_until, stop_signal

log = logging.getLogger(__name__)

WORKERS = 4


@dataclass(frozen=True, slots=True)
class ControllerConfig:
    """Without `kubeconfig`, the pod's account. `scaler_address` (host:port) and `activator_host` go into what is
    rendered. `operations_listen` (host:port) is where probes and Prometheus ask. With a `lease` (namespace, name),
    only its holder works; `identity` is this process' name on it. `accelerator_price` is that of an hour."""

    kubeconfig: Path | None
    scaler_address: str
    activator_host: str
    operations_listen: str
    lease: tuple[str, str] | None = None
    identity: str = ""
    accelerator_price: float | None = None


class Controller:
    """What it knows of the cluster, and the queue of LLMServices to look at."""

    def __init__(self, kube: KubeClient, config: ControllerConfig, registry: CollectorRegistry) -> None:
        self._config = config
        self.queue: WorkQueue[ServiceKey] = WorkQueue()
        self._services = Informer(kube, LLMSERVICE.everywhere, self._service_changed)
        self._runtimes = Informer(kube, INFERENCE_RUNTIME.everywhere, self._runtime_changed)
        self._readable: dict[ObjectKey, InferenceRuntime] = {}
        self._unreadable: dict[str, str] = {}
        self._nodes = Informer(kube, NODE.everywhere, self._cluster_changed)
        self._belongings = Belongings()
        self._children = [
            Informer(kube, kind.everywhere, partial(self._child_changed, kind.name), LLMSERVICE_LABEL)
            for kind in RENDERED.values()
            if kind is not SCALED_OBJECT
        ]
        self._children.append(Informer(kube, POD.everywhere, partial(self._child_changed, "Pod"), POD_SELECTOR))
        told = partial(self._child_changed, SCALED_OBJECT.name)
        self._scaled = Informer(kube, SCALED_OBJECT.everywhere, told, LLMSERVICE_LABEL)
        self._fleet = Fleet(time.monotonic, config.accelerator_price).register(registry)
        self._metrics = ControllerMetrics(registry, lambda: len(self.queue), lambda: self._watching)
        self._reconciler = Reconciler(
            kube,
            self._services.objects,
            self._belongings,
            self.runtimes,
            self.facts,
            config.identity,
            self._fleet,
            lambda: self._unreadable,
        )

        # Without KEDA its ScaledObjects can't be watched; that is said in conditions and not waited for.
        self._needed = (self._services, self._runtimes, self._nodes, *self._children)
        self._watching = False

    @property
    def ready(self) -> bool:
        """Whether it knows the cluster, or has not been asked to work yet: one that waits for the Lease is ready."""
        return not self._watching or all(informer.synced.is_set() for informer in self._needed)

    async def run(self) -> None:
        """Watch and reconcile until cancelled."""
        self._watching = True
        async with asyncio.TaskGroup() as group:
            for informer in (*self._needed, self._scaled):
                group.create_task(informer.run())
            for informer in self._needed:
                await informer.synced.wait()
            log.info("controller watching", extra=fields(services=len(self._services.objects)))
            for _ in range(WORKERS):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            key = await self.queue.take()
            failed, again = True, None
            try:
                with contained("reconcile", service=str(key)):
                    try:
                        with self._metrics.reconcile.time():
                            again = await self._reconciler.reconcile(key)
                        failed = False
                    except KubeError as error:
                        log.warning("not reconciled", extra=fields(service=str(key), reason=str(error)))
                self._metrics.errors += failed
            finally:
                self.queue.done(key, failed=failed, again=again)

    def runtimes(self) -> list[InferenceRuntime]:
        """The InferenceRuntimes that can be read, by name."""
        return [runtime for _, runtime in sorted(self._readable.items(), key=lambda pair: pair[0])]

    def facts(self) -> ClusterFacts:
        """What the translator must know of this cluster: the extended resources that some node can allocate."""
        names = {
            name
            for node in self._nodes.objects.values()
            for name, count in mapping(node, "status", "allocatable").items()
            if "/" in name and (amount(count) or 0) > 0
        }
        return ClusterFacts(self._config.activator_host, self._config.scaler_address, frozenset(names) or None)

    def _service_changed(self, key: ObjectKey, item: KubeObject | None) -> None:
        self.queue.add(ServiceKey(*key))

    def _child_changed(self, kind: str, key: ObjectKey, item: KubeObject | None) -> None:
        for service in self._belongings.put(kind, key, item):
            self.queue.add(service)

    def _runtime_changed(self, key: ObjectKey, item: KubeObject | None) -> None:
        self._readable.pop(key, None)
        self._unreadable.pop(key.name, None)
        if item is not None:
            try:
                self._readable[key] = parse_runtime(item, "API server")
            except ManifestError as error:
                self._unreadable[key.name] = "; ".join(f"{p.path}: {p.message}" for p in error.problems)
                log.warning("InferenceRuntime cannot be read", extra=fields(runtime=key[1], reason=str(error)))
        self._cluster_changed(key, item)

    def _cluster_changed(self, key: ObjectKey, item: KubeObject | None) -> None:
        for service in self._services.objects:
            self.queue.add(ServiceKey(*service))


async def run_controller(config: ControllerConfig) -> None:
    """Serve until SIGTERM or SIGINT. Raises KubeError without a way to the API server, OSError where the address
    can't be bound, LeadershipLost."""
    stop = stop_signal()
    registry = role_registry("controller")
    kube = await KubeClient.connect(config.kubeconfig)
    controller = Controller(kube, config, registry)
    try:
        async with operations_server(config.operations_listen, lambda: controller.ready, registry) as operations_port:
            announce("controller", operations=operations_port)
            work = controller.run()
            if config.lease is not None:
                work = Election(kube, *config.lease, config.identity).lead(work)
            await run_until(stop, work)
    finally:
        await kube.close()
    log.info("controller stopped")
