"""Many LLMServices, made side by side."""

import asyncio
from pathlib import Path

from hearth.kube.client import KubeClient
from hearth.kube.kinds import LLMSERVICE
from tests.builders import llmservice_manifest


async def make(kubeconfig: Path, namespace: str, count: int, at_a_time: int) -> None:
    """many-0000 and so on, so many at a time. Raises KubeError."""
    kube = await KubeClient.connect(kubeconfig)
    free = asyncio.Semaphore(at_a_time)

    async def one(number: int) -> None:
        async with free:
            item = llmservice_manifest(f"many-{number:04}", namespace)
            await kube.create_object(LLMSERVICE.within(namespace), item, "kubectl")

    try:
        await asyncio.gather(*map(one, range(count)))
    finally:
        await kube.close()
