"""The informer on a scripted API server: what one strange object, or one callback that raises, does to the others."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hearth.activator.directory import Directory
from hearth.faults import counted
from hearth.kube import informer as module
from hearth.kube.client import KubeClient, Listed
from hearth.kube.endpoints import Listing
from hearth.kube.errors import Expired, KubeError, Unanswered, Unavailable
from hearth.kube.informer import Informer
from hearth.kube.objects import KubeObject, ObjectKey, name_of
from hearth.scaler.discovery import ActivatorDirectory
from tests.backoffs import noted_backoffs
from tests.builders import endpoint_slice, llmservice_manifest
from tests.unit.kube.test_objects import anything

PATIENCE = 10.0


class Scripted(KubeClient):
    """Lists what it is given, then sends what is put into `changes`."""

    def __init__(self, *items: Any) -> None:
        self.items = list(items)
        self.lists = 0
        self.changes: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    async def list_objects(self, path: str, label_selector: str = "", field_selector: str = "") -> Listed:
        self.lists += 1
        return Listed(self.items, "1")

    async def watch_objects(
        self,
        path: str,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
        timeout_seconds: int = 300,
    ) -> AsyncIterator[tuple[str, KubeObject]]:
        while True:
            kind, item = await self.changes.get()
            if kind == "BREAK":
                raise item
            if kind == "END":
                return
            yield kind, item


@contextlib.asynccontextmanager
async def informing(
    kube: Scripted, on_change: Callable[[ObjectKey, KubeObject | None], None]
) -> AsyncIterator[Informer]:
    informer = Informer(kube, "/things", on_change)
    task = asyncio.create_task(informer.run())
    try:
        async with asyncio.timeout(PATIENCE):
            await informer.synced.wait()
        yield informer
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class Told:
    """A callback that notes names, and raises for those in `bad`."""

    def __init__(self, *bad: str, error: Exception | None = None) -> None:
        self.bad = set(bad)
        self.error = error or RecursionError("too deep")
        self.calls: list[str] = []
        self.taken: list[str] = []
        self._bell = asyncio.Event()

    def __call__(self, key: ObjectKey, item: KubeObject | None) -> None:
        self.calls.append(key.name)
        self._bell.set()
        if key.name in self.bad:
            raise self.error
        self.taken.append(key.name if item is not None else f"-{key.name}")

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._bell.clear()
                await self._bell.wait()


def thing(name: str, version: str = "1") -> KubeObject:
    return {"metadata": {"name": name, "namespace": "ai", "resourceVersion": version}}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_FIRST_CALL", "_LAST_CALL", "_FIRST_RETRY", "_LAST_RETRY"):
        monkeypatch.setattr(module, name, 0.01)


@pytest.mark.parametrize("error", [RecursionError(), OverflowError(), ArithmeticError(), KeyError("x"), MemoryError()])
async def test_one_that_cannot_be_taken_does_not_hide_the_others(error: Exception) -> None:
    told, kube, before = Told("bad", error=error), Scripted(thing("a"), thing("bad"), thing("z")), counted()["object"]
    async with informing(kube, told):
        kube.changes.put_nowait(("MODIFIED", thing("bad", "2")))
        kube.changes.put_nowait(("ADDED", thing("later", "3")))
        await told.until(lambda: "later" in told.taken)
    assert told.taken == ["a", "z", "later"]
    assert counted()["object"] == before + 2
    assert kube.lists == 1, "it is no reason to list anew"


@pytest.mark.usefixtures("quick")
async def test_it_is_tried_again_until_it_is_taken_as_it_is_by_then() -> None:
    told, kube = Told("bad"), Scripted(thing("bad"))
    async with informing(kube, told):
        await told.until(lambda: len(told.calls) >= 4)
        told.bad.clear()
        await told.until(lambda: told.taken == ["bad"])
        calls = len(told.calls)
        kube.changes.put_nowait(("ADDED", thing("next")))
        await told.until(lambda: "next" in told.taken)
        assert len(told.calls) == calls + 1, "and then no more"


@pytest.mark.usefixtures("quick")
async def test_one_that_goes_is_told_until_it_is_taken() -> None:
    told, kube = Told("bad"), Scripted(thing("bad"))
    async with informing(kube, told):
        kube.changes.put_nowait(("DELETED", thing("bad", "2")))
        await told.until(lambda: len(told.calls) >= 4)
        told.bad.clear()
        await told.until(lambda: told.taken == ["-bad"])


async def test_a_change_comes_before_the_next_try() -> None:
    told, kube = Told("bad"), Scripted(thing("bad"))
    async with informing(kube, told) as informer:
        assert list(informer._calls) == [ObjectKey("ai", "bad")]
        told.bad.clear()
        kube.changes.put_nowait(("MODIFIED", thing("bad", "2")))
        await told.until(lambda: told.taken == ["bad"])
        assert informer._calls == {}


async def test_tries_end_with_the_informer() -> None:
    told = Told("bad")
    async with informing(Scripted(thing("bad")), told) as informer:
        (call,) = informer._calls.values()
    assert call.cancelled()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "error", [Unavailable("no answer"), ValueError("Chunk too big"), RecursionError(), KeyError("metadata")]
)
async def test_a_watch_that_breaks_in_any_way_is_begun_again(error: Exception) -> None:
    told, kube = Told(), Scripted(thing("a"))
    async with informing(kube, told):
        kube.changes.put_nowait(("BREAK", error))
        kube.changes.put_nowait(("ADDED", thing("b")))
        await told.until(lambda: "b" in told.taken)


@pytest.mark.parametrize("item", [{}, {"metadata": None}, {"metadata": {"name": 7}}, {"metadata": {"name": ""}}])
async def test_what_has_no_name_is_left_out(item: Any) -> None:
    told, kube = Told(), Scripted(item, thing("a"))
    async with informing(kube, told):
        kube.changes.put_nowait(("ADDED", item))
        kube.changes.put_nowait(("ADDED", thing("b", "2")))
        await told.until(lambda: told.taken == ["a", "b"])


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, float, float]]:
    """What is asked of the back-off: failures in a row, the first and the longest wait. Nobody waits for it."""
    return noted_backoffs(monkeypatch, module)


async def test_a_callback_is_called_again_after_half_a_second_and_then_later_and_later(
    failures: list[tuple[int, float, float]],
) -> None:
    told, kube = Told("bad"), Scripted(thing("bad"))
    async with informing(kube, told):
        await told.until(lambda: len(told.calls) == 3)
        told.bad.clear()
        await told.until(lambda: told.taken == ["bad"])
        assert failures == [(1, 0.5, 60.0), (2, 0.5, 60.0), (3, 0.5, 60.0)]
        told.bad.add("bad")
        kube.changes.put_nowait(("MODIFIED", thing("bad", "2")))
        await told.until(lambda: len(told.calls) == 5)
    assert failures[3] == (1, 0.5, 60.0), "one that went well begins anew"


async def test_a_server_that_fails_is_asked_later_and_later_until_it_answers(
    failures: list[tuple[int, float, float]],
) -> None:
    told, kube = Told(), Scripted(thing("a"))
    async with informing(kube, told):
        for _ in range(3):
            kube.changes.put_nowait(("BREAK", Unanswered("no answer")))
        kube.changes.put_nowait(("ADDED", thing("b", "2")))
        kube.changes.put_nowait(("BREAK", Unanswered("no answer")))
        kube.changes.put_nowait(("ADDED", thing("c", "3")))
        await told.until(lambda: "c" in told.taken)
    assert failures == [(count, 0.2, 5.0) for count in (1, 2, 3, 1)]


@pytest.mark.usefixtures("failures")
@pytest.mark.parametrize(
    ("end", "error"),
    [
        ("BREAK", Unavailable("503: etcd", 503)),
        ("BREAK", Expired("410: too old", 410)),
        ("BREAK", Unanswered("the connection broke")),
        ("END", None),
    ],
)
async def test_a_watch_that_was_broken_off_is_listed_anew(end: str, error: KubeError | None) -> None:
    """Its version may be one that a restored etcd has not reached: a watch from there says nothing."""
    told, kube = Told(), Scripted(thing("a"), thing("b"))
    async with informing(kube, told):
        kube.items = [thing("b"), thing("c", "2")]
        kube.changes.put_nowait((end, error))
        await told.until(lambda: "c" in told.taken)
    assert told.taken == ["a", "b", "-a", "c"], "what has not changed is not told again"
    assert kube.lists == 2


async def test_a_watch_that_ended_in_its_time_goes_on(
    failures: list[tuple[int, float, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.randint", lambda least, most: 0)
    told, kube = Told(), Scripted(thing("a"))
    async with informing(kube, told):
        kube.changes.put_nowait(("END", None))
        kube.changes.put_nowait(("ADDED", thing("b", "2")))
        await told.until(lambda: "b" in told.taken)
    assert (kube.lists, failures) == (1, [])


@pytest.mark.usefixtures("failures")
async def test_another_object_with_the_same_version_is_told() -> None:
    told, kube = Told(), Scripted(thing("a"), thing("b"))
    async with informing(kube, told) as informer:
        kube.items = [thing("a"), {**thing("b"), "spec": {"other": True}}]
        kube.changes.put_nowait(("END", None))
        await told.until(lambda: told.taken == ["a", "b", "b"])
        assert informer.objects[ObjectKey("ai", "b")]["spec"]["other"]


strange_specs = st.dictionaries(st.sampled_from(["spec", "status", "ports", "endpoints", "kind"]), anything, max_size=4)


@given(st.lists(strange_specs, max_size=5), st.lists(anything, max_size=3))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_an_object_is_the_others_are_served(strange: list[dict[str, Any]], shapeless: list[object]) -> None:
    """Directory of the activator and of the scaler, behind an informer each."""

    def odd(kind: str) -> list[Any]:
        named = [
            {**item, "metadata": {"name": f"odd-{n}", "namespace": "ai", "labels": {"a": 1}}}
            for n, item in enumerate(strange)
        ]
        whole = [llmservice_manifest(f"odd-whole-{n}", "ai") | item for n, item in enumerate(strange)]
        return [
            *named,
            *(whole if kind == "llmservices" else []),
            *(item for item in shapeless if isinstance(item, dict)),
        ]

    async def run() -> None:
        entries: dict[Any, Any] = {}
        directory = Directory(entries.__setitem__)
        lists: list[Mapping[str, Listing]] = []
        listed = ActivatorDirectory(lambda now, plain: lists.append(now))
        good = llmservice_manifest("good", "ai")
        services = Scripted(*odd("llmservices"), good)
        slices = Scripted(*odd("slices"), endpoint_slice("good", "ai", "10.0.0.1:8000"))
        demand = Scripted(
            *odd("slices"), {**endpoint_slice("x", "ai", "10.0.0.2:9091"), "ports": [{"name": "demand", "port": 9091}]}
        )
        async with (
            informing(services, directory.put_service),
            informing(slices, directory.put_slice),
            informing(demand, listed.put_slice) as informer,
        ):
            listed.publish()
            assert entries["ai", "good"].ready == {"10.0.0.1:8000"}
            assert "10.0.0.2:9091" in lists[-1]
            assert "x-slice" in map(name_of, informer.objects.values())

    asyncio.run(run())
