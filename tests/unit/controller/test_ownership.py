"""Whose an object is, as a table; and how what is taken is said."""

from typing import Any

import pytest

from hearth.api.key import ServiceKey
from hearth.controller.ownership import NameTaken, PredecessorLeaving, check_names, needless, standing
from hearth.kube.objects import KubeObject

KEY = ServiceKey("ai", "qwen")
LABEL = {"serving.hearth.dev/llmservice": "qwen", "app.kubernetes.io/managed-by": "hearth"}
WRITTEN: list[KubeObject] = [{"manager": "kubectl-label"}, {"manager": "hearth-creator"}]
US = {"apiVersion": "serving.hearth.dev/v1alpha1", "kind": "LLMService", "name": "qwen", "controller": True}


def item(*owners: KubeObject, **metadata: Any) -> KubeObject:
    return {"metadata": {"name": "x", "namespace": "ai", "ownerReferences": list(owners), **metadata}}


@pytest.mark.parametrize(
    ("found", "what"),
    [
        (None, "free"),
        (item({**US, "uid": "u"}), "ours"),
        (item({"kind": "Other", "uid": "v"}, {**US, "uid": "u"}), "ours"),
        (item({**US, "uid": "u"}, deletionTimestamp="t"), "ours"),
        (item({**US, "uid": "before"}), "leaving"),
        (item({**US, "uid": "before"}, labels=LABEL), "leaving"),
        (item({**US, "uid": "before", "apiVersion": "other.dev/v1"}, labels=LABEL), "foreign"),
        (item({**US, "uid": "v", "name": "another"}, labels=LABEL), "foreign"),
        (item({"kind": "Shop", "name": "qwen", "uid": "v", "controller": True}, labels=LABEL), "foreign"),
        (item({"kind": "Shop", "name": "qwen", "uid": "v"}, labels=LABEL, managedFields=WRITTEN), "orphan"),
        (item(labels=LABEL, managedFields=[{"manager": "hearth-controller"}]), "orphan"),
        (item(labels=LABEL, managedFields=WRITTEN, deletionTimestamp="t"), "leaving"),
        (item(labels=LABEL, managedFields=[{"manager": "kubectl"}, {}]), "foreign"),
        (item(labels=LABEL, managedFields="hearth-controller"), "foreign"),
        (item(labels={"serving.hearth.dev/llmservice": "qwen"}, managedFields=WRITTEN), "foreign"),
        (item({**US, "uid": "u"}, managedFields=[{"manager": "hearth-operator"}]), "unconverted"),
        (
            item({**US, "uid": "u"}, managedFields=[{"manager": "hearth-operator"}, {"manager": "hearth-controller"}]),
            "ours",
        ),
        (item({**US, "uid": "v", "name": "other"}, managedFields=[{"manager": "hearth-operator"}]), "foreign"),
        (item(labels={"serving.hearth.dev/llmservice": "another"}), "foreign"),
        (item(), "foreign"),
        (item(deletionTimestamp="t"), "foreign"),
        ({}, "foreign"),
    ],
)
def test_what_an_object_is_to_the_service(found: KubeObject | None, what: str) -> None:
    assert standing(found, KEY, "u") == what


def test_many_that_are_taken_are_counted_after_the_fifth() -> None:
    with pytest.raises(NameTaken) as raised:
        check_names({("Service", f"s{number}"): item() for number in range(7)}, KEY, "u")
    assert "Service ai/s4 and 2 more, not of this LLMService" in str(raised.value)
    assert "s5" not in str(raised.value)
    with pytest.raises(NameTaken) as raised:
        check_names({("Service", f"s{number}"): item() for number in range(5)}, KEY, "u")
    assert "more" not in str(raised.value)


def test_somebody_elses_counts_before_one_that_is_leaving() -> None:
    leaving = item({**US, "uid": "before"})
    with pytest.raises(NameTaken, match="found Service ai/a, not"):
        check_names({("Service", "a"): item(), ("Service", "b"): leaving}, KEY, "u")
    with pytest.raises(PredecessorLeaving, match="Service ai/b belonged to an earlier LLMService"):
        check_names({("Service", "b"): leaving, ("Service", "c"): None}, KEY, "u")
    check_names({("Service", "c"): None, ("Service", "d"): item(labels=LABEL, managedFields=WRITTEN)}, KEY, "u")


@pytest.mark.parametrize(
    ("kind", "modes", "strategy", "gone"),
    [
        ("Job", [], "NodeLocalPVC", False),
        ("PersistentVolumeClaim", ["ReadWriteOnce"], "NodeLocalPVC", False),
        ("PersistentVolumeClaim", ["ReadWriteOnce"], "SharedPVC", True),
        ("PersistentVolumeClaim", ["ReadWriteMany"], "SharedPVC", False),
        ("PersistentVolumeClaim", ["ReadWriteMany"], "NodeLocalPVC", True),
        ("PersistentVolumeClaim", ["ReadWriteOnce"], "HostPath", True),
        ("PersistentVolumeClaim", [], "None", True),
        ("Service", [], "NodeLocalPVC", False),
        ("Deployment", [], "NodeLocalPVC", False),
        ("ScaledObject", [], "NodeLocalPVC", False),
    ],
)
def test_what_is_needed_no_more(kind: str, modes: list[str], strategy: str, gone: bool) -> None:
    child = {**item(), "kind": kind, "spec": {"accessModes": modes}}
    assert needless(child, set(), strategy) is gone
    assert needless(child, {(kind, "x")}, strategy) is False
