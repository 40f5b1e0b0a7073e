"""Activator, scaler and an engine where there is no IPv4, each told to listen as it is by default and in `runtimes/`.

test_ipv6.py runs it in a network namespace of its own, in which ::1 is the only address.
"""

import asyncio
import contextlib
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import httpx

from hearth.api.manifest import load_runtimes
from hearth.crd_translator.arguments import engine_arguments
from hearth.emulators.store import ObjectStore
from hearth.proto import externalscaler_pb2 as pb
from hearth.proto.externalscaler_pb2_grpc import ExternalScalerStub
from tests.builders import ROOT, endpoint_slice, llmservice, llmservice_manifest
from tests.local.roles import PATIENCE, answers, api_server, role

API = "[::1]:6443"
HELLO: dict[str, Any] = {"model": "qwen", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 5}
LONG = {**HELLO, "stream": True, "max_tokens": 10_000}


def slice_of(service: str, namespace: str, port_name: str, address: str) -> dict[str, Any]:
    item = endpoint_slice(service, namespace, address)
    host, _, port = address.rpartition(":")
    item["metadata"]["labels"]["kubernetes.io/service-name"] = service
    endpoint = {"addresses": [host.strip("[]")], "conditions": {"ready": True}}
    return item | {
        "addressType": "IPv6",
        "ports": [{"name": port_name, "port": int(port)}],
        "endpoints": [endpoint],
    }


@contextlib.asynccontextmanager
async def engine() -> AsyncIterator[None]:
    """The simulated engine with the words that the bundled runtime for NVIDIA starts vLLM with."""
    runtime = next(one for one in load_runtimes(ROOT / "runtimes") if one.metadata.name == "nvidia-vllm")
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "hearth.emulators.engine", "--start-seconds", "0", "--load-seconds", "0.5"],
        *["--", "vllm", "serve", *engine_arguments(llmservice(), runtime)],
    )
    try:
        yield
    finally:
        process.kill()
        await process.wait()


async def main(folder: Path) -> None:
    try:
        socket.create_connection(("127.0.0.1", 6443), timeout=1)
    except ConnectionRefusedError as error:
        raise AssertionError("there is IPv4 here") from error
    except OSError:
        pass  # the network is unreachable
    store = ObjectStore()
    store.put("llmservices", llmservice_manifest("qwen", "ai"))
    store.put("endpointslices", slice_of("qwen", "ai", "http", "[::1]:8000"))
    store.put("endpointslices", slice_of("hearth-activator", "hearth-system", "demand", "[::1]:9091"))
    scaler = ["--activator-service", "hearth-system/hearth-activator", "--operations-listen", "[::]:8082"]
    async with (
        api_server(API, store),
        engine(),
        role(folder, API, "activator"),
        role(folder, API, "scaler", *scaler),
        httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as http,
    ):
        for port in (8081, 8082):
            await answers(http, f"http://[::1]:{port}/readyz", 200)
        answer = await http.post("http://[::1]:8080/v1/chat/completions", json=HELLO)
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["message"]["content"]
        stream = http.stream("POST", "http://[::1]:8080/v1/chat/completions", json=LONG)
        async with stream as answering, grpc.aio.insecure_channel("[::1]:9090") as channel:
            assert answering.status_code == 200, await answering.aread()
            lines = answering.aiter_lines()  # one that nobody holds is closed, and the answer with it
            assert await anext(lines)
            try:
                async with asyncio.timeout(PATIENCE):
                    while not await is_active(channel):
                        await asyncio.sleep(0.02)  # until the activator is heard
            except TimeoutError as error:
                raise AssertionError(f"the scaler does not say that somebody is answered: {said(folder)}") from error


def said(folder: Path) -> dict[str, str]:
    """What each role wrote."""
    return {path.name: path.read_text() for path in folder.glob("*.log")}


async def is_active(channel: grpc.aio.Channel) -> bool:
    asked = pb.ScaledObjectRef(name="qwen", namespace="ai", scalerMetadata={"target": "5"})
    try:
        return (await ExternalScalerStub(channel).IsActive(asked)).result
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            return False
        raise


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        asyncio.run(main(Path(made)))
