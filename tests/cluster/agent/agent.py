"""The agent: registers Nodes, and runs the pods that the scheduler bound to them.

As a process (`python -m tests.cluster.agent`) it serves all nodes of a test bed, from one network namespace.
"""

import asyncio
import contextlib
import dataclasses
import itertools
import json
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hearth.api.manifest import load_runtimes
from hearth.emulators.container import expand
from hearth.emulators.pod import Pod, PodSpec
from hearth.emulators.podstatus import View, pod_status
from hearth.kube.client import KubeClient, KubeObject
from hearth.kube.errors import KubeError
from hearth.kube.informer import Informer, ObjectKey
from hearth.kube.objects import condition, text
from hearth.logs import fields
from tests.builders import ROOT
from tests.cluster.agent.image import Image
from tests.cluster.agent.network import PodNetwork
from tests.cluster.agent.provided import NotProvided, Provider
from tests.cluster.agent.sandbox import Mount, Sandbox, rights_of
from tests.cluster.agent.storage import Storage
from tests.cluster.controlplane import HOST

log = logging.getLogger(__name__)

LEASE_SECONDS = 10.0  # the kubelet's: nodeLeaseDurationSeconds / 4
RETRY_SECONDS = 1.0  # between two looks for what a container needs; the kubelet's is longer

# What vendors' drivers put on a node.
DRIVER_FILES = {"huawei.com/Ascend910": ("usr/local/bin/npu-smi", "etc/ascend_install.info")}

PATH = "/opt/hearth/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Node:
    """A node and its extended resources."""

    name: str
    devices: dict[str, str]


class Agent:
    """Everything that nodes share. `folder` holds their state; `engines.json` in it, where it is there, has arguments
    of the simulated engine: {"NAME or *": [argument, …]}, read at each start of one."""

    def __init__(self, kube: KubeClient, nodes: tuple[Node, ...], image: Image, folder: Path) -> None:
        self.kube = kube
        self.image = image
        self.folder = folder
        self.network = PodNetwork()
        self.engine_images = {runtime.spec.container.image for runtime in load_runtimes(ROOT / "runtimes")}
        self.pulled: set[tuple[str, str]] = set()
        self._nodes = {node.name: node for node in nodes}
        self._pods = Informer(kube, "/api/v1/pods", self._pod_changed)
        self._running: dict[str, RunningPod] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._keys: dict[ObjectKey, str] = {}

    async def run(self) -> None:
        """Serve until cancelled; then every pod is killed. Raises KubeError where the nodes can't be registered."""
        for node in self._nodes.values():
            await self._register(node)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(Storage(self.kube, self.folder / "volumes").run())
                group.create_task(self._pods.run())
                for name in self._nodes:
                    group.create_task(self._renew(name))
                log.info("nodes registered", extra=fields(nodes=",".join(self._nodes)))
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def engine_arguments(self, service: str) -> list[str]:
        """What the simulated engine of an LLMService is started with."""
        file = self.folder / "engines.json"
        known: dict[str, list[str]] = json.loads(file.read_text()) if file.exists() else {}
        return known.get(service, known.get("*", ["--start-seconds=0.2", "--load-seconds=0.5"]))

    def root_of(self, node: str) -> Path:
        """The folder that stands for a node's file system."""
        return self.folder / "nodes" / node

    async def _register(self, node: Node) -> None:
        for file in itertools.chain.from_iterable(DRIVER_FILES.get(device, ()) for device in node.devices):
            driver = self.root_of(node.name) / file
            driver.parent.mkdir(parents=True, exist_ok=True)
            driver.touch()
        path = f"/api/v1/nodes/{node.name}"
        labels = {"kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
        document: KubeObject = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name, "labels": labels}}
        await self.kube.apply_object(path, document, "kubelet")
        await self._tell_of(node)

    async def _tell_of(self, node: Node) -> None:
        """Write the Node's status: it is ready. Raises KubeError."""
        capacity = {"cpu": "64", "memory": "512Gi", "pods": "250", "ephemeral-storage": "1Ti", **node.devices}
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "message": "the tests' node agent is ready",
            "lastHeartbeatTime": now(),
            "lastTransitionTime": now(),
        }
        status = {
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": [ready],
            "addresses": [{"type": "InternalIP", "address": HOST}, {"type": "Hostname", "address": node.name}],
        }
        document = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name}, "status": status}
        await self.kube.apply_object(f"/api/v1/nodes/{node.name}/status", document, "kubelet")

    async def _renew(self, node: str) -> None:
        """A node whose Lease is not renewed is taken for lost, until its kubelet says again that it is ready."""
        while True:
            lease = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": node, "namespace": "kube-node-lease"},
                "spec": {
                    "holderIdentity": node,
                    "leaseDurationSeconds": 40,
                    "renewTime": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
                },
            }
            path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node}"
            with contextlib.suppress(KubeError):  # the next one may arrive
                await self.kube.apply_object(path, lease, "kubelet")
                known = await self.kube.get_object(f"/api/v1/nodes/{node}")
                if known is not None and text(condition(known, "Ready"), "status") != "True":
                    await self._tell_of(self._nodes[node])
            await asyncio.sleep(LEASE_SECONDS)

    def _pod_changed(self, key: ObjectKey, item: KubeObject | None) -> None:
        uid = item["metadata"]["uid"] if item is not None else None
        if (before := self._keys.get(key)) not in (None, uid):  # deleted by force: nobody waits for its end
            del self._keys[key]
            if task := self._tasks.get(before):
                task.cancel()
        if item is None or uid is None or item["spec"].get("nodeName") not in self._nodes:
            return
        if uid not in self._tasks and (item.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            self._keys[key] = uid
            self._running[uid] = RunningPod(self, item)
            task = self._tasks[uid] = asyncio.create_task(self._running[uid].run(), name="/".join(key))
            task.add_done_callback(lambda done: self._ended(uid, done))
        if item["metadata"].get("deletionTimestamp") and uid in self._running:
            self._running[uid].terminate(item["metadata"].get("deletionGracePeriodSeconds"))

    def _ended(self, uid: str, task: "asyncio.Task[None]") -> None:
        del self._running[uid], self._tasks[uid]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("pod lost by its agent", extra=fields(pod=task.get_name()), exc_info=error)


class RunningPod:
    """One pod, from the scheduler's binding to its last status."""

    def __init__(self, agent: Agent, item: KubeObject) -> None:
        self._agent = agent
        self._item = item
        self._metadata: KubeObject = item["metadata"]
        (self._container,) = item["spec"]["containers"]
        self._node: str = item["spec"]["nodeName"]
        self._path = f"/api/v1/namespaces/{self._metadata['namespace']}/pods/{self._metadata['name']}"
        self._folder = agent.folder / "pods" / self._metadata["uid"]
        self._view = View()
        self._pod: Pod | None = None
        self._preparing: asyncio.Task[PodSpec] | None = None
        self._terminating = False
        self._changed = asyncio.Event()
        self._events = 0

    async def run(self) -> None:
        """Returns when the pod is over and the API server knows. Cancelled: its process is killed."""
        self._folder.mkdir(parents=True)
        telling = asyncio.create_task(self._tell())
        try:
            await self._live()
        finally:
            telling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await telling
        self._view.over, self._view.ready, self._view.pid = True, False, None
        await self._until_told(self._write_status)
        if self._terminating:
            uid = self._metadata["uid"]
            await self._until_told(lambda: self._agent.kube.delete_object(self._path, uid, grace_seconds=0))

    def terminate(self, grace_seconds: int | None) -> None:
        """The API server has a deletion of it."""
        self._terminating = True
        if self._pod is None:
            if self._preparing is not None:
                self._preparing.cancel()
            return
        if grace_seconds is not None:
            self._pod.spec = dataclasses.replace(self._pod.spec, grace_seconds=grace_seconds)
        self._pod.stop()

    async def _live(self) -> None:
        attachment = await self._agent.network.attach(self._metadata["name"])
        try:
            self._view.address = attachment.address
            if self._terminating:
                return
            self._preparing = asyncio.create_task(self._prepare(attachment.holder.pid))
            try:
                spec = await self._preparing
            except asyncio.CancelledError:
                if self._terminating:
                    return
                raise
            log_file = self._agent.folder / "logs" / f"{self._metadata['namespace']}_{self._metadata['name']}.log"
            log_file.parent.mkdir(exist_ok=True)
            self._pod = Pod(spec, log_file, self._observe)
            if self._terminating:
                return
            await self._pod.run()
        finally:
            await self._agent.network.detach(attachment)

    async def _prepare(self, holder: int) -> PodSpec:
        """Pull the image and gather what the container needs, however long that takes."""
        await self._pull()
        provider = Provider(self._agent.kube, self._agent.root_of(self._node))
        while True:
            try:
                given = await provider.environment(self._item, self._container)
                mounts = await provider.mounts(self._item, self._container, self._folder / "volumes")
                break
            except NotProvided as error:
                self._wait(error.reason, str(error))
            except KubeError as error:
                log.warning("pod waits for the API server", extra=fields(reason=str(error)))
            await asyncio.sleep(RETRY_SECONDS)  # what a kubelet does: look again
        image = self._agent.image
        mine = self._container["image"] not in self._agent.engine_images
        rights = rights_of(self._item["spec"], self._container, image.user if mine else None)
        sandbox = Sandbox(
            self._folder,
            holder,
            {
                "PATH": PATH,
                "HOME": "/",  # what container runtimes say where the image has no such user
                "HOSTNAME": self._metadata["name"],
                # What the kubelet gives every container; the API server's Service is the first address of the range.
                "KUBERNETES_SERVICE_HOST": "10.201.0.1",
                "KUBERNETES_SERVICE_PORT": "443",
                **(image.env if mine else {}),
                **given,
            },
            [_opt(image), *mounts],
            self._names(),
            **rights,
        )
        return PodSpec.of_container(
            self._metadata["name"],
            self._container,
            command=sandbox.command(self._command(mine, given)),
            env=dict(os.environ),  # of what enters the sandbox; the container's own is the sandbox's
            port=None,
            grace_seconds=self._item["spec"]["terminationGracePeriodSeconds"],
            address=self._view.address or "",
            enter=sandbox.enter,
        )

    def _names(self) -> dict[str, str]:
        """Files by which the container finds names: as the test bed's own, its namespace's Services first."""
        resolv = Path("/etc/resolv.conf").read_text().replace("search ", f"search {self._metadata['namespace']}.", 1)
        hosts = f"127.0.0.1 localhost\n{self._view.address} {self._metadata['name']}\n"
        return {"/etc/resolv.conf": resolv, "/etc/hosts": hosts}

    def _command(self, mine: bool, env: dict[str, str]) -> list[str]:
        given = [expand(word, env) for word in self._container.get("args", [])]
        command = [expand(word, env) for word in self._container.get("command", [])]
        if mine:
            return [*(command or self._agent.image.entrypoint), *given]
        # The simulated engine in place of the image, told what the engine is told.
        options = dict(itertools.pairwise(given))
        name = options.get("--served-model-name") or options["--alias"]
        engine = ["/opt/hearth/bin/python", "-m", "hearth.emulators.engine", *self._agent.engine_arguments(name)]
        return [*engine, "--", *(command or ["vllm", "serve"]), *given]

    async def _pull(self) -> None:
        image = self._container["image"]
        if (self._node, image) in self._agent.pulled:
            return
        await self._event("Normal", "Pulling", f'Pulling image "{image}"')
        if image not in self._agent.engine_images and image != "hearth:latest":
            message = f'failed to pull and unpack image "{image}": not found'
            await self._event("Warning", "Failed", message)
            self._wait("ErrImagePull", message)
            await asyncio.Event().wait()  # nobody can make it exist here
        self._agent.pulled.add((self._node, image))
        await self._event("Normal", "Pulled", f'Successfully pulled image "{image}"')

    def _wait(self, reason: str, message: str) -> None:
        self._view.waiting = (reason, message)
        self._changed.set()

    def _observe(self, pod: Pod) -> None:
        """The container did something."""
        view = self._view
        if pod.pid != view.pid:
            if pod.pid is None:
                view.exited_at = now()
            else:
                view.running_since, view.waiting = now(), None
            view.pid = pod.pid
        view.exit_code = pod.last_exit
        view.restarts = pod.restarts
        view.started = pod.started
        view.ready = pod.ready
        if pod.phase == "backing-off":
            view.pid, view.exited_at = None, now()
            view.waiting = ("CrashLoopBackOff", f"restarting failed container {self._container['name']}")
        self._changed.set()

    async def _tell(self) -> None:
        """Write the status whenever it changed."""
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._until_told(self._write_status)

    async def _write_status(self) -> None:
        document = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {key: self._metadata[key] for key in ("name", "namespace", "uid")},
            "status": pod_status(self._item, self._view, now(), HOST),
        }
        try:
            await self._agent.kube.apply_object(f"{self._path}/status", document, "kubelet")
        except KubeError as error:
            if error.status not in (404, 409):  # gone, or another pod has the name by now
                raise

    async def _event(self, kind: str, reason: str, message: str) -> None:
        """An Event of the pod, as the kubelet's."""
        self._events += 1
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{self._metadata['name']}.{self._metadata['uid'][:8]}{self._events}",
                "namespace": self._metadata["namespace"],
            },
            "type": kind,
            "reason": reason,
            "message": message,
            "source": {"component": "kubelet", "host": self._node},
            "firstTimestamp": now(),
            "lastTimestamp": now(),
            "count": 1,
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                **{key: self._metadata[key] for key in ("name", "namespace", "uid")},
            },
        }
        with contextlib.suppress(KubeError):  # Events are best effort
            await self._agent.kube.create_object(f"/api/v1/namespaces/{self._metadata['namespace']}/events", event)

    async def _until_told(self, write: Callable[[], Awaitable[None]]) -> None:
        """The API server may be away: a kubelet goes on telling."""
        while True:
            try:
                await write()
            except KubeError as error:
                log.warning("status not told", extra=fields(pod=self._metadata["name"], reason=str(error)))
                await asyncio.sleep(RETRY_SECONDS)  # it has no event for its return
            else:
                return


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _opt(image: Image) -> Mount:
    return Mount(image.opt, "/opt", read_only=True)
