import copy
import json
from typing import Any

import pytest

from hearth.controller.applied import is_applied

MANAGER = "hearth-controller"
WANTED: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "qwen", "namespace": "ai", "labels": {"a": "1"}},
    "spec": {
        "paused": False,
        "template": {
            "spec": {
                "automountServiceAccountToken": False,
                "nodeSelector": {},
                "containers": [
                    {
                        "name": "engine",
                        "args": ["--port", "8000"],
                        "env": [{"name": "EMPTY", "value": ""}],
                        "ports": [{"containerPort": 8000}],
                        "resources": {"limits": {"cpu": 4, "memory": "1024Mi"}},
                    }
                ],
                "volumes": [{"name": "shm", "emptyDir": {"sizeLimit": "2048Mi"}}],
            }
        },
    },
}
OWNED = {
    "f:metadata": {"f:labels": {"f:a": {}}},
    "f:spec": {
        "f:paused": {},
        "f:template": {
            "f:spec": {
                "f:automountServiceAccountToken": {},
                "f:containers": {
                    'k:{"name":"engine"}': {
                        ".": {},
                        "f:name": {},
                        "f:args": {},
                        "f:ports": {'k:{"containerPort":8000,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
                    }
                },
            }
        },
    },
}


def found() -> dict[str, Any]:
    """What an API server keeps of it: defaults beside it, empty parts left out, quantities in its own words."""
    item = copy.deepcopy(WANTED)
    del item["apiVersion"], item["spec"]["paused"]
    pod = item["spec"]["template"]["spec"]
    del pod["nodeSelector"], pod["containers"][0]["env"][0]["value"]
    pod["dnsPolicy"] = "ClusterFirst"
    pod["containers"][0]["ports"][0]["protocol"] = "TCP"
    pod["containers"][0]["resources"]["limits"] = {"cpu": "4", "memory": "1Gi"}
    pod["volumes"][0]["emptyDir"]["sizeLimit"] = "2Gi"
    item["spec"]["replicas"] = 3
    item["metadata"] |= {"uid": "u", "annotations": {"of": "others"}}
    item["metadata"]["labels"]["b"] = "2"
    entry = {"manager": MANAGER, "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": copy.deepcopy(OWNED)}
    item["metadata"]["managedFields"] = [entry]
    return item


def test_what_stands_as_the_api_server_keeps_it_is_applied() -> None:
    assert is_applied(found(), WANTED, MANAGER)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.paused", True),
        ("spec.template.spec.automountServiceAccountToken", None),
        ("spec.template.spec.automountServiceAccountToken", 0),
        ("spec.template.spec.nodeSelector", "none"),
        ("spec.template.spec.containers.0.args", ["--port", "8000", "--more"]),
        ("spec.template.spec.containers.0.args", ["--port", "08000"]),
        ("spec.template.spec.containers.0.args", "--port"),
        ("spec.template.spec.containers.0.env.0.value", "x"),
        ("spec.template.spec.containers.0.resources.limits.memory", "2Gi"),
        ("spec.template.spec.containers.0.resources.limits.memory", "much"),
        ("spec.template.spec.volumes.0.emptyDir.sizeLimit", "1Gi"),
        ("spec.template.spec.volumes.0.emptyDir", None),
        ("spec.template.spec.containers", []),
        ("metadata.labels.a", "2"),
        ("metadata.labels", None),
    ],
)
def test_what_somebody_changed_or_took_away_is_not(path: str, value: object) -> None:
    item: Any = found()
    *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    place = item
    for step in way:
        place = place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    assert not is_applied(item, WANTED, MANAGER)


@pytest.mark.parametrize(
    "owned",
    [
        {"f:metadata": {"f:annotations": {"f:old": {}}}},
        {"f:metadata": {"f:labels": {"f:a": {}, "f:old": {}}}},
        {"f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"sidecar"}': {".": {}}}}}}},
        {"f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"engine"}': {"f:command": {}}}}}}},
        {"f:metadata": {"f:finalizers": {'v:"hearth"': {}}}},
        {"f:metadata": {"f:labels": {'v:"a"': {}}}},
        {"f:spec": {"f:template": {"f:spec": {"f:containers": {"i:0": {}}}}}},
        {"f:spec": {"f:paused": {"f:deeper": {}}}},
    ],
)
def test_what_we_applied_once_and_say_no_more_is_to_be_removed(owned: dict[str, Any]) -> None:
    item = found()
    item["metadata"]["managedFields"][0]["fieldsV1"] = owned
    assert not is_applied(item, WANTED, MANAGER)


def test_what_others_own_and_what_is_of_the_status_is_not_ours_to_say() -> None:
    item = found()
    theirs: dict[str, Any] = {"f:spec": {"f:replicas": {}}}
    item["metadata"]["managedFields"] += [
        {"manager": "keda", "operation": "Apply", "fieldsV1": theirs},
        {"manager": MANAGER, "operation": "Update", "fieldsV1": theirs},
        {"manager": MANAGER, "operation": "Apply", "subresource": "status", "fieldsV1": {"f:status": {"f:x": {}}}},
    ]
    assert is_applied(item, WANTED, MANAGER)


def test_what_is_no_quantity_and_the_same_is_the_same() -> None:
    wanted = {"spec": {"limits": {"odd": "much"}}}
    assert is_applied({"spec": {"limits": {"odd": "much"}}}, wanted, MANAGER)
    assert not is_applied({"spec": {"limits": {"odd": "more"}}}, wanted, MANAGER)


def test_a_member_of_a_set_is_known_by_its_value() -> None:
    wanted = {"metadata": {"finalizers": ["a", "b"]}}
    owned: dict[str, Any] = {"f:metadata": {"f:finalizers": {json.dumps("a").join(["v:", ""]): {}}}}
    entry = {"manager": MANAGER, "operation": "Apply", "fieldsV1": owned}
    item = {"metadata": {"finalizers": ["a", "b"], "managedFields": [entry]}}
    assert is_applied(item, wanted, MANAGER)
    assert not is_applied(item, {"metadata": {"finalizers": ["b"]}}, MANAGER)


@pytest.mark.parametrize("strange", ["", None, 7, [], {"metadata": 7, "spec": "x"}, {"metadata": {"managedFields": 7}}])
def test_a_strange_object_is_not_as_wanted(strange: Any) -> None:
    assert not is_applied(strange, WANTED, MANAGER)


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        ({"volumeMounts": [{"name": "a", "readOnly": False}]}, {"volumeMounts": [{"name": "a"}]}),
        ({"livenessProbe": {"initialDelaySeconds": 0}}, {"livenessProbe": {}}),
        ({"resourceFieldRef": {"divisor": "1024Ki"}}, {"resourceFieldRef": {"divisor": "1Mi"}}),
    ],
)
def test_what_an_api_server_leaves_out_or_writes_its_own_way_stands(wanted: Any, kept: Any) -> None:
    assert is_applied({"spec": kept}, {"spec": wanted}, MANAGER)
    assert not is_applied({"spec": {"hostNetwork": True}}, {"spec": {"hostNetwork": False}}, MANAGER)
    assert not is_applied({"spec": {}}, {"spec": {"enableServiceLinks": False}}, MANAGER)
