"""What the access log and traces say of requests, and that they say nothing of what was in them."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

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
        self.asked: list[str] = []
        self.failures: list[str] = []
        self.over_: asyncio.Queue[Journey] = asyncio.Queue()

    def begin(self, journey: Journey) -> None:
        self.begun += 1

    def sent(self, journey: Journey) -> None:
        self.asked.append(journey.address)

    def failed(self, journey: Journey, why: str) -> None:
        self.failures.append(why)

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
        assert journey.retries + (await kept.next()).retries == len(kept.failures) >= 1
        assert len(kept.asked) == 2 + len(kept.failures)
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
        self.spans: list[Span] = []
        self.resource: dict[str, str] = {}

    def named(self, name: str) -> Span:
        (span,) = [span for span in self.spans if span.name == name]
        return span

    async def __call__(self, request: Message, stream: Stream) -> None:
        assert request.start == "POST /v1/traces HTTP/1.1"
        body = ExportTraceServiceRequest.FromString(request.body)
        for resource in body.resource_spans:
            self.resource = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.append(span)
        await stream.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n")


@contextlib.asynccontextmanager
async def traced() -> AsyncIterator[tuple[ActivatorHarness, Receiver]]:
    """An activator that traces; its spans are with the receiver when the context is left."""
    receiver = Receiver()
    async with ScriptedEngine(receiver) as collector:
        tracing = Tracing(f"http://{collector.address}/v1/traces")
        async with ActivatorHarness(journeys=Journeys(tracing)) as activator:
            yield activator, receiver
            await activator.idle()
        await asyncio.to_thread(tracing.close)


def told(span: Span) -> dict[str, Any]:
    """A span's attributes."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value") or "") for each in span.attributes}


async def test_a_trace_from_the_clients_to_the_engine(engine: ScriptedEngine) -> None:
    async with traced() as (activator, receiver):
        engine.handler = answer_events
        activator.service()
        activator.ready(engine)
        client = await activator.client()
        body = {**HELLO, "stream": True}
        await client.ask("POST", "/v1/chat/completions", body, traceparent=f"00-{TRACE}-{PARENT}-01", tracestate="a=1")
    server, call = receiver.named("POST /v1/chat/completions"), receiver.named("chat qwen")
    assert (server.trace_id.hex(), server.parent_span_id.hex(), server.kind) == (TRACE, PARENT, Span.SPAN_KIND_SERVER)
    assert (call.trace_id, call.parent_span_id, call.kind) == (server.trace_id, server.span_id, Span.SPAN_KIND_CLIENT)
    (asked,) = engine.requests
    assert asked.headers["traceparent"] == f"00-{TRACE}-{call.span_id.hex()}-01"
    assert asked.headers["tracestate"] == "a=1"
    assert len(receiver.spans) == 6
    for name, parent in {"wait": server, "connect": call, "first byte": call, "stream": call}.items():
        span = receiver.named(name)
        assert (span.trace_id, span.parent_span_id, span.kind) == (
            *(server.trace_id, parent.span_id),
            Span.SPAN_KIND_INTERNAL,
        )
        assert parent.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= parent.end_time_unix_nano
    common = {
        "hearth.service": "ai/qwen",
        "hearth.stream": True,
        "hearth.request_id": told(server)["hearth.request_id"],
    }
    assert told(server) == {
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
        "url.path": "/v1/chat/completions",
        "url.scheme": "http",
        "hearth.outcome": "answered",
        "hearth.retries": 0,
        **common,
    }
    host, _, port = engine.address.rpartition(":")
    assert told(call) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "server.address": host,
        "server.port": int(port),
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "hearth",
        "gen_ai.request.model": "qwen",
        **common,
    }
    assert "Hello" not in "".join(map(str, receiver.spans))
    assert receiver.resource["service.name"] == "hearth-activator"


async def test_a_replica_that_failed_is_a_call_of_its_own(engine: ScriptedEngine) -> None:
    async with traced() as (activator, receiver):
        activator.service()
        activator.ready("127.0.0.1:9", engine)
        for _ in range(2):
            await (await activator.client()).ask("POST", "/v1/chat/completions", HELLO)
    (failed,) = [span for span in receiver.spans if told(span).get("server.port") == 9]
    assert (failed.status.code, failed.kind) == (Status.STATUS_CODE_ERROR, Span.SPAN_KIND_CLIENT)
    assert told(failed)["error.type"] == "unreached"
    (again,) = [span for span in receiver.spans if "http.request.resend_count" in told(span)]
    assert again.parent_span_id == failed.parent_span_id
    assert again.status.code == Status.STATUS_CODE_UNSET
    servers = [span for span in receiver.spans if span.kind == Span.SPAN_KIND_SERVER]
    assert [span.status.code for span in servers] == [Status.STATUS_CODE_UNSET] * 2


@pytest.mark.parametrize(
    ("status", "server", "client"),
    [
        (404, Status.STATUS_CODE_UNSET, Status.STATUS_CODE_ERROR),
        (500, Status.STATUS_CODE_ERROR, Status.STATUS_CODE_ERROR),
    ],
)
async def test_what_a_client_did_wrong_is_no_error_of_the_server(
    engine: ScriptedEngine, status: int, server: int, client: int
) -> None:
    async def refuse(request: Message, stream: Stream) -> None:
        await stream.write(f"HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n".encode())

    engine.handler = refuse
    async with traced() as (activator, receiver):
        activator.service()
        activator.ready(engine)
        await (await activator.client()).ask("POST", "/v1/embeddings", {"model": "qwen", "input": "Hello"})
    one, other = receiver.named("POST /v1/embeddings"), receiver.named("embeddings qwen")
    assert (one.status.code, other.status.code) == (server, client)
    assert told(other)["error.type"] == str(status)
    assert told(one).get("error.type") == (str(status) if status >= 500 else None)


async def test_a_request_that_no_replica_had_is_a_wait_alone(engine: ScriptedEngine) -> None:
    async with traced() as (activator, receiver):
        activator.service("spec.scaling.activationTimeout=1s", "spec.endpoint.maxQueue=1")
        first, second = await activator.client(), await activator.client()
        await first.chat(stream=True)
        await activator.waiting(1)
        assert (await second.ask("POST", "/v1/chat/completions", HELLO)).status == 429
        _ = [chunk async for chunk in first.chunks()] if await first.head() else []
    assert {span.name for span in receiver.spans} == {"POST /v1/chat/completions", "wait"}
    servers = {told(span)["http.response.status_code"]: span for span in receiver.spans if span.name != "wait"}
    assert servers[429].status.code == Status.STATUS_CODE_UNSET
    assert servers[503].status.code == Status.STATUS_CODE_ERROR
    assert {told(span)["hearth.outcome"] for span in servers.values()} == {"rejected"}


async def test_names_are_of_routes_and_not_of_paths(engine: ScriptedEngine) -> None:
    async with traced() as (activator, receiver):
        activator.service()
        activator.ready(engine)
        client = await activator.client()
        await client.ask("GET", "/ai/qwen/v1/responses/resp_1/input_items")
    span = receiver.named("GET /{namespace}/{name}/v1/responses/{response_id}/input_items")
    assert told(span)["url.path"] == "/ai/qwen/v1/responses/resp_1/input_items"
    assert receiver.named("GET").kind == Span.SPAN_KIND_CLIENT, "no operation of a model's"


async def test_the_environment_says_what_the_service_is_called(
    engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "front-door")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=prod,service.version=mine")
    async with traced() as (activator, receiver):
        activator.service()
        activator.ready(engine)
        await (await activator.client()).ask("POST", "/v1/chat/completions", HELLO)
    assert receiver.resource["service.name"] == "front-door"
    assert receiver.resource["deployment.environment.name"] == "prod"
    assert receiver.resource["service.version"] == "mine"


async def test_without_tracing_the_clients_context_is_passed_on(engine: ScriptedEngine) -> None:
    async with ActivatorHarness() as activator:
        activator.service()
        activator.ready(engine)
        given = f"00-{TRACE}-{PARENT}-01"
        await (await activator.client()).ask("POST", "/v1/chat/completions", HELLO, traceparent=given)
    assert engine.requests[0].headers["traceparent"] == given


async def test_nobody_looks_unless_asked(engine: ScriptedEngine) -> None:
    assert not Journeys()
