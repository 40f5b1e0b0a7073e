"""Which accelerators nodes and DRA tell of."""

from typing import Any

from hearth.devices import claimed_resources, extended_resources, is_ready


def node(ready: str | None, **allocatable: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": ready}] if ready is not None else []
    return {"metadata": {"name": "n"}, "status": {"conditions": conditions, "allocatable": allocatable}}


def device_class(name: str, *expressions: str, resource: str | None = None) -> dict[str, Any]:
    spec: dict[str, Any] = {"selectors": [{"cel": {"expression": each}} for each in expressions]}
    return {"metadata": {"name": name}, "spec": spec | ({"extendedResourceName": resource} if resource else {})}


def devices(driver: str, count: int, node: str = "n") -> dict[str, Any]:
    return {"spec": {"driver": driver, "nodeName": node, "devices": [{"name": f"d{each}"} for each in range(count)]}}


def test_nodes_that_are_not_ready_have_no_devices() -> None:
    assert [is_ready(node(said)) for said in ("True", "False", "Unknown", None)] == [True, False, False, True]
    nodes = [node("True", **{"a/b": "2", "cpu": "4"}), node("Unknown", **{"a/b": "8", "c/d": "8"}), node("True")]
    assert extended_resources(nodes) == {"a/b": 2, "c/d": 0}


def test_a_device_class_has_the_devices_of_the_driver_that_it_names() -> None:
    classes = [
        device_class("gpu", "device.driver == 'gpu.nvidia.com'", resource="nvidia.com/gpu"),
        device_class("npu", 'device.driver == "npu.huawei.com" && device.attributes["x"].y == "z"'),
        device_class("every"),
    ]
    slices = [devices("gpu.nvidia.com", 8), devices("gpu.nvidia.com", 4, node="gone"), devices("npu.huawei.com", 2)]
    assert claimed_resources(classes, slices, {"n"}) == {
        "nvidia.com/gpu": 8,
        "deviceclass.resource.kubernetes.io/gpu": 8,
        "deviceclass.resource.kubernetes.io/npu": 2,
        "deviceclass.resource.kubernetes.io/every": 10,
    }


def test_devices_of_the_network_count_and_strange_objects_do_not() -> None:
    assert claimed_resources([device_class("c", resource="a/b")], [devices("d", 3, node="")], set())["a/b"] == 3
    assert claimed_resources([{"spec": None}, {}], [{"spec": 1}, {}], set()) == {
        "deviceclass.resource.kubernetes.io/": 0
    }
