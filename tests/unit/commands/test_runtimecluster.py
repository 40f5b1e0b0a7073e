"""What `hearth runtime check` finds in a cluster: devices, labels, taints, RuntimeClasses, names, and whether we may."""

from typing import Any

import pytest

from hearth.api.inferenceruntime import InferenceRuntime
from hearth.api.manifest import parse_runtime
from hearth.commands.check import Check
from hearth.commands.runtimecluster import ClusterView, cluster_checks, view_checks
from hearth.kube.client import Listed
from hearth.kube.errors import Forbidden, KubeError, NotFound, Refused
from tests.builders import runtime_manifest
from tests.unit.controller.cluster import FakeApi


def made(*assignments: str, name: str = "r") -> InferenceRuntime:
    return parse_runtime(runtime_manifest(*assignments, name=name))


def node(*taints: str, labels: dict[str, str] | None = None, ready: str = "True", **allocatable: str) -> dict[str, Any]:
    """A node; `nvidia_gpu` is nvidia.com/gpu, a taint is KEY=VALUE:EFFECT."""
    found = []
    for taint in taints:
        pair, _, effect = taint.partition(":")
        key, _, value = pair.partition("=")
        found.append({"key": key, "value": value, "effect": effect})
    return {
        "metadata": {"name": f"n{ready}", "labels": labels or {}},
        "spec": {"taints": found},
        "status": {
            "allocatable": {name.replace("_", ".com/"): count for name, count in allocatable.items()},
            "conditions": [{"type": "Ready", "status": ready}],
        },
    }


def looked(
    runtime: InferenceRuntime, *nodes: dict[str, Any], others: tuple[InferenceRuntime, ...] = (), **dra: Any
) -> dict[str, Check]:
    classes = frozenset({"nvidia", "runc"})
    view = ClusterView(list(nodes), dra.get("classes", []), dra.get("slices", []), list(others), classes)
    return {check.what.removeprefix("r: "): check for check in view_checks(view, runtime)}


def test_devices_are_counted_where_nodes_are_ready() -> None:
    checks = looked(made(), node(nvidia_gpu="4"), node(nvidia_gpu="4"), node(ready="Unknown", nvidia_gpu="4"))
    assert (checks["device"].well, checks["device"].found) == (True, "8 nvidia.com/gpu on 2 nodes")
    assert checks["name"].found == "free"
    assert set(checks) == {"name", "device"}


def test_of_several_names_the_first_that_is_there_counts() -> None:
    either = made("spec.accelerator={resourceNames: [a.com/gpu, b.com/gpu]}")
    assert looked(either, node(b_gpu="2"))["device"].found == "2 b.com/gpu on 1 node"
    missing = looked(either, node(c_gpu="2"), node(a_gpu="0"))["device"]
    assert (missing.well, missing.found) == (False, "no node that is ready has a.com/gpu or b.com/gpu")
    assert "device plugin" in missing.fix


def test_devices_of_dra_count() -> None:
    slices = [{"spec": {"driver": "gpu.nvidia.com", "devices": [{"name": "a"}, {"name": "b"}]}}]
    classes = [{"metadata": {"name": "gpu"}, "spec": {"extendedResourceName": "nvidia.com/gpu"}}]
    found = looked(made(), node(), slices=slices, classes=classes)["device"]
    assert (found.well, found.found) == (True, "2 nvidia.com/gpu in the cluster, by DRA")


def test_a_runtime_on_cpus_looks_for_no_device() -> None:
    assert "device" not in looked(made("spec.accelerator={}"), node())


LABELLED = "spec.accelerator={resourceName: nvidia.com/gpu, nodeSelector: {pool: gpu}}"


def test_labels_are_looked_for_on_the_nodes_that_have_the_devices() -> None:
    missing = looked(made(LABELLED), node(nvidia_gpu="1"))
    assert (missing["node labels"].well, missing["node labels"].found) == (False, "pool=gpu: on 0 of 1 nodes")
    assert missing["node labels"].fix == "kubectl label node NODE pool=gpu"
    apart = looked(made(LABELLED), node(nvidia_gpu="1"), node(labels={"pool": "gpu"}))
    assert apart["node labels"].well
    assert (apart["nodes"].well, apart["nodes"].found) == (False, "no node has both nvidia.com/gpu and the labels")
    both = looked(made(LABELLED), node(nvidia_gpu="1", labels={"pool": "gpu", "more": "x"}))
    assert all(check.well for check in both.values())


@pytest.mark.parametrize(
    ("toleration", "well"),
    [
        ("{key: own, operator: Exists}", True),
        ("{operator: Exists}", True),
        ("{key: own, value: x}", True),
        ("{key: own, value: x, effect: NoSchedule}", True),
        ("{key: own, value: z}", False),
        ("{key: own}", False),
        ("{key: other, operator: Exists}", False),
        ("{key: own, operator: Exists, effect: NoExecute}", False),
    ],
)
def test_a_taint_must_be_tolerated_on_a_node_that_has_the_devices(toleration: str, well: bool) -> None:
    runtime = made(f"spec.accelerator={{resourceName: nvidia.com/gpu, tolerations: [{toleration}]}}")
    tainted = node("own=x:NoSchedule", nvidia_gpu="1")
    checks = looked(runtime, tainted)
    assert ("taints" not in checks) is well
    if not well:
        assert checks["taints"].found.endswith("a taint that is not tolerated: own=x:NoSchedule")
    assert "taints" not in looked(runtime, tainted, node(nvidia_gpu="1")), "one node is enough"
    assert "taints" not in looked(runtime, node("own=x:PreferNoSchedule", nvidia_gpu="1"))
    assert "taints" not in looked(runtime, node("node.kubernetes.io/not-ready=:NoSchedule", nvidia_gpu="1"))


def test_a_runtime_class_must_be_there() -> None:
    well = looked(made("spec.accelerator={runtimeClassName: nvidia}"))["RuntimeClass"]
    gone = looked(made("spec.accelerator={runtimeClassName: own}"))["RuntimeClass"]
    assert (well.well, gone.well) == (True, False)
    assert gone.found == "there is no RuntimeClass own, only: nvidia, runc"


@pytest.mark.parametrize(
    ("assignments", "well", "found"),
    [
        ([], True, "there already, the same"),
        (["spec.container.image=a:2"], True, "applying this file changes it"),
        (["spec.vendor=other"], False, "taken by one for vllm on other"),
        (["spec.family=sglang"], False, "taken by one for sglang on nvidia"),
    ],
)
def test_a_name_that_another_one_has(assignments: list[str], well: bool, found: str) -> None:
    told = looked(made(), others=(made(*assignments),))["name"]
    assert told.well is well
    assert found in told.found


def test_two_of_a_vendor_with_one_priority_are_ambiguous() -> None:
    others = (made(name="b"), made("spec.priority=1", name="c"), made("spec.vendor=amd", name="d"))
    told = looked(made(), others=others)["priority"]
    assert (told.well, told.found) == (False, "0, as b of vendor 'nvidia' has")
    assert "AmbiguousPriority" in told.fix


class Server(FakeApi):
    """An API server that knows the CRD, or not, and has an answer to a dry run."""

    def __init__(self, *, known: bool = True, answer: KubeError | None = None) -> None:
        super().__init__()
        self.known, self.answer = known, answer
        self.tried: list[str] = []

    async def get_object(self, path: str, label_selector: str = "") -> dict[str, Any] | None:
        assert path == "/apis/serving.hearth.dev/v1alpha1"
        return {"resources": [{"name": "inferenceruntimes"}]} if self.known else None

    async def list_objects(self, path: str, label_selector: str = "", field_selector: str = "") -> Listed:
        if path.endswith("/deviceclasses"):
            raise NotFound("404: no such kind", 404)
        nodes = [node(nvidia_gpu="1")] if path.endswith("/nodes") else []
        broken = [{"metadata": {"name": "broken"}}] if path.endswith("/inferenceruntimes") else []
        return Listed(nodes + broken, "1")

    async def try_object(self, path: str, item: dict[str, Any], manager: str) -> None:
        self.tried.append(path)
        if self.answer is not None:
            raise self.answer


async def test_a_cluster_without_the_crds_is_told_that_alone() -> None:
    (told,) = await cluster_checks(Server(known=False), [made()])
    assert (told.what, told.well) == ("CRDs", False)
    assert "deploy/crds" in told.fix


@pytest.mark.parametrize(
    ("answer", "well", "found"),
    [
        (None, True, "you may, and the API server takes it (dry run)"),
        (Forbidden('403: User "eve" cannot patch', 403), False, '403: User "eve" cannot patch'),
        (Refused("422: spec.container.image: Invalid value", 422), False, "422: spec.container.image: Invalid value"),
    ],
)
async def test_a_dry_run_says_whether_it_can_be_applied(answer: KubeError | None, well: bool, found: str) -> None:
    server = Server(answer=answer)
    checks = {check.what: check for check in await cluster_checks(server, [made()])}
    assert server.tried[0] == "/apis/serving.hearth.dev/v1alpha1/inferenceruntimes/r"
    assert server.tried[1:] == ["/apis/apps/v1/namespaces/default/deployments/check"]
    deploys = checks.get("r: deploys")
    if isinstance(answer, Forbidden):
        assert deploys is None
    else:
        assert deploys is not None
        assert deploys.well is well
    assert (checks["r: apply"].well, checks["r: apply"].found) == (well, found)
    assert checks["r: device"].well
