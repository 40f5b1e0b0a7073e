"""The engine's Deployment. It never has `replicas`: KEDA owns the count."""

import hashlib
import json
from typing import Any

from hearth.api.inferenceruntime import InferenceRuntime, Probe
from hearth.api.labels import RESOURCE_ANNOTATION, RUNTIME_ANNOTATION, VENDOR_ANNOTATION, VERSION_ANNOTATION
from hearth.api.llmservice import LLMService
from hearth.crd_translator.arguments import engine_arguments, substitute
from hearth.crd_translator.drain import drain_hook, grace_seconds
from hearth.crd_translator.names import labels, selector
from hearth.crd_translator.pod import pod_template
from hearth.crd_translator.prewarm import wait_container, waits
from hearth.crd_translator.resolve import RuntimeNotResolved


def render_deployment(service: LLMService, runtime: InferenceRuntime) -> dict[str, Any]:
    """The Deployment of one LLMService. Raises RuntimeNotResolved where the engine can't do what is asked."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": service.metadata.name,
            "namespace": service.metadata.namespace,
            "labels": labels(service),
            "annotations": _chosen(runtime),
        },
        "spec": {
            "selector": {"matchLabels": selector(service)},
            # A surge would need an accelerator that may not exist; requests are held while one replica is replaced.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            "progressDeadlineSeconds": 1800,
            # Where nobody owned it, `kubectl rollout pause` would leave the engines at what they are for ever.
            "paused": False,
            "revisionHistoryLimit": 3,
            "template": _template(service, runtime),
        },
    }


def _chosen(runtime: InferenceRuntime) -> dict[str, str]:
    """What a controller needs to go on with the choice where the LLMService's status is lost. Not in the template: two
    runtimes may make the same pods."""
    resource = runtime.spec.accelerator.resource_name
    return {
        RUNTIME_ANNOTATION: runtime.metadata.name,
        VENDOR_ANNOTATION: runtime.spec.vendor,
        **({RESOURCE_ANNOTATION: resource} if resource is not None else {}),
    }


def _template(service: LLMService, runtime: InferenceRuntime) -> dict[str, Any]:
    template = pod_template(service, runtime, "engine")
    spec = template["spec"]
    engine, *sidecars = spec["containers"]
    _check_ports(service, runtime, sidecars, spec.get("initContainers", []))
    spec["containers"] = [_run(service, runtime, engine), *sidecars]
    if waits(service, runtime):
        spec["initContainers"] = [*spec.get("initContainers", []), wait_container(service, runtime, engine)]
    spec["terminationGracePeriodSeconds"] = grace_seconds(service, runtime)
    text = json.dumps(template, sort_keys=True)
    # With a letter in front: of digits alone, or digits with an e, some readers of YAML make a number.
    version = {VERSION_ANNOTATION: f"v{hashlib.sha256(text.encode()).hexdigest()[:8]}"}
    template["metadata"]["annotations"] = {**template["metadata"].get("annotations", {}), **version}
    return template


def _run(service: LLMService, runtime: InferenceRuntime, engine: dict[str, Any]) -> dict[str, Any]:
    """The engine's container with what it runs, how it is looked at, and how it ends."""
    own, health = runtime.spec.container, runtime.spec.health
    container = {
        **engine,
        "image": own.image,
        "args": engine_arguments(service, runtime),
        "ports": [{"name": own.port.name, "containerPort": own.port.container_port}],
        "startupProbe": _probe(health.startup, runtime),
        "readinessProbe": _probe(health.readiness, runtime),
        "livenessProbe": _probe(health.liveness, runtime),
    }
    if own.command:
        container["command"] = [substitute(word, service) for word in own.command]
    hook = drain_hook(service, runtime)
    if hook is not None:
        container["lifecycle"] = {"preStop": {"exec": {"command": hook}}}
    return container


def _check_ports(
    service: LLMService, runtime: InferenceRuntime, sidecars: list[dict[str, Any]], first: list[dict[str, Any]]
) -> None:
    """Containers of a pod share its ports: what is asked for at the engine's must be the engine. An init container is
    beside it where it is restarted always."""
    own = runtime.spec.container.port
    beside = [("containers", each) for each in sidecars]
    beside += [("initContainers", each) for each in first if each.get("restartPolicy") == "Always"]
    for field, sidecar in beside:
        for port in sidecar.get("ports", ()):
            if port.get("name") == own.name or port.get("containerPort") == own.container_port:
                raise RuntimeNotResolved(
                    "TemplateRefused",
                    f"LLMService {'/'.join(service.key)}: spec.template.spec.{field}: found port {port} on "
                    f"container {sidecar['name']}; {own.name} and {own.container_port} are the engine's: choose others",
                )


def readiness_path(runtime: InferenceRuntime) -> str | None:
    """What the readiness probe GETs at the engine's port; None where it asks in another way."""
    asked: dict[str, Any] = _probe(runtime.spec.health.readiness, runtime).get("httpGet", {})
    port = runtime.spec.container.port
    plain = asked.keys() <= {"path", "port", "scheme"} and asked.get("scheme", "HTTP") == "HTTP"
    return str(asked["path"]) if plain and asked.get("port") in (port.name, port.container_port) else None


def _probe(probe: Probe, runtime: InferenceRuntime) -> dict[str, Any]:
    rendered = probe.model_dump(by_alias=True, exclude_none=True)
    port = runtime.spec.container.port.name
    if probe.http_get is not None:
        rendered["httpGet"].setdefault("port", port)
    elif not probe.handlers:
        rendered["httpGet"] = {"path": "/health", "port": port}
    return rendered
