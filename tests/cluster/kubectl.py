"""kubectl with patience: what a person has, asked again until it is so."""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tests.builders import llmservice_manifest
from tests.cluster.controlplane import CommandFailed, ControlPlane

PATIENCE = 60.0
NAME, NAMESPACE = "deepseek-v3-small", "ai-prod"


class Cluster:
    """The objects of one namespace, as the cluster's admin sees them."""

    def __init__(self, plane: ControlPlane, namespace: str = NAMESPACE) -> None:
        self.plane = plane
        self.namespace = namespace

    def get(self, what: str, name: str = NAME) -> Any:
        """An object, or None."""
        text = self.plane.kubectl(
            *["get", what, name, "-n", self.namespace, "-o", "json", "--ignore-not-found", "--show-managed-fields"]
        )
        return json.loads(text) if text else None

    def items(self, what: str, selector: str = "") -> list[Any]:
        """All objects of a kind."""
        text = self.plane.kubectl("get", what, "-n", self.namespace, "-o", "json", "-l", selector)
        found: list[Any] = json.loads(text)["items"]
        return found

    def until(self, seen: Callable[[], object], what: str, seconds: float = PATIENCE) -> Any:
        """Ask again until it is so. kubectl has no event for "any of this"."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if found := seen():
                    return found
            except CommandFailed as error:  # an API server that is away
                if time.monotonic() > deadline:
                    raise AssertionError(f"not seen in {seconds:g} s: {what}") from error
            assert time.monotonic() < deadline, f"not seen in {seconds:g} s: {what}; {self.get('llmservice')}"
            time.sleep(0.2)

    def condition(self, kind: str, name: str = NAME) -> Any:
        return next((c for c in self.status(name).get("conditions", []) if c["type"] == kind), None)

    def status(self, name: str = NAME) -> Any:
        """An LLMService's status; empty where there is none."""
        return (self.get("llmservice", name) or {}).get("status") or {}

    def asleep(self, name: str = NAME) -> bool:
        """Whether it is at zero and KEDA looks after it: the next request may come."""
        return _asleep(self.status(name))

    def all_asleep(self, names: Iterable[str]) -> bool:
        """The same of several, by one question."""
        found = {item["metadata"]["name"]: item.get("status") or {} for item in self.items("llmservice")}
        return all(_asleep(found.get(name, {})) for name in names)

    def apply(self, *assignments: str, name: str = NAME) -> None:
        self.apply_all({name: assignments})

    def apply_all(self, services: Mapping[str, Sequence[str]]) -> None:
        """Make or change LLMServices, by their names: each by its assignments."""
        items = [llmservice_manifest(name, self.namespace, *said) for name, said in services.items()]
        listed = {"apiVersion": "v1", "kind": "List", "items": items}
        self.plane.kubectl("apply", "-f", "-", stdin=json.dumps(listed))

    def replicas(self, name: str = NAME) -> int:
        """The Deployment's spec.replicas; -1 where there is none."""
        deployment = self.get("deployment", name)
        return int(deployment["spec"]["replicas"]) if deployment else -1

    def image(self, name: str = NAME) -> str:
        deployment = self.get("deployment", name)
        return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"]) if deployment else ""


def _asleep(status: Any) -> bool:
    """Of an LLMService's status."""
    ready: Any = next((each for each in status.get("conditions", []) if each["type"] == "ScaledObjectReady"), {})
    return bool(status.get("phase") == "ScaledToZero" and ready.get("status") == "True")
