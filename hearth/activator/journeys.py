"""One request's way, for those who want to know: the access log and traces. Where nobody does it costs nothing."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from hearth.logs import fields

if TYPE_CHECKING:
    from hearth.activator.lane.inference import Inference

log = logging.getLogger("hearth.access")

Outcome = Literal["answered", "rejected", "broken", "left", "stopped"]
"""The engine's answer is whole; an error of ours; broken off by the engine, the client, the end of the process."""


@dataclass(slots=True, eq=False)
class Journey:
    """Times in nanoseconds since 1970, 0 where it did not come to that; those of the last replica that was asked.
    `arrived` is the wall clock's, the others follow it by a monotonic one: a clock that is set meanwhile makes nothing
    longer or shorter. `path` is the engine's, `prefix` what stood before it."""

    service: str
    request_id: str
    method: str
    path: str
    prefix: str
    scheme: str
    model: str | None
    stream: bool
    headers: Sequence[tuple[bytes, bytes]]
    arrived: int = 0
    sent: int = 0
    connected: int = 0
    first_byte: int = 0
    over: int = 0
    address: str = ""
    retries: int = 0
    status: int = 0
    outcome: Outcome = "answered"
    traceparent: bytes | None = None
    """What the engine gets instead of the client's (https://www.w3.org/TR/trace-context/)."""
    notes: dict[str, Any] = field(default_factory=dict)
    """An observer's own."""
    _began: int = field(default_factory=time.monotonic_ns)

    def now(self) -> int:
        """This moment, as its times are counted."""
        return self.arrived + time.monotonic_ns() - self._began


class Observer(Protocol):
    """`begin` when a request is let into the gate of its LLMService, `sent` when a replica is asked, `failed` when that
    one failed before its first byte, so that the request waits again or ends; `over` once when it is over."""

    def begin(self, journey: Journey) -> None: ...
    def sent(self, journey: Journey) -> None: ...
    def failed(self, journey: Journey, why: str) -> None: ...
    def over(self, journey: Journey) -> None: ...


class Journeys:
    """The observers of an activator's requests; falsy where there is none."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def __bool__(self) -> bool:
        return bool(self._observers)

    def begin(self, service: str, asked: "Inference") -> Journey:
        made = Journey(
            *(service, asked.request_id, asked.method, asked.path, asked.prefix, asked.request.scheme, asked.model),
            asked.stream,
            asked.request.headers,
            arrived=time.time_ns(),
        )
        for observer in self._observers:
            observer.begin(made)
        return made

    def sent(self, journey: Journey, address: str) -> None:
        journey.sent, journey.address = journey.now(), address
        for observer in self._observers:
            observer.sent(journey)

    def failed(self, journey: Journey, why: str) -> None:
        for observer in self._observers:
            observer.failed(journey, why)
        journey.retries += 1
        journey.sent = journey.connected = 0

    def over(self, journey: Journey, outcome: Outcome, status: int) -> None:
        journey.over, journey.outcome, journey.status = journey.now(), outcome, status
        for observer in self._observers:
            observer.over(journey)


class AccessLog:
    """A line for each request."""

    def begin(self, journey: Journey) -> None:
        pass

    def sent(self, journey: Journey) -> None:
        pass

    def failed(self, journey: Journey, why: str) -> None:
        pass

    def over(self, journey: Journey) -> None:
        log.info(
            "request",
            extra=fields(
                service=journey.service,
                request_id=journey.request_id,
                method=journey.method,
                path=journey.path,
                stream=journey.stream,
                status=journey.status,
                outcome=journey.outcome,
                address=journey.address,
                retries=journey.retries,
                held_ms=_ms(journey.arrived, journey.sent),
                first_byte_ms=_ms(journey.arrived, journey.first_byte),
                total_ms=_ms(journey.arrived, journey.over),
            ),
        )


def _ms(begin: int, end: int) -> float | None:
    return round((end - begin) / 1e6, 1) if end else None
