"""`python -m tests.cluster.agent --kubeconfig FILE --image FOLDER --state FOLDER`: the agent as a process."""

import argparse
import asyncio
from pathlib import Path

from hearth.kube.client import KubeClient
from hearth.logs import configure
from hearth.process import run_until, stop_signal
from tests.builders import ROOT
from tests.cluster.agent.agent import Agent, Node
from tests.cluster.agent.image import image_of

NODES = (
    Node("gpu-1", {"nvidia.com/gpu": "8"}),
    Node("gpu-2", {"nvidia.com/gpu": "8"}),
    Node("npu-1", {"huawei.com/Ascend910": "8"}),
)


async def _serve(kubeconfig: Path, image: Path, state: Path) -> None:
    stop = stop_signal()
    kube = await KubeClient.connect(kubeconfig)
    try:
        await run_until(
            stop,
            Agent(kube, NODES, image_of((ROOT / "tests/cluster/agent/Dockerfile").read_text(), image), state).run(),
        )
    finally:
        await kube.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.agent", description=__doc__)
    for name in ("kubeconfig", "image", "state"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = parser.parse_args()
    configure("json")
    asyncio.run(_serve(given.kubeconfig, given.image, given.state))


if __name__ == "__main__":
    main()
