"""`hearth runtime check` without a cluster: what an InferenceRuntime lacks, as far as its file tells. Pure."""

import difflib
import ipaddress
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hearth.api.inferenceruntime import PLACEHOLDER, InferenceRuntime, Probe
from hearth.api.llmservice import LLMService
from hearth.api.manifest import ManifestError, parse_llmservice
from hearth.api.template import ENGINE_PORT_ENV
from hearth.commands.check import Check
from hearth.commands.engines import ENGINES
from hearth.crd_translator import ClusterFacts, RuntimeNotResolved
from hearth.crd_translator.arguments import FAMILIES, family_of
from hearth.crd_translator.render import render_on
from hearth.crd_translator.resolve import first_resource, on_resource

Part = dict[str, Any]

# Of a Volume, core/v1: https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/volume/
_SOURCES = frozenset(
    (
        *("awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "configMap", "csi", "downwardAPI"),
        *("emptyDir", "ephemeral", "fc", "flexVolume", "flocker", "gcePersistentDisk", "gitRepo", "glusterfs"),
        *("hostPath", "image", "iscsi", "nfs", "persistentVolumeClaim", "photonPersistentDisk", "portworxVolume"),
        *("projected", "quobyte", "rbd", "scaleIO", "secret", "storageos", "vsphereVolume"),
    )
)
_HOST_PATH_TYPES = frozenset(
    ("", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice")
)
_MOUNT_FIELDS = frozenset(
    ("name", "mountPath", "mountPropagation", "readOnly", "recursiveReadOnly", "subPath", "subPathExpr")
)
_VALUE_SOURCES = frozenset(("configMapKeyRef", "fieldRef", "fileKeyRef", "resourceFieldRef", "secretKeyRef"))


def refused_checks(error: ManifestError) -> list[Check]:
    """What the models refuse of one document, as `kubectl apply` would be refused."""
    return [
        Check(problem.subject or f"document {problem.document}", False, said, "mend the field, and check again")
        for problem in error.problems
        for said in [": ".join(filter(None, (problem.path, problem.message)))]
    ]


def file_checks(runtime: InferenceRuntime) -> list[Check]:
    """Every check, in the order in which an engine would meet what it looks at."""
    looks: list[Callable[[InferenceRuntime], Iterable[Check]]] = [
        *(_family, _image, _model, _listens, _probes, _metrics, _device, _volumes, _host, _becomes),
    ]
    return [
        Check(f"{runtime.metadata.name}: {check.what}", check.well, check.found, check.fix)
        for look in looks
        for check in look(runtime)
    ]


def _family(runtime: InferenceRuntime) -> Iterable[Check]:
    family = runtime.spec.family
    meant = difflib.get_close_matches(family.lower(), FAMILIES, n=1, cutoff=0.8)
    if family not in FAMILIES and meant:
        yield Check("family", False, f"{family!r} is none that is known", f"did you mean {meant[0]}?")


def _image(runtime: InferenceRuntime) -> Iterable[Check]:
    container = runtime.spec.container
    if container.image_wanted:
        yield Check("image", False, container.image_wanted, "put the vendor's image into spec.container.image")
        return
    tagged = "@" in container.image or ":" in container.image.rpartition("/")[2]
    moves = not tagged or container.image.endswith(":latest")
    note = "; without a version, each start may be another" if moves else ""
    yield Check("image", True, f"{container.image}{note}")


def _model(runtime: InferenceRuntime) -> Iterable[Check]:
    container = runtime.spec.container
    texts = [*container.command, *container.args, *(variable.value or "" for variable in container.env)]
    told = {name for text in texts for name in PLACEHOLDER.findall(text)}
    well = bool(told & {".Model.Path", ".Model.Name"})
    found = "the engine is told which one" if well else "no {{ .Model.Path }} in command, args or env"
    yield Check("model", well, found, "write {{ .Model.Path }} where the engine takes its model")
    family = family_of(runtime)
    if family.served_name is None and ".Service.Name" not in told:
        words = (
            "no {{ .Service.Name }} in command, args or env, and the family's option for it is not known: the engine"
        )
        yield Check("name", True, f"{words} must take any `model`, or clients hear its 404")
    counts = runtime.spec.accelerator.allowed_counts
    if not family.tensor_parallel and ".Resources.Accelerators" not in told and max(counts or [1]) > 1:
        words = "no {{ .Resources.Accelerators }} in command, args or env, and the family's option for it is not known"
        yield Check("accelerators", True, f"{words}: the engine must find out how many devices it has")


def _words(runtime: InferenceRuntime) -> list[str]:
    """What is on the command line, and in a script that is, up to what ends a command there."""
    container = runtime.spec.container
    return [word for text in (*container.command, *container.args) for word in _split(text)]


def _split(text: str) -> list[str]:
    """One argument, or the words of a script, without quotes; a `;` or `&` behind one is a word of its own."""
    if not text.strip() or not any(character.isspace() for character in text.strip()):
        return [text]
    words = shlex.shlex(text, posix=True, punctuation_chars=";&|")
    words.whitespace_split = True
    words.commenters = ""
    try:
        return list(words)
    except ValueError:  # a quote without its end: the shell's to refuse
        return text.split()


def _said(words: Sequence[str], option: str) -> str | None:
    """The value of an option, as it was given last."""
    value = None
    for at, word in enumerate(words):
        if word.startswith(f"{option}="):
            value = word.partition("=")[2]
        elif word == option and at + 1 < len(words):
            value = words[at + 1]
    return value


def _listens(runtime: InferenceRuntime) -> Iterable[Check]:
    engine = ENGINES.get(runtime.spec.family)
    port = runtime.spec.container.port.container_port
    if engine is None:
        yield Check(
            "port", True, f"{port}; where an engine of family {runtime.spec.family!r} listens is not known here"
        )
        return
    words = _words(runtime)
    host, listens = _said(words, "--host") or engine.host, _said(words, "--port") or str(engine.port)
    if listens in (f"$({ENGINE_PORT_ENV})", f"${ENGINE_PORT_ENV}", f"${{{ENGINE_PORT_ENV}}}"):
        listens = str(port)
    if (socket := _said(words, "--uds")) is not None:
        yield Check("port", False, f"the engine listens on the socket {socket} alone", f"give it --port {port}")
        return
    if not listens.isdigit():
        yield Check("port", True, f"{port}; what --port {listens} comes to is not known here")
    elif listens != str(port):
        fix = f"give it --port {port}, or spec.container.port.containerPort what it has"
        yield Check("port", False, f"the engine listens on {listens}; container.port.containerPort is {port}", fix)
    elif not _is_loopback(host):
        yield Check("port", True, f"the engine listens on {port} of {host}")
    if _is_loopback(host):
        yield Check("host", False, f"the engine listens on {host}, which only its own pod reaches", "give it --host ::")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _probes(runtime: InferenceRuntime) -> Iterable[Check]:
    for name in ("startup", "readiness", "liveness"):
        yield _probe(runtime, name, getattr(runtime.spec.health, name))


def _probe(runtime: InferenceRuntime, name: str, probe: Probe) -> Check:
    family, own = runtime.spec.family, runtime.spec.container.port
    engine = ENGINES.get(family)
    what = f"{name} probe"
    elsewhere = probe.port not in (None, own.name, own.container_port)
    where = f"; at port {probe.port}, which is not the engine's" if elsewhere else ""
    if probe.handlers and probe.http_get is None:
        return Check(what, True, f"{probe.handlers[0]}{where}")
    path = probe.http_get.path if probe.http_get is not None else "/health"
    if engine is not None and path not in engine.health and not elsewhere:
        known = ", ".join(sorted(engine.health))
        return Check(what, False, f"GET {path}, which {family} does not answer", f"use one of {known}")
    if engine is None and probe.http_get is None:
        found = f"none is given, so GET {path}; whether an engine of family {family!r} answers it is not known here"
        return Check(what, False, found, f"name what it answers in spec.health.{name}.httpGet.path, or a tcpSocket")
    return Check(what, True, f"GET {path}{where}")


def _metrics(runtime: InferenceRuntime) -> Iterable[Check]:
    family, metrics = runtime.spec.family, runtime.spec.metrics
    engine = ENGINES.get(family)
    names = {
        "running": metrics.running,
        "queueDepth": metrics.queue_depth,
        "kvCacheUtil": metrics.kv_cache_util,
        "ttft": metrics.ttft,
    }
    if not runtime.spec.lifecycle.pre_stop_drain:
        yield Check("drain", True, "none: lifecycle.preStopDrain is false")
    elif metrics.running is None:
        yield Check("drain", True, "no metrics.running; it waits until no activator is connected")
    else:
        yield Check("drain", True, f"it waits until {metrics.running} is 0")
    for field, name in names.items():
        known = engine.metrics[field] if engine is not None else frozenset()
        if name is not None and engine is not None and name not in known:
            what = ": a drain would not see what runs, and cut it" if field in ("running", "queueDepth") else ""
            fix = f"use {' or '.join(sorted(known))}" if known else "take it out"
            yield Check(f"metrics.{field}", False, f"{name}, which {family} does not have{what}", fix)
    option = engine.metrics_option if engine is not None else ""
    if option and any(names.values()) and option not in _words(runtime):
        yield Check(
            "metrics", False, f"{family} counts nothing without {option}", f"add {option} to spec.container.args"
        )
    if engine is None and metrics.running is not None:
        yield Check("metrics.running", True, f"{metrics.running}; what family {family!r} has is not known here")


def _device(runtime: InferenceRuntime) -> Iterable[Check]:
    accelerator = runtime.spec.accelerator
    said = " or ".join(accelerator.resources)
    claims = ", ".join(claim.name for claim in accelerator.resource_claims)
    said = "; ".join(filter(None, (said, f"claims {claims}" if claims else "")))
    counts = f", in counts of {', '.join(map(str, accelerator.allowed_counts))}" if accelerator.allowed_counts else ""
    yield Check("device", True, f"{said}{counts}" if said else "none: engines run on CPUs")


def _volumes(runtime: InferenceRuntime) -> Iterable[Check]:
    """What is passed on as it is, and an API server refuses in the Deployment that it becomes."""
    spec = runtime.spec
    for index, volume in enumerate(spec.volumes):
        yield from _of_volume(f"volumes[{index}]", volume)
    for index, mount in enumerate(spec.volume_mounts):
        yield from _unknown(f"volumeMounts[{index}]", mount, _MOUNT_FIELDS)
        path = mount.get("subPath")
        if isinstance(path, str) and (path.startswith("/") or ".." in path.split("/")):
            found = f"volumeMounts[{index}].subPath: {path}"
            yield Check("mounts", False, found, "write a path within the volume, without / in front and without ..")
    for index, variable in enumerate(spec.container.env):
        yield from _unknown(f"container.env[{index}].valueFrom", variable.value_from or {}, _VALUE_SOURCES)


def _of_volume(where: str, volume: Mapping[str, Any]) -> Iterable[Check]:
    yield from _unknown(where, volume, _SOURCES | {"name"})
    sources = sorted(volume.keys() & _SOURCES)
    if len(sources) != 1:
        found = f"{where}: {' and '.join(sources) or 'no source: it would be an empty folder'}"
        yield Check("volumes", False, found, "give it one source, emptyDir: {} where it shall be an empty folder")
    host = volume.get("hostPath")
    if isinstance(host, dict):
        path, kind = host.get("path"), host.get("type")
        if not isinstance(path, str) or not path.startswith("/") or ".." in path.split("/"):
            yield Check("volumes", False, f"{where}.hostPath.path: {path}", "write an absolute path without ..")
        if kind is not None and kind not in _HOST_PATH_TYPES:
            known = ", ".join(sorted(_HOST_PATH_TYPES - {""}))
            yield Check("volumes", False, f"{where}.hostPath.type: {kind}", f"use one of {known}, or leave it out")


def _unknown(where: str, part: Mapping[str, Any], known: frozenset[str]) -> Iterable[Check]:
    for name in sorted(part.keys() - known):
        meant = next((each for each in known if each.lower() == name.lower()), None)
        meant = meant or next(iter(difflib.get_close_matches(name, known, n=1)), None)
        fix = f"did you mean {meant}?" if meant else "take it out"
        yield Check("fields", False, f"{where}: Kubernetes knows no {name} there", fix)


def _host(runtime: InferenceRuntime) -> Iterable[Check]:
    paths = {volume["name"]: volume["hostPath"].get("path", "?") for volume in _host_volumes(runtime)}
    if not paths:
        return
    written = [
        mount["mountPath"]
        for mount in runtime.spec.volume_mounts
        if mount["name"] in paths and not mount.get("readOnly")
    ]
    found = f"{', '.join(paths.values())} of the host, which Pod Security `baseline` and `restricted` refuse"
    if written:
        yield Check(
            "mounts", False, f"{found}; engines may write to {', '.join(written)}", "add readOnly: true to the mounts"
        )
    else:
        yield Check("mounts", True, f"{found}; nothing is written there")


def _host_volumes(runtime: InferenceRuntime) -> Iterable[dict[str, dict[str, str]]]:
    return [volume for volume in runtime.spec.volumes if isinstance(volume.get("hostPath"), dict)]


def plainest_deployment(runtime: InferenceRuntime) -> Part:
    """What the plainest LLMService becomes on it. Raises RuntimeNotResolved."""
    return _deployment(runtime, _service(runtime))


def _deployment(runtime: InferenceRuntime, service: LLMService) -> Part:
    one = on_resource(runtime, first_resource(runtime, ClusterFacts()))
    (deployment,) = render_on(service, one, ClusterFacts()).of_kind("Deployment")
    return deployment


def _becomes(runtime: InferenceRuntime) -> Iterable[Check]:
    """Whether an LLMService on it can be rendered, and what its engine asks for."""
    services = {"renders": _service(runtime)}
    if runtime.spec.accelerator.sharing.supported:
        services["renders a share"] = _service(runtime, shared=True)
    for what, service in services.items():
        try:
            deployment = _deployment(runtime, service)
        except RuntimeNotResolved as error:
            yield Check(what, False, f"{error.reason}: {error}", "the message names the field")
            continue
        limits = deployment["spec"]["template"]["spec"]["containers"][0]["resources"].get("limits", {})
        devices = [f"{count} {name}" for name, count in limits.items() if "/" in name]
        yield Check(what, True, f"an engine of an LLMService asks for {', '.join(devices) or 'no device'}")


def _service(runtime: InferenceRuntime, *, shared: bool = False) -> LLMService:
    """The plainest LLMService that this runtime may get."""
    accelerator = runtime.spec.accelerator
    counts = accelerator.allowed_counts or [1 if accelerator.resources or accelerator.resource_claims else 0]
    names = accelerator.sharing.resource_names
    fraction = {"memory": "8Gi"} if names.memory is not None else {}
    share = {"fraction": {**fraction, **({"cores": 50} if names.cores is not None else {})}} if shared else {}
    hubs = family_of(runtime).loads_hubs
    return parse_llmservice(
        {
            "apiVersion": "serving.hearth.dev/v1alpha1",
            "kind": "LLMService",
            "metadata": {"name": "check", "namespace": "default"},
            "spec": {
                "model": {"source": {"uri": "hf://org/model" if hubs else "pvc://models/model"}},
                "runtime": {"name": runtime.metadata.name},
                "resources": {"accelerators": 1 if shared else counts[0], **share},
            },
        }
    )
