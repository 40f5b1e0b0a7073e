"""How a pod's container runs on this machine: where it is, and which process stands for its image."""

import os
import sys
from dataclasses import dataclass
from typing import Any, Literal

from hearth.api.labels import LLMSERVICE_LABEL
from hearth.api.template import WAIT
from hearth.emulators.container import Image, NotStartable, Start, start_of
from hearth.emulators.listening import Place
from hearth.emulators.mounts import Mounts, Volumes
from hearth.emulators.pod import PodSpec

EngineKind = Literal["sim", "command"]

# What an image says of itself, and here this machine must. Nothing else of our environment reaches an engine.
_IMAGE_VARIABLES = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH")


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How engines are run here. `sim_arguments` go to the simulated engine as they are, which reads no volume; a real
    one has `volumes`, none where they are None."""

    kind: EngineKind = "sim"
    sim_arguments: tuple[str, ...] = ()
    backoff_first_seconds: float = 10.0
    volumes: Volumes | None = None

    def place(self, pod: dict[str, Any]) -> PodSpec:
        """What the kubelet runs for a pod. Raises NotStartable."""
        container, *others = pod["spec"]["containers"]
        if others:
            raise NotStartable("CreateContainerError", f"spec.containers: found {1 + len(others)}; one is run here")
        # One of ours waits for a prewarm, and Jobs are not run here either.
        if before := [each["name"] for each in pod["spec"].get("initContainers") or () if each["name"] != WAIT]:
            names = ", ".join(before)
            raise NotStartable("CreateContainerError", f"spec.initContainers: found {names}; none is run here")
        if not container.get("ports"):
            raise NotStartable("CreateContainerError", f"container {container['name']}: ports: found none; give it one")
        place = Place.found(container["ports"][0]["containerPort"])
        there = {**pod, "status": {**(pod.get("status") or {}), "podIP": place.address}}
        image = self._image()
        mounts = self.volumes.of(pod) if self.volumes is not None else Mounts()
        start = place.told(mounts.told(start_of(_without_secrets(container), there, image), image.env))
        return PodSpec.of_container(
            pod["metadata"]["name"],
            container,
            command=self._command(pod, start, place),
            env=start.env,
            port=place.port,
            grace_seconds=pod["spec"]["terminationGracePeriodSeconds"],
            backoff_first=self.backoff_first_seconds,
            address=place.address,
            enter=lambda pid, command: mounts.words(place.enter(pid, command)),
            passing=self.volumes.passing_of(pod) if self.volumes is not None else None,
        )

    def _image(self) -> Image:
        """This machine in the place of an image: where its programs and libraries are. The simulated engine stands for
        every image's entry point; a real one is the container's own command."""
        env = {name: os.environ[name] for name in _IMAGE_VARIABLES if name in os.environ}
        return Image(("vllm", "serve") if self.kind == "sim" else (), (), env)

    def _command(self, pod: dict[str, Any], start: Start, place: Place) -> list[str]:
        if self.kind == "command":
            return start.argv
        model = (pod["metadata"].get("labels") or {}).get(LLMSERVICE_LABEL) or pod["metadata"]["name"]
        engine = [sys.executable, "-m", "hearth.emulators.engine", "--model", model]
        return [*engine, "--pod-address", place.address, *self.sim_arguments, "--", *start.argv]


def _without_secrets(container: dict[str, Any]) -> dict[str, Any]:
    """The container where there are no Secrets: a variable of one is taken from our environment, if it is there."""
    env = []
    for variable in container.get("env") or ():
        if "valueFrom" not in variable:
            env.append(variable)
        elif variable["name"] in os.environ:
            env.append({"name": variable["name"], "value": os.environ[variable["name"]].replace("$", "$$")})
    return {**container, "env": env, "envFrom": []}
