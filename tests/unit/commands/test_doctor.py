from decimal import Decimal
from typing import Any

import pytest

from hearth.commands.check import Check
from hearth.commands.doctor import accelerator_checks, rights, service_check, version_of
from hearth.devices import extended_resources
from hearth.emulators.version import UNCOUNTED
from hearth.kube.client import Listed
from tests.builders import runtime_manifest
from tests.unit.controller.cluster import FakeApi


@pytest.mark.parametrize(
    ("text", "version"),
    [("v1.36.3", (1, 36)), ("2.21.0", (2, 21)), ("v1.31+", (1, 31)), ("latest", None), ("", None)],
)
def test_versions(text: str, version: tuple[int, int] | None) -> None:
    assert version_of(text) == version


def node(**allocatable: str) -> dict[str, Any]:
    return {"status": {"allocatable": {name.replace("__", ".com/"): count for name, count in allocatable.items()}}}


def runtime(name: str, resource: str | None, *assignments: str) -> dict[str, Any]:
    accelerator = f"{{resourceName: {resource}}}" if resource else "{}"
    return runtime_manifest(f"spec.accelerator={accelerator}", *assignments, name=name)


def checks(nodes: list[dict[str, Any]], runtimes: list[dict[str, Any]], **claimed: int) -> list[Check]:
    devices = {name.replace("__", ".com/"): Decimal(count) for name, count in claimed.items()}
    return accelerator_checks(extended_resources(nodes), devices, runtimes)


def test_accelerators_are_added_up_and_matched_with_runtimes() -> None:
    nodes = [node(nvidia__gpu="4", cpu="8"), node(nvidia__gpu="2", huawei__npu="0")]
    runtimes = [
        runtime("nvidia-vllm", "nvidia.com/gpu"),
        runtime("ascend-vllm", "huawei.com/npu"),
        runtime("cpu", None),
    ]
    devices, fitting = checks(nodes, runtimes)
    assert (devices.well, devices.found) == (True, "6 nvidia.com/gpu")
    assert (fitting.well, fitting.found) == (
        True,
        "cpu, nvidia-vllm can be used; not here: ascend-vllm (no huawei.com/npu)",
    )
    devices, fitting = checks(nodes, runtimes[1:2], huawei__npu=2)
    assert (devices.found, fitting.found) == ("2 huawei.com/npu, 6 nvidia.com/gpu", "ascend-vllm can be used")


def test_a_node_that_is_not_ready_has_none() -> None:
    away = node(nvidia__gpu="4")
    away["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]
    devices, fitting = checks([away], [runtime("nvidia-vllm", "nvidia.com/gpu")])
    assert (devices.well, fitting.well) == (False, False)


def test_a_runtime_that_cannot_be_read_cannot_be_used() -> None:
    broken = runtime("broken", None, "spec.container.args=['{{ .Unclosed']")
    _, told, fitting = checks([node(nvidia__gpu="4")], [broken])
    assert (told.what, told.well, fitting.found) == ("InferenceRuntime broken", False, "none can be used")
    assert "can't be read: spec.container.args" in told.found


def test_a_cluster_without_any_is_told_what_to_do() -> None:
    devices, fitting = checks([node(cpu="8")], [])
    assert (devices.well, fitting.well) == (False, False)
    assert "device plugin" in devices.fix
    assert "kubectl apply" in fitting.fix


class Rights(FakeApi):
    """An API server where accounts have their rights in the namespace `ai`, and a controller that looks after some."""

    def __init__(self, *namespaces: str) -> None:
        super().__init__()
        first, *others = namespaces or ("",)
        apart = ["--namespace", first] if first else []
        container = {"args": ["controller", *apart, *(f"--namespace={name}" for name in others)]}
        pod = {"serviceAccountName": "hearth-controller", "containers": [container]}
        about = {"name": "hearth-controller", "namespace": "hearth-system"}
        self.deployment = {"metadata": about, "spec": {"template": {"spec": pod}}}

    async def list_objects(self, path: str, label_selector: str = "", field_selector: str = "") -> Listed:
        return Listed([self.deployment] if label_selector.endswith("component=controller") else [], "1")

    async def create_object(self, collection: str, item: dict[str, Any], manager: str = "") -> dict[str, Any]:
        assert item["spec"]["user"] == "system:serviceaccount:hearth-system:hearth-controller"
        return {"status": {"allowed": item["spec"]["resourceAttributes"]["namespace"] == "ai"}}


@pytest.mark.parametrize(
    ("namespaces", "found"),
    [
        (["ai"], "has its rights"),
        (
            ["ai", "lab"],
            "may not patch llmservices/status in lab, patch deployments in lab, patch scaledobjects in lab",
        ),
        ([], "may not patch llmservices/status, patch deployments, patch scaledobjects"),
    ],
)
async def test_a_role_needs_its_rights_where_it_looks(namespaces: list[str], found: str) -> None:
    (check,) = await rights(Rights(*namespaces))
    assert (check.what, check.well, check.found) == ("rights of controller", found == "has its rights", found)


def test_an_llmservice_that_nobody_has_looked_at_is_not_well() -> None:
    check = service_check({"metadata": {"name": "qwen", "namespace": "ai"}, "status": {"conditions": []}})
    assert (check.well, check.found) == (
        False,
        "Pending: NotSeen: the controller has not looked at it yet: is one running?",
    )


def test_a_hearth_up_that_counts_no_device_says_so() -> None:
    local = accelerator_checks({UNCOUNTED: Decimal(1), "nvidia.com/gpu": Decimal(10**9)}, {}, [])[0]
    assert (local.well, local.found) == (True, "not counted; hearth up --accelerator NAME=COUNT counts them")
