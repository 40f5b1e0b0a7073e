"""What pods are held to: Pod Security's `restricted`, root file systems that nobody writes, users who are not root."""

import asyncio
import json
from collections.abc import Iterator

import pytest

from tests.cluster.controlplane import CommandFailed
from tests.cluster.e2e.conversation import Conversation, new_client
from tests.cluster.installed import SYSTEM
from tests.cluster.kubectl import Cluster
from tests.cluster.real.deployed import ROLES, Deployed

NAME, NAMESPACE = "confined", "restricted"
# As docs/install.md has it, and the root file system closed.
CONFINED = (
    "spec.template.spec={securityContext: {runAsNonRoot: true, runAsUser: 1000, fsGroup: 1000},"
    " containers: [{name: engine, securityContext: {readOnlyRootFilesystem: true}}]}"
)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_can_write_nothing_and_is_not_root(hearth: Deployed, role: str) -> None:
    python = ["exec", "-n", SYSTEM, f"deploy/hearth-{role}", "--", "/opt/hearth/bin/python", "-c"]
    assert hearth.plane.kubectl(*python, "import os; print(os.getuid(), os.getgid())").split()[0] == "65532"
    with pytest.raises(CommandFailed, match="Read-only file system"):
        hearth.plane.kubectl(*python, "open('/opt/written', 'w')")
    capabilities = (
        "print([line for line in open('/proc/1/status') if line.startswith(('CapEff', 'Seccomp:', 'NoNewPrivs'))])"
    )
    said = hearth.plane.kubectl(*python, capabilities)
    assert "CapEff:\\t0000000000000000" in said
    assert "Seccomp:\\t2" in said
    assert "NoNewPrivs:\\t1" in said


@pytest.fixture
def confined(hearth: Deployed) -> Iterator[Cluster]:
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    }
    hearth.plane.kubectl("apply", "-f", "-", stdin=json.dumps(namespace))
    yield Cluster(hearth.plane, NAMESPACE)
    hearth.plane.kubectl("delete", "namespace", NAMESPACE)


async def test_an_engine_answers_in_a_restricted_namespace(hearth: Deployed, confined: Cluster) -> None:
    confined.apply(name=NAME)
    confined.until(lambda: confined.asleep(NAME), "asleep")
    async with new_client() as client:
        talk = Conversation(f"{NAMESPACE}/{NAME}")
        asking = asyncio.create_task(talk.run(client))
        told = await asyncio.to_thread(
            confined.until,
            lambda: (c := confined.condition("Ready", NAME)) and c["reason"] == "PodNotCreated" and c,
            "the condition of a pod that the namespace refuses",
        )
        assert "runAsNonRoot" in told["message"]
        await asyncio.to_thread(confined.apply, CONFINED, name=NAME)
        await asking
        assert talk.whole, talk
    (pod,) = confined.items("pods", f"serving.hearth.dev/llmservice={NAME}")
    with pytest.raises(CommandFailed, match="Read-only file system"):
        confined.plane.kubectl("exec", "-n", NAMESPACE, pod["metadata"]["name"], "--", "touch", "/written")
