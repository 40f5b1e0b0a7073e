"""An engine's answer on its way to the client: as it is, and what happens where it breaks."""

import asyncio
import json
import socket

import pytest

from tests.component.harness import (
    BOTH,
    EVENTS_HEAD,
    HELLO,
    ActivatorHarness,
    Message,
    ScriptedEngine,
    Stream,
    answer_ok,
    chunked,
)

SERVERS = BOTH

QUIET = "spec.endpoint.coldStart.whitespaceAfter=0s"


@pytest.fixture
async def warm(activator: ActivatorHarness, engine: ScriptedEngine) -> ActivatorHarness:
    """One LLMService with one ready replica."""
    activator.service(QUIET)
    activator.ready(engine)
    return activator


class TestAsItIs:
    async def test_events_arrive_one_by_one(self, warm: ActivatorHarness, engine: ScriptedEngine) -> None:
        seen = asyncio.Event()

        async def step_by_step(request: Message, stream: Stream) -> None:
            await stream.write(EVENTS_HEAD, chunked(b"data: 1\n\n"))
            await seen.wait()
            await stream.write(chunked(b"data: [DONE]\n\n"), b"0\r\n\r\n")

        engine.handler = step_by_step
        client = await warm.client()
        await client.chat(stream=True)
        assert (await client.head()).headers["content-type"] == "text/event-stream"
        assert await client.chunk() == b"data: 1\n\n"
        seen.set()
        assert [chunk async for chunk in client.chunks()] == [b"data: [DONE]\n\n"]

    async def test_a_megabyte_byte_for_byte(self, warm: ActivatorHarness, engine: ScriptedEngine) -> None:
        body = bytes(range(256)) * 4096

        async def big(request: Message, stream: Stream) -> None:
            await stream.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nx-mine: 1\r\n\r\n" % len(body), body)

        engine.handler = big
        answer = await (await warm.client()).ask("POST", "/v1/chat/completions", HELLO)
        assert answer.body == body
        assert answer.headers["x-mine"] == "1"

    async def test_an_engines_error_is_the_clients(self, warm: ActivatorHarness, engine: ScriptedEngine) -> None:
        async def refuse(request: Message, stream: Stream) -> None:
            await stream.write(b"HTTP/1.1 422 Unprocessable\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\n{}")

        engine.handler = refuse
        answer = await (await warm.client()).ask("POST", "/v1/chat/completions", HELLO)
        assert (answer.status, answer.headers["retry-after"], answer.body) == (422, "7", b"{}")

    async def test_a_body_that_ends_with_the_connection(self, warm: ActivatorHarness, engine: ScriptedEngine) -> None:
        async def until_closed(request: Message, stream: Stream) -> None:
            await stream.write(b"HTTP/1.1 200 OK\r\n\r\nall of it")
            await stream.close()

        engine.handler = until_closed
        assert (await (await warm.client()).ask("POST", "/v1/chat/completions", HELLO)).body == b"all of it"

    async def test_informational_answers_are_not_the_answer(
        self, warm: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        async def hint_first(request: Message, stream: Stream) -> None:
            await stream.write(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")
            await answer_ok(request, stream)

        engine.handler = hint_first
        assert (await (await warm.client()).ask("POST", "/v1/chat/completions", HELLO)).status == 200

    async def test_no_content(self, warm: ActivatorHarness, engine: ScriptedEngine) -> None:
        async def nothing(request: Message, stream: Stream) -> None:
            await stream.write(b"HTTP/1.1 204 No Content\r\n\r\n")

        engine.handler = nothing
        client = await warm.client()
        await client.chat()
        head = await client.head()
        assert (head.status, "content-length" in head.headers, "transfer-encoding" in head.headers) == (
            204,
            False,
            False,
        )
        engine.handler = answer_ok
        assert (await client.ask("POST", "/v1/chat/completions", HELLO)).status == 200


class TestBeforeTheFirstByte:
    async def test_another_replica_is_asked(self, activator: ActivatorHarness, engine: ScriptedEngine) -> None:
        async def die(request: Message, stream: Stream) -> None:
            await stream.close()

        async with ScriptedEngine(die) as dying:
            activator.service(QUIET)
            activator.ready(dying)
            client = await activator.client()
            await client.chat()
            await dying.asked.acquire()
            activator.ready(dying, engine)
            assert (await client.message()).status == 200

    async def test_one_that_refuses_connections_is_tried_again_later(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        with socket.socket() as bound:  # nobody listens on it
            bound.bind(("127.0.0.1", 0))
            activator.service(QUIET)
            activator.ready(f"127.0.0.1:{bound.getsockname()[1]}")
            client = await activator.client()
            await client.chat()
            await activator.waiting(1)
            activator.ready(engine)
            assert (await client.message()).status == 200

    async def test_what_is_not_http_is_no_answer(self, activator: ActivatorHarness, engine: ScriptedEngine) -> None:
        async def babble(request: Message, stream: Stream) -> None:
            await stream.write(b"\x16\x03\x01 who are you\r\n\r\n")

        async with ScriptedEngine(babble) as babbling:
            activator.service(QUIET)
            activator.ready(babbling)
            client = await activator.client()
            await client.chat()
            await babbling.asked.acquire()
            activator.ready(engine)
            assert (await client.message()).status == 200

    async def test_a_connection_that_the_engine_has_closed_meanwhile_costs_nothing(
        self, warm: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        closing = asyncio.Event()

        async def answer_and_close_later(request: Message, stream: Stream) -> None:
            await answer_ok(request, stream)
            closing.set()

        engine.handler = answer_and_close_later
        client = await warm.client()
        assert (await client.ask("POST", "/v1/chat/completions", HELLO)).status == 200
        assert (await client.ask("POST", "/v1/chat/completions", HELLO)).status == 200
        assert engine.connections == 1

        async def close_without_a_word(request: Message, stream: Stream) -> None:
            engine.handler = answer_ok
            await stream.close()

        engine.handler = close_without_a_word  # the idle connection breaks just as it is used again
        assert (await client.ask("POST", "/v1/chat/completions", HELLO)).status == 200
        assert engine.connections == 2
        assert warm.gate().hold.in_flight == 0

    async def test_one_that_drops_it_on_a_new_connection_too_is_not_the_last_that_is_asked(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        """sozu#1442: the other replica is well, and had nothing of it."""

        async def close_without_a_word(request: Message, stream: Stream) -> None:
            await stream.close()

        async with ScriptedEngine(answer_ok) as other:
            activator.service()
            activator.ready(engine, other)
            engine.handler = answer_ok
            client = await activator.client()
            for _ in range(4):
                assert (await client.ask("POST", "/v1/chat/completions", HELLO)).status == 200
            assert len(engine.requests) == len(other.requests) == 2
            engine.handler = close_without_a_word
            for _ in range(4):
                assert (await client.ask("POST", "/v1/chat/completions", HELLO)).status == 200
            assert len(engine.requests) > 2


class TestAHeadAlone:
    """What Starlette's StreamingResponse sends, and so vLLM, before there is a token."""

    async def test_it_is_passed_on_and_is_no_answer_yet(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        go_on = asyncio.Event()

        async def think(request: Message, stream: Stream) -> None:
            await stream.write(EVENTS_HEAD)
            await go_on.wait()
            await stream.write(chunked(b"data: 1\n\n"), b"0\r\n\r\n")

        engine.handler = think
        activator.service("spec.endpoint.timeouts.firstByte=0s", "spec.endpoint.timeouts.idle=100ms")
        activator.ready(engine)
        client = await activator.client()
        await client.chat(stream=True)
        assert (await client.head()).status == 200
        await asyncio.sleep(0.5)  # longer than its idle time, which has not begun
        go_on.set()
        assert [chunk async for chunk in client.chunks()] == [b"data: 1\n\n"]

    async def test_who_hangs_behind_it_is_out_of_time(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        async def hang(request: Message, stream: Stream) -> None:
            await stream.write(EVENTS_HEAD)
            await stream.reader.read()

        engine.handler = hang
        activator.service("spec.endpoint.timeouts.firstByte=200ms", "spec.endpoint.timeouts.idle=1h")
        activator.ready(engine)
        client = await activator.client()
        await client.chat(stream=True)
        assert (await client.head()).status == 200
        (error,) = [chunk async for chunk in client.chunks()]
        assert "endpoint.timeouts.firstByte" in json.loads(error.removeprefix(b"data: "))["error"]["message"]

    async def test_who_ends_behind_it_gives_way_to_another(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        async def die(request: Message, stream: Stream) -> None:
            await stream.write(EVENTS_HEAD)
            await stream.close()

        async def answer(request: Message, stream: Stream) -> None:
            await stream.write(EVENTS_HEAD, chunked(b"data: 1\n\n"), b"0\r\n\r\n")

        engine.handler = die
        async with ScriptedEngine(answer) as other:
            activator.service()
            activator.ready(engine, other)
            for _ in range(2):
                client = await activator.client()
                await client.chat(stream=True)
                assert (await client.head()).status == 200
                assert [chunk async for chunk in client.chunks()] == [b"data: 1\n\n"]
            assert len(engine.requests) >= 1


class TestAfterTheFirstByte:
    async def test_a_stream_ends_with_an_error_event(self, warm: ActivatorHarness, engine: ScriptedEngine) -> None:
        async def die_after_one(request: Message, stream: Stream) -> None:
            await stream.write(EVENTS_HEAD, chunked(b"data: 1\n\n"))
            await stream.close()

        engine.handler = die_after_one
        client = await warm.client()
        await client.chat(stream=True)
        await client.head()
        first, error = [chunk async for chunk in client.chunks()]
        assert first == b"data: 1\n\n"
        assert json.loads(error.removeprefix(b"data: "))["error"]["code"] == "engine_died"
        assert len(engine.requests) == 1, "what has begun is not asked twice"

    async def test_in_the_middle_of_an_event_it_is_cut(self, warm: ActivatorHarness, engine: ScriptedEngine) -> None:
        async def die_within(request: Message, stream: Stream) -> None:
            await stream.write(EVENTS_HEAD, chunked(b'data: {"half'))
            await stream.close()

        engine.handler = die_within
        client = await warm.client()
        await client.chat(stream=True)
        await client.head()
        with pytest.raises(asyncio.IncompleteReadError):
            _ = [chunk async for chunk in client.chunks()]

    async def test_a_document_is_cut(self, warm: ActivatorHarness, engine: ScriptedEngine) -> None:
        async def die_within(request: Message, stream: Stream) -> None:
            await stream.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{")
            await stream.close()

        engine.handler = die_within
        client = await warm.client()
        await client.chat()
        assert (await client.head()).headers["content-length"] == "100"
        with pytest.raises(asyncio.IncompleteReadError):
            await client.exactly(100)

    async def test_after_heartbeats_an_engines_error_is_an_event(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        async def refuse(request: Message, stream: Stream) -> None:
            body = b'{"error": {"message": "context\\n too long",\n "code": 400}}'
            await stream.write(b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n")
            await stream.write(b"content-length: %d\r\n\r\n" % len(body), body)

        engine.handler = refuse
        activator.service()
        client = await activator.client()
        await client.chat(stream=True)
        await client.head()
        await client.chunk()
        activator.ready(engine)
        (event,) = [chunk async for chunk in client.chunks()]
        assert json.loads(event.removeprefix(b"data: "))["error"]["code"] == 400

    async def test_after_heartbeats_a_document_instead_of_a_stream_is_an_error(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        activator.service()
        client = await activator.client()
        await client.chat(stream=True)
        await client.head()
        await client.chunk()
        activator.ready(engine)
        (event,) = [chunk async for chunk in client.chunks()]
        assert json.loads(event.removeprefix(b"data: "))["error"]["code"] == "not_an_event_stream"


class TestTheClientsSide:
    async def test_a_client_that_leaves_ends_the_engines_work(
        self, warm: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        async def for_ever(request: Message, stream: Stream) -> None:
            await stream.write(EVENTS_HEAD)
            while True:
                await stream.write(chunked(b"data: more\n\n"))
                await asyncio.sleep(0.01)  # the engine's own pace

        engine.handler = for_ever
        client = await warm.client()
        await client.chat(stream=True)
        await client.head()
        await client.chunk()
        await client.close()
        async with asyncio.timeout(5):
            await engine.dropped.wait()
        await warm.idle()

    async def test_one_that_leaves_before_the_engine_says_a_word_does_too(
        self, warm: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        async def hang(request: Message, stream: Stream) -> None:
            await stream.reader.read()  # until the connection is closed

        engine.handler = hang
        client = await warm.client()
        await client.chat()
        await engine.asked.acquire()
        await client.close()
        async with asyncio.timeout(5):
            await engine.dropped.wait()
        await warm.idle()

    async def test_a_slow_client_pauses_the_engine(self, warm: ActivatorHarness, engine: ScriptedEngine) -> None:
        size = 64 * 2**20
        written = 0

        async def pour(request: Message, stream: Stream) -> None:
            nonlocal written
            await stream.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
            while written < size:
                await stream.write(bytes(2**18))
                written += 2**18

        engine.handler = pour
        client = await warm.client()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.chat()
        await engine.asked.acquire()
        # The kernel's buffers fill, then everybody waits: the same figure twice in a row, and far from the end.
        before = -1
        async with asyncio.timeout(10):
            while written != before:
                before = written
                await asyncio.sleep(0.3)  # "nothing more is written" has no event
        assert 0 < written < size / 2
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await client.head()
        async with asyncio.timeout(30):
            assert len(await client.reader.readexactly(size)) == size

    async def test_pipelined_requests_are_answered_in_order(
        self, warm: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        client = await warm.client()
        for number in range(3):
            await client.send("POST", f"/v1/chat/completions?{number}", HELLO)
        answers = [(await client.message()).json["asked"][-1] for _ in range(3)]
        assert answers == ["0", "1", "2"]
