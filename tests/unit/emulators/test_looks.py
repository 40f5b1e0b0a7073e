"""A control loop in which one object fails."""

import asyncio
import contextlib
import logging
from collections.abc import Iterable

import pytest

from hearth.emulators.looks import Looks
from hearth.emulators.store import Event, ObjectStore


def named(name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


async def test_a_look_that_fails_is_logged_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    store, looked, last = ObjectStore(), list[str](), asyncio.Event()

    def about(event: Event) -> Iterable[str]:
        name = event.object["metadata"]["name"]
        if name == "strange":
            raise KeyError("spec")
        return [name]

    def look(name: str) -> None:
        if name == "wrong":
            raise ValueError("no idea")
        looked.append(name)
        if name == "last":
            last.set()

    running = asyncio.create_task(Looks(store, about, look, ["wrong", "first"]).run())
    await asyncio.sleep(0)  # it listens
    with caplog.at_level(logging.ERROR):
        store.put("namespaces", named("strange"))
        store.put("namespaces", named("last"))
        async with asyncio.timeout(5):
            await last.wait()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert looked == ["first", "last"]
    assert [record.message for record in caplog.records] == ["a look failed", "an event was not understood"]
