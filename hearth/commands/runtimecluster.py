"""`hearth runtime check` against a cluster: what the cluster has not that an InferenceRuntime needs."""

from collections.abc import Iterable
from dataclasses import dataclass

from hearth.api.inferenceruntime import InferenceRuntime, Toleration
from hearth.api.manifest import ManifestError, read_runtime
from hearth.commands.access import listed
from hearth.commands.check import Check
from hearth.commands.runtimefile import plainest_deployment
from hearth.crd_translator import RuntimeNotResolved
from hearth.devices import claimed_resources, extended_resources, is_ready
from hearth.kube.client import KubeClient
from hearth.kube.errors import Forbidden, Refused
from hearth.kube.kinds import DEVICE_CLASS, INFERENCE_RUNTIME, LLMSERVICE, NODE, RESOURCE_SLICE, RUNTIME_CLASS, path_of
from hearth.kube.objects import KubeObject, mapping, mappings, name_of, text

_MANAGER = "hearth-runtime-check"


@dataclass(frozen=True, slots=True)
class ClusterView:
    """What there is. `runtimes` are the InferenceRuntimes that can be read; `runtime_classes` names."""

    nodes: list[KubeObject]
    device_classes: list[KubeObject]
    resource_slices: list[KubeObject]
    runtimes: list[InferenceRuntime]
    runtime_classes: frozenset[str]


async def cluster_checks(kube: KubeClient, runtimes: list[InferenceRuntime]) -> list[Check]:
    """Every check of each runtime. Raises KubeError where the API server can't be asked."""
    known = await kube.get_object(LLMSERVICE.api)
    if INFERENCE_RUNTIME.plural not in {text(resource, "name") for resource in mappings(known, "resources")}:
        fix = "kubectl apply --server-side -f deploy/crds"
        return [Check("CRDs", False, "the API server knows no InferenceRuntimes", fix)]
    try:
        nodes, classes, slices, made, runtime_classes = [
            await listed(kube, kind.everywhere)
            for kind in (NODE, DEVICE_CLASS, RESOURCE_SLICE, INFERENCE_RUNTIME, RUNTIME_CLASS)
        ]
    except Forbidden as error:
        return [Check("cluster", False, str(error), "use an account that may read this")]
    view = ClusterView(nodes, classes, slices, _readable(made), frozenset(map(name_of, runtime_classes)))
    checks = [Check("CRDs", True, "the API server knows InferenceRuntimes")]
    for runtime in runtimes:
        checks += [await _taken(kube, runtime), *await _becomes(kube, runtime), *view_checks(view, runtime)]
    return checks


def _readable(items: Iterable[KubeObject]) -> list[InferenceRuntime]:
    made = []
    for item in items:
        try:
            made.append(read_runtime(item))
        except ManifestError:  # `hearth doctor` tells of it
            continue
    return made


async def _taken(kube: KubeClient, runtime: InferenceRuntime) -> Check:
    """Whether we may apply it and the API server takes it: a dry run, which writes nothing."""
    name = runtime.metadata.name
    what = f"{name}: apply"
    try:
        await kube.try_object(INFERENCE_RUNTIME.path("", name), runtime.to_manifest(), _MANAGER)
    except Forbidden as error:
        return Check(
            what, False, str(error), "ask the cluster's admin to apply it: InferenceRuntimes are the cluster's"
        )
    except Refused as error:
        fix = "mend the field; where the CRD is of another version: kubectl apply --server-side -f deploy/crds"
        return Check(what, False, str(error), fix)
    return Check(what, True, "you may, and the API server takes it (dry run)")


async def _becomes(kube: KubeClient, runtime: InferenceRuntime) -> list[Check]:
    """Whether the API server takes the Deployment of the plainest LLMService on it: it looks at what the runtime only
    passes on. In the namespace `default`, which every cluster has; a dry run. Nothing is said where it can't be tried.
    """
    try:
        deployment = plainest_deployment(runtime)
        await kube.try_object(path_of(deployment), deployment, _MANAGER)
    except (RuntimeNotResolved, Forbidden):
        return []  # the file's own checks tell of the one; whose account may make none, does not install it either
    except Refused as error:
        found = f"the Deployment that it becomes is refused: {str(error).partition(chr(10))[0]}"
        return [Check(f"{runtime.metadata.name}: deploys", False, found, "mend the field that it names, in this file")]
    what = "the API server takes the Deployment of an LLMService on it (dry run)"
    return [Check(f"{runtime.metadata.name}: deploys", True, what)]


def view_checks(view: ClusterView, runtime: InferenceRuntime) -> list[Check]:
    """What one runtime finds in a cluster. Pure."""
    checks = [_name(view, runtime), *_priority(view, runtime), *_devices(view, runtime), *_runtime_class(view, runtime)]
    return [Check(f"{runtime.metadata.name}: {each.what}", each.well, each.found, each.fix) for each in checks]


def _name(view: ClusterView, runtime: InferenceRuntime) -> Check:
    there = next((each for each in view.runtimes if each.metadata.name == runtime.metadata.name), None)
    if there is None:
        return Check("name", True, "free")
    if there.spec == runtime.spec:
        return Check("name", True, "there already, the same")
    if (there.spec.vendor, there.spec.family) == (runtime.spec.vendor, runtime.spec.family):
        return Check("name", True, "there already, with other fields; applying this file changes it")
    found = f"taken by one for {there.spec.family} on {there.spec.vendor}; LLMServices that it serves would move"
    return Check("name", False, found, "give this one another metadata.name")


def _priority(view: ClusterView, runtime: InferenceRuntime) -> Iterable[Check]:
    same = [
        each.metadata.name
        for each in view.runtimes
        if each.metadata.name != runtime.metadata.name
        and (each.spec.vendor, each.spec.priority) == (runtime.spec.vendor, runtime.spec.priority)
    ]
    if same:
        found = f"{runtime.spec.priority}, as {', '.join(sorted(same))} of vendor {runtime.spec.vendor!r} has"
        fix = "give one of them another spec.priority: else who asks for the vendor gets AmbiguousPriority"
        yield Check("priority", False, found, fix)


def _devices(view: ClusterView, runtime: InferenceRuntime) -> Iterable[Check]:
    accelerator = runtime.spec.accelerator
    if accelerator.node_selector:
        labelled = [node for node in view.nodes if _has_labels(node, runtime)]
        said = ", ".join(f"{name}={value}" for name, value in accelerator.node_selector.items())
        found = f"{said}: on {len(labelled)} of {len(view.nodes)} nodes"
        yield Check("node labels", bool(labelled), found, f"kubectl label node NODE {said}")
    if not accelerator.resources:
        return
    plugged = extended_resources(view.nodes)
    ready = {name_of(node) for node in view.nodes if is_ready(node)}
    claimed = claimed_resources(view.device_classes, view.resource_slices, ready)
    there = [name for name in accelerator.resources if plugged.get(name) or claimed.get(name)]
    if not there:
        found = f"no node that is ready has {' or '.join(accelerator.resources)}"
        fix = "install the vendor's device plugin, or write the name that yours has: kubectl describe node NODE"
        yield Check("device", False, found, fix)
        return
    name = there[0]
    if not plugged.get(name):
        yield Check("device", True, f"{int(claimed[name])} {name} in the cluster, by DRA")
        return
    nodes = [node for node in view.nodes if is_ready(node) and extended_resources([node]).get(name)]
    yield Check("device", True, f"{int(plugged[name])} {name} on {len(nodes)} node{'s' if len(nodes) > 1 else ''}")
    fitting = [node for node in nodes if _has_labels(node, runtime)]
    if accelerator.node_selector and not fitting:
        found = f"no node has both {name} and the labels"
        yield Check("nodes", False, found, "label the nodes that have the devices, or change accelerator.nodeSelector")
    kept_away = [_untolerated(node, accelerator.tolerations) for node in fitting]
    if kept_away and all(kept_away):
        taints = ", ".join(sorted({taint for node in kept_away for taint in node}))
        found = f"each node that has {name} has a taint that is not tolerated: {taints}"
        yield Check("taints", False, found, "add it to accelerator.tolerations")


def _has_labels(node: KubeObject, runtime: InferenceRuntime) -> bool:
    return runtime.spec.accelerator.node_selector.items() <= mapping(node, "metadata", "labels").items()


def _untolerated(node: KubeObject, tolerations: list[Toleration]) -> list[str]:
    """The taints that keep a pod with these tolerations away from a node, as kubectl writes them.

    Those of a node's condition (node.kubernetes.io/…) come and go with it.
    """
    return [
        f"{text(taint, 'key')}={text(taint, 'value')}:{text(taint, 'effect')}"
        for taint in mappings(node, "spec", "taints")
        if text(taint, "effect") in ("NoSchedule", "NoExecute")
        and not text(taint, "key").startswith("node.kubernetes.io/")
        and not _tolerated(taint, tolerations)
    ]


def _tolerated(taint: KubeObject, tolerations: list[Toleration]) -> bool:
    """https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/ Comparisons count as met."""
    return any(
        toleration.effect in (None, text(taint, "effect"))
        and (
            (toleration.key is None and toleration.operator == "Exists")
            or (
                toleration.key == text(taint, "key")
                and (toleration.operator in ("Exists", "Lt", "Gt") or (toleration.value or "") == text(taint, "value"))
            )
        )
        for toleration in tolerations
    )


def _runtime_class(view: ClusterView, runtime: InferenceRuntime) -> Iterable[Check]:
    wanted = runtime.spec.accelerator.runtime_class_name
    if wanted is not None:
        there = wanted in view.runtime_classes
        known = ", ".join(sorted(view.runtime_classes)) or "none"
        found = wanted if there else f"there is no RuntimeClass {wanted}, only: {known}"
        fix = "install the vendor's container runtime, or write the RuntimeClass that the nodes have"
        yield Check("RuntimeClass", there, found, fix)
