"""A cluster of emulators in this process: API server, controller manager, scheduler, kubelet and KEDA, with one Node.

What is applied goes through the API server's own rules. Roles get accounts with the rights that deploy/ gives them.
"""

import asyncio
import contextlib
import json
import secrets
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from hearth.emulators.apiserver import ApiOptions, Watches, create_api
from hearth.emulators.endpoints import SERVICE_LABEL, EndpointSlices, service_address
from hearth.emulators.garbage import GarbageCollector
from hearth.emulators.keda import HPA_SYNC_SECONDS
from hearth.emulators.kinds import KindTable, KubeObject
from hearth.emulators.kubelet import Kubelet, node_object
from hearth.emulators.rbac import ADMIN, Accounts, Rbac, account
from hearth.emulators.scaledobjects import KedaOperator
from hearth.emulators.scheduler import Scheduler
from hearth.emulators.store import Event, ObjectStore
from hearth.emulators.workloads import Deployments
from hearth.emulators.writes import Admission, Target, WriteOptions, Writes
from hearth.local.admission import admit
from hearth.local.engines import EngineOptions
from hearth.local.parts import Start, parts
from hearth.operations import EmbeddedServer, bind

NAMESPACE = "hearth-system"
NODE = "this-machine"
PEOPLE = "people"
_MANAGER = "hearth-up"


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """`rights` are the manifests of deploy/ with the roles' accounts. `devices` are the Node's extended resources.
    Without `keda` the API server knows no ScaledObjects. `admission` has the last word on every write."""

    folder: Path
    rights: Sequence[KubeObject]
    devices: Mapping[str, int] = field(default_factory=dict)
    engines: EngineOptions = field(default_factory=EngineOptions)
    hpa_sync_seconds: float = HPA_SYNC_SECONDS
    keda: bool = True
    admission: Admission = admit


class LocalCluster:
    """Made by `local_cluster`; `run` starts what acts in it."""

    def __init__(self, options: ClusterOptions, port: int, accounts: Mapping[str, str]) -> None:
        self.options = options
        self.url = f"http://127.0.0.1:{port}"
        self.store = ObjectStore()
        self.kinds = KindTable() if options.keda else _without_keda()
        self.writes = Writes(self.store, self.kinds, options.admission)
        self.kubelet = Kubelet(self.store, self.kinds, NODE, options.engines.place, options.folder)
        self.keda = KedaOperator(self.store, self.kinds, self.resolve, options.hpa_sync_seconds)
        for name, token in accounts.items():
            self.kubeconfig(name).write_text(json.dumps(kubeconfig(self.url, token)))

    def kubeconfig(self, name: str = PEOPLE) -> Path:
        """Leads to the API server as one of the accounts: a role's, or everybody's own that may do everything."""
        return self.options.folder / ("kubeconfig" if name == PEOPLE else f"{name}.kubeconfig")

    def resolve(self, host: str, port: int) -> str | None:
        """Where a name of the cluster leads."""
        return service_address(self.store, host, port)

    def apply(self, item: KubeObject) -> KubeObject:
        """Apply an object as `kubectl apply --server-side` does; its namespace is made. Raises Refusal."""
        kind = self.kinds.of(item)
        namespace = item["metadata"].get("namespace", "") if kind.namespaced else ""
        if namespace:
            self.make_namespace(namespace)
        target = Target(kind, namespace, item["metadata"]["name"])
        return self.writes.apply(target, item, WriteOptions(_MANAGER, force=True))

    def make_namespace(self, name: str) -> None:
        """Make a namespace, where it is not there."""
        if self.store.get("namespaces", "", name) is None:
            self.store.put("namespaces", _named("v1", "Namespace", name), generation=False)

    def serve(self, name: str, ports: Mapping[str, tuple[int, int]]) -> None:
        """A Service of ours with one endpoint on this machine: {port's name: (the Service's port, where it is)}."""
        declared = [{"name": port, "port": number} for port, (number, _) in ports.items()]
        item = _named("v1", "Service", name, NAMESPACE)
        self.store.put("services", {**item, "spec": {"ports": declared}}, generation=False)
        slice_ = _named("discovery.k8s.io/v1", "EndpointSlice", f"{name}-local", NAMESPACE)
        slice_["metadata"]["labels"] = {SERVICE_LABEL: name}
        self.store.put(
            "endpointslices",
            {
                **slice_,
                "addressType": "IPv4",
                "ports": [{"name": port, "port": place, "protocol": "TCP"} for port, (_, place) in ports.items()],
                "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
            },
        )

    def run(self, start: Start) -> None:
        """Start everything but KEDA, which waits for a scaler."""
        self.store.put("nodes", node_object(NODE, {name: str(count) for name, count in self.options.devices.items()}))
        # They hear an event in this order; a held request waits for the first.
        start("the EndpointSlice controller", EndpointSlices(self.store).run())
        start("the Deployment controller", Deployments(self.store, self.kinds).run())
        start("the scheduler", Scheduler(self.store).run())
        start("the garbage collector", GarbageCollector(self.store, self.kinds).run())
        start("the kubelet", self.kubelet.run())


@contextlib.asynccontextmanager
async def local_cluster(options: ClusterOptions) -> AsyncIterator[LocalCluster]:
    """A local API server with what acts on it, on a port of its own, until the context is left."""
    accounts = {PEOPLE: ADMIN}
    for document in options.rights:
        if document["kind"] == "ServiceAccount":
            name = document["metadata"]["name"]
            accounts[name.removeprefix("hearth-")] = account(NAMESPACE, name)
    tokens = {name: secrets.token_urlsafe(24) for name in accounts}
    listening = bind("127.0.0.1:0")
    cluster = LocalCluster(options, listening.getsockname()[1], tokens)
    cluster.store.put("namespaces", _named("v1", "Namespace", NAMESPACE), generation=False)
    users = {tokens[name]: user for name, user in accounts.items()}
    rbac = Rbac(options.rights, NAMESPACE)

    def changed(event: Event) -> None:
        if event.resource in {"roles", "rolebindings"}:
            rbac.load([*cluster.store.find("roles"), *cluster.store.find("rolebindings")])

    cluster.store.listen(changed)
    watches = Watches()
    app = create_api(
        cluster.store,
        watches,
        ApiOptions(
            cluster.kinds,
            options.admission,
            Accounts(users, rbac),
            cluster.keda.external_metrics if options.keda else None,
        ),
    )
    server = EmbeddedServer(uvicorn.Config(app, lifespan="off", ws="none", log_level="warning", access_log=False))
    async with parts() as start:
        start("the API server", _serve(server, listening, watches))
        yield cluster


async def _serve(server: EmbeddedServer, listening: socket.socket, watches: Watches) -> None:
    """Serve until cancelled; then watches end as they do when an API server stops."""
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        await asyncio.shield(serving)
    finally:
        watches.close()
        server.should_exit = True
        await serving
        listening.close()


def kubeconfig(server: str, token: str | None = None) -> dict[str, Any]:
    """A kubeconfig with one context."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": {"server": server}}],
        "users": [{"name": "local", "user": {"token": token} if token else {}}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": "local"}}],
        "current-context": "local",
    }


def _without_keda() -> KindTable:
    return KindTable(kind for kind in KindTable().kinds if kind.resource != "scaledobjects")


def _named(api_version: str, kind: str, name: str, namespace: str = "") -> KubeObject:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}
