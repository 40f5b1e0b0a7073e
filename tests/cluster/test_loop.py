"""The whole loop in a cluster: controller, activator and scaler with their own accounts beside the real KEDA.

Only the kubelet is missing: the test itself puts the EndpointSlices of the activator and of the engine, whose places
are real addresses of the test's network namespace.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.builders import SEED
from tests.cluster.controlplane import HOST
from tests.cluster.installed import SYSTEM, Installed
from tests.cluster.kubectl import NAME, NAMESPACE, Cluster
from tests.component.harness import ScriptedEngine, answer_events

ACTIVATOR = f"{HOST}:8080"


def endpoints(namespace: str, name: str, ports: dict[str, int], **labels: str) -> str:
    document = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": port, "port": number} for port, number in ports.items()],
        "endpoints": [{"addresses": [HOST], "conditions": {"ready": True}}],
    }
    return json.dumps(document)


@pytest.fixture(scope="module")
def cluster(installed: Installed) -> Iterator[Cluster]:
    of_activator = {"kubernetes.io/service-name": "hearth-activator"}
    slice_ = endpoints(SYSTEM, "activator-by-hand", {"http": 8080, "demand": 9091}, **of_activator)
    installed.plane.kubectl("apply", "-f", "-", stdin=slice_)
    with (
        installed.role("activator", "--listen", ACTIVATOR, "--demand-listen", f"{HOST}:9091", "--grace-seconds", "2"),
        installed.role("scaler", "--listen", f"{HOST}:9090", "--activator-service", f"{SYSTEM}/hearth-activator"),
        installed.role("controller", "--scaler-address", f"{HOST}:9090"),
    ):
        yield Cluster(installed.plane)


async def test_kubectl_apply_then_zero_one_answer_zero(cluster: Cluster) -> None:
    seed = (
        SEED.read_text() + "    scaleDownStabilization: 3s\n  endpoint: { coldStart: { heartbeatInterval: 200ms } }\n"
    )
    cluster.plane.kubectl("apply", "-f", "-", stdin=seed)

    def asleep() -> Any:
        ready = cluster.condition("ScaledObjectReady")
        phase = (cluster.get("llmservice").get("status") or {}).get("phase")
        return phase == "ScaledToZero" and ready is not None and ready["status"] == "True"

    cluster.until(asleep, "ScaledToZero, and KEDA content with the ScaledObject")
    body = {"model": NAME, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
    async with httpx.AsyncClient(base_url=f"http://{ACTIVATOR}", trust_env=False, timeout=60) as client:
        models = (await client.get("/v1/models")).json()["data"]
        assert [(model["id"], model["hearth"]["phase"]) for model in models] == [(NAME, "ScaledToZero")]
        async with (
            client.stream("POST", "/v1/chat/completions", json=body) as answer,
            ScriptedEngine(answer_events, host=HOST) as engine,
        ):
            assert answer.status_code == 200
            lines = answer.aiter_lines()
            async for line in lines:
                # The controller says the phase, the activator tells the client: no node is ready for the pod.
                if heartbeat(line) and json.loads(line[9:])["phase"] == "scheduling":
                    break
            assert cluster.get("deployment")["spec"]["replicas"] == 1
            assert cluster.get("llmservice")["status"]["phase"] == "Loading"
            port = int(engine.address.rpartition(":")[2])
            cluster.plane.kubectl("apply", "-f", "-", stdin=engine_slice(NAME, port))
            rest = [line async for line in lines]
            assert "data: [DONE]" in rest
    cluster.plane.kubectl("delete", "endpointslice", f"{NAME}-by-hand", "-n", NAMESPACE)
    cluster.until(lambda: cluster.get("deployment")["spec"]["replicas"] == 0, "zero again, after lease and cooldown")


def engine_slice(name: str, port: int) -> str:
    labels = {
        "serving.hearth.dev/llmservice": name,
        "app.kubernetes.io/component": "engine",
        "kubernetes.io/service-name": f"{name}-engine",
    }
    return endpoints(NAMESPACE, f"{name}-by-hand", {"http": port}, **labels)


def taken(cluster: Cluster, name: str) -> Callable[[], bool]:
    return lambda: (cluster.condition("ScaledObjectReady", name) or {}).get("status") == "True"


def heartbeat(line: str) -> bool:
    return line.startswith(": hearth")


@pytest.mark.parametrize("victim", ["kube-apiserver", "keda-operator"])
async def test_who_dies_in_a_cold_start_costs_no_request(cluster: Cluster, victim: str) -> None:
    plane, cold, warm = cluster.plane, f"cold-{victim}", f"warm-{victim}"
    quick = ("spec.endpoint.coldStart.heartbeatInterval=200ms", "spec.scaling.scaleDownStabilization=3s")
    async with (
        ScriptedEngine(answer_events, host=HOST) as engine,
        httpx.AsyncClient(base_url=f"http://{ACTIVATOR}", trust_env=False, timeout=120) as client,
    ):
        for name in (cold, warm):
            cluster.apply(*quick, name=name)
            cluster.until(taken(cluster, name), f"KEDA is content with {name}")
        port = int(engine.address.rpartition(":")[2])
        plane.kubectl("apply", "-f", "-", stdin=engine_slice(warm, port))
        body = {"stream": True, "messages": [{"role": "user", "content": "Hello"}]}
        assert "[DONE]" in (await client.post("/v1/chat/completions", json={**body, "model": warm})).text
        plane.kill(victim)
        if victim == "keda-operator":
            plane.kill("keda-adapter")  # the two are started together
        async with client.stream("POST", "/v1/chat/completions", json={**body, "model": cold}) as answer:
            lines = answer.aiter_lines()
            beats = 0
            async for line in lines:
                beats += heartbeat(line)
                if beats == 5:
                    break
            # What the activator knew before still serves.
            assert "[DONE]" in (await client.post("/v1/chat/completions", json={**body, "model": warm})).text
            if victim == "kube-apiserver":
                plane.start_apiserver()
            else:
                assert cluster.get("deployment", cold)["spec"]["replicas"] == 0, "nobody else writes replicas"
                plane.start_keda()
            cluster.until(lambda: cluster.get("deployment", cold)["spec"]["replicas"] == 1, "a replica after all")
            plane.kubectl("apply", "-f", "-", stdin=engine_slice(cold, port))
            assert "data: [DONE]" in [line async for line in lines]
    for name in (cold, warm):
        plane.kubectl("delete", "endpointslice", f"{name}-by-hand", "-n", NAMESPACE)
        plane.kubectl("delete", "llmservice", name, "-n", NAMESPACE)
