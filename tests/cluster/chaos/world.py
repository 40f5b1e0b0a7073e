"""The installation that is struck, and whether it is whole: roles ready, a leader at work, a cold request answered at every door."""

import asyncio
import contextlib
import json
import time
from typing import Any

import httpx

from tests.cluster.chaos.table import Phase
from tests.cluster.deployed import ROLES, Deployed
from tests.cluster.e2e.conversation import Conversation
from tests.cluster.installed import SYSTEM
from tests.cluster.kubectl import NAMESPACE

PROBE = "chaos-probe"
WHOLE_SECONDS = 180.0
"""After so long the suite gives up on an installation."""
_SPEC = (
    *("spec.scaling.scaleDownStabilization=5s", "spec.scaling.drainTimeout=2m"),
    "spec.endpoint.coldStart.heartbeatInterval=1s",
)
# At each activator 25 ask; to one replica an activator sends 13: so both replicas have some.
_OF_PHASE = {Phase.STREAMS: ("spec.scaling.max=2", "spec.scaling.target=25", "spec.endpoint.concurrency=13")}


def service_of(phase: Phase) -> str:
    return f"chaos-{phase.name.lower()}"


def pid_of(pod: Any) -> int | None:
    """The process of a pod's container, where it has one."""
    for container in pod["status"].get("containerStatuses", ()):
        if "running" in container["state"]:
            return int(container["containerID"].removeprefix("process://"))
    return None


class World:
    """Hearth with a model for each phase, and one by which is seen whether all works."""

    def __init__(self, hearth: Deployed, client: httpx.AsyncClient) -> None:
        self.hearth = hearth
        self.cluster = hearth.cluster
        self.client = client
        self._round = 0

    @property
    def names(self) -> list[str]:
        return [*map(service_of, Phase), PROBE]

    def settle(self) -> None:
        """Make the models that are not there yet, and wait until each is asleep and every role fresh."""
        self.no_back_off_is_left()
        wanted: dict[str, tuple[str, ...]] = {
            service_of(phase): (*_SPEC, "spec.scaling.target=200", *_OF_PHASE.get(phase, ())) for phase in Phase
        }
        self.cluster.apply_all({**wanted, PROBE: _SPEC})
        self.cluster.until(lambda: self.cluster.all_asleep(self.names), "all models asleep", WHOLE_SECONDS)
        engines = "app.kubernetes.io/component=engine"
        self.cluster.until(lambda: not self.cluster.items("pods", engines), "no engine is left", WHOLE_SECONDS)

    def remove(self) -> None:
        self.hearth.plane.kubectl("delete", "llmservice", "-n", NAMESPACE, "--ignore-not-found", *self.names)

    def no_back_off_is_left(self) -> None:
        """A pod that was killed before waits longer for its next start, as under any kubelet: another takes its place."""
        for role in ROLES:
            killed = [
                pod["metadata"]["name"]
                for pod in self.hearth.pods(role)
                if any(container["restartCount"] for container in pod["status"].get("containerStatuses", ()))
            ]
            if killed:
                self.hearth.plane.kubectl("delete", "pod", "-n", SYSTEM, *killed)
            self.hearth.rolled_out(role)

    def doors(self) -> list[str]:
        """Each activator's own address, in the order in which the pods are struck."""
        return [f"http://{pod['status']['podIP']}:8080" for pod in self.hearth.pods("activator")]

    def leader(self) -> Any:
        """The pod of the controller that leads."""
        lease = ("get", "lease", "hearth-controller", "-n", SYSTEM, "-o", "jsonpath={.spec.holderIdentity}")

        def found() -> Any:
            holder = self.hearth.plane.kubectl(*lease)
            return next(
                (pod for pod in self.hearth.pods("controller") if holder.startswith(pod["metadata"]["name"])), None
            )

        return self.cluster.until(found, "a controller that leads")

    def engines(self, phase: Phase) -> list[Any]:
        """A model's pods: first those on their way out, then the older ones."""
        pods = self.cluster.items("pods", f"serving.hearth.dev/llmservice={service_of(phase)}")
        return sorted(
            pods,
            key=lambda pod: (not pod["metadata"].get("deletionTimestamp"), pod["metadata"]["creationTimestamp"]),
        )

    def change(self, name: str) -> int:
        """Give a model's pods another annotation; returns the LLMService's generation."""
        self._round += 1
        template = {"metadata": {"annotations": {"chaos/round": f"{time.time():.0f}-{self._round}"}}}
        patch = json.dumps({"spec": {"template": template}})
        text = self.hearth.plane.kubectl(
            *["patch", "llmservice", name, "-n", NAMESPACE, "--type=merge", "-p", patch, "-o", "json"]
        )
        return int(json.loads(text)["metadata"]["generation"])

    async def whole(self) -> float:
        """Seconds until all works again. Raises AssertionError with what does not."""
        began = time.monotonic()
        await asyncio.to_thread(self._roles_work)
        # One at a door may be early: KEDA's own way back is part of what is waited for.
        talks = [Conversation(PROBE, url=door, tokens=3) for door in await asyncio.to_thread(self.doors)]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WHOLE_SECONDS):
                await asyncio.gather(*(talk.run(self.client) for talk in talks))
        for talk in talks:
            assert talk.whole, f"not whole again: {talk}"
        return time.monotonic() - began

    def _roles_work(self) -> None:
        self.cluster.until(
            lambda: self.hearth.plane.kubectl("get", "--raw=/readyz"), "the API server is ready", WHOLE_SECONDS
        )
        metrics = "--raw=/apis/external.metrics.k8s.io/v1beta1"
        self.cluster.until(
            lambda: self.hearth.plane.kubectl("get", metrics), "KEDA's metrics are served", WHOLE_SECONDS
        )
        generation = self.change(PROBE)
        for role in ROLES:
            self.hearth.rolled_out(role)
        self.seen(generation)

    def seen(self, generation: int) -> None:
        """Until the controller has seen this generation of the probe. Raises AssertionError."""

        def changed() -> bool:
            return bool(self.cluster.status(PROBE).get("observedGeneration") == generation)

        self.cluster.until(changed, "the controller has seen a change", WHOLE_SECONDS)
