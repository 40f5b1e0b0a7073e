"""The controller's process without an API server: what one LLMService or node does to the others."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from hearth.api.key import ServiceKey
from hearth.controller.server import Controller, ControllerConfig
from hearth.faults import counted
from hearth.kube import workqueue
from hearth.kube.errors import Unavailable
from hearth.kube.objects import ObjectKey
from tests.builders import runtime_manifest
from tests.unit.controller.cluster import FakeApi

GOOD, BAD = ServiceKey("ai", "good"), ServiceKey("ai", "bad")
PATIENCE = 10.0


def controller() -> tuple[Controller, CollectorRegistry]:
    registry = CollectorRegistry()
    return Controller(FakeApi(), ControllerConfig(None, "scaler:9090", "activator", "127.0.0.1:0"), registry), registry


@contextlib.asynccontextmanager
async def working(made: Controller, reconcile: Callable[[ServiceKey], Awaitable[float | None]]) -> AsyncIterator[None]:
    made._reconciler.reconcile = reconcile  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(made._work())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("error", [OverflowError(), RecursionError(), KeyError("uid"), Unavailable("no answer")])
async def test_a_look_that_raises_is_repeated_while_the_others_go_on(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workqueue, "_FIRST_RETRY", 0.01)
    made, registry = controller()
    looks: list[ServiceKey] = []
    twice, good = asyncio.Event(), asyncio.Event()

    async def reconcile(key: ServiceKey) -> float | None:
        looks.append(key)
        if key == GOOD:
            good.set()
            return None
        if looks.count(BAD) == 3:
            twice.set()
            return None
        raise error

    before = counted()["reconcile"]
    async with working(made, reconcile):
        made.queue.add(BAD)
        made.queue.add(GOOD)
        async with asyncio.timeout(PATIENCE):
            await good.wait()
            await twice.wait()
    assert looks[:2] == [BAD, GOOD]
    assert registry.get_sample_value("hearth_controller_reconcile_errors_total") == 2
    unforeseen = 0 if isinstance(error, Unavailable) else 2
    assert counted()["reconcile"] == before + unforeseen


async def test_a_look_says_when_to_look_again() -> None:
    made, _ = controller()
    looks: list[ServiceKey] = []
    again = asyncio.Event()

    async def reconcile(key: ServiceKey) -> float | None:
        looks.append(key)
        if len(looks) == 2:
            again.set()
            return None
        return 0.01

    async with working(made, reconcile):
        made.queue.add(GOOD)
        async with asyncio.timeout(PATIENCE):
            await again.wait()
    assert looks == [GOOD, GOOD]


@pytest.mark.parametrize(
    ("allocatable", "found"),
    [
        ({"nvidia.com/gpu": "8", "cpu": "4"}, {"nvidia.com/gpu"}),
        ({"nvidia.com/gpu": "1k", "a.b/c": "500m"}, {"nvidia.com/gpu", "a.b/c"}),
        ({"nvidia.com/gpu": "8", "a.b/c": "0", "d.e/f": "0k"}, {"nvidia.com/gpu"}),
        (
            {"nvidia.com/gpu": "8", "a.b/c": "1e9999999999", "d.e/f": "-1", "g.h/i": "", "j.k/l": None},
            {"nvidia.com/gpu"},
        ),
        ({"nvidia.com/gpu": 8, "a.b/c": 0}, {"nvidia.com/gpu"}),
        ([], None),
        ("8", None),
    ],
)
def test_what_nodes_can_allocate(allocatable: Any, found: set[str] | None) -> None:
    made, _ = controller()
    made._nodes.objects[ObjectKey("", "n")] = {"metadata": {"name": "n"}, "status": {"allocatable": allocatable}}
    made._nodes.objects[ObjectKey("", "m")] = {"metadata": {"name": "m"}, "status": None}
    assert made.facts().accelerators == (frozenset(found) if found is not None else None)


def test_a_runtime_that_cannot_be_read_hides_no_other() -> None:
    made, _ = controller()
    made._runtime_changed(ObjectKey("", "good"), runtime_manifest(name="good"))
    made._runtime_changed(ObjectKey("", "bad"), runtime_manifest("spec.resources={memory: '1e5000'}", name="bad"))
    assert list(made.runtimes.unreadable) == ["bad"]
    assert "spec.resources.memory" in made.runtimes.unreadable["bad"].why
    assert [runtime.metadata.name for runtime in made.runtimes.sorted()] == ["good"]


async def test_news_of_a_child_are_about_its_service() -> None:
    made, _ = controller()
    labels = {"serving.hearth.dev/llmservice": "good"}
    made._child_changed("Pod", ObjectKey("ai", "p"), {"metadata": {"name": "p", "namespace": "ai", "labels": labels}})
    made._child_changed("Pod", ObjectKey("ai", "q"), {"metadata": {"name": "q", "labels": ["x"]}})
    assert await made.queue.take() == GOOD
    assert len(made.queue) == 0
