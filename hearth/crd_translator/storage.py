"""Where the weights lie: the volumes and variables of a pod that reads them, and the cache's claim."""

import hashlib
import re
from typing import Any

from hearth.api.inferenceruntime import InferenceRuntime
from hearth.api.llmservice import LLMService
from hearth.api.names import child_name
from hearth.api.template import CACHE_PATH, SOURCE_PATH
from hearth.crd_translator.arguments import family_of, modelscope_env
from hearth.crd_translator.names import labels

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,18}[a-z0-9])?")  # a vendor that can stand in a name as it is

HOST_CACHE = "/var/lib/hearth/models"
"""On nodes: the folder of the caches with strategy HostPath."""

ACCESS_MODES = {"NodeLocalPVC": "ReadWriteOnce", "SharedPVC": "ReadWriteMany"}
"""The access mode of the claim of each cache strategy that has one."""

# Environment variables that keep a hub's downloads inside the cache:
# https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables and ModelScope's own.
_CACHE_ENV = {"hf": ("HF_HOME", f"{CACHE_PATH}/hf"), "modelscope": ("MODELSCOPE_CACHE", f"{CACHE_PATH}/modelscope")}
_TOKEN_ENV = {"hf": "HF_TOKEN", "modelscope": "MODELSCOPE_API_TOKEN"}


def has_claim(service: LLMService) -> bool:
    """Whether the LLMService owns a PersistentVolumeClaim for its cache."""
    return service.spec.model.source.parsed.hub and service.spec.cache.strategy in ACCESS_MODES


def claim_name(service: LLMService, runtime: InferenceRuntime) -> str:
    """A volume that is bound to a node is bound to that node's accelerators: each vendor has a claim of its own."""
    if service.spec.cache.strategy == "SharedPVC":
        return child_name(service.metadata.name, "cache")
    vendor = runtime.spec.vendor
    if not _LABEL.fullmatch(vendor):
        # What can't stand in a name as it is: its readable part, and a digest, so that no two vendors meet.
        readable = re.sub(r"[^a-z0-9]+", "-", vendor.lower())[:11].strip("-")
        digest = hashlib.sha256(vendor.encode()).hexdigest()[:8]
        vendor = f"{readable}-{digest}" if readable else digest
    return child_name(service.metadata.name, f"cache-{vendor}")


def volumes_and_mounts(
    service: LLMService, runtime: InferenceRuntime
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The pod's volumes and the container's mounts: the source, the cache."""
    volumes: list[dict[str, Any]] = []
    mounts: list[dict[str, Any]] = []
    source = service.spec.model.source.parsed
    if source.scheme == "pvc":
        volumes.append({"name": "source", "persistentVolumeClaim": {"claimName": source.location, "readOnly": True}})
        mount = {"name": "source", "mountPath": SOURCE_PATH, "readOnly": True}
        mounts.append({**mount, "subPath": source.path} if source.path else mount)
    elif source.scheme == "oci":
        volumes.append({"name": "source", "image": {"reference": source.location, "pullPolicy": "IfNotPresent"}})
        mounts.append({"name": "source", "mountPath": SOURCE_PATH, "readOnly": True})
    cache = _cache_volume(service, runtime)
    if cache is not None:
        volumes.append({"name": "cache", **cache})
        mounts.append({"name": "cache", "mountPath": CACHE_PATH})
    return volumes, mounts


def source_env(service: LLMService, runtime: InferenceRuntime) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """`env` and `envFrom` that the source needs: which hub, where its cache is, and the secret's token or keys.

    A registry's Secret is for pulling (pod.py): whoever runs in the container has no use for it.
    """
    source = service.spec.model.source.parsed
    secret = service.spec.model.source.secret_ref
    env: list[dict[str, Any]] = []
    env_from: list[dict[str, Any]] = []
    if source.hub and service.spec.cache.strategy == "BakedImage":
        env.append({"name": "HF_HUB_OFFLINE", "value": "1"})
    elif source.hub:
        name, path = _CACHE_ENV[source.scheme]
        env.append({"name": name, "value": path})
    if _cache_volume(service, runtime) is not None:
        # What an engine compiles at its first start, minutes of it, would go with its pod.
        names = family_of(runtime).compiled
        env += [{"name": name, "value": f"{CACHE_PATH}/compiled/{name.lower()}"} for name in names]
    if source.scheme == "modelscope" and (switch := modelscope_env(runtime)) is not None:
        env.append({"name": switch, "value": "True"})
    if secret is not None and source.hub:
        reference = {"secretKeyRef": {"name": secret.name, "key": "token"}}
        env.append({"name": _TOKEN_ENV[source.scheme], "valueFrom": reference})
    elif secret is not None and source.scheme != "oci":
        env_from.append({"secretRef": {"name": secret.name}})
    return env, env_from


def render_claim(service: LLMService, runtime: InferenceRuntime) -> dict[str, Any]:
    """The cache's PersistentVolumeClaim."""
    cache = service.spec.cache
    spec: dict[str, Any] = {
        "accessModes": [ACCESS_MODES[cache.strategy]],
        "resources": {"requests": {"storage": cache.volume_size}},
    }
    if cache.storage_class_name is not None:
        spec["storageClassName"] = cache.storage_class_name
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": claim_name(service, runtime),
            "namespace": service.metadata.namespace,
            "labels": labels(service, "cache"),
        },
        "spec": spec,
    }


def _cache_volume(service: LLMService, runtime: InferenceRuntime) -> dict[str, Any] | None:
    if not service.spec.model.source.parsed.hub:
        return None
    match service.spec.cache.strategy:
        case "NodeLocalPVC" | "SharedPVC":
            return {"persistentVolumeClaim": {"claimName": claim_name(service, runtime)}}
        case "HostPath":
            # A folder for each: what one engine writes, code among it, no other one loads.
            path = f"{HOST_CACHE}/{service.metadata.namespace}/{service.metadata.name}"
            return {"hostPath": {"path": path, "type": "DirectoryOrCreate"}}
        case "None":
            return {"emptyDir": {"sizeLimit": service.spec.cache.volume_size}}
        case "BakedImage":
            return None
