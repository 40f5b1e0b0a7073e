"""The engine's Deployment. It never has `replicas`: KEDA owns the count."""

import math
from typing import Any

from hearth.api.inferenceruntime import InferenceRuntime, Probe
from hearth.api.llmservice import LLMService
from hearth.api.quantity import parse_quantity
from hearth.crd_translator.arguments import engine_arguments, substitute
from hearth.crd_translator.names import ENGINE_PORT_ENV, labels, selector
from hearth.crd_translator.storage import source_env, volumes_and_mounts

# What a terminating engine gets beyond its drain: the preStop hook's own steps, then SIGTERM and its exit.
_GRACE_AFTER_DRAIN_SECONDS = 30
# Endpoint removal reaches every activator well within this; requests sent before it are still accepted.
_DEREGISTER_SECONDS = 2
# The annotation from which Volcano makes the pod's PodGroup.
_VOLCANO_QUEUE = "scheduling.volcano.sh/queue-name"


def render_deployment(service: LLMService, runtime: InferenceRuntime) -> dict[str, Any]:
    """The Deployment of one LLMService. Raises RuntimeNotResolved where the engine can't do what is asked."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": service.metadata.name,
            "namespace": service.metadata.namespace,
            "labels": labels(service),
        },
        "spec": {
            "selector": {"matchLabels": selector(service)},
            # A surge would need an accelerator that may not exist; requests are held while one replica is replaced.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            "progressDeadlineSeconds": 1800,
            "revisionHistoryLimit": 3,
            "template": {"metadata": _pod_metadata(service, runtime), "spec": _pod(service, runtime)},
        },
    }


def _pod_metadata(service: LLMService, runtime: InferenceRuntime) -> dict[str, Any]:
    scheduler = runtime.spec.accelerator.scheduler
    metadata: dict[str, Any] = {"labels": labels(service)}
    if scheduler is not None and scheduler.queue is not None:
        metadata["annotations"] = {_VOLCANO_QUEUE: scheduler.queue}
    return metadata


def _pod(service: LLMService, runtime: InferenceRuntime) -> dict[str, Any]:
    accelerator = runtime.spec.accelerator
    source_volumes, _ = volumes_and_mounts(service, runtime)
    pod: dict[str, Any] = {
        "containers": [_container(service, runtime)],
        "volumes": source_volumes + runtime.spec.volumes,
        "terminationGracePeriodSeconds": _grace_seconds(service, runtime),
        # An engine runs code that comes with models; it has no business with the API server.
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
    }
    if accelerator.node_selector:
        pod["nodeSelector"] = accelerator.node_selector
    if accelerator.tolerations:
        pod["tolerations"] = [
            toleration.model_dump(by_alias=True, exclude_none=True) for toleration in accelerator.tolerations
        ]
    if accelerator.resource_claims:
        pod["resourceClaims"] = [
            claim.model_dump(by_alias=True, exclude_none=True, exclude={"request"})
            for claim in accelerator.resource_claims
        ]
    if accelerator.runtime_class_name is not None:
        pod["runtimeClassName"] = accelerator.runtime_class_name
    if accelerator.scheduler is not None:
        pod["schedulerName"] = accelerator.scheduler.name
    if service.spec.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": secret.name} for secret in service.spec.image_pull_secrets]
    return pod


def _container(service: LLMService, runtime: InferenceRuntime) -> dict[str, Any]:
    engine = runtime.spec.container
    health = runtime.spec.health
    _, source_mounts = volumes_and_mounts(service, runtime)
    source, env_from = source_env(service)
    port_env: dict[str, Any] = {"name": ENGINE_PORT_ENV, "value": str(engine.port.container_port)}
    own_env: list[dict[str, Any]] = []
    for variable in engine.env:
        rendered = variable.model_dump(by_alias=True, exclude_none=True)
        if variable.value is not None:
            rendered["value"] = substitute(variable.value, service)
        own_env.append(rendered)
    # The runtime's word comes last: Kubernetes takes the last of two equal names, and a map list must not have two.
    by_name = {variable["name"]: variable for variable in [port_env, *source, *own_env]}
    container: dict[str, Any] = {
        "name": "engine",
        "image": engine.image,
        "args": engine_arguments(service, runtime),
        "env": list(by_name.values()),
        "ports": [{"name": engine.port.name, "containerPort": engine.port.container_port}],
        "resources": _resources(service, runtime),
        "volumeMounts": source_mounts + runtime.spec.volume_mounts,
        "startupProbe": _probe(health.startup, runtime),
        "readinessProbe": _probe(health.readiness, runtime),
        "livenessProbe": _probe(health.liveness, runtime),
    }
    if engine.command:
        container["command"] = [substitute(word, service) for word in engine.command]
    if env_from:
        container["envFrom"] = env_from
    hook = _drain_hook(service, runtime)
    if hook is not None:
        container["lifecycle"] = {"preStop": {"exec": {"command": hook}}}
    return container


def _resources(service: LLMService, runtime: InferenceRuntime) -> dict[str, Any]:
    wanted = service.spec.resources
    accelerator = runtime.spec.accelerator
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}
    if cpu := wanted.cpu or runtime.spec.resources.cpu:
        requests["cpu"] = cpu
    if memory := wanted.memory or runtime.spec.resources.memory:
        requests["memory"] = memory
    devices: dict[str, str] = {}
    if accelerator.resource_name is not None and wanted.accelerators > 0:
        devices[accelerator.resource_name] = str(wanted.accelerators)
    if wanted.fraction is not None:
        names = accelerator.sharing.resource_names
        if wanted.fraction.memory is not None and names.memory is not None:
            devices[names.memory] = str(math.ceil(parse_quantity(wanted.fraction.memory) / 2**20))
        if wanted.fraction.cores is not None and names.cores is not None:
            devices[names.cores] = str(wanted.fraction.cores)
    # Extended resources can't be overcommitted: the request is the limit (Kubernetes, "Managing Resources").
    limits.update(devices)
    requests.update(devices)
    claims = [claim.model_dump(include={"name", "request"}, exclude_none=True) for claim in accelerator.resource_claims]
    resources = {"requests": requests, "limits": limits, "claims": claims}
    return {name: amounts for name, amounts in resources.items() if amounts}


def _probe(probe: Probe, runtime: InferenceRuntime) -> dict[str, Any]:
    rendered = probe.model_dump(by_alias=True, exclude_none=True)
    port = runtime.spec.container.port.name
    if probe.http_get is not None:
        rendered["httpGet"].setdefault("port", port)
    elif probe.tcp_socket is None and probe.exec is None:
        rendered["httpGet"] = {"path": "/health", "port": port}
    return rendered


def _grace_seconds(service: LLMService, runtime: InferenceRuntime) -> int:
    drain = math.ceil(service.spec.scaling.drain_timeout.total_seconds())
    return max(runtime.spec.lifecycle.termination_grace_period_seconds, drain + _GRACE_AFTER_DRAIN_SECONDS)


def _drain_hook(service: LLMService, runtime: InferenceRuntime) -> list[str] | None:
    """A preStop hook that waits until the engine says that nothing runs, at most for drainTimeout.

    The pod has left the EndpointSlice when the hook runs, so the count can only fall. It is read from the engine's
    own metrics with what engine images have: sh, and curl or python3.
    """
    metrics = runtime.spec.metrics
    if not runtime.spec.lifecycle.pre_stop_drain or metrics.running is None:
        return None
    drain = math.ceil(service.spec.scaling.drain_timeout.total_seconds())
    port = str(metrics.port) if metrics.port is not None else f"${{{ENGINE_PORT_ENV}}}"
    url = f"http://127.0.0.1:{port}{metrics.path}"
    read = f'curl -fsS "{url}" || python3 -c "import urllib.request as u; print(u.urlopen(\'{url}\').read().decode())"'
    running = f"awk '/^{metrics.running}[ {{]/ {{ total += $NF }} END {{ exit total > 0 }}'"
    script = (
        f"end=$(($(date +%s) + {drain})); sleep {_DEREGISTER_SECONDS}; "
        f"while [ $(date +%s) -lt $end ]; do "
        f"figures=$({read}) || exit 0; "
        f'echo "$figures" | {running} && exit 0; '
        f"sleep 1; done"
    )
    return ["/bin/sh", "-c", script]
