"""The controller as a process: informers that fill the queue, workers that reconcile."""

import asyncio
import logging
import time
from collections import ChainMap
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

from prometheus_client import CollectorRegistry

from hearth.api.key import ServiceKey
from hearth.api.labels import LLMSERVICE_LABEL, POD_SELECTOR
from hearth.backoff import backoff
from hearth.controller.belongings import Belongings
from hearth.controller.certificates import Certificates
from hearth.controller.issuing import PLAIN_SCALER_PORT, Issuing, about_alone, only_plain, service_of
from hearth.controller.kedalease import LEASE_NAME, KedaLease
from hearth.controller.keyaccess import KINDS, Keys
from hearth.controller.keys import ACCESS, KeyAccess, KeyUsers, counted
from hearth.controller.leader import Election
from hearth.controller.metrics import ControllerMetrics
from hearth.controller.reconcile import Reconciler
from hearth.controller.runtimes import Runtimes
from hearth.controller.scalers import Scalers
from hearth.crd_translator import ClusterFacts, EngineClient
from hearth.devices import claimed_resources, extended_resources, is_ready
from hearth.faults import contained
from hearth.fleet import Fleet
from hearth.kube.client import KubeClient
from hearth.kube.errors import KubeError
from hearth.kube.informer import Informer, OnChange
from hearth.kube.kinds import (
    DEVICE_CLASS,
    ENDPOINT_SLICE,
    HPA,
    INFERENCE_RUNTIME,
    LEASE,
    LLMSERVICE,
    NETWORK_POLICY,
    NODE,
    POD,
    RENDERED,
    RESOURCE_SLICE,
    SCALED_OBJECT,
    SECRET,
    Kind,
)
from hearth.kube.objects import KubeObject, ObjectKey, labels_of, mapping, name_of
from hearth.kube.workqueue import WorkQueue
from hearth.logs import fields
from hearth.metrics import role_registry
from hearth.operations import operations_server
from hearth.process import announce, run_until, stop_signal
from hearth.tls.names import KEDA_AUTHENTICATION

log = logging.getLogger(__name__)

WORKERS = 16
WORKERS_OF_ONE = 8
"""Of one namespace at a time: an admission webhook there may take ten seconds for each write."""
KEDA_SECONDS = 10.0
"""How often to look at KEDA's Lease: that nothing happens has no event."""
DEVICES_SECONDS = 10.0
"""How long a first choice of runtimes waits for what tells of devices: an account may have no right to see it."""


@dataclass(frozen=True, slots=True)
class ControllerConfig:
    """Without `kubeconfig`, the pod's account. `scaler_address` (host:port) and `activator_host` go into what is
    rendered. `operations_listen` (host:port) is where probes and Prometheus ask. With a `lease` (namespace, name),
    only its holder works; `identity` is this process' name on it. `accelerator_price` is that of an hour. LLMServices
    of `namespaces` are looked after, of all where there are none. `key_access`: who may read which Secrets of API keys.
    `engine_clients` may reach engines; without one, everybody may. `issuing`: which certificates there are, and who
    makes them.
    """

    kubeconfig: Path | None
    scaler_address: str
    activator_host: str
    operations_listen: str
    lease: tuple[str, str] | None = None
    identity: str = ""
    accelerator_price: float | None = None
    namespaces: tuple[str, ...] = ()
    key_access: KeyAccess = field(default_factory=lambda: KeyAccess(("hearth-system", "hearth-activator")))
    issuing: Issuing = field(default_factory=Issuing)
    engine_clients: tuple[EngineClient, ...] = ()


class Controller:
    """What it knows of the cluster, and the queue of LLMServices to look at."""

    def __init__(self, kube: KubeClient, config: ControllerConfig, registry: CollectorRegistry) -> None:
        self._kube = kube
        self._config = config
        self._keda = KedaLease()
        self._keda_away: str | None = None
        self._keda_known = False
        self.queue: WorkQueue[ServiceKey] = WorkQueue(lambda key: key.namespace, WORKERS_OF_ONE)
        services = self._informers(LLMSERVICE, self._service_changed)
        self._services = ChainMap(*(informer.objects for informer in services))
        self._runtimes = Informer(kube, INFERENCE_RUNTIME.everywhere, self._runtime_changed)
        self.runtimes = Runtimes(kube, self._runtimes.objects)
        self._nodes = Informer(kube, NODE.everywhere, partial(self._cluster_changed, NODE.name))
        self._classes = Informer(kube, DEVICE_CLASS.everywhere, partial(self._cluster_changed, DEVICE_CLASS.name))
        self._slices = Informer(kube, RESOURCE_SLICE.everywhere, partial(self._cluster_changed, RESOURCE_SLICE.name))
        self._devices_known = asyncio.Event()
        self._facts: ClusterFacts | None = None
        self._told: dict[tuple[str, ObjectKey], object] = {}
        self._belongings = Belongings()
        children = [
            informer
            for kind in RENDERED.values()
            if kind not in (SCALED_OBJECT, NETWORK_POLICY)
            for informer in self._informers(kind, partial(self._child_changed, kind.name), LLMSERVICE_LABEL)
        ]
        children += self._informers(POD, partial(self._child_changed, POD.name), POD_SELECTOR)
        self._scalers = Scalers()
        hpas = self._informers(HPA, partial(self._scaler_changed, HPA.name))
        scaled = self._informers(SCALED_OBJECT, self._scaled_object_changed)
        policies = self._informers(NETWORK_POLICY, partial(self._child_changed, NETWORK_POLICY.name), LLMSERVICE_LABEL)
        self._users = KeyUsers()
        names = config.key_access.secrets
        rights = [self._informers(kind, self._key_right_changed, by_name=ACCESS) for kind in KINDS]
        secrets = [
            each for name in names for each in self._informers(SECRET, self._keys_changed, by_name=name, kept=counted)
        ]
        self._keys = Keys(
            *(kube, config.key_access, self._users),
            [ChainMap(*(informer.objects for informer in informers)) for informers in rights],
            ChainMap(*(informer.objects for informer in secrets)),
            lambda: all(informer.synced.is_set() for informer in secrets),
        )
        self._certificates, certificates, self._scalers_seen = self._issuing(config.issuing, registry)
        self._scaler_slices = ChainMap(*(informer.objects for informer in self._scalers_seen))
        self._fleet = Fleet(time.monotonic, config.accelerator_price).register(registry)
        self._metrics = ControllerMetrics(
            registry,
            lambda: len(self.queue),
            lambda: self._watching,
            lambda: self._keda_away is None if self._keda_known else None,
        )
        self._reconciler = Reconciler(
            kube,
            self._services,
            self._belongings,
            self._scalers,
            self.runtimes,
            self.facts,
            config.identity,
            self._fleet,
            lambda: self._keda_away,
            self._keys,
            lambda: self._keda_known,
        )

        # Without KEDA its ScaledObjects can't be watched; that is said in conditions and not waited for. Nor are HPAs,
        # nor what an account that an earlier version's manifests gave its rights may not see.
        self._needed = (*services, self._runtimes, self._nodes, *children)
        told = (*certificates, *self._scalers_seen)
        self._informed = (*self._needed, *scaled, *policies, *hpas, *chain(*rights), *secrets, *told)
        self._watching = False

    def _issuing(
        self, issuing: Issuing, registry: CollectorRegistry
    ) -> tuple[Certificates | None, list[Informer], list[Informer]]:
        """What makes certificates, what tells of changed ones, and of scalers that are there; nothing in plain text."""
        if issuing.mode == "off":
            return None, [], []
        made = Certificates(self._kube, issuing, self._scaler_changes).register(registry)

        def told(path: str, name: str) -> Informer:  # that one has changed is all that is kept of it here
            named = f"metadata.name={name}"
            return Informer(self._kube, path, lambda key, item: made.changed(), "", named, about_alone)

        places = {issuing.keda, issuing.made_for_keda}
        if issuing.mode == "controller":
            places |= {issuing.authority, *(place for place, _ in issuing.wanted.values())}
        secrets = [told(SECRET.within(place.namespace), place.name) for place in sorted(places)]
        service = service_of(self._config.scaler_address)
        selector = f"kubernetes.io/service-name={service.name}" if service is not None else ""
        slices = (
            [Informer(self._kube, ENDPOINT_SLICE.within(service.namespace), self._scaler_slice_changed, selector)]
            if service is not None
            else []
        )
        return made, secrets, slices

    def _informers(
        self,
        kind: Kind,
        on_change: OnChange,
        label_selector: str = "",
        by_name: str = "",
        kept: Callable[[KubeObject], KubeObject] = lambda item: item,
    ) -> list[Informer]:
        """One for each namespace that is looked after; `by_name`: of the objects with this name alone."""
        paths = kind.paths(self._config.namespaces)
        named = f"metadata.name={by_name}" if by_name else ""
        return [Informer(self._kube, path, on_change, label_selector, named, kept) for path in paths]

    @property
    def ready(self) -> bool:
        """Whether it knows the cluster, or has not been asked to work yet: one that waits for the Lease is ready."""
        return not self._watching or all(informer.synced.is_set() for informer in self._needed)

    async def run(self) -> None:
        """Watch and reconcile until cancelled."""
        self._watching = True
        async with asyncio.TaskGroup() as group:
            for informer in self._informed:
                group.create_task(informer.run())
            group.create_task(self._watch_devices(group))
            for informer in self._needed:
                await informer.synced.wait()
            await self._know_devices()
            if self._certificates is not None:
                group.create_task(self._certificates.run())
                await self._know_scalers(self._certificates)
            group.create_task(self.runtimes.run())
            log.info("controller watching", extra=fields(services=len(self._services)))
            group.create_task(self._watch_keda())
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

    async def _watch_devices(self, group: asyncio.TaskGroup) -> None:
        """Watch what tells of devices without a device plugin, where this API server knows of it."""
        failures, known = 0, None
        while known is None:
            with contained("watch", path=DEVICE_CLASS.everywhere):
                try:
                    known = await self._kube.get_object(DEVICE_CLASS.api) is not None
                    break
                except KubeError as error:
                    log.warning("DeviceClasses are not known yet", extra=fields(reason=str(error)))
            failures += 1
            await asyncio.sleep(backoff(failures, 0.2, 5.0))
        for informer in (self._classes, self._slices) if known else ():
            group.create_task(informer.run())
            await informer.synced.wait()
        self._devices_known.set()

    async def _know_devices(self) -> None:
        """A choice of runtime lasts, so that none is made before it is known what there is; what nobody lets us see is
        not waited for."""
        try:
            async with asyncio.timeout(DEVICES_SECONDS):
                await self._devices_known.wait()
        except TimeoutError:
            log.warning("no DeviceClasses and ResourceSlices", extra=fields(seconds=DEVICES_SECONDS))

    async def _know_scalers(self, certificates: Certificates) -> None:
        """KEDA is told the way to the scaler once it is known how those that are there speak; what nobody lets us see
        is not waited for."""
        try:
            async with asyncio.timeout(DEVICES_SECONDS):
                await certificates.looked.wait()
                for informer in self._scalers_seen:
                    await informer.synced.wait()
        except TimeoutError:
            log.warning("no scalers are seen", extra=fields(seconds=DEVICES_SECONDS))

    async def _watch_keda(self) -> None:
        """Look at KEDA's Lease; where it is away, or is back, every LLMService has another status."""
        clock = asyncio.get_running_loop().time
        while True:
            with contained("lease"):
                try:
                    found = await self._kube.list_objects(
                        LEASE.everywhere, field_selector=f"metadata.name={LEASE_NAME}"
                    )
                    self._keda.see(found.items, clock())
                    away, known = self._keda.away(clock()), self._keda.known(clock())
                except KubeError as error:
                    log.debug("KEDA's Lease can't be read", extra=fields(reason=str(error)))
                    away, known = None, self._keda_known
                if ((away is None), known) != ((self._keda_away is None), self._keda_known):
                    if (away is None) is not (self._keda_away is None):
                        log.warning("KEDA is away" if away else "KEDA is back", extra=fields(reason=away))
                    self._keda_away, self._keda_known = away, known
                    self._look_at_all()
            await asyncio.sleep(KEDA_SECONDS)

    def facts(self) -> ClusterFacts:
        """What the translator must know of this cluster."""
        if self._facts is None:
            self._facts = self._gathered()
        return self._facts

    def _gathered(self) -> ClusterFacts:
        nodes = self._nodes.objects.values()
        ready = [node for node in nodes if is_ready(node)]
        names = {name_of(node) for node in ready}
        claimed = claimed_resources(self._classes.objects.values(), list(self._slices.objects.values()), names)
        plugged = extended_resources(nodes)
        there = frozenset(name for counts in (plugged, claimed) for name, count in counts.items() if count > 0)
        address, authentication, certificate = self._scaler()
        return ClusterFacts(
            self._config.activator_host,
            address,
            there or None,
            frozenset({*plugged, *claimed}) - there,
            tuple(labels_of(node) for node in ready),
            self._config.engine_clients,
            authentication,
            certificate,
        )

    def _scaler(self) -> tuple[str, str, str]:
        """Where KEDA reaches the scaler, and by which authentication and certificate."""
        address = self._config.scaler_address
        if self._certificates is None or only_plain(self._scaler_slices.values()):
            # Scalers of before an upgrade go on being asked until one of those after it is ready.
            plain = self._certificates is not None
            return (f"{address.rpartition(':')[0]}:{PLAIN_SCALER_PORT}" if plain else address), "", ""
        return address, KEDA_AUTHENTICATION, self._certificates.shown

    def _scaler_slice_changed(self, key: ObjectKey, item: KubeObject | None) -> None:
        if self._facts is not None and self._scaler()[0] != self._facts.scaler_address:
            self._scaler_changes()

    def _scaler_changes(self) -> None:
        """KEDA is to reach it otherwise, or with another certificate."""
        self._facts = None
        self._look_at_all()

    def _service_changed(self, key: ObjectKey, item: KubeObject | None) -> None:
        self._users.put(ServiceKey(*key), item)
        self.queue.add(ServiceKey(*key))

    def _keys_changed(self, secret: ObjectKey, item: KubeObject | None) -> None:
        for name, use in self._users.of(secret.namespace).items():
            if use.secret == secret.name:
                self.queue.add(ServiceKey(secret.namespace, name))

    def _key_right_changed(self, key: ObjectKey, item: KubeObject | None) -> None:
        # Of all its users each one's look does the same; where there is none any more, anybody's does.
        self.queue.add(ServiceKey(key.namespace, next(iter(self._users.of(key.namespace)), ACCESS)))

    def _child_changed(self, kind: str, key: ObjectKey, item: KubeObject | None) -> None:
        for service in self._belongings.put(kind, key, item):
            self.queue.add(service)

    def _scaler_changed(self, kind: str, key: ObjectKey, item: KubeObject | None) -> None:
        for service in self._scalers.put(kind, key, item):
            if ObjectKey(*service) in self._services:
                self.queue.add(service)

    def _scaled_object_changed(self, key: ObjectKey, item: KubeObject | None) -> None:
        self._child_changed(SCALED_OBJECT.name, key, item)
        self._scaler_changed(SCALED_OBJECT.name, key, item)

    def _runtime_changed(self, key: ObjectKey, item: KubeObject | None) -> None:
        self.runtimes.put(key.name, item)
        self._look_at_all()

    def _cluster_changed(self, kind: str, key: ObjectKey, item: KubeObject | None) -> None:
        # Nodes write their status every few minutes, and mostly it is the same to us.
        before = self._told.pop((kind, key), None)
        if item is not None:
            parts = mapping(item, "spec"), mapping(item, "status", "allocatable")
            self._told[kind, key] = (is_ready(item), labels_of(item), *parts)
        if self._told.get((kind, key)) != before:
            self._facts = None
            self._look_at_all()

    def _look_at_all(self) -> None:
        for service in self._services:
            self.queue.add(ServiceKey(*service))


async def run_controller(config: ControllerConfig) -> None:
    """Serve until SIGTERM or SIGINT. Raises KubeError where nothing says how to reach the API server, OSError where the
    address can't be bound, LeadershipLost. An API server that is away is waited for."""
    stop = stop_signal()
    registry = role_registry("controller")
    kube = await KubeClient.connect(config.kubeconfig)
    controller = Controller(kube, config, registry)
    election = Election(kube, *config.lease, config.identity) if config.lease is not None else None

    def ready() -> bool:
        return controller.ready and (election is None or election.answered)

    try:
        async with operations_server(config.operations_listen, ready, registry) as operations_port:
            announce("controller", operations=operations_port)
            work = controller.run()
            await run_until(stop, election.lead(work) if election is not None else work)
    finally:
        await kube.close()
    log.info("controller stopped")
