from collections.abc import Iterator

import pytest

from tests.builders import ROOT
from tests.cluster.controlplane import ControlPlane
from tests.cluster.kubectl import NAMESPACE
from tests.cluster.node.settings import NODES
from tests.cluster.real.deployed import Deployed, deployed, nodes_of
from tests.cluster.vllm.served import NAME, Served

# The model lies in the image as a hub's cache has it; what a hub would give is copied into the volume.
SERVICE = (
    "spec.model.source.uri=hf://hearth-tests/tiny",
    "spec.runtime={name: cpu-vllm, argsOverride: [--max-model-len, '8192']}",
    "spec.resources={accelerators: 0, cpu: '2', memory: 8Gi}",
    "spec.cache.size=1Gi",
    "spec.scaling={max: 1, scaleDownStabilization: 1h, activationTimeout: 15m, drainTimeout: 2m}",
    "spec.endpoint.coldStart.heartbeatInterval=1s",
    "spec.template.spec.initContainers=[{name: hub, image: 'vllm/vllm-openai-cpu:v0.32.0', command: [cp, -r, /models/., "
    "/hub/hf/], volumeMounts: [{name: cache, mountPath: /hub/hf, subPath: hf}]}]",
    "spec.template.spec.containers=[{name: engine, env: [{name: HF_HUB_OFFLINE, value: '1'}, "
    "{name: VLLM_CPU_KVCACHE_SPACE, value: '1'}]}]",
)


@pytest.fixture(scope="package")
def hearth(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Hearth on one node that runs its pods."""
    with nodes_of(plane, tmp_path_factory.mktemp("nodes"), NODES[:1]) as nodes, deployed(plane, nodes) as made:
        plane.kubectl("apply", "-f", str(ROOT / "runtimes/vendors/cpu-vllm.yaml"))
        yield made


@pytest.fixture
async def awake(served: Served) -> Served:
    """The same with its engine ready."""
    await served.ask()
    return served


@pytest.fixture(scope="package")
def served(hearth: Deployed) -> Iterator[Served]:
    """An LLMService that vLLM serves; at zero when the first test begins."""
    hearth.cluster.apply(*SERVICE, name=NAME)
    hearth.cluster.until(lambda: hearth.cluster.asleep(NAME), "asleep")
    yield Served(hearth)
    hearth.plane.kubectl("delete", "llmservice", NAME, "-n", NAMESPACE)
