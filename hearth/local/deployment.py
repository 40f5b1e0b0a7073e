"""A Deployment's pods on this machine, and the EndpointSlices and status that follow from them."""

import asyncio
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from hearth.api.labels import COMPONENT_LABEL, LLMSERVICE_LABEL
from hearth.api.llmservice import LLMService
from hearth.crd_translator import Rendered
from hearth.emulators.container import Image, Start, start_of
from hearth.emulators.listening import Place
from hearth.emulators.pod import Pod, PodSpec
from hearth.emulators.store import ObjectStore
from hearth.local.status import PodView, llmservice_status

EngineKind = Literal["sim", "command"]

# What an image says of itself, and here this machine must. Nothing else of our environment reaches an engine.
_IMAGE_VARIABLES = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH")


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How engines are run here. `sim_arguments` go to the simulated engine as they are."""

    kind: EngineKind = "sim"
    sim_arguments: tuple[str, ...] = ()
    backoff_first_seconds: float = 10.0


class LocalDeployment:
    """Keeps as many pods as were asked for with `scale`. `run` owns their tasks."""

    def __init__(
        self,
        service: LLMService,
        rendered: Rendered,
        store: ObjectStore,
        options: EngineOptions,
        log_folder: Path,
        endpoint_url: str,
    ) -> None:
        self.service = service
        self.wanted = 0
        self.pods: list[Pod] = []
        self._rendered = rendered
        self._store = store
        self._options = options
        self._log_folder = log_folder
        self._endpoint_url = endpoint_url
        self._since: dict[str, str] = {}
        self._numbers = 0
        self._queue_depth: int | None = None
        self._changed = asyncio.Event()
        (self._template,) = rendered.of_kind("Deployment")
        self._write_status()

    @property
    def key(self) -> tuple[str, str]:
        return self.service.key

    def scale(self, replicas: int) -> None:
        """Ask for another number of pods."""
        self.wanted = replicas
        self._changed.set()
        self._write_status()

    def observe(self, queue_depth: int | None) -> None:
        """Tell what KEDA would hear now; None where that is not known."""
        if queue_depth != self._queue_depth:
            self._queue_depth = queue_depth
            self._write_status()

    async def run(self) -> None:
        """Start and stop pods until cancelled; then every process is killed."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                active = [pod for pod in self.pods if pod.phase != "terminating"]
                for _ in range(self.wanted - len(active)):
                    pod = self._new_pod()
                    self.pods.append(pod)
                    group.create_task(pod.run(), name=pod.spec.name)
                # As a ReplicaSet does: those that are not ready go first, then the youngest.
                excess = sorted(active, key=lambda pod: (pod.ready, -active.index(pod)))
                for pod in excess[: max(0, len(active) - self.wanted)]:
                    pod.stop()
                await self._changed.wait()

    def _new_pod(self) -> Pod:
        self._numbers += 1
        template = self._template["spec"]["template"]
        (container,) = template["spec"]["containers"]
        name = f"{self.service.metadata.name}-{self._numbers}"
        place = Place.found(container["ports"][0]["containerPort"])
        pod = {
            "metadata": {**template["metadata"], "name": name, "namespace": self.service.metadata.namespace},
            "spec": template["spec"],
            "status": {"podIP": place.address},
        }
        start = place.told(start_of(_without_secrets(container), pod, self._image()))
        spec = PodSpec.of_container(
            name,
            container,
            command=self._command(start, place),
            env=start.env,
            port=place.port,
            grace_seconds=template["spec"]["terminationGracePeriodSeconds"],
            backoff_first=self._options.backoff_first_seconds,
            address=place.address,
            enter=place.enter,
        )
        return Pod(spec, self._log_folder / f"{name}.log", self._pod_changed)

    def _image(self) -> Image:
        """This machine in the place of an image: where its programs and libraries are. The simulated engine stands for
        every image's entry point; a real one is the container's own command."""
        env = {name: os.environ[name] for name in _IMAGE_VARIABLES if name in os.environ}
        return Image(("vllm", "serve") if self._options.kind == "sim" else (), (), env)

    def _command(self, start: Start, place: Place) -> list[str]:
        if self._options.kind == "command":
            return start.argv
        engine = [sys.executable, "-m", "hearth.emulators.engine", "--model", self.service.metadata.name]
        return [*engine, "--pod-address", place.address, *self._options.sim_arguments, "--", *start.argv]

    def _pod_changed(self, pod: Pod) -> None:
        self._since[pod.spec.name] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if pod.phase == "gone":
            self.pods = [other for other in self.pods if other is not pod]
            self._since.pop(pod.spec.name, None)
        namespace, _ = self.key
        if pod.ready:
            self._store.put("endpointslices", self._slice(pod))
        else:
            self._store.delete("endpointslices", namespace, pod.spec.name)
        self._write_status()
        self._changed.set()

    def _slice(self, pod: Pod) -> dict[str, Any]:
        """One slice for each pod: here every pod has a port of its own, and a slice has one list of ports."""
        namespace, name = self.key
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": pod.spec.name,
                "namespace": namespace,
                "labels": {LLMSERVICE_LABEL: name, COMPONENT_LABEL: "engine"},
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": pod.spec.port, "protocol": "TCP"}],
            "endpoints": [{"addresses": [pod.spec.address], "conditions": {"ready": True}}],
        }

    def _write_status(self) -> None:
        namespace, name = self.key
        views = [PodView(p.spec.name, p.phase, self._since.get(p.spec.name, ""), p.restarts) for p in self.pods]
        item = self._store.get("llmservices", namespace, name)
        if item is None:
            return
        generation = item["metadata"]["generation"]
        runtime = self._rendered.runtime.metadata.name
        deployment = self._store.get("deployments", namespace, name)
        if deployment is not None:
            deployment["spec"]["replicas"] = self.wanted
            deployment["status"] = {"replicas": len(views), "readyReplicas": sum(pod.phase == "ready" for pod in views)}
            self._store.put("deployments", deployment)
        item["status"] = llmservice_status(
            self.wanted, views, runtime, self._endpoint_url, generation, self._queue_depth
        )
        self._store.put("llmservices", item)


def _without_secrets(container: dict[str, Any]) -> dict[str, Any]:
    """The container where there are no Secrets: a variable of one is taken from our environment, if it is there."""
    env = []
    for variable in container["env"]:
        if "valueFrom" not in variable:
            env.append(variable)
        elif variable["name"] in os.environ:
            env.append({"name": variable["name"], "value": os.environ[variable["name"]].replace("$", "$$")})
    return {**container, "env": env, "envFrom": []}
