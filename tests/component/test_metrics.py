"""What Prometheus reads of an activator, from what clients and engines did on real sockets."""

import asyncio
import threading
from typing import Any

import httpx
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from hearth.activator.lane.tally import REASONS, STATUSES
from hearth.activator.metrics import METRICS, UNROUTED_CODES
from hearth.metrics import role_registry
from hearth.operations import operations_server
from tests.component.harness import (
    EVENTS_HEAD,
    HELLO,
    ActivatorHarness,
    Message,
    ScriptedEngine,
    Stream,
    answer_events,
    chunked,
)

FAST = "spec.endpoint.coldStart.heartbeatInterval=100ms"


def value(activator: ActivatorHarness, name: str, **labels: str) -> float | None:
    """One sample of qwen's."""
    return activator.registry.get_sample_value(
        f"hearth_activator_{name}", {"namespace": "ai", "service": "qwen", **labels}
    )


async def test_a_cold_stream(activator: ActivatorHarness, engine: ScriptedEngine) -> None:
    engine.handler = answer_events
    activator.service(FAST)
    client = await activator.client()
    await client.chat(stream=True)
    await client.head()
    await client.chunk()
    assert value(activator, "waiting_requests") == 1
    assert value(activator, "cold_start_elapsed_seconds") > 0  # type: ignore[operator]
    assert value(activator, "cold_start_expected_seconds") is None, "nothing is expected before the first"
    activator.ready(engine)
    body = b"".join([chunk async for chunk in client.chunks()])
    await activator.idle()
    relayed = body[body.index(b"data:") :]
    assert value(activator, "relayed_bytes_total") == len(relayed)
    assert value(activator, "relayed_events_total") == 3
    assert value(activator, "heartbeats_total") >= 1  # type: ignore[operator]
    assert value(activator, "responses_total", code="200") == 1
    assert value(activator, "held_seconds_count") == 1
    assert value(activator, "time_to_first_byte_seconds_count") == 1
    assert value(activator, "cold_requests_total") == 1
    assert value(activator, "cold_start_elapsed_seconds") == 0
    assert value(activator, "cold_start_expected_seconds") > 0  # type: ignore[operator]
    assert value(activator, "ready_endpoints") == 1


async def test_a_warm_request_is_not_held(activator: ActivatorHarness, engine: ScriptedEngine) -> None:
    activator.service()
    activator.ready(engine)
    client = await activator.client()
    await client.ask("POST", "/v1/chat/completions", HELLO)
    assert (value(activator, "admitted_requests_total"), value(activator, "held_seconds_count")) == (1, 0)
    assert value(activator, "cold_requests_total") == 0
    assert value(activator, "relayed_events_total") == 0, "a document has no events"


async def test_what_went_wrong(activator: ActivatorHarness, engine: ScriptedEngine) -> None:
    async def die(request: Message, stream: Stream) -> None:
        await stream.write(EVENTS_HEAD, chunked(b"data: 1\n\n"))
        if len(engine.requests) == 1:
            stream.writer.close()
        else:
            await stream.reader.read()

    engine.handler = die
    activator.service("spec.endpoint.maxQueue=1")
    activator.ready(engine)
    client = await activator.client()
    await client.chat(stream=True)
    await client.head()
    _ = [chunk async for chunk in client.chunks()]
    assert value(activator, "broken_answers_total") == 1
    leaving, refused = await activator.client(), await activator.client()
    await leaving.chat(stream=True)
    await leaving.head()
    assert (await refused.ask("POST", "/v1/chat/completions", HELLO)).status == 429
    assert value(activator, "rejected_requests_total", reason="queue_full") == 1
    assert value(activator, "responses_total", code="429") == 1
    await leaving.close()
    await activator.idle()
    assert value(activator, "clients_left_total") == 1


async def test_a_replica_that_fails_first_is_a_retry(activator: ActivatorHarness, engine: ScriptedEngine) -> None:
    activator.service()
    activator.ready("127.0.0.1:9", engine)
    for _ in range(2):
        await (await activator.client()).ask("POST", "/v1/chat/completions", HELLO)
    assert value(activator, "retries_total") == 1


async def test_made_up_names_are_no_labels_and_a_deleted_service_leaves_none(activator: ActivatorHarness) -> None:
    activator.service()
    client = await activator.client()
    for number in range(3):
        await client.ask("POST", "/v1/chat/completions", {**HELLO, "model": f"made-up-{number}"})
    unrouted = activator.registry.get_sample_value(
        "hearth_activator_unrouted_requests_total", {"reason": "model_not_found"}
    )
    assert unrouted == 3
    assert _services(activator.registry) == {"qwen"}
    activator.delete()
    assert _services(activator.registry) == set()


async def test_what_can_be_named_beforehand_is_there_at_zero(activator: ActivatorHarness) -> None:
    """A series that begins with its first count has no rate there: the first 503 would be invisible."""
    activator.service()
    for status in STATUSES:
        assert value(activator, "responses_total", code=str(status)) == 0, status
    for code in ("2xx", "3xx", "4xx", "5xx"):
        assert value(activator, "responses_total", code=code) == 0, code
    for reason in REASONS:
        assert value(activator, "rejected_requests_total", reason=reason) == 0, reason
    for code in UNROUTED_CODES:
        unrouted = activator.registry.get_sample_value("hearth_activator_unrouted_requests_total", {"reason": code})
        assert unrouted == 0, code


async def test_every_metric_is_declared(activator: ActivatorHarness) -> None:
    """The page in docs/ comes from the declarations."""
    activator.service()
    exposed = {family.name for family in activator.registry.collect()}
    assert exposed == {metric.name.removesuffix("_total") for metric in METRICS}


async def test_they_are_served_beside_the_probes() -> None:
    registry, ready = role_registry("activator"), asyncio.Event()
    async with (
        operations_server("127.0.0.1:0", ready.is_set, registry) as port,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        url = f"http://127.0.0.1:{port}"
        text = (await client.get(f"{url}/metrics")).text
        assert "hearth_build_info{" in text
        assert "process_cpu_seconds_total" in text
        assert (await client.get(f"{url}/healthz")).status_code == 200
        assert (await client.get(f"{url}/readyz")).status_code == 503
        ready.set()
        assert (await client.get(f"{url}/readyz")).status_code == 200


async def test_they_are_written_beside_the_event_loop_and_in_gzip() -> None:
    registry, turned = role_registry("activator"), threading.Event()

    class Slow(Collector):
        def collect(self) -> list[Family]:
            loop.call_soon_threadsafe(turned.set)
            assert turned.wait(10), "the event loop stood still meanwhile"
            return []

    loop = asyncio.get_running_loop()
    registry.register(Slow())
    async with (
        operations_server("127.0.0.1:0", lambda: True, registry) as port,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        answer = await client.get(f"http://127.0.0.1:{port}/metrics", headers={"accept-encoding": "gzip"})
        assert answer.headers["content-encoding"] == "gzip"
        assert "hearth_build_info{" in answer.text
        assert "_created" not in answer.text
        plain = await client.get(f"http://127.0.0.1:{port}/metrics", headers={"accept-encoding": "identity"})
        assert "content-encoding" not in plain.headers


def _services(registry: CollectorRegistry) -> set[Any]:
    return {sample.labels.get("service") for family in registry.collect() for sample in family.samples} - {None}
