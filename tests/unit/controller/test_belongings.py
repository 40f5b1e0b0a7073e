from typing import Any

from hearth.api.key import ServiceKey
from hearth.api.labels import LLMSERVICE_LABEL
from hearth.controller.belongings import WRITTEN_SECONDS, Belongings
from hearth.kube.objects import KubeObject, ObjectKey

KEY, AT = ServiceKey("ai", "qwen"), ObjectKey("ai", "qwen")


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


class TestOurOwnWrites:
    """A watch comes to them later than their answers."""

    def made(self, version: int, uid: str = "u") -> KubeObject:
        labels = {LLMSERVICE_LABEL: "qwen"}
        about = {"namespace": "ai", "name": "qwen", "uid": uid, "resourceVersion": str(version), "labels": labels}
        return {"metadata": about}

    def version(self, known: Belongings) -> str | None:
        found = known.get(KEY, "Deployment", "qwen")
        return found["metadata"]["resourceVersion"] if found is not None else None

    def test_they_count_until_they_are_shown(self) -> None:
        known = Belongings(lambda: 0.0)
        known.put("Deployment", AT, self.made(5))
        known.wrote(KEY, "Deployment", "qwen", self.made(9))
        assert self.version(known) == "9"
        known.put("Deployment", AT, self.made(7))
        assert self.version(known) == "9", "somebody else's earlier write"
        assert [item["kind"] for item in known.of(KEY, "Deployment")] == ["Deployment"]
        known.put("Deployment", AT, self.made(10))
        assert self.version(known) == "10"
        known.put("Deployment", AT, self.made(3))
        assert self.version(known) == "3", "an API server that was restored from a backup"

    def test_one_that_was_made_is_there_at_once(self) -> None:
        known = Belongings(lambda: 0.0)
        known.wrote(KEY, "Deployment", "qwen", self.made(9))
        assert self.version(known) == "9"

    def test_another_object_of_the_name_is_what_is_shown(self) -> None:
        known = Belongings(lambda: 0.0)
        known.wrote(KEY, "Deployment", "qwen", self.made(9))
        known.put("Deployment", AT, self.made(4, "another"))
        assert self.version(known) == "4"

    def test_what_is_never_shown_is_forgotten(self) -> None:
        now = 0.0
        known = Belongings(lambda: now)
        known.wrote(KEY, "Deployment", "qwen", self.made(9))
        now = WRITTEN_SECONDS + 1
        assert self.version(known) is None
        assert known.of(KEY, "Deployment") == []

    def test_one_that_is_deleted_is_gone_at_once(self) -> None:
        known = Belongings(lambda: 0.0)
        known.wrote(KEY, "Deployment", "qwen", self.made(9))
        known.put("Deployment", AT, None)
        assert self.version(known) is None
