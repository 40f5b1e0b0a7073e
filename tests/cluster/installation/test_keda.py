"""KEDA's own installation beside Hearth: its pods, its rights, its webhooks."""

import asyncio
import json

import pytest

from tests.cluster.controlplane import CommandFailed
from tests.cluster.e2e.conversation import Conversation, new_client
from tests.cluster.installation import keda
from tests.cluster.kubectl import NAMESPACE
from tests.cluster.real.deployed import Deployed

NAME = "taken"


def scaled_object(name: str, deployment: str) -> str:
    """One of a user's own, on a Deployment."""
    return json.dumps(
        {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "scaleTargetRef": {"name": deployment},
                "minReplicaCount": 0,
                "triggers": [{"type": "cron", "metadata": CRON}],
            },
        }
    )


CRON = {"timezone": "UTC", "start": "0 6 * * *", "end": "0 7 * * *", "desiredReplicas": "1"}


def test_its_webhook_is_asked(hearth: Deployed) -> None:
    """Else what follows would say nothing: its failure policy is Ignore."""
    hearth.cluster.apply(name=NAME)
    hearth.cluster.until(lambda: hearth.cluster.asleep(NAME), "asleep")
    with pytest.raises(CommandFailed, match="denied the request.*already managed by the (ScaledObject|hpa)"):
        hearth.plane.kubectl("apply", "-f", "-", stdin=scaled_object("second", NAME))
    hearth.plane.kubectl("delete", "llmservice", NAME, "-n", NAMESPACE)


def test_a_workload_that_a_users_scaledobject_has_is_said(hearth: Deployed) -> None:
    """KEDA's webhook refuses ours then: the LLMService says so, with KEDA's words, and goes on when the other is gone."""
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "other", "namespace": NAMESPACE},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "other"}},
            "template": {
                "metadata": {"labels": {"app": "other"}},
                "spec": {"containers": [{"name": "other", "image": "hearth:latest"}]},
            },
        },
    }
    hearth.plane.kubectl("apply", "-f", "-", stdin=json.dumps(deployment))
    # KEDA takes one whose Deployment is not there yet.
    hearth.plane.kubectl("apply", "-f", "-", stdin=scaled_object("theirs", NAME))
    hearth.cluster.apply(name=NAME)
    told = hearth.cluster.until(
        lambda: (c := hearth.cluster.condition("Ready", NAME)) and c["reason"] == "Refused" and c,
        "the condition of a ScaledObject that KEDA refuses",
    )
    assert "theirs" in told["message"]
    hearth.plane.kubectl("delete", "scaledobject", "theirs", "-n", NAMESPACE)
    hearth.cluster.until(lambda: hearth.cluster.asleep(NAME), "asleep, once the other is gone", 120)
    hearth.plane.kubectl("delete", "llmservice", NAME, "-n", NAMESPACE)
    hearth.plane.kubectl("delete", "deployment", "other", "-n", NAMESPACE)


async def test_its_pods_may_go_while_requests_are_held(hearth: Deployed) -> None:
    """Its successor reads the same certificates, hears of the demand, and starts the model."""
    name = "outlives"
    await asyncio.to_thread(hearth.cluster.apply, name=name)
    await asyncio.to_thread(hearth.cluster.until, lambda: hearth.cluster.asleep(name), "asleep")
    plane = hearth.plane
    await asyncio.to_thread(plane.kubectl, "scale", "deployment", "--all", "--replicas=0", "-n", keda.NAMESPACE)
    await asyncio.to_thread(
        plane.kubectl, "wait", "--for=delete", "pod", "--all", "-n", keda.NAMESPACE, "--timeout=60s"
    )
    async with new_client() as client:
        talk = Conversation(name)
        asking = asyncio.create_task(talk.run(client))
        await talk.until(lambda heard: bool(heard.beats))
        await asyncio.to_thread(plane.kubectl, "scale", "deployment", "--all", "--replicas=1", "-n", keda.NAMESPACE)
        await asking
        assert talk.whole, talk
    plane.kubectl("delete", "llmservice", name, "-n", NAMESPACE)
