"""The one pod template of an LLMService: what its engines and its prewarm Job both get, so that both run alike.

Placement, accounts, environment, volumes and resources are here; what each of the two runs is its own module's. The
InferenceRuntime's `spec.template` is laid over what the other fields render, then the LLMService's.
"""

import math
from fractions import Fraction
from typing import Any

from hearth.api.inferenceruntime import InferenceRuntime
from hearth.api.llmservice import LLMService
from hearth.api.quantity import parse_quantity
from hearth.api.template import ENGINE, ENGINE_PORT_ENV
from hearth.crd_translator.arguments import substitute
from hearth.crd_translator.names import labels
from hearth.crd_translator.resolve import RuntimeNotResolved
from hearth.crd_translator.storage import source_env, volumes_and_mounts
from hearth.crd_translator.template import merged, variables

Part = dict[str, Any]

# The annotation from which Volcano makes the pod's PodGroup.
_VOLCANO_QUEUE = "scheduling.volcano.sh/queue-name"
# Of /dev/shm where no memory is asked for.
_SHM = "8Gi"


def pod_template(service: LLMService, runtime: InferenceRuntime, component: str) -> Part:
    """metadata and spec of a pod; the first container is `engine`, without anything to run yet.

    `component` goes into the labels, by which Services and the controller tell engines from other pods.
    """
    rendered = {
        "metadata": {"labels": labels(service, component), **_annotations(runtime)},
        "spec": _spec(service, runtime),
    }
    template = merged({}, rendered)
    layers = {
        f"InferenceRuntime {runtime.metadata.name}": runtime.spec.template,
        f"LLMService {'/'.join(service.key)}": service.spec.template,
    }
    for whose, layer in layers.items():
        if layer is not None:
            patch = layer.to_patch()
            _check_devices(whose, runtime, patch)
            template = merged(template, patch)
    spec = template["spec"]
    engine = spec["containers"][0]
    _bound_memory(engine)
    if not any(volume["name"] == "shm" for volume in spec["volumes"]):
        spec["volumes"] = [_shared_memory(engine), *spec["volumes"]]
    return template


def _check_devices(whose: str, runtime: InferenceRuntime, patch: Part) -> None:
    """How many devices an engine has goes into its arguments and into what is counted: it is said in one place."""
    accelerator = runtime.spec.accelerator
    shares = accelerator.sharing.resource_names
    owned = dict.fromkeys(accelerator.resources, "accelerators")
    owned |= {name: "fraction" for name in (shares.memory, shares.cores) if name is not None}
    for container in patch.get("spec", {}).get("containers", ()):
        if container["name"] != ENGINE:
            continue
        for kind in ("requests", "limits"):
            for name, amount in container.get("resources", {}).get(kind, {}).items():
                if name in owned:
                    raise RuntimeNotResolved(
                        "TemplateRefused",
                        f"{whose}: spec.template.spec.containers: found {name}: {amount} in resources.{kind} of "
                        f"container {ENGINE}; use spec.resources.{owned[name]} of the LLMService",
                    )


def _annotations(runtime: InferenceRuntime) -> Part:
    scheduler = runtime.spec.accelerator.scheduler
    if scheduler is None or scheduler.queue is None:
        return {}
    return {"annotations": {_VOLCANO_QUEUE: scheduler.queue}}


def _spec(service: LLMService, runtime: InferenceRuntime) -> Part:
    accelerator = runtime.spec.accelerator
    volumes, _ = volumes_and_mounts(service, runtime)
    spec: Part = {
        "containers": [_container(service, runtime)],
        "volumes": [*volumes, *runtime.spec.volumes],
        # An engine runs code that comes with models; it has no business with the API server.
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # What Pod Security's `restricted` asks for and every image can do. Whether one can run without root, it knows.
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
    }
    if accelerator.node_selector:
        spec["nodeSelector"] = accelerator.node_selector
    if accelerator.tolerations:
        spec["tolerations"] = [
            toleration.model_dump(by_alias=True, exclude_none=True) for toleration in accelerator.tolerations
        ]
    if accelerator.resource_claims:
        spec["resourceClaims"] = [
            claim.model_dump(by_alias=True, exclude_none=True, exclude={"request"})
            for claim in accelerator.resource_claims
        ]
    if accelerator.runtime_class_name is not None:
        spec["runtimeClassName"] = accelerator.runtime_class_name
    if accelerator.scheduler is not None:
        spec["schedulerName"] = accelerator.scheduler.name
    if names := _pull_secrets(service):
        spec["imagePullSecrets"] = [{"name": name} for name in names]
    return spec


def _pull_secrets(service: LLMService) -> list[str]:
    """The pod's pull secrets are an image volume's too: a model in a registry is pulled with its own."""
    source = service.spec.model.source
    names = [secret.name for secret in service.spec.image_pull_secrets]
    if source.parsed.scheme == "oci" and source.secret_ref is not None and source.secret_ref.name not in names:
        names.append(source.secret_ref.name)
    return names


def _container(service: LLMService, runtime: InferenceRuntime) -> Part:
    engine = runtime.spec.container
    _, mounts = volumes_and_mounts(service, runtime)
    source, env_from = source_env(service, runtime)
    port: Part = {"name": ENGINE_PORT_ENV, "value": str(engine.port.container_port)}
    own: list[Part] = []
    for variable in engine.env:
        rendered = variable.model_dump(by_alias=True, exclude_none=True)
        if variable.value is not None:
            rendered["value"] = substitute(variable.value, service)
        own.append(rendered)
    # The runtime's word comes last: Kubernetes takes the last of two equal names, and a map list must not have two.
    container: Part = {
        "name": ENGINE,
        "env": variables([port, *source], own),
        "resources": _resources(service, runtime),
        "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}, *mounts, *runtime.spec.volume_mounts],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    if env_from:
        container["envFrom"] = env_from
    return container


def _resources(service: LLMService, runtime: InferenceRuntime) -> Part:
    wanted = service.spec.resources
    accelerator = runtime.spec.accelerator
    requests: dict[str, str] = {}
    if cpu := wanted.cpu or runtime.spec.resources.cpu:
        requests["cpu"] = cpu
    if memory := wanted.memory or runtime.spec.resources.memory:
        requests["memory"] = memory
    devices: dict[str, str] = {}
    if accelerator.resource_name is not None and wanted.accelerators > 0:
        devices[accelerator.resource_name] = str(wanted.accelerators)
    if wanted.fraction is not None:
        sharing = accelerator.sharing
        names = sharing.resource_names
        if wanted.fraction.memory is not None and names.memory is not None:
            units = parse_quantity(wanted.fraction.memory) / parse_quantity(sharing.memory_unit)
            devices[names.memory] = str(math.ceil(units))
        if wanted.fraction.cores is not None and names.cores is not None:
            devices[names.cores] = str(math.ceil(Fraction(wanted.fraction.cores * sharing.cores_per_device, 100)))
    # Extended resources can't be overcommitted: the request is the limit (Kubernetes, "Managing Resources").
    requests.update(devices)
    claims = [claim.model_dump(include={"name", "request"}, exclude_none=True) for claim in accelerator.resource_claims]
    resources = {"requests": requests, "limits": devices, "claims": claims}
    return {name: amounts for name, amounts in resources.items() if amounts}


def _bound_memory(engine: Part) -> None:
    """The memory limit is the request unless somebody gave one: a node that runs out of memory ends others' pods."""
    resources = engine["resources"]
    memory = resources.get("requests", {}).get("memory")
    if memory is not None:
        engine["resources"] = {**resources, "limits": {"memory": memory, **resources.get("limits", {})}}


def _shared_memory(engine: Part) -> Part:
    """Engines pass tensors between processes through /dev/shm; a container's default of 64 MiB is too small. It
    counts as the container's memory and may be a half of it, as a tmpfs may be of a machine's (tmpfs(5))."""
    memory = engine["resources"].get("limits", {}).get("memory")
    size = _SHM if memory is None else f"{max(1, math.ceil(parse_quantity(memory) / 2 / 2**20))}Mi"
    return {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": size}}
