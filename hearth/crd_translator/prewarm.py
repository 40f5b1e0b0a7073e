"""The Job that fills a cache before the first request, and how engines wait for it.

It runs with what the engine runs with (pod.py), so that it lands where the engine can run and reaches what the engine
reaches. While it works it counts in a file of the cache, and at its end it leaves a marker there. Engines on a shared
cache wait for the marker as long as somebody counts: a cache has one writer.
"""

import copy
import hashlib
import json
from typing import Any, Final

from hearth.api.inferenceruntime import InferenceRuntime
from hearth.api.llmservice import LLMService
from hearth.api.names import child_name
from hearth.api.template import CACHE_PATH, DOWNLOAD, WAIT
from hearth.crd_translator.arguments import substitute
from hearth.crd_translator.names import labels
from hearth.crd_translator.pod import pod_template
from hearth.crd_translator.resolve import RuntimeNotResolved
from hearth.crd_translator.storage import has_claim

Part = dict[str, Any]

STILL_SECONDS: Final = 120
"""How long an engine waits for a download that nobody is at, before it downloads itself."""
_COUNT_SECONDS: Final = 5
PROGRESS: Final = "hearth: in the cache:"
"""What a line of the download's log begins with that says how much there is, as `1024 KiB`."""
# What a shell says that SIGTERM ended. A container's first process gets no signal that it does not ask for, and its
# children get none at all.
_TERMINATED: Final = 143
_CLIENTS: Final = {"hf": "huggingface_hub", "modelscope": "modelscope"}
# Families whose images have no Python, and so none of the hubs' clients.
_WITHOUT_PYTHON: Final = ("llamacpp",)


def render_prewarm(service: LLMService, runtime: InferenceRuntime) -> Part:
    """The Job. Raises RuntimeNotResolved where the runtime has nothing to download with."""
    template = pod_template(service, runtime, "prewarm")
    spec = template["spec"]
    engine = spec["containers"][0]
    container: Part = {
        **engine,
        "name": DOWNLOAD,
        "image": _image(runtime),
        "command": ["/bin/sh", "-c", _download_script(service), DOWNLOAD, *_command(service, runtime)],
        "terminationMessagePolicy": "FallbackToLogsOnError",  # the last words are the pod's status
        # A device that is loaded without a driver fails the import of torch, which downloads need not.
        "env": _with(engine["env"], "TORCH_DEVICE_BACKEND_AUTOLOAD", "0"),
    }
    if service.spec.cache.strategy == "SharedPVC":
        # Any node that an engine may run on will do; a volume of one node must be on a node that has the devices.
        container["resources"] = _without_devices(engine["resources"])
    # Each try is a pod that stays: OnFailure would delete the last one, and its words, when the Job gives up.
    template["spec"] = {**spec, "restartPolicy": "Never", "containers": [container]}
    template["spec"].pop("topologySpreadConstraints", None)  # they count engines
    # A Job's template is immutable: whatever changes in it makes another Job.
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:8]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": child_name(service.metadata.name, f"prewarm-{digest}"),
            "namespace": service.metadata.namespace,
            "labels": labels(service, "prewarm"),
        },
        "spec": {"backoffLimit": 6, "template": template},
    }


def prewarms(service: LLMService, runtime: InferenceRuntime) -> bool:
    """Whether a Job fills the cache. Where nothing is said one fills a shared volume, which would have as many writers
    as there are engines, if the runtime has something to download with."""
    cache = service.spec.cache
    if not has_claim(service) or cache.prewarm is False:
        return False
    return cache.prewarm is True or (
        cache.strategy == "SharedPVC" and service.spec.model.source.parsed.hub and _downloads(runtime)
    )


def waits(service: LLMService, runtime: InferenceRuntime) -> bool:
    """Whether engines wait for the Job: on a volume of one node the hubs' clients lock files among themselves, and an
    engine that waited there could hold the device that the Job waits for."""
    return service.spec.cache.strategy == "SharedPVC" and prewarms(service, runtime)


def wait_container(service: LLMService, runtime: InferenceRuntime, engine: Part) -> Part:
    """The init container of an engine: until the marker is there, or nobody has counted for a while."""
    marker, counter = _files(service)
    script = (
        f'trap "exit {_TERMINATED}" TERM; seen=; still=0; '
        f'until [ -e {marker} ] || [ "$still" -ge {STILL_SECONDS} ]; do '
        f'now=$(cat {counter} 2>/dev/null); if [ "$now" = "$seen" ]; then still=$((still+1)); else still=0; fi; '
        "seen=$now; sleep 1; done"
    )
    return {
        "name": WAIT,
        "image": _image(runtime),
        "command": ["/bin/sh", "-c", script],
        "volumeMounts": [dict(mount) for mount in engine["volumeMounts"] if mount["mountPath"] == CACHE_PATH],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "32Mi"}},
        "securityContext": copy.deepcopy(engine["securityContext"]),
    }


def _download_script(service: LLMService) -> str:
    marker, counter = _files(service)
    return (
        f"[ -e {marker} ] && exit 0; mkdir -p {marker.rpartition('/')[0]} || exit; "
        f"(n=0; while :; do n=$((n+1)); echo $n > {counter}; set -- $(du -sk {CACHE_PATH}); "
        f'echo "{PROGRESS} $1 KiB"; sleep {_COUNT_SECONDS}; done) & counts=$!; '
        # After both: a shell that is forked with a trap loses a signal that comes before it has put the trap away.
        f'"$@" & works=$!; trap "kill $works $counts; wait; exit {_TERMINATED}" TERM; '
        # What engines wait for is written last, and only where all before it succeeded.
        f"wait $works; code=$?; kill $counts; [ $code -eq 0 ] && : > {marker}; exit $code"
    )


def _files(service: LLMService) -> tuple[str, str]:
    """(marker, counter) of this model in this revision: that it is whole, and that somebody is at it."""
    source = service.spec.model.source.parsed
    text = json.dumps([source.scheme, source.location, source.revision])
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{CACHE_PATH}/.hearth/ready-{name}", f"{CACHE_PATH}/.hearth/writing-{name}"


def _image(runtime: InferenceRuntime) -> str:
    own = runtime.spec.prewarm
    return own.image if own is not None and own.image is not None else runtime.spec.container.image


def _downloads(runtime: InferenceRuntime) -> bool:
    return runtime.spec.prewarm is not None or runtime.spec.family not in _WITHOUT_PYTHON


def _command(service: LLMService, runtime: InferenceRuntime) -> list[str]:
    own, source = runtime.spec.prewarm, service.spec.model.source.parsed
    if own is not None:
        return [substitute(word, service) for word in own.command]
    if not _downloads(runtime):
        raise RuntimeNotResolved(
            "PrewarmNotSupported",
            f"LLMService {'/'.join(service.key)}: spec.cache.prewarm: found true; the image of InferenceRuntime "
            f"{runtime.metadata.name} (family {runtime.spec.family!r}) has no python3 to download with: give the "
            "runtime spec.prewarm with an image and a command, or set prewarm to false",
        )
    client = _CLIENTS[source.scheme]
    code = (
        f"from {client} import snapshot_download; snapshot_download({source.location!r}, revision={source.revision!r})"
    )
    return ["python3", "-c", code]


def _with(env: list[Part], name: str, value: str) -> list[Part]:
    if any(variable["name"] == name for variable in env):
        return env
    return [*env, {"name": name, "value": value}]


def _without_devices(resources: Part) -> Part:
    """What has no domain in its name is Kubernetes' own: cpu, memory, ephemeral-storage."""
    kept = {
        kind: {name: amount for name, amount in resources.get(kind, {}).items() if "/" not in name}
        for kind in ("requests", "limits")
    }
    return {kind: amounts for kind, amounts in kept.items() if amounts}
