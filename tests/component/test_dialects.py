"""Clients that speak something else than OpenAI's JSON: Anthropic's API, forms, browsers."""

import asyncio
import json

import pytest
from anthropic import APIStatusError, AsyncAnthropic

from hearth.activator.origins import Origins
from tests.component.harness import (
    BOTH,
    EVENTS_HEAD,
    HELLO,
    ActivatorHarness,
    Message,
    ScriptedEngine,
    Stream,
    answer_events,
    chunked,
)

SERVERS = BOTH

FAST = "spec.endpoint.coldStart.heartbeatInterval=100ms"
MESSAGES = {"model": "qwen", "max_tokens": 5, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}

PREFLIGHT = {"origin": "https://chat.example", "access_control_request_method": "POST"}


class TestAnthropic:
    async def test_a_held_client_gets_pings_and_then_the_answer(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        activator.service(FAST)
        client = await activator.client()
        await client.send("POST", "/v1/messages", MESSAGES)
        assert (await client.head()).status == 200
        for _ in range(2):
            assert await client.chunk() == b'event: ping\ndata: {"type": "ping"}\n\n'
        engine.handler = answer_events
        activator.ready(engine)
        assert b'data: {"n": 2}' in b"".join([chunk async for chunk in client.chunks()])

    async def test_errors_have_its_shape(self, activator: ActivatorHarness) -> None:
        client = await activator.client()
        answer = await client.ask("POST", "/v1/messages", MESSAGES)
        assert answer.status == 404
        assert answer.json["type"] == "error"
        assert answer.json["error"]["type"] == "not_found_error"

    async def test_after_pings_an_error_is_an_event_of_its_kind(self, activator: ActivatorHarness) -> None:
        activator.service(FAST, "spec.scaling.activationTimeout=1s")
        client = await activator.client()
        await client.send("POST", "/v1/messages", MESSAGES)
        await client.head()
        *_, last = [chunk async for chunk in client.chunks()]
        name, data = last.decode().strip().split("\n")
        assert name == "event: error"
        assert json.loads(data.removeprefix("data: "))["error"]["type"] == "overloaded_error"

    async def test_an_engine_that_dies_in_a_stream_is_such_an_event_too(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        async def die(request: Message, stream: Stream) -> None:
            await stream.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
                b"9\r\ndata: 1\n\n\r\n"
            )
            stream.writer.close()

        engine.handler = die
        activator.service()
        activator.ready(engine)
        client = await activator.client()
        await client.send("POST", "/v1/messages", MESSAGES)
        await client.head()
        chunks = [chunk async for chunk in client.chunks()]
        assert chunks[0] == b"data: 1\n\n"
        assert chunks[-1].startswith(b'event: error\ndata: {"type": "error"')


async def speak_anthropic(request: Message, stream: Stream) -> None:
    """Answer as Anthropic's streaming documentation shows it."""
    usage = {"input_tokens": 1, "output_tokens": 1}
    head = {"id": "m", "type": "message", "role": "assistant", "model": "qwen", "content": [], "usage": usage}
    events: list[dict[str, object]] = [
        {"type": "message_start", "message": {**head, "stop_reason": None, "stop_sequence": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
    ]
    await stream.write(EVENTS_HEAD)
    for event in events:
        await stream.write(chunked(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()))
    await stream.write(b"0\r\n\r\n")


class TestAnthropicsOwnClient:
    async def test_a_cold_stream(self, activator: ActivatorHarness, engine: ScriptedEngine) -> None:
        activator.service(FAST)
        engine.handler = speak_anthropic
        async with AsyncAnthropic(api_key="none", base_url=activator.url, max_retries=0) as client:
            asking = asyncio.create_task(self.text(client))
            await activator.waiting(1)
            async with asyncio.timeout(5):
                while not activator.gate()._chunks:
                    await asyncio.sleep(0.05)  # until the client has got pings
            activator.ready(engine)
            assert await asking == "Hello"

    async def test_an_error_after_pings_is_raised(self, activator: ActivatorHarness) -> None:
        activator.service(FAST, "spec.scaling.activationTimeout=1s")
        async with AsyncAnthropic(api_key="none", base_url=activator.url, max_retries=0) as client:
            with pytest.raises(APIStatusError, match="had no replica"):
                await self.text(client)

    async def text(self, client: AsyncAnthropic) -> str:
        words = {"model": "qwen", "max_tokens": 5}
        async with client.messages.stream(messages=[{"role": "user", "content": "Hi"}], **words) as stream:  # type: ignore[arg-type]
            return await stream.get_final_text()


class TestForms:
    FORM = (
        b'--XX\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\x00\xff\r\n'
        b'--XX\r\nContent-Disposition: form-data; name="model"\r\n\r\n%b\r\n--XX--\r\n'
    )

    async def ask(self, activator: ActivatorHarness, model: bytes) -> Message:
        client = await activator.client()
        body = self.FORM % model
        await client.write(
            b"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n"
            b"content-type: multipart/form-data; boundary=XX\r\n\r\n" % len(body),
            body,
        )
        return await client.message()

    async def test_a_form_is_routed_by_its_model_and_arrives_as_it_was(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        activator.service(name="whisper")
        activator.ready(engine, name="whisper")
        assert (await self.ask(activator, b"whisper")).status == 200
        assert engine.requests[0].body == self.FORM % b"whisper"
        assert (await self.ask(activator, b"nobody")).json["error"]["code"] == "model_not_found"

    async def test_the_engine_is_asked_for_the_name_that_it_serves(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        activator.service(name="whisper")
        activator.ready(engine, name="whisper")
        assert (await self.ask(activator, b"ai/whisper")).status == 200
        assert engine.requests[0].body == self.FORM % b"whisper"


class TestBrowsers:
    """Off unless origins are given: a page of anybody's must not spend somebody's accelerators."""

    async def test_without_origins_no_page_may_read_anything(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        async def answer(request: Message, stream: Stream) -> None:
            await stream.write(b"HTTP/1.1 200 OK\r\naccess-control-allow-origin: *\r\ncontent-length: 2\r\n\r\n{}")

        engine.handler = answer
        activator.service()
        activator.ready(engine)
        client = await activator.client()
        preflight = await client.ask("OPTIONS", "/ai/qwen/v1/chat/completions", **PREFLIGHT)
        assert (preflight.status, engine.requests) == (204, [])
        assert "POST" in preflight.headers["allow"]
        asked = await client.ask("POST", "/v1/chat/completions", HELLO, origin="https://chat.example")
        for message in (preflight, asked):
            assert not any(name.startswith("access-control") for name in message.headers)

    async def test_a_preflight_is_answered_here_and_wakes_nothing(self) -> None:
        async with ActivatorHarness(origins=Origins(["https://chat.example"])) as activator:
            activator.service()
            client = await activator.client()
            target = "/ai/qwen/v1/chat/completions"
            answer = await client.ask("OPTIONS", target, access_control_request_headers="authorization", **PREFLIGHT)
            assert answer.status == 200
            assert answer.headers["access-control-allow-origin"] == "https://chat.example"
            assert "POST" in answer.headers["access-control-allow-methods"]
            assert answer.headers["access-control-allow-headers"] == "authorization"
            assert activator.gate().hold.cold_since is None

    async def test_a_page_may_read_heartbeats_answers_and_errors(self, engine: ScriptedEngine) -> None:
        async with ActivatorHarness(origins=Origins(["https://chat.example"])) as activator:
            activator.service(FAST)
            cold = await activator.client()
            asks = {**HELLO, "stream": True}
            await cold.send("POST", "/v1/chat/completions", asks, origin="https://chat.example")
            heads = [await cold.head()]
            activator.service(name="warm")
            activator.ready(engine, name="warm")
            other = await activator.client()
            for model in ("warm", "nobody"):
                ask = {**HELLO, "model": model}
                heads.append(await other.ask("POST", "/v1/chat/completions", ask, origin="https://chat.example"))
            heads.append(await other.ask("GET", "/v1/models", origin="https://chat.example"))
            assert [head.status for head in heads] == [200, 200, 404, 200]
            assert {head.headers["access-control-allow-origin"] for head in heads} == {"https://chat.example"}

    async def test_a_page_of_another_origin_may_not(self) -> None:
        async with ActivatorHarness(origins=Origins(["https://chat.example"])) as activator:
            activator.service(FAST)
            client = await activator.client()
            answer = await client.ask("POST", "/v1/chat/completions", {"model": "x"}, origin="https://evil.example")
            assert "access-control-allow-origin" not in answer.headers
