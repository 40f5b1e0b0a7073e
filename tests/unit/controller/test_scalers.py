"""Who else scales a Deployment of ours."""

from typing import Any

import pytest

from hearth.api.key import ServiceKey
from hearth.controller.scalers import Scalers
from hearth.kube.objects import ObjectKey

KEY = ServiceKey("ai", "qwen")
HPA, SCALED_OBJECT = "HorizontalPodAutoscaler", "ScaledObject"
OURS = {"kind": "ScaledObject", "name": "qwen", "uid": "u"}


def scaler(uid: str = "v", owner: dict[str, Any] | None = None, **target: Any) -> dict[str, Any]:
    owners = [owner] if owner else []
    return {"metadata": {"uid": uid, "ownerReferences": owners}, "spec": {"scaleTargetRef": target}}


@pytest.mark.parametrize(
    ("kind", "name", "item", "told"),
    [
        (SCALED_OBJECT, "qwen", scaler("u", name="qwen"), False),
        (SCALED_OBJECT, "other", scaler(name="qwen"), True),
        (SCALED_OBJECT, "other", scaler(name="qwen", kind="StatefulSet"), False),
        (SCALED_OBJECT, "other", scaler(name="llama"), False),
        (HPA, "theirs", scaler(apiVersion="apps/v1", kind="Deployment", name="qwen"), True),
        (HPA, "theirs", scaler(apiVersion="shop/v1", kind="Deployment", name="qwen"), False),
        (HPA, "keda-hpa-qwen", scaler(owner=OURS, kind="Deployment", name="qwen"), False),
        (HPA, "keda-hpa-qwen", scaler(kind="Deployment", name="elsewhere"), True),
        (HPA, "keda-hpa-other", scaler(owner={**OURS, "name": "other"}, kind="Deployment", name="qwen"), False),
    ],
)
def test_who_is_told(kind: str, name: str, item: dict[str, Any], told: bool) -> None:
    scalers = Scalers()
    item["metadata"]["name"] = name
    scalers.put(kind, ObjectKey("ai", name), item)
    assert scalers.others(KEY, "u") == ([f"{kind} ai/{name}"] if told else [])
    assert scalers.others(ServiceKey("lab", "qwen"), "u") == []


def test_what_changes_or_goes_is_about_those_before_and_after() -> None:
    scalers, at = Scalers(), ObjectKey("ai", "theirs")
    assert scalers.put(HPA, at, scaler(kind="Deployment", name="qwen")) == {KEY}
    assert scalers.put(HPA, at, scaler(kind="Deployment", name="llama")) == {KEY, ServiceKey("ai", "llama")}
    assert scalers.others(KEY, "u") == []
    assert scalers.put(HPA, at, None) == {ServiceKey("ai", "llama")}
    assert scalers.put(HPA, at, {"spec": None}) == set()
