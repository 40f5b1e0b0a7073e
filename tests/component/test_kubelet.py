"""The kubelet of the local cluster: pods that are bound to its node, as processes, and what it says of them."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from hearth.emulators.container import NotStartable
from hearth.emulators.endpoints import PORTS_ANNOTATION
from hearth.emulators.kinds import KindTable, KubeObject
from hearth.emulators.kubelet import Kubelet, node_object
from hearth.emulators.pod import PodSpec
from hearth.emulators.store import ObjectStore
from hearth.emulators.writes import DeleteOptions, Target, Writes

PATIENCE = 15.0
_CODE = (
    "import os, signal, time; signal.signal(signal.SIGTERM, lambda *_: {}); print('up', flush=True); time.sleep(600)"
)
OBEYS, STUBBORN = _CODE.format("os._exit(0)"), _CODE.format("None")

BROKEN: dict[str, Any] = {"place": "raises"}


class Node:
    """A node with its kubelet; `code` is what its pods' processes run."""

    def __init__(self, folder: Path, create_seconds: float) -> None:
        self.store = ObjectStore()
        self.code = OBEYS
        self.wrong: dict[str, Any] = {}
        self.ports: dict[str | int, int] = {}
        kinds = KindTable()
        self.kubelet = Kubelet(self.store, kinds, "n", self._place, folder, create_seconds)
        self._pods = kinds.named("pods")
        self._writes = Writes(self.store, kinds)
        self._changed = asyncio.Event()
        self.store.listen(lambda event: self._changed.set())

    def _place(self, pod: KubeObject) -> PodSpec:
        if not self.code:
            raise NotStartable("CreateContainerConfigError", 'secret "hub" not found')
        wrong = self.wrong if pod["metadata"]["name"] == "wrong" else {}
        if wrong is BROKEN:
            raise KeyError("labels")
        given = {"command": [sys.executable, "-S", "-c", self.code], **wrong}
        return PodSpec(pod["metadata"]["name"], ports=self.ports, grace_seconds=30, backoff_first=60, **given)

    def bind(self, name: str, node: str = "n") -> KubeObject:
        container = {"name": "engine", "image": "i:1"}
        metadata = {"name": name, "namespace": "ai"}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": {"nodeName": node, "containers": [container]},
        }
        pod["status"] = {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]}
        return self.store.put("pods", pod)

    def delete(self, name: str, grace: int | None = None) -> None:
        self._writes.delete(Target(self._pods, "ai", name), DeleteOptions(grace=grace))

    def get(self, name: str) -> Any:
        """A pod; None where there is none."""
        return self.store.get("pods", "ai", name)

    def state(self, name: str) -> Any:
        statuses = (self.get(name) or {}).get("status", {}).get("containerStatuses") or [{}]
        return statuses[0].get("state") or {}

    async def up(self, name: str) -> None:
        """Wait until a pod's process is up: it says so in its log, which has no event."""
        log = self.kubelet.log_folder / f"ai_{name}.log"
        async with asyncio.timeout(PATIENCE):
            while not (exists(log) and log.read_text()):
                await asyncio.sleep(0.02)

    def told(self) -> list[str]:
        events = sorted(self.store.find("events"), key=lambda event: int(event["metadata"]["resourceVersion"]))
        return [event["reason"] for event in events]

    async def until(self, seen: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not seen():
                self._changed.clear()
                await self._changed.wait()


def exists(path: Path) -> bool:
    return path.exists()


@contextlib.asynccontextmanager
async def a_node(folder: Path, create_seconds: float = 0.0) -> AsyncIterator[Node]:
    node = Node(folder, create_seconds)
    running = asyncio.create_task(node.kubelet.run())
    await asyncio.sleep(0)  # it listens
    try:
        yield node
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with a_node(tmp_path) as made:
        yield made


async def test_a_pod_that_is_bound_runs_and_one_of_another_node_does_not(node: Node) -> None:
    node.bind("other", "elsewhere")
    node.bind("p")
    await node.until(lambda: "running" in node.state("p"))
    pod = node.get("p")
    assert pod["status"]["phase"] == "Running"
    assert {each["type"] for each in pod["status"]["conditions"]} == {
        *("PodScheduled", "Initialized", "ContainersReady", "Ready")
    }
    assert node.told() == ["Pulled", "Created", "Started"]
    assert node.state("other") == {}


async def test_it_is_pending_while_its_container_is_made(tmp_path: Path) -> None:
    async with a_node(tmp_path, create_seconds=60) as node:
        node.bind("p")
        await node.until(lambda: node.state("p"))
        assert node.state("p") == {"waiting": {"reason": "ContainerCreating"}}
        assert node.get("p")["status"]["phase"] == "Pending"
        node.delete("p")
        await node.until(lambda: node.get("p") is None)


async def test_a_deleted_pod_ends_gracefully_and_then_is_gone(node: Node) -> None:
    node.bind("p")
    await node.up("p")
    node.delete("p")
    assert node.get("p")["metadata"]["deletionTimestamp"]
    await node.until(lambda: node.get("p") is None)
    assert "Killing" in node.told()


async def test_the_grace_of_the_deletion_is_what_counts(node: Node) -> None:
    node.code = STUBBORN
    node.bind("p")
    await node.up("p")
    node.delete("p", grace=1)
    began = asyncio.get_running_loop().time()
    await node.until(lambda: node.get("p") is None)
    assert asyncio.get_running_loop().time() - began < 10, "not the 30 s of its own"


async def test_a_pod_that_is_deleted_by_force_is_killed(node: Node) -> None:
    node.code = STUBBORN
    node.bind("p")
    await node.up("p")
    pid = int(node.get("p")["status"]["containerStatuses"][0]["containerID"].removeprefix("process://"))
    node.delete("p", grace=0)
    assert node.get("p") is None
    async with asyncio.timeout(PATIENCE):
        while exists(Path(f"/proc/{pid}")):
            await asyncio.sleep(0.02)  # the end of a process that is somebody else's child has no event


async def test_one_that_cannot_be_made_says_why(node: Node) -> None:
    node.code = ""
    node.bind("p")
    await node.until(lambda: "waiting" in node.state("p") and "message" in node.state("p")["waiting"])
    assert node.state("p")["waiting"] == {"reason": "CreateContainerConfigError", "message": 'secret "hub" not found'}
    assert "Failed" in node.told()
    node.delete("p")
    await node.until(lambda: node.get("p") is None)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"command": ["sleep", "x\0y"]}, "null byte"),
        ({"env": {"A": "x\0y"}}, "null byte"),
        ({"env": {"A=B": "c"}}, "illegal environment variable name"),
        ({"command": ["true", *(["x" * 100_000] * 64)]}, "Argument list too long"),
    ],
    ids=["command", "value", "name", "size"],
)
async def test_one_that_cannot_be_executed_fails_alone(wrong: dict[str, Any], says: str, node: Node) -> None:
    node.wrong = wrong
    node.bind("wrong")
    node.bind("right")
    await node.until(lambda: node.state("wrong").get("waiting", {}).get("reason") == "CrashLoopBackOff")
    (status,) = node.get("wrong")["status"]["containerStatuses"]
    last = status["lastState"]["terminated"]
    assert (last["reason"], last["exitCode"]) == ("StartError", 128)
    assert says in last["message"]
    failed = [each["message"] for each in node.store.find("events") if each["reason"] == "Failed"]
    assert failed
    assert says in failed[0]
    await node.until(lambda: "running" in node.state("right"))
    node.delete("wrong")
    await node.until(lambda: node.get("wrong") is None)


async def test_one_that_is_not_understood_fails_alone(node: Node) -> None:
    node.wrong = BROKEN
    node.bind("wrong")
    node.bind("right")
    await node.until(lambda: node.state("wrong").get("waiting", {}).get("reason") == "RunContainerError")
    assert node.state("wrong")["waiting"]["message"] == "KeyError: 'labels'"
    await node.until(lambda: "running" in node.state("right"))
    node.delete("wrong")
    await node.until(lambda: node.get("wrong") is None)


async def test_one_that_keeps_exiting_is_restarted_and_backs_off(node: Node) -> None:
    node.code = "import os; os._exit(3)"
    node.bind("p")
    await node.until(lambda: node.state("p").get("waiting", {}).get("reason") == "CrashLoopBackOff")
    (status,) = node.get("p")["status"]["containerStatuses"]
    assert status["restartCount"] >= 1
    assert status["lastState"]["terminated"]["exitCode"] == 3
    await node.until(lambda: "BackOff" in node.told())


async def test_a_port_that_is_elsewhere_is_told_to_who_makes_endpoints(node: Node) -> None:
    node.ports = {"http": 41234, 8000: 41234}
    node.bind("p")
    await node.until(lambda: "running" in node.state("p"))
    assert node.get("p")["metadata"]["annotations"] == {PORTS_ANNOTATION: '{"8000": 41234}'}


def test_a_node_is_ready_and_has_its_devices() -> None:
    made = node_object("n", {"v.com/gpu": "2"})
    assert made["status"]["allocatable"]["v.com/gpu"] == "2"
    assert [(each["type"], each["status"]) for each in made["status"]["conditions"]] == [("Ready", "True")]
