"""The kubelet: runs the pods that the scheduler bound to its node, and writes what becomes of them.

A pod's one container is a process (pod.py); which one is decided by who starts the kubelet. Left out: images (every
image is there already), volumes, init containers and sidecars, resource limits, and the node's own heartbeat.
"""

import asyncio
import contextlib
import dataclasses
import json
import logging
from collections.abc import Callable
from pathlib import Path

from hearth.emulators.causes import cause
from hearth.emulators.container import NotStartable
from hearth.emulators.endpoints import PORTS_ANNOTATION
from hearth.emulators.events import tell
from hearth.emulators.kinds import KindTable, KubeObject
from hearth.emulators.pod import Pod, PodSpec
from hearth.emulators.podstatus import View, pod_status
from hearth.emulators.store import Event, ObjectStore, timestamp
from hearth.emulators.writes import DeleteOptions, Target, Writes
from hearth.logs import fields

log = logging.getLogger(__name__)

COMPONENT = "kubelet"
HOST = "127.0.0.1"

# What a kubelet needs for the sandbox and the container of an image that is there. Without it nobody would ever see
# a pod that is being made, as everybody does in a cluster.
CREATE_SECONDS = 0.5

_OVER = ("Succeeded", "Failed")


class Kubelet:
    """One node. `place(pod)` says where a pod is to be and what its process is; it raises NotStartable."""

    def __init__(
        self,
        store: ObjectStore,
        kinds: KindTable,
        node: str,
        place: Callable[[KubeObject], PodSpec],
        log_folder: Path,
        create_seconds: float = CREATE_SECONDS,
    ) -> None:
        self.store = store
        self.node = node
        self.place = place
        self.log_folder = log_folder
        self.create_seconds = create_seconds
        self.writes = Writes(store, kinds)
        self.pods = kinds.named("pods")
        self._running: dict[str, _Running] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Run pods until cancelled; then every process is killed. Raises what goes wrong in here."""
        async with asyncio.TaskGroup() as group:
            stop = self.store.listen(lambda event: self._hear(group, event))
            try:
                for item in self.store.find("pods"):
                    self._see(group, item)
                await asyncio.Event().wait()
            finally:
                stop()

    def _hear(self, group: asyncio.TaskGroup, event: Event) -> None:
        if event.resource != "pods":
            return
        uid = event.object["metadata"]["uid"]
        if event.type == "DELETED":  # by force: nobody waits for its end
            if (task := self._tasks.get(uid)) is not None:
                task.cancel()
        else:
            self._see(group, event.object)

    def _see(self, group: asyncio.TaskGroup, item: KubeObject) -> None:
        metadata, uid = item["metadata"], item["metadata"]["uid"]
        if item["spec"].get("nodeName") != self.node:
            return
        if uid not in self._running and (item.get("status") or {}).get("phase") not in _OVER:
            running = self._running[uid] = _Running(self, item)
            task = self._tasks[uid] = group.create_task(running.run(), name=metadata["name"])
            task.add_done_callback(lambda _: self._forget(uid))
        if metadata.get("deletionTimestamp") and uid in self._running:
            self._running[uid].terminate(metadata.get("deletionGracePeriodSeconds"))

    def _forget(self, uid: str) -> None:
        del self._running[uid], self._tasks[uid]


class _Running:
    """One pod, from its binding to its last status."""

    def __init__(self, kubelet: Kubelet, item: KubeObject) -> None:
        self._pod: Pod | None = None
        self._kubelet = kubelet
        self._item = item
        self._key = (item["metadata"]["namespace"], item["metadata"]["name"])
        self._view = View()
        self._terminating = asyncio.Event()
        self._grace: int | None = None

    def terminate(self, grace_seconds: int | None) -> None:
        """The API server has a deletion of it."""
        if self._terminating.is_set():
            return
        self._grace = grace_seconds
        self._terminating.set()
        if self._pod is not None:
            self._stop(self._pod)

    async def run(self) -> None:
        """Returns when the pod is over and the API server knows. Cancelled: its process is killed.

        What goes wrong in here is this pod's alone: it is logged, told in its status, and the others run on."""
        try:
            await self._until_over()
        except Exception as error:
            log.exception("a pod failed", extra=fields(pod="/".join(self._key)))
            await self._fail("RunContainerError", f"{type(cause(error)).__name__}: {cause(error)}")
        view = self._view
        view.over, view.ready, view.started, view.pid = True, False, False, None
        self._write()
        if self._terminating.is_set():
            target = Target(self._kubelet.pods, *self._key)
            self._kubelet.writes.delete(target, DeleteOptions(self._item["metadata"]["uid"], grace=0))

    async def _until_over(self) -> None:
        container = self._item["spec"]["containers"][0]
        self._tell("Pulled", f'Container image "{container["image"]}" already present on machine')
        self._write()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._kubelet.create_seconds):
                await self._terminating.wait()
        if not self._terminating.is_set():
            try:
                spec = self._kubelet.place(self._item)
            except NotStartable as error:
                await self._fail(error.reason, str(error))
            else:
                await self._run(spec)

    async def _fail(self, reason: str, message: str) -> None:
        """Say why the container does not run, and wait for the pod's deletion: nothing here can mend it."""
        view = self._view
        view.waiting, view.pid, view.ready, view.started = (reason, message), None, False, False
        self._tell("Failed", f"Error: {message}", "Warning")
        self._write()
        await self._terminating.wait()

    async def _run(self, spec: PodSpec) -> None:
        self._view.address = spec.address
        self._tell("Created", f"Created container: {self._item['spec']['containers'][0]['name']}")
        moved = {str(name): port for name, port in spec.ports.items() if isinstance(name, int) and name != port}
        if moved:
            self._annotate(json.dumps(moved))
        namespace, name = self._key
        log_file = self._kubelet.log_folder / f"{namespace}_{name}.log"
        self._pod = Pod(spec, log_file, self._observe)
        await self._pod.run()

    def _stop(self, pod: Pod) -> None:
        self._tell("Killing", f"Stopping container {self._item['spec']['containers'][0]['name']}")
        if self._grace is not None:
            pod.spec = dataclasses.replace(pod.spec, grace_seconds=self._grace)
        pod.stop()

    def _observe(self, pod: Pod) -> None:
        """The container did something."""
        view = self._view
        name = self._item["spec"]["containers"][0]["name"]
        if pod.pid != view.pid:
            if pod.pid is None:
                view.exited_at = timestamp()
            else:
                view.running_since, view.waiting = timestamp(), None
                self._tell("Started", f"Started container {name}")
            view.pid = pod.pid
        if pod.start_error != view.start_error:
            view.start_error = pod.start_error
            if pod.start_error is not None:
                view.waiting = ("RunContainerError", pod.start_error)
                self._tell("Failed", f"Error: {pod.start_error}", "Warning")
        view.exit_code, view.restarts, view.started, view.ready = pod.last_exit, pod.restarts, pod.started, pod.ready
        if pod.phase == "backing-off":
            view.pid, view.exited_at = None, view.exited_at or timestamp()
            namespace, pod_name = self._key
            where = f"{pod_name}_{namespace}({self._item['metadata']['uid']})"
            view.waiting = ("CrashLoopBackOff", f"back-off restarting failed container={name} pod={where}")
            self._tell("BackOff", f"Back-off restarting failed container {name} in pod {where}", "Warning")
        self._write()

    def _annotate(self, ports: str) -> None:
        if (item := self._live()) is not None:
            annotations = {**(item["metadata"].get("annotations") or {}), PORTS_ANNOTATION: ports}
            item["metadata"]["annotations"] = annotations
            self._kubelet.store.put("pods", item)

    def _write(self) -> None:
        """Write the status; what the scheduler said stays."""
        if (item := self._live()) is None:
            return
        conditions = (item.get("status") or {}).get("conditions") or []
        scheduled = [each for each in conditions if each["type"] == "PodScheduled"]
        status = pod_status(item, self._view, timestamp(), HOST)
        item["status"] = {**status, "conditions": [*scheduled, *status["conditions"]]}
        self._kubelet.store.put("pods", item)

    def _live(self) -> KubeObject | None:
        item = self._kubelet.store.get("pods", *self._key)
        same = item is not None and item["metadata"]["uid"] == self._item["metadata"]["uid"]
        return item if same else None

    def _tell(self, reason: str, message: str, kind: str = "Normal") -> None:
        tell(self._kubelet.store, self._item, COMPONENT, reason, message, kind)


def node_object(name: str, devices: dict[str, str]) -> KubeObject:
    """A Node that is ready, with these extended resources."""
    capacity = {"cpu": "64", "memory": "512Gi", "pods": "250", "ephemeral-storage": "1Ti", **devices}
    now = timestamp()
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "message": "the emulated kubelet is ready",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {},
        "status": {
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": [ready],
            "addresses": [{"type": "InternalIP", "address": HOST}, {"type": "Hostname", "address": name}],
        },
    }
