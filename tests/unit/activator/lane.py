"""A gate and its clients without an event loop's time and without sockets: the test moves the clock."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from hearth.activator.directory import Directory, Entry
from hearth.activator.errors import ApiError
from hearth.activator.lane.gate import Gate, Held
from hearth.activator.lane.heartbeat import Beating, Heartbeats
from hearth.activator.lane.inference import Inference
from hearth.activator.lane.tally import Tally
from hearth.activator.paths import PATHS
from hearth.api.key import ServiceKey
from hearth.http1.headers import Headers
from hearth.http1.limits import Budget
from hearth.http1.message import Request
from hearth.http1.response import Response
from tests.builders import llmservice_manifest
from tests.clock import Clock

E1, E2 = "10.0.0.1:8000", "10.0.0.2:8000"


class Beats(Heartbeats):
    """Keeps who is to beat, and when, instead of a timer."""

    def __init__(self) -> None:
        self.due: list[tuple[Beating, float]] = []

    def add(self, beating: Beating, due: float) -> None:
        self.due.append((beating, due))


class Written(Response):
    """A response that keeps what is written."""

    def __init__(self, request: Request) -> None:
        super().__init__(request, Budget(2**20))
        self.status = 0
        self.headers: Headers = []
        self.length: int | None = None
        self.data = b""
        self.chunks: list[bytes] = []
        self.aborted = False
        self.chunked = True

    def start(self, status: int, headers: Headers, body: bytes = b"", *, length: int | None = None) -> None:
        assert not self.started
        self.started, self.status, self.headers, self.length = True, status, headers, length
        self.data += body

    def write(self, body: bytes) -> None:
        assert self.started
        self.data += body

    def takes_chunks(self) -> Callable[[bytes], None] | None:
        return self.chunks.append if self.chunked else None

    def end(self) -> None:
        assert self.started
        self.complete = True

    def abort(self) -> None:
        self.complete = self.aborted = True


class Client(Held):
    """A held request that notes where it was sent and what it was refused with."""

    def __init__(self, gate: Gate, asked: Inference) -> None:
        super().__init__(gate, asked, Written(asked.request), [])
        self.went: list[str] = []
        self.errors: list[ApiError] = []
        self.cuts = 0
        self.tellable = True
        self.late = False
        self.timed_out = 0

    @property
    def written(self) -> Written:
        return cast("Written", self.response)

    def go(self, address: str) -> None:
        self.went.append(address)

    def refuse(self, error: ApiError) -> None:
        self.step("refused")
        self.errors.append(error)

    def cut(self) -> None:
        self.cuts += 1

    def overdue(self, now: float) -> bool:
        return self.late

    def time_out(self) -> None:
        self.timed_out += 1
        self.step("stopped")
        self._gate.leave(self)

    def may_be_told(self) -> bool:
        return self.tellable

    def deliver(self) -> None:
        """The replica has the request."""
        self.step("connected")


class Lane:
    """A gate of one LLMService made with these assignments; must be made inside an event loop."""

    def __init__(self, *assignments: str, ready: tuple[str, ...] = ()) -> None:
        self.clock = Clock()
        self.beats = Beats()
        self.told: list[ServiceKey] = []
        self.failures: list[tuple[str, BaseException]] = []
        self.tally = Tally()
        self.entry = replace(entry(*assignments), ready=frozenset(ready))
        self.gate = Gate(
            self.entry, self.beats, self.told.append, self.tally, lambda *failure: self.failures.append(failure)
        )
        self.gate._loop = cast("asyncio.AbstractEventLoop", self.clock)
        self.gate.update(self.entry)
        self.told.clear()

    def update(self, *assignments: str, **changes: Any) -> None:
        """Change the LLMService, then what its status and slices say."""
        if assignments:
            self.entry = replace(entry(*assignments), ready=self.entry.ready)
        self.entry = replace(self.entry, **changes)
        self.gate.update(self.entry)

    def ready(self, *addresses: str) -> None:
        self.update(ready=frozenset(addresses))

    def client(self, *, stream: bool = False, method: str = "POST", path: str = "/v1/chat/completions") -> Client:
        """A request that has not asked to be let in yet."""
        asked = Inference(Request(method, path, b"", []), path, "", PATHS[path])
        asked.stream = stream
        return Client(self.gate, asked)

    def admit(self, *, stream: bool = False, path: str = "/v1/chat/completions") -> Client:
        client = self.client(stream=stream, path=path)
        self.gate.admit(client)
        return client


def entry(*assignments: str) -> Entry:
    """What the directory makes of an LLMService."""
    directory = Directory(lambda key, entry: None)
    directory.put_service(("ai", "qwen"), llmservice_manifest("qwen", "ai", *assignments))
    found = directory.get(("ai", "qwen"))
    assert found is not None
    return found
