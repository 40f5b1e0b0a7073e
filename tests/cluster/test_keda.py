"""Our activator and scaler, as processes, with the real KEDA and the real HPA between demand and spec.replicas.

There is no kubelet here: the Deployments' pods stay pending, and a replica is "ready" when the test puts an
EndpointSlice with a scripted engine where the activator reads them. Everything from the client's first byte to
spec.replicas, and back to zero, is real.
"""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import yaml

from benchmarks.figures import Figure, percentiles, write
from hearth.api.llmservice import LLMService
from hearth.crd_translator import ClusterFacts, render
from hearth.kube.client import KubeClient, KubeObject
from hearth.kube.informer import Informer, ObjectKey
from hearth.local.ports import free_port
from hearth.local.up import LocalHearth, UpConfig, local_roles
from tests.builders import ROOT, bundled_runtimes, endpoint_slice, llmservice
from tests.cluster.controlplane import ControlPlane
from tests.component.harness import ScriptedEngine

NAMESPACE = "e2e"
COLD_STARTS = 30
PATIENCE = 60.0
QUICK = ("spec.scaling.scaleDownStabilization=5s", "spec.endpoint.coldStart.whitespaceAfter=0s", "spec.scaling.max=5")


@dataclass
class Cluster:
    """The roles beside a real KEDA, and every Deployment's spec.replicas as the API server tells it."""

    plane: ControlPlane
    hearth: LocalHearth
    client: httpx.AsyncClient
    steps: dict[str, list[int]] = field(default_factory=dict)
    at: dict[str, float] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def seen(self, key: ObjectKey, item: KubeObject | None) -> None:
        steps = self.steps.setdefault(key[1], [])
        replicas = item["spec"]["replicas"] if item is not None else 0
        if steps[-1:] != [replicas]:
            steps.append(replicas)
            self.at[key[1]] = time.perf_counter()
            self._changed.set()

    async def until(self, condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def replicas(self, name: str, wanted: int, seconds: float = PATIENCE) -> None:
        try:
            await self.until(lambda: self.steps.get(name, [])[-1:] == [wanted], seconds)
        except TimeoutError:
            log = self.plane.log("keda-operator", 15)
            raise AssertionError(f"{name}: {self.steps.get(name)}, never {wanted}; KEDA's log:\n{log}") from None

    def ask(self, name: str) -> "asyncio.Task[httpx.Response]":
        body = {"model": name, "messages": [{"role": "user", "content": "x"}]}
        return asyncio.create_task(self.client.post("/v1/chat/completions", json=body))

    def ready(self, name: str, *engines: ScriptedEngine) -> None:
        for engine in engines:
            self.hearth.store.put("endpointslices", endpoint_slice(name, NAMESPACE, engine.address, name=f"{name}-0"))
        if not engines:
            self.hearth.store.delete("endpointslices", NAMESPACE, f"{name}-0")


@contextlib.asynccontextmanager
async def cluster(plane: ControlPlane, folder: Path, *services: LLMService) -> AsyncIterator[Cluster]:
    """Run the roles for these services, apply what they render to, and wait until KEDA has taken all to zero."""
    config = UpConfig(services, bundled_runtimes(), folder, port=free_port())
    async with (
        local_roles(config) as hearth,
        httpx.AsyncClient(base_url=hearth.url, trust_env=False, timeout=120) as client,
    ):
        facts = ClusterFacts(scaler_address=hearth.scaler_address)
        objects = [item for service in services for item in render(service, config.runtimes, facts).objects]
        plane.kubectl(
            "apply",
            "-f",
            "-",
            stdin=json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        )
        plane.kubectl("apply", "--server-side", "--field-manager=hearth", "-f", "-", stdin=yaml.safe_dump_all(objects))
        made = Cluster(plane, hearth, client)
        kube = await KubeClient.connect(plane.kubeconfig)
        informer = Informer(kube, f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments", made.seen)
        watching = asyncio.create_task(informer.run())
        try:
            for service in services:
                await made.replicas(service.metadata.name, 0)
            yield made
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
            await kube.close()
            plane.kubectl("delete", "namespace", NAMESPACE, "--wait=true")


async def test_cold_burst_silence_on_the_real_keda(plane: ControlPlane, tmp_path: Path) -> None:
    service = llmservice("spec.scaling.target=5", *QUICK, namespace=NAMESPACE)
    async with cluster(plane, tmp_path, service) as made, ScriptedEngine() as engine:
        first = made.ask("qwen")
        await made.replicas("qwen", 1)
        burst = [made.ask("qwen") for _ in range(22)]
        await made.replicas("qwen", 5)
        assert made.steps["qwen"][-3:] == [0, 1, 5], "23 at target 5: one step of the HPA"
        pid = made.hearth.roles["scaler"].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)  # KEDA hears errors, and leaves the replicas alone
        await made.hearth.until(
            lambda: made.hearth.roles["scaler"].restarts == 1 and made.hearth.roles["scaler"].ready, PATIENCE
        )
        made.ready("qwen", engine)
        for request in (first, *burst):
            assert (await request).status_code == 200
        assert made.steps["qwen"][-1] == 5
        await made.replicas("qwen", 0, 120)


async def test_a_cold_request_sets_the_replicas_soon(plane: ControlPlane, tmp_path: Path) -> None:
    services = [llmservice(*QUICK, name=f"cold-{n}", namespace=NAMESPACE) for n in range(COLD_STARTS)]
    samples = []
    async with cluster(plane, tmp_path, *services) as made:
        for service in services:
            name = service.metadata.name
            began = time.perf_counter()
            request = made.ask(name)
            await made.replicas(name, 1)
            samples.append(made.at[name] - began)
            request.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await request
            # KEDA's own client is limited to 20 requests a second; a start is several, and they are not ours to time.
            await asyncio.sleep(1)
    figures: list[Figure] = percentiles("activation", samples, "p99 ≤ 25")
    write(figures, ROOT / "build" / "e2e.json")
    print(*(f"{figure.name} = {figure.value:.1f}" for figure in figures), f"({COLD_STARTS} cold starts)")
