"""oci://: a model that is an image, mounted by the kubelet as a volume."""

import asyncio

from tests.cluster.e2e.conversation import Conversation, new_client
from tests.cluster.kubectl import NAMESPACE
from tests.cluster.node.image import load_files
from tests.cluster.node.settings import NODES
from tests.cluster.real.deployed import Deployed

NAME, REFERENCE = "imaged", "registry.example/models/tiny:1"
CONFIG = b'{"architectures": ["LlamaForCausalLM"]}'


async def test_an_engine_reads_its_model_from_an_image(hearth: Deployed) -> None:
    for spec in NODES:
        load_files(hearth.nodes[spec.name], REFERENCE, {"/config.json": CONFIG})
    await asyncio.to_thread(hearth.cluster.apply, f"spec.model.source.uri=oci://{REFERENCE}", name=NAME)
    await asyncio.to_thread(hearth.cluster.until, lambda: hearth.cluster.asleep(NAME), "asleep")
    async with new_client() as client:
        assert (await Conversation(NAME).run(client)).whole
    (pod,) = hearth.cluster.items("pods", f"serving.hearth.dev/llmservice={NAME}")
    engine = pod["spec"]["containers"][0]
    (path,) = [mount["mountPath"] for mount in engine["volumeMounts"] if mount["name"] == "source"]
    assert path in " ".join(engine["args"]), "what the engine is told to load"
    run = ("exec", "-n", NAMESPACE, pod["metadata"]["name"], "--")
    assert hearth.plane.kubectl(*run, "cat", f"{path}/config.json").encode() == CONFIG
    refused = hearth.plane.kubectl(*run, "sh", "-c", f"touch {path}/mine 2>&1 || true")
    assert "Read-only file system" in refused
    hearth.plane.kubectl("delete", "llmservice", NAME, "-n", NAMESPACE)
