"""What the access log and traces say of requests, and that they say nothing of what was in them."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from hearth.activator.journeys import AccessLog, Journey, Journeys, Outcome
from hearth.activator.tracing import Tracing
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
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Kept:
    """An observer that keeps what is over."""

    def __init__(self) -> None:
        self.begun = 0
        self.over_: asyncio.Queue[Journey] = asyncio.Queue()

    def begin(self, journey: Journey) -> None:
        self.begun += 1

    def over(self, journey: Journey) -> None:
        self.over_.put_nowait(journey)

    async def next(self) -> Journey:
        async with asyncio.timeout(10):
            return await self.over_.get()


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
async def activator(kept: Kept) -> AsyncIterator[ActivatorHarness]:
    async with ActivatorHarness(journeys=Journeys(kept, AccessLog())) as harness:
        yield harness


async def test_a_cold_request_waits_connects_and_streams(
    activator: ActivatorHarness, engine: ScriptedEngine, kept: Kept
) -> None:
    engine.handler = answer_events
    activator.service(FAST)
    client = await activator.client()
    await client.send("POST", "/v1/chat/completions", {**HELLO, "stream": True}, x_request_id="mine")
    assert (await client.head()).headers["x-request-id"] == "mine"
    activator.ready(engine)
    async for _ in client.chunks():
        pass
    journey = await kept.next()
    assert (journey.service, journey.request_id, journey.outcome, journey.status) == (
        "ai/qwen",
        "mine",
        "answered",
        200,
    )
    times = [journey.arrived, journey.sent, journey.connected, journey.first_byte, journey.over]
    assert times == sorted(times)
    assert journey.sent - journey.arrived > 50_000_000, "held until its first heartbeat at least"
    assert journey.address == engine.address


@pytest.mark.parametrize("how", ["rejected", "left", "broken", "retried", "timeout", "stopped"])
async def test_every_end_is_told_once(
    activator: ActivatorHarness, engine: ScriptedEngine, kept: Kept, how: str
) -> None:
    async def hang(request: Message, stream: Stream) -> None:
        await stream.write(EVENTS_HEAD, chunked(b"data: 1\n\n"))
        if how == "broken":
            stream.writer.close()
        else:
            await stream.reader.read()

    engine.handler = hang
    expected: tuple[Outcome, int]
    client = await activator.client()
    match how:
        case "rejected":
            activator.service("spec.endpoint.coldStart.mode=reject")
            await client.chat()
            expected = ("rejected", 503)
        case "timeout":
            activator.service("spec.scaling.activationTimeout=1s")
            await client.chat()
            expected = ("rejected", 503)
        case "retried":
            engine.handler = answer_events
            activator.service()
            activator.ready("127.0.0.1:9", engine)
            await client.chat(stream=True)
            await (await activator.client()).chat(stream=True)  # one of the two meets the one that refuses
            expected = ("answered", 200)
        case _:
            activator.service()
            activator.ready(engine)
            await client.chat(stream=True)
            await client.head()
            await client.chunk()
            expected = ("broken", 200)
            if how == "left":
                await client.close()
                expected = ("left", 499)
            elif how == "stopped":
                activator.door.close()
                expected = ("stopped", 503)
    journey = await kept.next()
    assert (journey.outcome, journey.status) == expected
    if how == "retried":
        assert journey.retries + (await kept.next()).retries >= 1
    assert kept.over_.empty()


async def test_the_access_log_has_figures_and_no_words(
    activator: ActivatorHarness, engine: ScriptedEngine, caplog: pytest.LogCaptureFixture, kept: Kept
) -> None:
    activator.service()
    activator.ready(engine)
    client = await activator.client()
    with caplog.at_level(logging.INFO, "hearth.access"):
        await client.ask("POST", "/v1/chat/completions?key=secret", HELLO, authorization="Bearer secret")
        await kept.next()
    (record,) = [record for record in caplog.records if record.name == "hearth.access"]
    line = record.__dict__["hearth"]
    assert (line["service"], line["status"], line["outcome"]) == ("ai/qwen", 200, "answered")
    assert line["total_ms"] >= line["first_byte_ms"] >= line["held_ms"]
    text = json.dumps(line)
    assert "secret" not in text
    assert "Hello" not in text


class Receiver:
    """An OTLP/HTTP receiver: takes ExportTraceServiceRequest as the protocol has it, and answers as a collector does."""

    def __init__(self) -> None:
        self.spans: asyncio.Queue[Span] = asyncio.Queue()

    async def __call__(self, request: Message, stream: Stream) -> None:
        assert request.start == "POST /v1/traces HTTP/1.1"
        body = ExportTraceServiceRequest.FromString(request.body)
        for resource in body.resource_spans:
            names = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
            assert names["service.name"] == "hearth-activator"
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.put_nowait(span)
        await stream.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n")


async def test_a_trace_from_the_clients_to_the_engine(engine: ScriptedEngine) -> None:
    receiver = Receiver()
    async with ScriptedEngine(receiver) as collector:
        tracing = Tracing(f"http://{collector.address}")
        async with ActivatorHarness(journeys=Journeys(tracing)) as activator:
            engine.handler = answer_events
            activator.service()
            activator.ready(engine)
            client = await activator.client()
            body = {**HELLO, "stream": True}
            await client.ask(
                "POST", "/v1/chat/completions", body, traceparent=f"00-{TRACE}-{PARENT}-01", tracestate="a=1"
            )
            await activator.idle()
        await asyncio.to_thread(tracing.close)
    spans = {span.name: span for span in (receiver.spans.get_nowait() for _ in range(receiver.spans.qsize()))}
    root = spans.pop("POST /v1/chat/completions")
    assert (root.trace_id.hex(), root.parent_span_id.hex()) == (TRACE, PARENT)
    (asked,) = engine.requests
    assert asked.headers["traceparent"] == f"00-{TRACE}-{root.span_id.hex()}-01"
    assert asked.headers["tracestate"] == "a=1"
    assert set(spans) == {"wait", "connect", "first byte", "stream"}
    for span in spans.values():
        assert (span.trace_id, span.parent_span_id) == (root.trace_id, root.span_id)
        assert root.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= root.end_time_unix_nano
    attributes = {attribute.key: attribute.value for attribute in root.attributes}
    assert attributes["http.response.status_code"].int_value == 200
    assert "Hello" not in str(root)


async def test_without_tracing_the_clients_context_is_passed_on(engine: ScriptedEngine) -> None:
    async with ActivatorHarness() as activator:
        activator.service()
        activator.ready(engine)
        given = f"00-{TRACE}-{PARENT}-01"
        await (await activator.client()).ask("POST", "/v1/chat/completions", HELLO, traceparent=given)
    assert engine.requests[0].headers["traceparent"] == given


async def test_nobody_looks_unless_asked(engine: ScriptedEngine) -> None:
    assert not Journeys()
