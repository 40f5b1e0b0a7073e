"""What clients of the field, and proxies on their way, go by beside an answer's words: found with the SDKs, codex and nginx."""

import json

import pytest

from hearth.activator.origins import Origins
from tests.component.harness import BOTH, EVENTS_HEAD, HELLO, ActivatorHarness, Message, ScriptedEngine, Stream, chunked

SERVERS = BOTH
BEATS = "spec.endpoint.coldStart.heartbeatInterval=100ms"
WHITE = "spec.endpoint.coldStart.whitespaceAfter=100ms"
SHORT = "spec.scaling.activationTimeout=1s"


class TestEvents:
    async def test_a_proxy_is_told_to_collect_neither_a_cold_stream_nor_a_warm_one(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        async def stream(request: Message, stream: Stream) -> None:
            await stream.write(EVENTS_HEAD, chunked(b"data: [DONE]\n\n"), b"0\r\n\r\n")

        engine.handler = stream
        activator.service(BEATS)
        client = await activator.client()
        await client.chat(stream=True)
        heads = [await client.head()]
        activator.ready(engine)
        [_ async for _ in client.chunks()]
        await client.chat(stream=True)
        heads.append(await client.head())
        assert {(head.headers["x-accel-buffering"], head.headers["cache-control"]) for head in heads} == {
            ("no", "no-cache")
        }

    async def test_what_an_engine_says_of_its_cache_stands(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        async def stream(request: Message, stream: Stream) -> None:
            head = EVENTS_HEAD.replace(b"\r\n\r\n", b"\r\ncache-control: no-store\r\n\r\n")
            await stream.write(head, chunked(b"data: [DONE]\n\n"), b"0\r\n\r\n")

        engine.handler = stream
        activator.service()
        activator.ready(engine)
        client = await activator.client()
        await client.chat(stream=True)
        assert (await client.head()).headers["cache-control"] == "no-store"

    @pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
    @pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
    async def test_an_engines_error_on_many_lines_is_one_event(
        self, activator: ActivatorHarness, engine: ScriptedEngine, line_end: bytes, path: str
    ) -> None:
        body = line_end.join([b"{", b'  "error": {"message": "too long", "code": 400}', b"}"])

        async def refuse(request: Message, stream: Stream) -> None:
            head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
            await stream.write(head % len(body), body)

        engine.handler = refuse
        activator.service(BEATS)
        client = await activator.client()
        await client.send("POST", path, {**HELLO, "input": "Hello", "stream": True})
        await client.head()
        await client.chunk()
        activator.ready(engine)
        *_, event = [chunk async for chunk in client.chunks()]
        (data,) = [line for line in event.decode().splitlines() if line.startswith("data: ")]
        assert json.loads(data.removeprefix("data: "))["error"] == {"message": "too long", "code": 400}
        assert "\r" not in event.decode()

    async def test_an_error_of_the_responses_api_is_an_event_of_it(self, activator: ActivatorHarness) -> None:
        """codex knows no other; OpenAI's SDKs raise on the field `error`; the AI SDK reads the event's type."""
        activator.service(BEATS, SHORT)
        client = await activator.client()
        await client.send("POST", "/v1/responses", {"model": "qwen", "input": "Hello", "stream": True})
        await client.head()
        *_, event = [chunk async for chunk in client.chunks()]
        name, data = event.decode().strip().split("\n")
        document = json.loads(data.removeprefix("data: "))
        assert name == "event: response.failed"
        assert (document["type"], document["response"]["status"]) == ("response.failed", "failed")
        assert "had no replica" in document["response"]["error"]["message"]
        assert document["error"]["code"] == "activation_timeout"

    async def test_an_error_that_is_none_is_told_in_our_words(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        async def refuse(request: Message, stream: Stream) -> None:
            body = b'{"error": ' + b"[" * 3000
            await stream.write(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: %d\r\n\r\n" % len(body), body)

        engine.handler = refuse
        activator.service(BEATS)
        client = await activator.client()
        await client.send("POST", "/v1/responses", {"model": "qwen", "input": "Hello", "stream": True})
        await client.head()
        activator.ready(engine)
        *_, event = [chunk async for chunk in client.chunks()]
        assert b"response.failed" in event
        assert b"status 500" in event


class TestStreamIsAWordOfSomeApis:
    async def test_elsewhere_an_answer_is_the_document_that_the_engine_sends(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        activator.service(BEATS, WHITE)
        client = await activator.client()
        await client.send("POST", "/v1/embeddings", {"model": "qwen", "input": "Hello", "stream": True})
        head = await client.head()
        assert head.headers["content-type"] == "application/json"
        activator.ready(engine)
        assert json.loads(b"".join([chunk async for chunk in client.chunks()])) == {"asked": "/v1/embeddings"}

    async def test_bytes_have_no_white_space_before_them(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        async def floats(request: Message, stream: Stream) -> None:
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\nmetadata: {}\r\ncontent-length: 4\r\n\r\n"
            await stream.write(head, b"\x00\x01\x02\x03")

        engine.handler = floats
        activator.service(BEATS, WHITE)
        client = await activator.client()
        body = {"model": "qwen", "input": "Hello", "encoding_format": "bytes"}
        await client.send("POST", "/v1/embeddings", body)
        await activator.waiting(1)
        activator.ready(engine)
        answer = await client.message()
        assert (answer.body, answer.headers["metadata"]) == (b"\x00\x01\x02\x03", "{}")
        # Of one that was taken for a document, only a cut tells.
        activator.ready()
        other = await activator.client()
        await other.send("POST", "/v1/embeddings", {"model": "qwen", "input": "Hello"})
        await other.head()
        activator.ready(engine)
        assert (await other.cut()).strip(b"\r\n 0123456789abcdef") == b""


class TestIds:
    async def test_every_error_has_one(self, activator: ActivatorHarness) -> None:
        activator.service()
        client = await activator.client()
        for target, body, status in (
            ("/v1/chat/completions", {**HELLO, "model": "nobody"}, 404),
            ("/v1/nothing", HELLO, 404),
            ("/v1/chat/completions", {"messages": []}, 400),
        ):
            answer = await client.ask("POST", target, body)
            assert (answer.status, len(answer.headers["x-request-id"])) == (status, 32)

    async def test_anthropics_sdks_find_it_by_their_name(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        activator.service()
        activator.ready(engine)
        client = await activator.client()
        for model in ("qwen", "nobody"):
            answer = await client.ask("POST", "/v1/messages", {**HELLO, "model": model, "max_tokens": 5})
            assert answer.headers["request-id"] == answer.headers["x-request-id"]


class TestWords:
    @pytest.mark.parametrize(
        ("model", "found"),
        [(1, "a number"), (["qwen"], "a list"), ({}, "an object"), (True, "true"), ("x" * 2000, "a string")],
    )
    async def test_a_model_that_is_no_name_is_told_as_what_it_is(
        self, activator: ActivatorHarness, model: object, found: str
    ) -> None:
        activator.service()
        answer = await (await activator.client()).ask("POST", "/v1/chat/completions", {**HELLO, "model": model})
        assert answer.json["error"]["code"] == "model_required"
        assert f"found {found}" in answer.json["error"]["message"]

    async def test_half_an_emoji_is_no_cut_upload(self, activator: ActivatorHarness) -> None:
        activator.service()
        client = await activator.client()
        body = rb'{"model": "qwen", "messages": [{"role": "user", "content": "\ud83d"}]}'
        await client.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body), body
        )
        assert "half of a surrogate pair" in (await client.message()).json["error"]["message"]
        await client.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n", body[:9])
        assert "truncated" in (await client.message()).json["error"]["message"]

    @pytest.mark.parametrize(
        ("path", "meant"),
        [("/models", "/v1/models"), ("/ai/qwen/models", "/ai/qwen/v1/models"), ("//v1/models", "/v1/models")],
    )
    async def test_a_path_that_was_meant_is_named_whole(
        self, activator: ActivatorHarness, path: str, meant: str
    ) -> None:
        activator.service()
        answer = await (await activator.client()).ask("GET", path)
        assert answer.status == 404
        assert f"did you mean {meant}?" in answer.json["error"]["message"]

    async def test_a_full_queue_at_a_warm_model_is_not_a_starts_time(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        async def never(request: Message, stream: Stream) -> None:
            await stream.rest()

        engine.handler = never
        activator.service("spec.endpoint.maxQueue=1")
        activator.ready(engine)
        await (await activator.client()).chat()
        await engine.asked.acquire()
        answer = await (await activator.client()).ask("POST", "/v1/chat/completions", HELLO)
        assert (answer.status, answer.headers["retry-after"]) == (429, "2")


class TestPages:
    async def test_they_may_read_what_the_sdks_go_by(self, engine: ScriptedEngine) -> None:
        async with ActivatorHarness(origins=Origins(["https://chat.example"])) as activator:
            activator.service()
            activator.ready(engine)
            client = await activator.client()
            for method, path in (("POST", "/v1/chat/completions"), ("GET", "/v1/models")):
                body = HELLO if method == "POST" else None
                answer = await client.ask(method, path, body, origin="https://chat.example")
                exposed = answer.headers["access-control-expose-headers"].split(", ")
                assert {"x-request-id", "retry-after", "x-should-retry", "x-hearth-cold-start"} <= set(exposed)
            asks = {"access_control_request_method": "POST", "access_control_request_private_network": "true"}
            answer = await client.ask("OPTIONS", "/v1/chat/completions", origin="https://chat.example", **asks)
            assert (answer.status, answer.headers["access-control-allow-private-network"]) == (200, "true")


async def test_a_head_of_the_feed_ends(activator: ActivatorHarness) -> None:
    client = await activator.client()
    await client.send("HEAD", "/hearth/v1/services/events")
    assert (await client.message(head_only=True)).headers["content-type"].startswith("text/event-stream")
    assert (await client.ask("GET", "/v1/models")).status == 200


async def test_a_door_that_is_leaving_ends_each_connection_with_its_answer(engine: ScriptedEngine) -> None:
    """Pools go elsewhere before it closes: what is sent to a connection that closes is lost to most clients."""
    async with ActivatorHarness() as activator:
        activator.service()
        activator.ready(engine)
        kept, held = await activator.client(), await activator.client()
        assert "connection" not in (await kept.ask("POST", "/v1/chat/completions", HELLO)).headers
        activator.ready()
        await held.chat()
        await activator.waiting(1)
        activator.door.leaving = True
        activator.ready(engine)
        answers = [await held.message(), await kept.ask("GET", "/v1/models")]
        fresh = await activator.client()
        answers.append(await fresh.ask("POST", "/v1/chat/completions", HELLO))
        assert [(answer.status, answer.headers["connection"]) for answer in answers] == [(200, "close")] * 3
        for client in (kept, held, fresh):
            assert await client.rest() == b""
