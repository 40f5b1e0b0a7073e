"""A prewarm Job that runs: on a node, into a volume that a provisioner made, and the engine after it from the same."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.e2e.conversation import Conversation, new_client
from tests.cluster.kubectl import NAMESPACE
from tests.cluster.real.deployed import Deployed

NAME = "filled"
SOME = re.compile(r"[1-9][0-9]* MiB")


@pytest.fixture
def downloaded_by(hearth: Deployed) -> Iterator[Callable[[str], None]]:
    """Apply a runtime whose prewarm runs this in a shell."""

    def apply(script: str) -> None:
        runtime = json.loads(hearth.plane.kubectl("get", "infr", "nvidia-vllm", "-o", "json"))
        runtime["metadata"] = {"name": NAME}
        runtime["spec"]["prewarm"] = {"command": ["/bin/sh", "-c", script]}
        hearth.plane.kubectl("apply", "-f", "-", stdin=json.dumps(runtime))

    yield apply
    hearth.plane.kubectl("delete", "llmservice", NAME, "-n", NAMESPACE)
    hearth.plane.kubectl("delete", "infr", NAME)


async def test_a_job_fills_the_volume_that_the_engine_reads(
    hearth: Deployed, downloaded_by: Callable[[str], None]
) -> None:
    cluster = hearth.cluster

    def told(reason: str) -> Any:
        found = cluster.condition("ModelCached", NAME)
        return found if found and found["reason"] == reason else None

    downloaded_by("echo '401 Client Error: Unauthorized for url' >&2; exit 1")
    cluster.apply(f"spec.runtime={{name: {NAME}}}", "spec.cache={prewarm: true}", name=NAME)
    failed = cluster.until(lambda: told("PrewarmFailed"), "the last words of a download that failed")
    assert "401 Client Error: Unauthorized for url" in failed["message"]
    downloaded_by('mkdir -p "$HF_HOME" && head -c 3000000 /dev/zero >"$HF_HOME/weights" && sleep 8')
    loading = cluster.until(lambda: (c := told("Downloading")) and SOME.search(c["message"]) and c, "how far it is")
    assert loading["status"] == "False"
    cluster.until(lambda: told("Cached"), "that it is whole")
    (job,) = cluster.items("jobs", f"serving.hearth.dev/llmservice={NAME}")
    assert job["status"]["succeeded"] == 1
    async with new_client() as client:
        assert (await Conversation(NAME).run(client)).whole
    (engine,) = [
        pod
        for pod in cluster.items("pods", f"serving.hearth.dev/llmservice={NAME}")
        if pod["status"]["phase"] == "Running"
    ]
    size = ["sh", "-c", 'stat -c %s "$HF_HOME/weights"']
    assert hearth.plane.kubectl("exec", "-n", NAMESPACE, engine["metadata"]["name"], "--", *size).strip() == "3000000"
