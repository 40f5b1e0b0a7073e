from typing import Any

import pytest

from hearth.commands.doctor import accelerator_checks, version_of


@pytest.mark.parametrize(
    ("text", "version"),
    [("v1.36.3", (1, 36)), ("2.21.0", (2, 21)), ("v1.31+", (1, 31)), ("latest", None), ("", None)],
)
def test_versions(text: str, version: tuple[int, int] | None) -> None:
    assert version_of(text) == version


def node(**allocatable: str) -> dict[str, Any]:
    return {"status": {"allocatable": {name.replace("__", ".com/"): count for name, count in allocatable.items()}}}


def runtime(name: str, resource: str | None) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"accelerator": {"resourceName": resource} if resource else {}}}


def test_accelerators_are_added_up_and_matched_with_runtimes() -> None:
    nodes = [node(nvidia__gpu="4", cpu="8"), node(nvidia__gpu="2", huawei__npu="0")]
    runtimes = [
        runtime("nvidia-vllm", "nvidia.com/gpu"),
        runtime("ascend-vllm", "huawei.com/npu"),
        runtime("cpu", None),
    ]
    devices, fitting = accelerator_checks(nodes, runtimes)
    assert (devices.well, devices.found) == (True, "6 nvidia.com/gpu")
    assert (fitting.well, fitting.found) == (
        True,
        "cpu, nvidia-vllm can be used; not here: ascend-vllm (no huawei.com/npu)",
    )


def test_a_cluster_without_any_is_told_what_to_do() -> None:
    devices, fitting = accelerator_checks([node(cpu="8")], [])
    assert (devices.well, fitting.well) == (False, False)
    assert "device plugin" in devices.fix
    assert "kubectl apply" in fitting.fix
