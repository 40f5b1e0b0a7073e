"""/hearth/v1/services: every LLMService as this activator sees it, once or as a feed of changes. It wakes nothing.

    {"namespace", "name", "model", "phase", "ready_replicas", "waiting", "in_flight", "cold_start": null or
     {"phase", "elapsed", "percent", "eta"}, "trouble": null or why no replica comes, in words}

Times in seconds; `percent` and `eta` are null where no earlier start tells. The feed sends all of them first, then
those that change, and {"namespace", "name", "gone": true} for one that was deleted.
"""

from collections.abc import AsyncGenerator, Callable, Iterable

from hearth.activator.lane.door import Door
from hearth.activator.lane.gate import Gate
from hearth.activator.web.steps import json_array
from hearth.api.key import ServiceKey


async def service_list(door: Door, keys: Iterable[ServiceKey], now: float) -> bytes:
    """These LLMServices, by namespace and name, as JSON."""
    gates = [(key, door.gates.get(key)) for key in sorted(keys)]
    return b'{"services":%b}' % await json_array(gates, lambda pair: _service(door, *pair, now))


async def service_events(
    door: Door, view: Callable[[], Callable[[ServiceKey], bool]], clock: Callable[[], float]
) -> AsyncGenerator[bytes, None]:
    """Server-sent events about those LLMServices that are in the `view` at the time; that one is gone hears who has
    heard of it."""
    changes = door.feed.changes()
    told = set(filter(view(), door.gates))
    yield _event(await service_list(door, told, clock()))
    async for keys in changes:
        seen = view()
        news = {key for key in keys if (seen(key) if key in door.gates else key in told)}
        told = {key for key in told | news if key in door.gates}
        if news:
            yield _event(await service_list(door, news, clock()))
        elif not keys:
            yield b": still here\n\n"


def _event(document: bytes) -> bytes:
    return b"event: services\ndata: %b\n\n" % document


def _service(door: Door, key: ServiceKey, gate: Gate | None, now: float) -> dict[str, object]:
    named: dict[str, object] = {"namespace": key[0], "name": key[1]}
    if gate is None:
        return {**named, "gone": True}
    entry, starts = gate.entry, gate.cold_starts
    start = None
    if (elapsed := starts.elapsed(now)) > 0.0:
        remaining = None if entry.trouble is not None else starts.remaining(now)
        start = {
            "phase": starts.phase,
            "elapsed": round(elapsed, 1),
            "percent": entry.cold_start_percent,
            "eta": None if remaining is None else round(remaining, 1),
        }
    return {
        **named,
        "model": door.directory.model_id(entry),
        "phase": entry.phase,
        "ready_replicas": len(entry.ready),
        "waiting": gate.hold.waiting,
        "in_flight": gate.hold.in_flight,
        "cold_start": start,
        "trouble": entry.trouble,
    }
