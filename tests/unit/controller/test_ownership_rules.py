"""Whose an object is that has one of our names, and what is said and done about it."""

from typing import Any

import pytest

from hearth.api.key import ServiceKey
from hearth.controller.ownership import NameTaken, PredecessorLeaving, check_names, needless, standing

KEY, UID = ServiceKey("ai", "qwen"), "u-1"


def owner(name: str = "qwen", uid: str = "u-1", kind: str = "LLMService", *, controller: bool = True) -> dict[str, Any]:
    version = "serving.hearth.dev/v1alpha1" if kind == "LLMService" else "apps/v1"
    return {"apiVersion": version, "kind": kind, "name": name, "uid": uid, "controller": controller}


def thing(*owners: dict[str, Any], label: str = "", leaving: bool = False, kind: str = "Service") -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "x", "namespace": "ai", "ownerReferences": list(owners)}
    if label:
        metadata["labels"] = {"serving.hearth.dev/llmservice": label, "app.kubernetes.io/managed-by": "hearth"}
        metadata["managedFields"] = [{"manager": "hearth-controller"}]
    if leaving:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {"kind": kind, "metadata": metadata}


@pytest.mark.parametrize(
    ("found", "what"),
    [
        (None, "free"),
        (thing(owner()), "ours"),
        (thing(owner("other", "u-2", "Deployment"), owner(controller=False)), "ours"),
        (thing(owner(uid="u-0")), "leaving"),
        (thing(owner("other", "u-2")), "foreign"),
        (thing(owner("qwen", "u-2", "Deployment")), "foreign"),
        (thing(owner("qwen", "u-2", "Deployment"), label="qwen"), "foreign"),
        (thing(label="qwen"), "orphan"),
        (thing(label="qwen", leaving=True), "leaving"),
        (thing(label="other"), "foreign"),
        (thing(owner("qwen", "u-0", controller=False)), "foreign"),
        (thing(), "foreign"),
    ],
)
def test_whose_it_is(found: dict[str, Any] | None, what: str) -> None:
    assert standing(found, KEY, UID) == what


def test_what_is_ours_free_or_an_orphan_is_no_hindrance() -> None:
    check_names(
        {("Service", "a"): None, ("Service", "b"): thing(owner()), ("Service", "c"): thing(label="qwen")}, KEY, UID
    )


def test_what_is_somebodys_is_named_with_its_owner_and_what_to_do() -> None:
    found = {("Service", "qwen"): thing(), ("Deployment", "qwen"): thing(owner("shop", "u-9", "Argo"))}
    with pytest.raises(NameTaken) as raised:
        check_names(found, KEY, UID)
    assert str(raised.value).startswith(
        "found Service ai/qwen, Deployment ai/qwen (of Argo shop), not of this LLMService; nothing is written"
    )


@pytest.mark.parametrize(("count", "more"), [(5, ""), (6, " and 1 more"), (9, " and 4 more")])
def test_many_are_counted(count: int, more: str) -> None:
    with pytest.raises(NameTaken) as raised:
        check_names({("Service", f"s{number}"): thing() for number in range(count)}, KEY, UID)
    assert f"Service ai/s4{more}, not of" in str(raised.value)
    assert "s5" not in str(raised.value)


def test_what_an_earlier_one_left_is_waited_for_and_a_foreign_one_comes_first() -> None:
    left: dict[Any, Any] = {("Service", "a"): thing(owner(uid="u-0")), ("Job", "b"): thing(owner(uid="u-0"))}
    with pytest.raises(PredecessorLeaving, match="^Service ai/a, Job ai/b belonged to an earlier"):
        check_names(left, KEY, UID)
    with pytest.raises(NameTaken):
        check_names({**left, ("Service", "c"): thing()}, KEY, UID)


class TestNeedless:
    @staticmethod
    def claim(mode: str) -> dict[str, Any]:
        return {**thing(owner(), kind="PersistentVolumeClaim"), "spec": {"accessModes": [mode]}}

    def test_a_claim_goes_with_its_strategy_and_never_with_a_choice(self) -> None:
        assert not needless(self.claim("ReadWriteOnce"), [], "NodeLocalPVC")
        assert needless(self.claim("ReadWriteOnce"), [], "SharedPVC")
        assert not needless(self.claim("ReadWriteMany"), [], "SharedPVC")
        assert needless(self.claim("ReadWriteMany"), [], "None")
