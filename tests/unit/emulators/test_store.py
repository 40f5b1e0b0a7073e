import pytest

from hearth.emulators.kinds import KubeObject
from hearth.emulators.selectors import label_selector
from hearth.emulators.store import Event, Gone, ObjectStore


def thing(name: str = "a", namespace: str = "ai", value: int = 1, **labels: str) -> KubeObject:
    return {"metadata": {"name": name, "namespace": namespace, "labels": labels}, "spec": {"value": value}}


def test_it_gives_what_the_api_server_gives() -> None:
    store = ObjectStore()
    made = store.put("things", thing())["metadata"]
    assert made["uid"]
    assert made["creationTimestamp"].endswith("Z")
    assert made["generation"] == 1
    changed = store.put("things", thing(value=2))["metadata"]
    assert (changed["uid"], changed["generation"]) == (made["uid"], 2)
    assert int(changed["resourceVersion"]) > int(made["resourceVersion"])


def test_a_changed_status_is_no_new_generation() -> None:
    store = ObjectStore()
    store.put("things", thing())
    item = {**thing(), "status": {"phase": "Ready"}}
    assert store.put("things", item)["metadata"]["generation"] == 1


def test_what_does_not_change_is_no_event() -> None:
    store = ObjectStore()
    store.put("things", thing())
    seen: list[Event] = []
    store.listen(seen.append)
    store.put("things", store.get("things", "ai", "a") or {})
    assert seen == []


def test_listeners_hear_every_event_until_they_stop() -> None:
    store = ObjectStore()
    seen: list[Event] = []
    stop = store.listen(seen.append)
    store.put("things", thing())
    store.put("things", thing(value=2))
    store.delete("things", "ai", "a")
    stop()
    store.put("things", thing())
    assert [event.type for event in seen] == ["ADDED", "MODIFIED", "DELETED"]
    assert [event.version for event in seen] == sorted(event.version for event in seen)


def test_nobody_holds_what_the_store_holds() -> None:
    store = ObjectStore()
    given = thing()
    taken = store.put("things", given)
    given["spec"]["value"] = taken["spec"]["value"] = 99
    read = store.get("things", "ai", "a")
    assert read is not None
    assert read["spec"]["value"] == 1


def test_find_by_namespace_and_labels() -> None:
    store = ObjectStore()
    store.put("things", thing("b", "ai", app="x"))
    store.put("things", thing("a", "ai", app="y"))
    store.put("things", thing("a", "lab", app="x"))
    store.put("others", thing("a", "ai", app="x"))
    assert [item["metadata"]["name"] for item in store.find("things", "ai")] == ["a", "b"]
    assert len(store.find("things", selected=label_selector("app=x"))) == 2


def test_what_a_listener_writes_is_told_after_what_it_heard() -> None:
    store = ObjectStore()
    seen: list[tuple[str, str]] = []

    def copy_once(event: Event) -> None:
        if event.object["metadata"]["name"] == "a":
            store.put("things", thing("b"))

    store.listen(copy_once)
    store.listen(lambda event: seen.append((event.type, event.object["metadata"]["name"])))
    store.put("things", thing("a"))
    assert seen == [("ADDED", "a"), ("ADDED", "b")]


def test_an_event_knows_what_was_there_before() -> None:
    store = ObjectStore()
    seen: list[Event] = []
    store.listen(seen.append)
    store.put("things", thing(value=1))
    store.put("things", thing(value=2))
    store.delete("things", "ai", "a")
    before = [None if event.before is None else event.before["spec"]["value"] for event in seen]
    assert before == [None, 1, 2]


def test_the_history_is_read_from_a_version_on_and_forgets() -> None:
    store = ObjectStore()
    first = int(store.put("things", thing())["metadata"]["resourceVersion"])
    store.put("things", thing(value=2))
    assert [event.object["spec"]["value"] for event in store.since("things", first)] == [2]
    for value in range(5000):
        store.put("things", thing(value=value))
    with pytest.raises(Gone) as gone:
        store.since("things", first)
    assert gone.value.oldest > first


def test_deleting_what_is_not_there() -> None:
    assert ObjectStore().delete("things", "ai", "a") is False
