from decimal import Decimal
from typing import Any

import pytest

from hearth.commands.doctor import Check, accelerator_checks, version_of
from hearth.devices import extended_resources
from tests.builders import runtime_manifest


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
