from typing import Any

from hearth.api.key import ServiceKey
from hearth.controller.belongings import Belongings
from hearth.kube.objects import ObjectKey


def pod(name: str, service: str | None) -> dict[str, Any]:
    labels = {"serving.hearth.dev/llmservice": service} if service else {}
    return {"metadata": {"name": name, "namespace": "ai", "labels": labels}}


def names(found: list[dict[str, Any]]) -> list[str]:
    return [f"{item['kind']}/{item['metadata']['name']}" for item in found]


def test_objects_are_found_by_their_services_label_and_kind() -> None:
    belongings = Belongings()
    assert belongings.put("Pod", ObjectKey("ai", "b"), pod("b", "qwen")) == {("ai", "qwen")}
    belongings.put("Pod", ObjectKey("ai", "a"), pod("a", "qwen"))
    belongings.put("Service", ObjectKey("ai", "a"), pod("a", "qwen"))
    belongings.put("Pod", ObjectKey("ai", "c"), pod("c", "other"))
    belongings.put("Pod", ObjectKey("ai", "d"), pod("d", None))
    assert names(belongings.of(ServiceKey("ai", "qwen"), "Pod")) == ["Pod/a", "Pod/b"]
    assert names(belongings.of(ServiceKey("ai", "qwen"), "Pod", "Service")) == ["Pod/a", "Pod/b", "Service/a"]
    assert belongings.of(ServiceKey("ai", "nobody"), "Pod") == []


def test_one_that_goes_is_about_the_service_it_belonged_to() -> None:
    belongings = Belongings()
    belongings.put("Pod", ObjectKey("ai", "a"), pod("a", "qwen"))
    assert belongings.put("Pod", ObjectKey("ai", "a"), None) == {("ai", "qwen")}
    assert belongings.of(ServiceKey("ai", "qwen"), "Pod") == []
    assert belongings.put("Pod", ObjectKey("ai", "a"), None) == set()


def test_one_that_changes_hands_is_about_both() -> None:
    belongings = Belongings()
    belongings.put("Pod", ObjectKey("ai", "a"), pod("a", "qwen"))
    assert belongings.put("Pod", ObjectKey("ai", "a"), pod("a", "other")) == {("ai", "qwen"), ("ai", "other")}
    assert belongings.of(ServiceKey("ai", "qwen"), "Pod") == []


def test_one_that_goes_leaves_the_others_of_its_service() -> None:
    belongings = Belongings()
    for name in ("a", "b"):
        belongings.put("Pod", ObjectKey("ai", name), pod(name, "qwen"))
    belongings.put("Service", ObjectKey("ai", "a"), pod("a", "qwen"))
    belongings.put("Pod", ObjectKey("ai", "a"), None)
    assert names(belongings.of(ServiceKey("ai", "qwen"), "Pod", "Service")) == ["Pod/b", "Service/a"]
    assert belongings.get(ServiceKey("ai", "qwen"), "Pod", "a") is None
    assert (belongings.get(ServiceKey("ai", "qwen"), "Pod", "b") or {})["kind"] == "Pod"


def test_one_that_changes_hands_leaves_the_others_of_the_service_that_had_it() -> None:
    belongings = Belongings()
    for name in ("a", "b"):
        belongings.put("Pod", ObjectKey("ai", name), pod(name, "qwen"))
    belongings.put("Pod", ObjectKey("ai", "a"), pod("a", "other"))
    assert names(belongings.of(ServiceKey("ai", "qwen"), "Pod")) == ["Pod/b"]
    assert names(belongings.of(ServiceKey("ai", "other"), "Pod")) == ["Pod/a"]


def test_a_service_of_which_nothing_is_left_takes_no_room() -> None:
    belongings = Belongings()
    belongings.put("Pod", ObjectKey("ai", "a"), pod("a", "qwen"))
    belongings.put("Pod", ObjectKey("ai", "a"), None)
    assert belongings._objects == {}
    assert belongings._owners == {}
