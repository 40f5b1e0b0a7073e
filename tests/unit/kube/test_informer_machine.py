"""The informer on an API server that goes away, forgets, is restored from a backup, and whose watches break, in any order.

Its promise: once the server is there, the mirror and what the callback was told last are what the server has.
"""

import asyncio
from collections.abc import AsyncIterator

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hearth.kube.client import KubeClient, Listed
from hearth.kube.errors import Expired, KubeError, Unavailable
from hearth.kube.informer import Informer
from hearth.kube.objects import KubeObject, ObjectKey
from tests.machines import far_enough
from tests.virtual import VirtualLoop

names = st.sampled_from("abc")
LONG = 400.0  # seconds: a watch ends in its time, and every back-off is over


class Server(KubeClient):
    """A collection with a history. A watch from a version that it has not reached says nothing, as the real one's."""

    def __init__(self) -> None:
        self.items: dict[str, KubeObject] = {}
        self.history: list[tuple[int, str, KubeObject]] = []
        self.version = 1
        self.away = False
        self.breaks: KubeError | None = None
        self.news = asyncio.Event()

    def set(self, name: str, value: int | None) -> None:
        if value is None and name not in self.items:
            return
        self.version += 1
        meta = {"name": name, "namespace": "ai", "resourceVersion": str(self.version)}
        item: KubeObject = {"metadata": meta, "value": self.items[name]["value"] if value is None else value}
        kind = "DELETED" if value is None else "MODIFIED" if name in self.items else "ADDED"
        if value is None:
            del self.items[name]
        else:
            self.items[name] = item
        self.history.append((self.version, kind, item))
        self.news.set()

    async def list_objects(self, path: str, label_selector: str = "", field_selector: str = "") -> Listed:
        await asyncio.sleep(0.01)  # an answer takes a while, in which things happen
        if self.away:
            raise Unavailable("away")
        return Listed(list(self.items.values()), str(self.version))

    async def watch_objects(
        self,
        path: str,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
        timeout_seconds: int = 300,
    ) -> AsyncIterator[tuple[str, KubeObject]]:
        version = int(resource_version)
        self.breaks = None
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_seconds
        while True:
            if self.away:
                raise Unavailable("away")
            if self.breaks is not None:
                raise self.breaks
            self.news.clear()
            for at, kind, item in [entry for entry in self.history if entry[0] > version]:
                version = at
                yield kind, item
            try:
                async with asyncio.timeout_at(end):
                    await self.news.wait()
            except TimeoutError:
                return


class InformerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.server = Server()
        self.told: dict[str, int] = {}
        self.bad: set[str] = set()
        self.informer = Informer(self.server, "/things", self._changed)
        self.backup: tuple[dict[str, KubeObject], int] = ({}, 1)
        self.running = self.loop.create_task(self.informer.run())
        self.loop.advance(0.1)

    def teardown(self) -> None:
        self.loop.end()

    def _changed(self, key: ObjectKey, item: KubeObject | None) -> None:
        if key.name in self.bad:
            raise ArithmeticError("one that nobody can read")
        if item is None:
            self.told.pop(key.name, None)
        else:
            self.told[key.name] = item["value"]

    @rule(name=names, value=st.integers(0, 3))
    def put(self, name: str, value: int) -> None:
        self.server.set(name, value)

    @rule(name=names)
    def delete(self, name: str) -> None:
        self.server.set(name, None)

    @rule()
    def go_away(self) -> None:
        self.server.away = True
        self.server.news.set()

    @precondition(lambda self: self.server.away)
    @rule()
    def come_back(self) -> None:
        self.server.away = False

    @rule(error=st.sampled_from([Expired("gone"), Unavailable("broken"), KubeError("strange")]))
    def break_the_watch(self, error: KubeError) -> None:
        self.server.breaks = error
        self.server.news.set()

    @rule()
    def back_up(self) -> None:
        self.backup = dict(self.server.items), self.server.version

    @rule()
    def restore(self) -> None:
        """As an etcd from a backup: its API server was away, and versions are counted from where the backup was."""
        self.go_away()
        self.loop.advance(0.1)
        items, self.server.version = self.backup
        self.server.items, self.server.history = dict(items), []
        self.server.away = False

    @rule(name=names)
    def cannot_be_read(self, name: str) -> None:
        self.bad.add(name)

    @rule()
    def can_be_read(self) -> None:
        self.bad.clear()

    @rule(seconds=st.sampled_from([0.005, 0.1, 3.0, LONG]))
    def pass_time(self, seconds: float) -> None:
        self.loop.advance(seconds)

    @invariant()
    def it_runs(self) -> None:
        assert not self.running.done(), self.running

    @precondition(lambda self: not self.server.away)
    @rule()
    def in_the_end_it_is_so(self) -> None:
        self.loop.advance(LONG)
        there = {name: item["value"] for name, item in self.server.items.items()}
        assert {key.name: item["value"] for key, item in self.informer.objects.items()} == there
        for name in {*there, *self.told} - self.bad:
            assert self.told.get(name) == there.get(name), name


TestInformerMachine = InformerMachine.TestCase
TestInformerMachine.settings = far_enough()
