"""Roles as processes against an API server of ours that may be away, and come."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import uvicorn

from hearth.emulators.apiserver import Watches, create_api
from hearth.emulators.store import ObjectStore
from hearth.local.cluster import kubeconfig
from hearth.operations import EmbeddedServer, bind

PATIENCE = 60.0


@contextlib.asynccontextmanager
async def api_server(address: str, store: ObjectStore) -> AsyncIterator[None]:
    """An API server of these objects on host:port while the context lasts."""
    watches, listening = Watches(), bind(address)
    server = EmbeddedServer(uvicorn.Config(create_api(store, watches), log_level="warning"))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield
    finally:
        watches.close()
        server.should_exit = True
        await serving
        listening.close()


@contextlib.asynccontextmanager
async def role(folder: Path, api: str, name: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`hearth NAME` until the context is left, which SIGTERM ends with 0; `api` is the API server's host:port."""
    file = folder / "kubeconfig"
    file.write_text(json.dumps(kubeconfig(f"http://{api}")))
    with (folder / f"{name}.log").open("w") as log:
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "hearth", name, "--kubeconfig", str(file), *arguments], stdout=log, stderr=log
        )
    try:
        yield process
        process.terminate()
        async with asyncio.timeout(PATIENCE):
            code = await process.wait()
        assert code == 0, (folder / f"{name}.log").read_text()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def answers(http: httpx.AsyncClient, url: str, status: int) -> httpx.Response:
    """Ask until this is the answer's status."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = await http.get(url)
                if answer.status_code == status:
                    return answer
            await asyncio.sleep(0.02)  # a process has no event
