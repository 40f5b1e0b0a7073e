"""Roles that start while the API server is away: they listen, say that they are not ready, and wait."""

from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from hearth.emulators.ports import free_port
from hearth.emulators.store import ObjectStore
from hearth.proto import externalscaler_pb2 as pb
from hearth.proto.externalscaler_pb2_grpc import ExternalScalerStub
from tests.builders import llmservice_manifest
from tests.local.roles import answers, api_server, role

HELLO = {"model": "qwen", "messages": [{"role": "user", "content": "Hello"}]}


def places(*names: str) -> dict[str, str]:
    """A free address for each."""
    return {name: f"127.0.0.1:{free_port('127.0.0.1')}" for name in names}


async def test_an_activator_is_alive_and_not_ready_and_says_so_to_clients(tmp_path: Path) -> None:
    at, store = places("api", "http", "demand", "operations"), ObjectStore()
    store.put("llmservices", llmservice_manifest("qwen", "ai"))
    listens = ["--listen", at["http"], "--demand-listen", at["demand"], "--operations-listen", at["operations"]]
    async with (
        role(tmp_path, at["api"], "activator", *listens) as process,
        httpx.AsyncClient(trust_env=False) as http,
    ):
        await answers(http, f"http://{at['operations']}/healthz", 200)
        await answers(http, f"http://{at['operations']}/readyz", 503)
        await answers(http, f"http://{at['http']}/readyz", 503)
        for method, path in (
            ("POST", "/v1/chat/completions"),
            ("POST", "/ai/qwen/v1/chat/completions"),
            ("GET", "/v1/models"),
            ("GET", "/v1/models/qwen"),
            ("GET", "/hearth/v1/services"),
            ("GET", "/hearth/v1/services/events"),
        ):
            answer = await http.request(method, f"http://{at['http']}{path}", json=HELLO)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "activator_starting"), path
            assert answer.headers["retry-after"] == "1"
        assert process.returncode is None
        async with api_server(at["api"], store):
            await answers(http, f"http://{at['operations']}/readyz", 200)
            listed = (await http.get(f"http://{at['http']}/v1/models")).json()
            assert [model["id"] for model in listed["data"]] == ["qwen"]


async def test_an_activator_that_waits_ends_when_it_is_told_to(tmp_path: Path) -> None:
    at = places("api", "http", "demand", "operations")
    listens = ["--listen", at["http"], "--demand-listen", at["demand"], "--operations-listen", at["operations"]]
    slow = ["--drain-delay-seconds", "600"]
    async with role(tmp_path, at["api"], "activator", *listens, *slow), httpx.AsyncClient(trust_env=False) as http:
        await answers(http, f"http://{at['http']}/healthz", 200)


async def test_a_scaler_is_alive_and_not_ready(tmp_path: Path) -> None:
    at = places("api", "grpc", "operations")
    listens = ["--listen", at["grpc"], "--operations-listen", at["operations"]]
    asked = pb.ScaledObjectRef(name="qwen", namespace="ai", scalerMetadata={"target": "5"})
    health = health_pb2.HealthCheckResponse
    async with (
        role(tmp_path, at["api"], "scaler", "--activator-service", "hearth-system/hearth-activator", *listens),
        httpx.AsyncClient(trust_env=False) as http,
        grpc.aio.insecure_channel(at["grpc"]) as channel,
    ):
        await answers(http, f"http://{at['operations']}/healthz", 200)
        await answers(http, f"http://{at['operations']}/readyz", 503)
        checked = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert checked.status == health.NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError, match="no list of activators yet"):
            await ExternalScalerStub(channel).IsActive(asked)
        store = ObjectStore()
        store.put("namespaces", {"metadata": {"name": "hearth-system"}})
        async with api_server(at["api"], store):
            await answers(http, f"http://{at['operations']}/readyz", 200)
            assert not (await ExternalScalerStub(channel).IsActive(asked)).result, "there is no activator"


@pytest.mark.parametrize("lease", [(), ("--lease", "hearth-system/hearth-controller")])
async def test_a_controller_is_alive_and_not_ready(tmp_path: Path, lease: tuple[str, ...]) -> None:
    at = places("api", "operations")
    async with (
        role(tmp_path, at["api"], "controller", "--operations-listen", at["operations"], *lease),
        httpx.AsyncClient(trust_env=False) as http,
    ):
        await answers(http, f"http://{at['operations']}/healthz", 200)
        await answers(http, f"http://{at['operations']}/readyz", 503)
        store = ObjectStore()
        store.put("namespaces", {"metadata": {"name": "hearth-system"}})
        async with api_server(at["api"], store):
            await answers(http, f"http://{at['operations']}/readyz", 200)
