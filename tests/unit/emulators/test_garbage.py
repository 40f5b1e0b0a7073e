"""https://kubernetes.io/docs/concepts/architecture/garbage-collection/"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from hearth.emulators import events
from hearth.emulators.garbage import GarbageCollector
from hearth.emulators.kinds import KubeObject
from hearth.emulators.store import ObjectStore
from tests.unit.emulators.objects import KINDS, cluster, named


def owned(kind: str, name: str, *owners: KubeObject) -> KubeObject:
    references = [
        {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
        }
        for owner in owners
    ]
    return named(kind, name, ownerReferences=references) | {"spec": {}}


@pytest.fixture
async def store() -> AsyncIterator[ObjectStore]:
    store = cluster()
    collecting = asyncio.create_task(GarbageCollector(store, KINDS).run())
    await asyncio.sleep(0)  # it listens
    yield store
    collecting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await collecting


async def gone(store: ObjectStore, resource: str, name: str) -> None:
    async with asyncio.timeout(5):
        while store.get(resource, "ai", name) is not None:
            await asyncio.sleep(0)


async def test_what_is_owned_goes_with_its_owner_and_so_on(store: ObjectStore) -> None:
    top = store.put("services", named("Service", "top"))
    middle = store.put("persistentvolumeclaims", owned("PersistentVolumeClaim", "middle", top))
    store.put("jobs", owned("Job", "leaf", middle) | {"apiVersion": "batch/v1"})
    store.put("services", named("Service", "other"))
    store.delete("services", "ai", "top")
    await gone(store, "jobs", "leaf")
    assert store.get("persistentvolumeclaims", "ai", "middle") is None
    assert store.get("services", "ai", "other") is not None


async def test_one_of_several_owners_is_enough(store: ObjectStore) -> None:
    one, two = (store.put("services", named("Service", name)) for name in ("one", "two"))
    store.put("persistentvolumeclaims", owned("PersistentVolumeClaim", "claim", one, two))
    store.delete("services", "ai", "one")
    store.put("persistentvolumeclaims", owned("PersistentVolumeClaim", "other", one))
    await gone(store, "persistentvolumeclaims", "other")
    assert store.get("persistentvolumeclaims", "ai", "claim") is not None
    store.delete("services", "ai", "two")
    await gone(store, "persistentvolumeclaims", "claim")


async def test_an_owner_of_the_same_name_is_another_owner(store: ObjectStore) -> None:
    before = store.put("services", named("Service", "s"))
    store.delete("services", "ai", "s")
    store.put("services", named("Service", "s"))
    store.put("persistentvolumeclaims", owned("PersistentVolumeClaim", "claim", before))
    await gone(store, "persistentvolumeclaims", "claim")


async def test_events_are_forgotten_over_a_number(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "FORGOTTEN_AFTER", 3)
    about = store.put("services", named("Service", "s"))
    for number in range(5):
        events.tell(store, about, "kubelet", "Told", f"message {number}")
    assert [each["message"] for each in sorted(store.find("events"), key=lambda each: str(each["message"]))] == [
        f"message {number}" for number in (2, 3, 4)
    ]


async def test_an_event_that_is_told_again_counts_up(store: ObjectStore) -> None:
    about = store.put("services", named("Service", "s"))
    for _ in range(3):
        events.tell(store, about, "kubelet", "Told", "again", "Warning")
    (event,) = store.find("events")
    assert (event["count"], event["type"], event["involvedObject"]["uid"]) == (3, "Warning", about["metadata"]["uid"])
