"""A door that nobody breaks: each test is one rude client or engine, and looks at what it did to the others."""

import asyncio
import contextlib
import gzip
import json
import socket
import struct
from typing import cast

import pytest
import zstandard

from hearth.activator.journeys import Journey, Journeys
from hearth.activator.lane.hold import DELIVERIES
from hearth.http1.limits import Budget, Limits
from tests.component.harness import (
    EVENTS_HEAD,
    HELLO,
    PATIENCE,
    ActivatorHarness,
    Message,
    ScriptedEngine,
    Stream,
    answer_ok,
    chunked,
)

POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
BODY = json.dumps(HELLO).encode()
WHOLE = POST + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
DEEP = json.dumps({**HELLO, "x": 0}).encode().replace(b'"x": 0', b'"x": ' + b"[" * 2000 + b"]" * 2000)


def framed(body: bytes) -> bytes:
    return POST + b"content-length: %d\r\n\r\n" % len(body) + body


async def eventually_free(activator: ActivatorHarness) -> None:
    await activator.idle()
    hold = activator.gate().hold
    assert (hold.waiting, hold.in_flight, activator.door.budget.used) == (0, 0, 0)


class TestPipelining:
    """What comes behind a request waits, and is never served in the stack of the one before it."""

    async def test_one_that_raises_costs_the_one_before_nothing(
        self, activator: ActivatorHarness, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        activator.service()
        activator.ready(engine)
        plain = activator.door.directory.by_model
        seen: list[str] = []

        def by_model(model: str) -> object:
            seen.append(model)
            if len(seen) > 1:
                raise OverflowError("a mistake of ours")
            return plain(model)

        monkeypatch.setattr(activator.door.directory, "by_model", by_model)
        client = await activator.client()
        await client.write(WHOLE, WHOLE)
        assert [(await client.message()).status, (await client.message()).status] == [200, 500]
        await eventually_free(activator)

    async def test_nested_json_behind_a_request_is_refused_alone(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        activator.service()
        activator.ready(engine)
        for _ in range(20):
            client = await activator.client()
            await client.write(WHOLE, framed(DEEP))
            assert [(await client.message()).status, (await client.message()).status] == [200, 400]
        await eventually_free(activator)

    async def test_hundreds_at_once_end_in_words_and_hold_no_slot(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        activator.service()
        activator.ready(engine)
        client = await activator.client()
        await client.write(WHOLE, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n" * 400)
        statuses = []
        while not client.reader.at_eof():
            try:
                statuses.append((await client.message()).status)
            except asyncio.IncompleteReadError:
                break
        assert statuses[0] == 200
        assert statuses[-1] == 400, "more than may be pipelined"
        assert len(statuses) <= activator.limits.pipelined + 2
        await eventually_free(activator)

    async def test_a_line_of_them_is_answered_in_order(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        activator.service()
        activator.ready(engine)
        client = await activator.client()
        await client.write(
            b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n", WHOLE, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
        )
        first, second, third = [await client.message() for _ in range(3)]
        assert first.json["object"] == "list"
        assert second.json == {"asked": "/v1/chat/completions"}
        assert third.body == b"ok\n"


class TestUpgrades:
    """An offer that is not taken does not end a body: what follows it is no request of its own."""

    H2C = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"
    SMUGGLED = b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n"

    @pytest.mark.parametrize("segments", [1, 2, 3])
    @pytest.mark.parametrize("coding", ["length", "chunks"])
    async def test_the_body_of_an_h2c_offer_arrives(
        self, activator: ActivatorHarness, engine: ScriptedEngine, segments: int, coding: str
    ) -> None:
        activator.service()
        activator.ready(engine)
        body = json.dumps({**HELLO, "user": self.SMUGGLED.decode()}).encode()
        if coding == "length":
            data = POST + self.H2C + b"content-length: %d\r\n\r\n" % len(body) + body
        else:
            data = POST + self.H2C + b"transfer-encoding: chunked\r\n\r\n" + chunked(body) + b"0\r\n\r\n"
        client = await activator.client()
        for _ in range(2):  # the second one on the same connection
            head = data.index(b"\r\n\r\n") + 4
            cuts = {1: [], 2: [head], 3: [head, data.index(b"GET /v1")]}[segments]
            for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
                await client.write(data[start:end])
                await asyncio.sleep(0.02)  # a segment of its own
            assert (await client.message()).json == {"asked": "/v1/chat/completions"}
        assert [request.body for request in engine.requests] == [body, body]

    async def test_the_body_of_a_refused_websocket_is_no_request(self, activator: ActivatorHarness) -> None:
        activator.service()
        client = await activator.client()
        await client.write(
            b"POST /ai/qwen/v1/realtime HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
            b"content-length: %d\r\n\r\n" % len(self.SMUGGLED)
        )
        await asyncio.sleep(0.02)
        await client.write(self.SMUGGLED, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        first, second = await client.message(), await client.message()
        assert (first.status, first.json["error"]["code"]) == (426, "websocket_not_supported")
        assert second.body == b"ok\n"


class TestAnEngineThatSaysMore:
    """Nothing behind the end of an answer reaches a client, and never more than its length."""

    @pytest.mark.parametrize(
        ("method", "answer", "status", "body"),
        [
            pytest.param("POST", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}" * 2, 200, b"{}", id="two answers"),
            pytest.param(
                "POST", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}junk", 200, b"{}", id="junk behind it"
            ),
            pytest.param("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", 200, b"", id="a body to HEAD"),
            pytest.param(
                "POST", b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n{}", 204, b"", id="a body to 204"
            ),
            pytest.param("POST", b"HTTP/1.1 304 Not Modified\r\n\r\n{}", 304, b"", id="a body to 304"),
            pytest.param(
                "POST",
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
                200,
                b"{}",
                id="chunks behind the last",
            ),
        ],
    )
    async def test_what_is_behind_the_answer_reaches_nobody(
        self, activator: ActivatorHarness, method: str, answer: bytes, status: int, body: bytes
    ) -> None:
        async def twice(request: Message, stream: Stream) -> None:
            await stream.write(answer)

        async with ScriptedEngine(twice) as loud, ScriptedEngine() as other:
            activator.service()
            activator.ready(loud)
            activator.service(name="other")
            activator.ready(other, name="other")
            client = await activator.client()
            target = "/ai/qwen/health" if method == "HEAD" else "/ai/qwen/v1/chat/completions"
            for _ in range(2):
                await client.send(method, target, None if method == "HEAD" else HELLO)
                head = await client.head()
                assert head.status == status
                if body:
                    length = head.headers.get("content-length")
                    found = (
                        b"".join([c async for c in client.chunks()])
                        if length is None
                        else await client.exactly(int(length))
                    )
                    assert found == body
                # The next model's user reads its own answer.
                answered = await client.ask("POST", "/ai/other/v1/chat/completions", HELLO)
                assert answered.json == {"asked": "/v1/chat/completions"}

    @pytest.mark.parametrize(
        "endless",
        [
            pytest.param(b"HTTP/1.1 200 OK\r\nx: " + b"x" * 200_000, id="a field"),
            pytest.param(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000, id="fields"),
            pytest.param(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * 4_000, id="interim answers"),
        ],
    )
    async def test_an_endless_head_ends(self, activator: ActivatorHarness, endless: bytes) -> None:
        async def head(request: Message, stream: Stream) -> None:
            await stream.write(endless)
            await asyncio.Event().wait()

        async with ScriptedEngine(head) as loud:
            activator.service()
            activator.ready(loud)
            client = await activator.client()
            answer = await client.ask("POST", "/v1/chat/completions", HELLO)
            assert (answer.status, answer.json["error"]["code"]) == (502, "engine_failed")

    async def test_trailers_are_bounded(self, activator: ActivatorHarness) -> None:
        async def trailers(request: Message, stream: Stream) -> None:
            await stream.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n")
            for _ in range(200):
                await stream.write(b"x: " + b"y" * 4096 + b"\r\n")
            await asyncio.Event().wait()

        async with ScriptedEngine(trailers) as loud:
            activator.service()
            activator.ready(loud)
            client = await activator.client()
            await client.send("POST", "/v1/chat/completions", HELLO)
            assert (await client.head()).status == 200
            assert await client.cut() == b"{}"


async def hang_up(request: Message, stream: Stream) -> None:
    """Read the request whole, and die of it."""
    await stream.close()


async def nonsense(request: Message, stream: Stream) -> None:
    await stream.write(b"\x00\x01 what?\r\n\r\n")


class TestRetries:
    """A request that was delivered goes to one other replica at most; one that was not goes on waiting."""

    async def test_a_request_that_kills_what_reads_it_kills_two(self, activator: ActivatorHarness) -> None:
        async with ScriptedEngine(hang_up) as a, ScriptedEngine(hang_up) as b, ScriptedEngine(hang_up) as c:
            activator.service()
            activator.ready(a, b, c)
            client = await activator.client()
            answer = await client.ask("POST", "/v1/chat/completions", HELLO)
            assert (answer.status, answer.json["error"]["code"]) == (502, "engine_failed")
            assert sum(len(engine.requests) for engine in (a, b, c)) == DELIVERIES
            await eventually_free(activator)

    @pytest.mark.parametrize(
        "answer",
        [
            b"\x00\x01\r\n\r\n",
            b"HTTP/1.1 abc OK\r\n\r\n",
            b"HTTP/9.9 200 OK\r\n\r\n",
            b"SSH-2.0-OpenSSH\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n{}",
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00",
        ],
        ids=lambda answer: answer[:30].decode("latin-1").replace("\r\n", " "),
    )
    async def test_what_is_no_answer_is_told_at_once(self, activator: ActivatorHarness, answer: bytes) -> None:
        async def say(request: Message, stream: Stream) -> None:
            await stream.write(answer)

        async with ScriptedEngine(say) as broken, asyncio.timeout(3):
            activator.service()
            activator.ready(broken)
            client = await activator.client()
            told = await client.ask("POST", "/v1/chat/completions", HELLO)
            assert (told.status, told.json["error"]["code"]) == (502, "engine_failed")
            assert "starting" not in told.json["error"]["message"]

    async def test_a_single_replica_that_refused_once_is_tried_again(
        self, activator: ActivatorHarness, unused_tcp_port: int
    ) -> None:
        activator.service()
        activator.ready(f"127.0.0.1:{unused_tcp_port}")
        client = await activator.client()
        await client.chat()
        await activator.until(lambda: activator.gate().tally.retries > 0)
        server = await asyncio.start_server(_ok, "127.0.0.1", unused_tcp_port)
        async with server:
            assert (await client.message()).status == 200

    async def test_a_client_that_leaves_a_silent_replica_counts_in_the_end(
        self, activator: ActivatorHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def silent(request: Message, stream: Stream) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr("hearth.activator.lane.exchange.PATIENCE_SECONDS", 0.0)
        async with ScriptedEngine(silent) as hole, ScriptedEngine() as good:
            activator.service()
            activator.ready(hole)
            for _ in range(3):
                client = await activator.client()
                await client.chat()
                await hole.asked.acquire()
                await client.close()
                await activator.idle()
            assert activator.gate().hold.next_dispatch(0.0) is None
            activator.ready(hole, good)
            client = await activator.client()
            assert (await client.ask("POST", "/v1/chat/completions", HELLO)).json == {"asked": "/v1/chat/completions"}


async def _ok(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async with Stream(reader, writer) as stream:
        await stream.message()
        await answer_ok(Message("POST / HTTP/1.1", {}), stream)


class TestSilence:
    """A client that is silent is let go, and hears why where it has begun."""

    LIMITS = Limits(
        head_seconds=0.2,
        body_seconds=0.2,
        body_rate=1e9,
        silent_seconds=0.3,
        keep_alive_seconds=0.3,
        linger_seconds=0.2,
    )

    @pytest.mark.parametrize(
        ("begin", "status"),
        [
            (b"", None),
            (b"\r\n\r\n\r\n", None),
            (b"POST /v1/chat", 408),
            (POST + b"x-half: ", 408),
            (POST + b"content-length: 100\r\n\r\n{", 408),
            (POST + b"transfer-encoding: chunked\r\n\r\n5\r\nab", 408),
        ],
        ids=["nothing", "line breaks", "half a line", "half a head", "half a body", "half a chunk"],
    )
    async def test_it_ends(self, begin: bytes, status: int | None) -> None:
        async with ActivatorHarness(limits=self.LIMITS) as activator:
            activator.service()
            client = await activator.client()
            await client.write(begin)
            if status is not None:
                answer = await client.message()
                assert (answer.status, answer.headers["connection"]) == (status, "close")
            assert await client.rest() == b""
            async with asyncio.timeout(PATIENCE):
                while activator.connections():
                    await asyncio.sleep(0.01)
            assert activator.door.budget.used == 0

    async def test_stray_line_breaks_do_not_keep_a_connection(self) -> None:
        async with ActivatorHarness(limits=self.LIMITS) as activator, asyncio.timeout(PATIENCE):
            client = await activator.client()
            while not client.reader.at_eof():
                try:
                    await client.write(b"\r\n")
                except ConnectionError:
                    break
                await asyncio.sleep(0.05)

    async def test_a_held_request_is_not_silence(self) -> None:
        async with ActivatorHarness(limits=self.LIMITS) as activator, ScriptedEngine() as engine:
            activator.service("spec.endpoint.coldStart.whitespaceAfter=0s")
            client = await activator.client()
            await client.chat()
            await activator.waiting(1)
            await asyncio.sleep(0.6)  # longer than any deadline of the client's
            activator.ready(engine)
            assert (await client.message()).status == 200

    async def test_incomplete_requests_do_not_hold_a_drain(self) -> None:
        async with ActivatorHarness(limits=Limits(linger_seconds=0.5)) as activator:
            begun = [b"", b"POST /v1/chat", POST + b"content-length: 100\r\n\r\n{"]
            clients = [await activator.client() for _ in begun]
            for client, data in zip(clients, begun, strict=True):
                await client.write(data)
            await asyncio.sleep(0.05)
            async with asyncio.timeout(3):
                activator.stop()
                for client in clients:
                    await client.rest()
                await activator.stopped()


class TestSums:
    """What outsiders can make the process hold is bounded in sum."""

    async def test_bodies_over_the_budget_are_refused_and_what_is_held_is_freed(self) -> None:
        async with ActivatorHarness(budget=Budget(300_000)) as activator:
            activator.service("spec.endpoint.coldStart.whitespaceAfter=0s")
            big = json.dumps({**HELLO, "user": "x" * 100_000}).encode()
            clients = [await activator.client() for _ in range(6)]
            held = 0
            for client in clients:
                await client.write(framed(big))
            answers = []
            for client in clients:
                try:
                    async with asyncio.timeout(0.5):
                        answers.append((await client.message()).status)
                except TimeoutError:
                    held += 1
            assert set(answers) <= {429, 503}
            assert 1 <= held <= 3
            assert activator.door.budget.used <= 300_000
            for client in clients:
                await client.close()
            await eventually_free(activator)

    async def test_one_service_leaves_room_for_another(self) -> None:
        async with ActivatorHarness(budget=Budget(400_000)) as activator, ScriptedEngine() as engine:
            activator.service("spec.endpoint.coldStart.whitespaceAfter=0s")
            activator.service(name="other")
            activator.ready(engine, name="other")
            big = json.dumps({**HELLO, "user": "x" * 50_000}).encode()
            for _ in range(10):
                await (await activator.client()).write(framed(big))
            await activator.until(lambda: activator.gate().hold.waiting >= 3)
            client = await activator.client()
            ask = {**HELLO, "model": "other", "user": "x" * 50_000}
            assert (await client.ask("POST", "/v1/chat/completions", ask)).status == 200

    async def test_half_a_body_of_a_client_that_left_is_freed_at_once(self, activator: ActivatorHarness) -> None:
        activator.service()
        client = await activator.client()
        await client.write(POST, b"content-length: 500000\r\n\r\n", b"x" * 300_000)
        async with asyncio.timeout(PATIENCE):
            while activator.door.budget.used < 300_000:
                await asyncio.sleep(0.01)
            await client.close()
            while activator.door.budget.used:
                await asyncio.sleep(0.01)

    async def test_chunks_of_two_bytes_cost_two_bytes_each(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        activator.service()
        activator.ready(engine)
        body = json.dumps({**HELLO, "user": "x" * 100_000}).encode()
        tiny = b"".join(chunked(body[at : at + 2]) for at in range(0, len(body), 2))
        client = await activator.client()
        await client.write(POST, b"transfer-encoding: chunked\r\n\r\n", tiny, b"0\r\n\r\n")
        assert (await client.message()).status == 200
        assert engine.requests[0].body == body
        await eventually_free(activator)

    @pytest.mark.parametrize(
        "endless",
        [
            pytest.param(b"1;" + b"x" * 200_000, id="a chunk's extension"),
            pytest.param(chunked(b"{") + b"0\r\n" + b"x: y\r\n" * 20_000, id="trailers"),
            pytest.param(chunked(b"{") + b"0\r\nx: " + b"y" * 200_000, id="a trailer"),
        ],
    )
    async def test_what_is_behind_a_body_is_bounded(self, activator: ActivatorHarness, endless: bytes) -> None:
        client = await activator.client()
        await client.write(POST, b"transfer-encoding: chunked\r\n\r\n")
        try:
            await client.write(endless)
        except ConnectionError:
            return
        assert (await client.message()).status in {400, 431}

    @pytest.mark.parametrize("fields", [b"x: " + b"y" * 100_000, b"a: b\r\n" * 300], ids=["long", "many"])
    async def test_a_head_that_comes_in_one_read_is_bounded_too(
        self, activator: ActivatorHarness, fields: bytes
    ) -> None:
        client = await activator.client()
        await client.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\n", fields, b"\r\n\r\n")
        answer = await client.message()
        assert (answer.status, answer.json["error"]["code"]) == (431, "head_too_large")

    async def test_a_name_of_megabytes_is_not_said_back(self, activator: ActivatorHarness) -> None:
        client = await activator.client()
        answer = await client.ask("POST", "/v1/chat/completions", {**HELLO, "model": "x" * 900_000})
        assert answer.status == 400, "no name is so long"
        assert len(answer.body) < 1000

    async def test_a_connection_over_the_limit_is_told_and_counted(self) -> None:
        async with ActivatorHarness(limits=Limits(connections=2)) as activator:
            for _ in range(2):
                client = await activator.client()
                assert (await client.ask("GET", "/healthz")).status == 200
            third = await activator.client()
            assert (await third.message()).status == 503
            assert "hearth_activator_connections_refused_total 1.0" in activator.metrics()


class TestBodies:
    """One reader of a body, whoever wrote it."""

    @pytest.mark.parametrize(("coding", "code"), [("gzip", gzip.compress), ("zstd", zstandard.compress)])
    async def test_a_compressed_body_is_read_and_passed_on_plain(
        self, activator: ActivatorHarness, engine: ScriptedEngine, coding: str, code: object
    ) -> None:
        activator.service()
        activator.ready(engine)
        client = await activator.client()
        answer = await client.ask("POST", "/v1/chat/completions", code(BODY), content_encoding=coding)  # type: ignore[operator]
        assert answer.status == 200
        (request,) = engine.requests
        assert request.body == BODY
        assert "content-encoding" not in request.headers
        await eventually_free(activator)

    async def test_a_bomb_is_refused(self, activator: ActivatorHarness) -> None:
        activator.service()
        client = await activator.client()
        bomb = gzip.compress(b"x" * (activator.limits.body_bytes + 1))
        assert len(bomb) < 5_000
        answer = await client.ask("POST", "/v1/chat/completions", bomb, content_encoding="gzip")
        assert (answer.status, answer.json["error"]["code"]) == (413, "request_too_large")
        assert activator.door.budget.used == 0

    async def test_another_coding_is_refused_in_words(self, activator: ActivatorHarness) -> None:
        client = await activator.client()
        answer = await client.ask("POST", "/v1/chat/completions", BODY, content_encoding="br")
        assert (answer.status, "zstd" in answer.headers["accept-encoding"]) == (415, True)

    async def test_stream_as_engines_read_it(self, activator: ActivatorHarness) -> None:
        activator.service("spec.endpoint.coldStart.heartbeatInterval=100ms")
        client = await activator.client()
        await client.send("POST", "/v1/chat/completions", {**HELLO, "stream": "true"})
        assert (await client.head()).headers["content-type"].startswith("text/event-stream")


class TestFraming:
    """A signal that one framing has not is given in another way."""

    QUICK = "spec.endpoint.coldStart.whitespaceAfter=50ms"

    async def old(self, activator: ActivatorHarness, body: object) -> Stream:
        client = await activator.client()
        sent = json.dumps(body).encode()
        await client.write(b"POST /v1/chat/completions HTTP/1.0\r\ncontent-length: %d\r\n\r\n" % len(sent), sent)
        return client

    async def test_a_cut_of_http_1_0_is_a_reset(self, activator: ActivatorHarness) -> None:
        async def cut(request: Message, stream: Stream) -> None:
            await stream.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n")
            await stream.write(chunked(b"half"))
            await stream.close()

        async with ScriptedEngine(cut) as engine:
            activator.service()
            activator.ready(engine)
            client = await self.old(activator, HELLO)
            with pytest.raises(ConnectionResetError):
                await client.rest()

    async def test_a_whole_answer_of_http_1_0_is_none(self, activator: ActivatorHarness) -> None:
        async def stream_all(request: Message, stream: Stream) -> None:
            await stream.write(EVENTS_HEAD, chunked(b"data: [DONE]\n\n"), b"0\r\n\r\n")

        async with ScriptedEngine(stream_all) as engine:
            activator.service()
            activator.ready(engine)
            client = await self.old(activator, {**HELLO, "stream": True})
            assert (await client.rest()).endswith(b"data: [DONE]\n\n")

    async def test_100_continue_is_not_for_http_1_0(self, activator: ActivatorHarness, engine: ScriptedEngine) -> None:
        activator.service()
        activator.ready(engine)
        client = await activator.client()
        await client.write(
            b"POST /v1/chat/completions HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(BODY)
        )
        await asyncio.sleep(0.05)
        await client.write(BODY)
        assert (await client.message()).status == 200

    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/1.1 307 Temporary Redirect\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\n\r\n{}",
            b"HTTP/1.1 204 No Content\r\n\r\n",
        ],
        ids=["redirect", "error", "nothing"],
    )
    @pytest.mark.parametrize("version", ["1.1", "1.0"])
    async def test_behind_white_space_what_is_no_success_is_cut(
        self, activator: ActivatorHarness, answer: bytes, version: str
    ) -> None:
        async def say(request: Message, stream: Stream) -> None:
            await stream.write(answer)

        async with ScriptedEngine(say) as engine:
            activator.service(self.QUICK)
            client = await activator.client()
            await client.write(WHOLE.replace(b"HTTP/1.1", b"HTTP/" + version.encode()))
            assert (await client.head()).status == 200
            activator.ready(engine)
            if version == "1.1":
                assert (await client.cut()).strip() in {b"", b"{}"}
            else:
                with pytest.raises(ConnectionResetError):
                    await client.rest()


class TestAddresses:
    """An engine's own address is nobody's business outside."""

    @pytest.mark.parametrize("target", ["/v1/chat/completions", "/ai/qwen/v1/chat/completions"])
    async def test_a_redirect_leads_here(self, activator: ActivatorHarness, target: str) -> None:
        async def elsewhere(request: Message, stream: Stream) -> None:
            location = f"http://{request.headers['host']}/v1/chat/completions/"
            await stream.write(
                f"HTTP/1.1 307 Temporary Redirect\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n".encode()
            )

        async with ScriptedEngine(elsewhere) as engine:
            activator.service()
            activator.ready(engine)
            client = await activator.client()
            answer = await client.ask("POST", target, HELLO)
            assert answer.headers["location"] == f"{target}/"

    async def test_what_a_proxy_in_front_said_stays(self, activator: ActivatorHarness, engine: ScriptedEngine) -> None:
        activator.service()
        activator.ready(engine)
        client = await activator.client()
        await client.ask(
            "POST", "/v1/chat/completions", HELLO, x_forwarded_proto="https", x_forwarded_host="llm.example"
        )
        sent = engine.requests[0].headers
        assert (sent["x-forwarded-proto"], sent["x-forwarded-host"]) == ("https", "llm.example")


class TestNames:
    """Names that tenants choose take nobody's requests away."""

    @pytest.mark.parametrize(
        ("name", "namespace"), [("chat", "v1"), ("localhost", "evil"), ("x", "evil"), ("llm", "example")]
    )
    async def test_a_service_with_a_clever_name_gets_nothing(
        self, activator: ActivatorHarness, engine: ScriptedEngine, name: str, namespace: str
    ) -> None:
        activator.service()
        activator.ready(engine)
        activator.service(name=name, namespace=namespace)
        client = await activator.client()
        for host in ("localhost", "x", "127.0.0.1:8080", "llm.example"):
            answer = await client.ask("POST", "/v1/chat/completions", HELLO, host=host)
            assert answer.status == 200
        assert len(engine.requests) == 4
        assert activator.gate(name, namespace).hold.requests == 0

    async def test_the_older_service_keeps_the_short_name(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        activator.service()
        activator.ready(engine)
        activator.service(namespace="younger", created="2030-01-01T00:00:00Z")
        client = await activator.client()
        assert (await client.ask("POST", "/v1/chat/completions", HELLO)).status == 200
        assert activator.gate(namespace="younger").hold.requests == 0


class TestHungEngines:
    """endpoint.timeouts: nobody waits for ever, and nothing is kept for who does."""

    LIMITS = ("spec.endpoint.timeouts.firstByte=100ms", "spec.endpoint.timeouts.idle=100ms")

    @pytest.fixture(autouse=True)
    def _looked_for_often(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("hearth.activator.lane.gate.SWEEP_SECONDS", 0.02)

    async def test_one_that_says_nothing_is_a_504(self, activator: ActivatorHarness) -> None:
        async def hung(request: Message, stream: Stream) -> None:
            await stream.reader.read()
            gone.set()

        gone = asyncio.Event()
        async with ScriptedEngine(hung) as engine:
            activator.service(*self.LIMITS)
            activator.ready(engine)
            answer = await (await activator.client()).ask("POST", "/v1/chat/completions", HELLO)
            assert (answer.status, answer.json["error"]["code"]) == (504, "engine_timeout")
            assert "endpoint.timeouts.firstByte" in answer.json["error"]["message"]
            await gone.wait()  # the engine hears that nobody wants its answer
            await activator.idle()
            rejected = activator.gate().tally.rejected
            assert (rejected["engine_timeout"], activator.gate().hold.in_flight) == (1, 0)

    async def test_one_that_stops_in_a_stream_is_an_error_in_it(self, activator: ActivatorHarness) -> None:
        async def stops(request: Message, stream: Stream) -> None:
            await stream.write(EVENTS_HEAD, chunked(b'data: {"n": 1}\n\n'))
            await stream.reader.read()

        async with ScriptedEngine(stops) as engine:
            activator.service(*self.LIMITS)
            activator.ready(engine)
            client = await activator.client()
            await client.chat(stream=True)
            assert (await client.head()).status == 200
            said = b"".join([chunk async for chunk in client.chunks()])
            assert b'"n": 1' in said
            assert b"engine_timeout" in said
            assert b"[DONE]" not in said
            await activator.idle()
            assert activator.gate().tally.broken == 1

    async def test_one_that_stops_in_a_document_is_a_cut(self, activator: ActivatorHarness) -> None:
        async def stops(request: Message, stream: Stream) -> None:
            await stream.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n{")
            await stream.reader.read()

        async with ScriptedEngine(stops) as engine:
            activator.service(*self.LIMITS)
            activator.ready(engine)
            client = await activator.client()
            await client.chat()
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await client.message()

    async def test_one_that_goes_on_is_waited_for(self, activator: ActivatorHarness) -> None:
        """The limits are between two pieces, and not of the whole."""

        async def slow(request: Message, stream: Stream) -> None:
            await stream.write(EVENTS_HEAD)
            for number in range(12):
                await asyncio.sleep(0.03)  # an engine that thinks
                await stream.write(chunked(b"data: %d\n\n" % number))
            await stream.write(chunked(b"data: [DONE]\n\n"), b"0\r\n\r\n")

        async with ScriptedEngine(slow) as engine:
            activator.service("spec.endpoint.timeouts.firstByte=0s", "spec.endpoint.timeouts.idle=250ms")
            activator.ready(engine)
            client = await activator.client()
            await client.chat(stream=True)
            assert (await client.head()).status == 200
            assert b"".join([chunk async for chunk in client.chunks()]).endswith(b"data: [DONE]\n\n")

    async def test_never_is_never(self, activator: ActivatorHarness) -> None:
        go_on = asyncio.Event()

        async def late(request: Message, stream: Stream) -> None:
            await go_on.wait()
            await answer_ok(request, stream)

        async with ScriptedEngine(late) as engine:
            activator.service("spec.endpoint.timeouts.firstByte=0s", "spec.endpoint.timeouts.idle=0s")
            activator.ready(engine)
            client = await activator.client()
            await client.chat()
            for _ in range(20):
                await asyncio.sleep(0.02)  # looks of the gate
            go_on.set()
            assert (await client.message()).status == 200

    async def test_who_is_hung_rests_in_the_end(self, activator: ActivatorHarness) -> None:
        """One black hole of two: its requests are 504s until it rests, and then the other one's."""

        async def hung(request: Message, stream: Stream) -> None:
            await stream.reader.read()

        async with ScriptedEngine(hung) as hole, ScriptedEngine() as good:
            activator.service(*self.LIMITS)
            activator.ready(hole)
            for _ in range(3):
                answer = await (await activator.client()).ask("POST", "/v1/chat/completions", HELLO)
                assert answer.status == 504
            activator.ready(hole, good)
            for _ in range(3):
                answer = await (await activator.client()).ask("POST", "/v1/chat/completions", HELLO)
                assert answer.status == 200

    async def test_one_whose_head_drips_is_a_504(self, activator: ActivatorHarness) -> None:
        """Bytes of a head are no first byte of an answer: nobody can be told them."""

        async def drips(request: Message, stream: Stream) -> None:
            await stream.write(b"HTTP/1.1 200 OK\r\nx: ")
            while not stream.reader.at_eof():
                await stream.write(b"x")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.01):  # the drip
                        await stream.reader.read()

        async with ScriptedEngine(drips) as engine:
            activator.service(*self.LIMITS)
            activator.ready(engine)
            answer = await (await activator.client()).ask("POST", "/v1/chat/completions", HELLO)
            assert (answer.status, answer.json["error"]["code"]) == (504, "engine_timeout")
            await eventually_free(activator)

    async def test_one_black_hole_of_five_costs_its_requests_a_connect(self, activator: ActivatorHarness) -> None:
        """A node that vanished: nothing answers a SYN. What goes there waits for the connect's limit, and is answered by another."""
        with socket.socket() as hole, contextlib.ExitStack() as fillers:
            hole.bind(("127.0.0.1", 0))
            hole.listen(0)
            for _ in range(2):  # one in the line, and one behind it: from here on the kernel drops what asks
                filler = fillers.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(hole.getsockname())
            async with contextlib.AsyncExitStack() as stack:
                good = [await stack.enter_async_context(ScriptedEngine()) for _ in range(4)]
                activator.service()
                activator.ready(f"127.0.0.1:{hole.getsockname()[1]}", *good)
                activator.door._pool._connect_timeout = 0.2
                clients = [await activator.client() for _ in range(20)]
                answers = await asyncio.gather(*(c.ask("POST", "/v1/chat/completions", HELLO) for c in clients))
                assert [answer.status for answer in answers] == [200] * 20
                assert activator.gate().tally.retries >= 1, "some were sent there"
                assert sum(len(engine.requests) for engine in good) == 20, "nobody's request was delivered twice"
                await eventually_free(activator)


class TestFlapping:
    async def test_a_replica_that_comes_and_goes_costs_nobody_his_answer(self, activator: ActivatorHarness) -> None:
        """Ready and not, again and again, while requests come: each is answered once, and no slot is left taken."""
        async with ScriptedEngine() as engine:
            activator.service("spec.endpoint.concurrency=2")
            clients = [await activator.client() for _ in range(40)]
            for number, client in enumerate(clients):
                activator.ready(*([engine] if number % 2 else []))
                await client.chat()
            activator.ready(engine)
            answers = await asyncio.gather(*(client.message() for client in clients))
            assert [answer.status for answer in answers] == [200] * 40
            assert len(engine.requests) == 40
            await eventually_free(activator)

    async def test_one_that_refuses_every_other_second_is_waited_for(
        self, activator: ActivatorHarness, unused_tcp_port: int
    ) -> None:
        """Listed as ready all the time; its process restarts again and again."""
        address = f"127.0.0.1:{unused_tcp_port}"
        activator.service()
        activator.ready(address)
        for _ in range(3):
            clients = [await activator.client() for _ in range(5)]
            retries = activator.gate().tally.retries
            for client in clients:
                await client.chat()
            await activator.until(lambda before=retries: activator.gate().tally.retries > before)  # type: ignore[misc]
            async with await asyncio.start_server(_ok, "127.0.0.1", unused_tcp_port) as server:
                assert [(await client.message()).status for client in clients] == [200] * 5
                server.close()
            await eventually_free(activator)


class TestLongPrefill:
    """Heartbeats go on until the engine's first byte."""

    FAST = "spec.endpoint.coldStart.heartbeatInterval=200ms"

    @pytest.mark.parametrize("headed", [False, True], ids=["silent", "its head alone"])
    async def test_a_warm_stream_that_says_nothing_is_kept_alive(
        self, activator: ActivatorHarness, headed: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        go_on = asyncio.Event()

        async def slow(request: Message, stream: Stream) -> None:
            if headed:
                await stream.write(EVENTS_HEAD)
            await go_on.wait()
            if not headed:
                await stream.write(EVENTS_HEAD)
            await stream.write(chunked(b"data: [DONE]\n\n"), b"0\r\n\r\n")

        monkeypatch.setattr("hearth.activator.lane.gate.SWEEP_SECONDS", 0.05)
        async with ScriptedEngine(slow) as engine:
            activator.service(self.FAST)
            activator.ready(engine)
            client = await activator.client()
            await client.chat(stream=True)
            assert (await client.head()).status == 200
            beats = [await client.chunk() for _ in range(3)]
            assert all(b"hearth" in beat or b'"id"' in beat for beat in beats)
            go_on.set()
            rest = b"".join([chunk async for chunk in client.chunks()])
            assert rest.endswith(b"data: [DONE]\n\n")
            assert rest.count(b"[DONE]") == 1

    async def test_an_engine_that_refuses_at_once_is_heard_with_its_own_status(
        self, activator: ActivatorHarness
    ) -> None:
        async def refuse(request: Message, stream: Stream) -> None:
            await asyncio.sleep(0.1)
            await stream.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}")

        async with ScriptedEngine(refuse) as engine:
            activator.service(self.FAST)
            activator.ready(engine)
            client = await activator.client()
            await client.chat(stream=True)
            assert (await client.message()).status == 400

    async def test_they_do_not_multiply_while_a_replica_refuses(
        self, activator: ActivatorHarness, unused_tcp_port: int
    ) -> None:
        activator.service(self.FAST)
        activator.ready(f"127.0.0.1:{unused_tcp_port}")
        client = await activator.client()
        await client.chat(stream=True)
        await client.head()
        await activator.until(lambda: activator.gate().tally.retries >= 4)
        before, retries = activator.gate().tally.heartbeats, activator.gate().tally.retries
        await asyncio.sleep(1.0)
        assert activator.gate().tally.heartbeats - before <= 6
        assert activator.gate().tally.retries >= retries


class TestMarks:
    """What an answer says of itself."""

    async def test_a_cold_start_is_told_with_its_wait(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        activator.service("spec.endpoint.coldStart.whitespaceAfter=0s")
        client = await activator.client()
        await client.chat()
        await activator.waiting(1)
        await asyncio.sleep(0.15)
        activator.ready(engine)
        answer = await client.message()
        assert answer.headers["x-hearth-cold-start"] == "true"
        assert float(answer.headers["x-hearth-waited-seconds"]) >= 0.1
        warm = await client.ask("POST", "/v1/chat/completions", HELLO)
        assert "x-hearth-cold-start" not in warm.headers

    async def test_a_clients_id_comes_back_as_it_was(self, activator: ActivatorHarness) -> None:
        async def own(request: Message, stream: Stream) -> None:
            await stream.write(b"HTTP/1.1 200 OK\r\nx-request-id: engine\r\ncontent-length: 2\r\n\r\n{}")

        async with ScriptedEngine(own) as engine:
            activator.service()
            activator.ready(engine)
            client = await activator.client()
            for given in ("mine", "x" * 500, "a b;c=\xe9"):
                for model in ("qwen", "nobody"):
                    ask = {**HELLO, "model": model}
                    answer = await client.ask("POST", "/v1/chat/completions", ask, x_request_id=given)
                    assert answer.headers["x-request-id"].encode("latin-1") == given.encode()
            assert (await client.ask("POST", "/v1/chat/completions", HELLO)).headers["x-request-id"] == "engine"

    async def test_own_answers_have_a_date(self, activator: ActivatorHarness) -> None:
        client = await activator.client()
        for method, target in (("GET", "/healthz"), ("GET", "/v1/models"), ("POST", "/v1/chat/completions")):
            assert (await client.ask(method, target)).headers["date"].endswith("GMT")

    async def test_413_closes(self, activator: ActivatorHarness) -> None:
        client = await activator.client()
        await client.write(POST, b"content-length: 99999999\r\n\r\n")
        answer = await client.message()
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert await client.rest() == b""

    @pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens", "/v1/messages/none"])
    async def test_anthropics_paths_have_anthropics_errors(self, activator: ActivatorHarness, path: str) -> None:
        client = await activator.client()
        answer = await client.ask("POST", path, {"model": "nobody", "messages": [1]})
        assert (answer.status, answer.json["type"]) == (404, "error")


async def test_a_reset_while_it_waits_frees_the_slot(activator: ActivatorHarness) -> None:
    activator.service("spec.endpoint.coldStart.whitespaceAfter=0s")
    client = await activator.client()
    await client.chat()
    await activator.waiting(1)
    sock = client.writer.get_extra_info("socket")
    sock.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SOL_SOCKET, SO_LINGER: close() sends RST
    client.writer.transport.abort()
    await eventually_free(activator)


class BreaksOne:
    """An observer whose trace context is none, for one request."""

    def begin(self, journey: Journey) -> None:
        if journey.request_id == "bad":
            journey.traceparent = cast("bytes", 7)

    def sent(self, journey: Journey) -> None:
        pass

    def failed(self, journey: Journey, why: str) -> None:
        pass

    def over(self, journey: Journey) -> None:
        pass


async def test_a_dispatch_that_fails_fails_alone(engine: ScriptedEngine) -> None:
    async with ActivatorHarness(journeys=Journeys(BreaksOne())) as activator:
        activator.service("spec.endpoint.coldStart.whitespaceAfter=0s")
        clients = {name: await activator.client() for name in ("a", "bad", "b")}
        for name, client in clients.items():
            await client.send("POST", "/v1/chat/completions", HELLO, x_request_id=name)
        await activator.waiting(3)
        activator.ready(engine)
        statuses = {name: (await client.message()).status for name, client in clients.items()}
        assert statuses == {"a": 200, "bad": 500, "b": 200}
        await eventually_free(activator)


class TestWhatAnAttackFound:
    async def test_a_client_that_never_reads_gets_no_next_answer(self, activator: ActivatorHarness) -> None:
        large = b"x" * 200_000

        async def answer(request: Message, stream: Stream) -> None:
            await stream.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(large), large)

        async with ScriptedEngine(answer) as engine:
            activator.service()
            activator.ready(engine)
            client = await activator.client()
            cast("asyncio.Transport", client.writer.transport).pause_reading()
            for _ in range(60):
                await client.write(WHOLE)
            await asyncio.sleep(1.0)
            (connection,) = activator.connections()
            assert connection.unread
            assert connection.transport.get_write_buffer_size() < 2 * len(large)
            assert len(engine.requests) < 40, "the kernel's buffers took the first ones"
            cast("asyncio.Transport", client.writer.transport).resume_reading()
            for _ in range(60):
                assert len((await client.message()).body) == len(large)

    async def test_a_stream_behind_unread_answers_is_paused_from_the_start(self, activator: ActivatorHarness) -> None:
        sent = 0

        async def answer(request: Message, stream: Stream) -> None:
            nonlocal sent
            await stream.write(EVENTS_HEAD)
            while sent < 20_000_000:
                await stream.write(chunked(b"data: " + b"x" * 10_000 + b"\n\n"))
                sent += 10_000
            await stream.write(b"0\r\n\r\n")

        async with ScriptedEngine(answer) as engine:
            activator.service()
            activator.ready(engine)
            client = await activator.client()
            cast("asyncio.Transport", client.writer.transport).pause_reading()
            for _ in range(3):
                await client.chat(stream=True)
            await asyncio.sleep(1.0)
            (connection,) = activator.connections()
            assert connection.transport.get_write_buffer_size() < 1_000_000
            assert sent < 20_000_000
            client.writer.transport.abort()
            await eventually_free(activator)

    async def test_a_fast_beginning_does_not_pay_for_a_stall(self) -> None:
        limits = Limits(body_seconds=0.3, body_rate=1000, linger_seconds=0.1)
        async with ActivatorHarness(limits=limits) as activator:
            client = await activator.client()
            await client.write(POST, b"content-length: 5000000\r\n\r\n", b"x" * 4_000_000)
            async with asyncio.timeout(3):
                assert (await client.message()).status == 408
            assert activator.door.budget.used == 0

    async def test_a_few_large_bodies_leave_room_for_everybody_else(self) -> None:
        limits = Limits(body_bytes=8 * 2**20)
        async with ActivatorHarness(limits=limits, budget=Budget(16 * 2**20)) as activator, ScriptedEngine() as engine:
            activator.service()
            activator.ready(engine)
            for _ in range(4):
                client = await activator.client()
                await client.write(POST, b"content-length: 8000000\r\n\r\n", b"x" * 7_900_000)
            client = await activator.client()
            assert (await client.ask("POST", "/v1/chat/completions", HELLO)).status == 200

    async def test_bombs_one_after_the_other_are_counted_as_they_unfold(self) -> None:
        limits = Limits(body_bytes=8 * 2**20)
        async with ActivatorHarness(limits=limits, budget=Budget(4 * 2**20)) as activator:
            bomb = gzip.compress(b"x" * (8 * 2**20))
            clients = [await activator.client() for _ in range(10)]
            for client in clients:
                await client.send("POST", "/v1/chat/completions", bomb, content_encoding="gzip")
            for client in clients:
                assert (await client.message()).status == 503
            assert activator.door.budget.used == 0

    async def test_an_answer_before_the_request_was_read_ends_the_connection(self, activator: ActivatorHarness) -> None:
        over = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            async with Stream(reader, writer) as stream:
                head = await stream.head()
                body = b"{}"
                await stream.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", body)
                if int(head.headers["content-length"]) > 1000:
                    await over.wait()  # and reads no more

        server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1024)
        async with ActivatorHarness(limits=Limits(body_bytes=32 * 2**20)) as roomy:
            roomy.service()
            roomy.ready(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
            client = await roomy.client()
            large = json.dumps({**HELLO, "user": "x" * 16_000_000}).encode()
            await client.write(framed(large))
            assert (await client.message()).status == 200
            async with asyncio.timeout(30):
                assert (await client.ask("POST", "/v1/chat/completions", HELLO)).status == 200
        over.set()
        server.close()

    async def test_a_half_sent_request_behind_a_slow_answer_has_its_deadline(self) -> None:
        go_on = asyncio.Event()

        async def slow(request: Message, stream: Stream) -> None:
            await go_on.wait()
            await answer_ok(request, stream)

        limits = Limits(body_seconds=0.3, silent_seconds=0.3, keep_alive_seconds=0.3, linger_seconds=0.1)
        async with ActivatorHarness(limits=limits) as activator, ScriptedEngine(slow) as engine:
            activator.service("spec.endpoint.coldStart.whitespaceAfter=0s")
            activator.ready(engine)
            client = await activator.client()
            await client.write(WHOLE, POST, b"content-length: 1000\r\n\r\n", b"{")
            await asyncio.sleep(1.0)
            go_on.set()
            assert (await client.message()).status == 200
            assert (await client.message()).status == 408
            assert await client.rest() == b""
            await eventually_free(activator)

    @pytest.mark.parametrize("reset", [False, True])
    async def test_a_client_that_pipelines_and_leaves_is_noticed(
        self, activator: ActivatorHarness, reset: bool
    ) -> None:
        activator.service("spec.endpoint.coldStart.whitespaceAfter=0s")
        client = await activator.client()
        await client.write(WHOLE, WHOLE, WHOLE)
        await activator.waiting(1)
        if reset:
            client.writer.get_extra_info("socket").setsockopt(1, 13, struct.pack("ii", 1, 0))
        client.writer.transport.abort()
        async with asyncio.timeout(2):
            await eventually_free(activator)

    async def test_a_listener_of_the_feed_does_not_hold_the_drain(self, activator: ActivatorHarness) -> None:
        client = await activator.client()
        await client.send("GET", "/hearth/v1/services/events")
        assert (await client.head()).status == 200
        await client.chunk()
        async with asyncio.timeout(3):
            activator.door.feed.close()  # as run_activator does when it is told to stop
            activator.stop()
            await client.rest()
            await activator.stopped()

    async def test_a_measured_stream_that_breaks_is_cut(self, activator: ActivatorHarness) -> None:
        async def breaks(request: Message, stream: Stream) -> None:
            await stream.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 600\r\n\r\ndata: x\n\n"
            )
            await stream.close()

        async with ScriptedEngine(breaks) as engine:
            activator.service()
            activator.ready(engine)
            client = await activator.client()
            await client.chat(stream=True)
            assert (await client.head()).headers["content-length"] == "600"
            assert await client.rest() == b"data: x\n\n"

    @pytest.mark.parametrize("stream", [True, False])
    async def test_a_coded_answer_does_not_go_on_behind_heartbeats(
        self, activator: ActivatorHarness, stream: bool
    ) -> None:
        async def coded(request: Message, at: Stream) -> None:
            body = gzip.compress(b'{"n": 1}')
            kind = b"text/event-stream" if stream else b"application/json"
            await at.write(
                b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n"
                % (kind, len(body)),
                body,
            )

        async with ScriptedEngine(coded) as engine:
            activator.service(
                "spec.endpoint.coldStart.whitespaceAfter=50ms", "spec.endpoint.coldStart.heartbeatInterval=100ms"
            )
            client = await activator.client()
            await client.chat(stream=stream)
            assert (await client.head()).status == 200
            activator.ready(engine)
            if stream:
                assert b'"error"' in b"".join([chunk async for chunk in client.chunks()])
            else:
                assert (await client.cut()).strip() == b""

    async def test_a_service_deleted_in_flight_says_so_when_its_engine_dies(self, activator: ActivatorHarness) -> None:
        async def die(request: Message, stream: Stream) -> None:
            activator.delete()
            await stream.close()

        async with ScriptedEngine(die) as engine:
            activator.service()
            activator.ready(engine)
            client = await activator.client()
            async with asyncio.timeout(2):
                answer = await client.ask("POST", "/v1/chat/completions", HELLO)
            assert (answer.status, answer.json["error"]["code"]) == (503, "model_deleted")

    async def test_a_replica_that_dies_with_hundreds_in_flight_takes_no_time_of_others(
        self, activator: ActivatorHarness
    ) -> None:
        async def wait(request: Message, stream: Stream) -> None:
            await asyncio.Event().wait()

        async with ScriptedEngine(wait) as engine, ScriptedEngine() as other:
            activator.service("spec.endpoint.coldStart.whitespaceAfter=0s")
            activator.ready(engine)
            clients = [await activator.client() for _ in range(200)]
            for client in clients:
                await client.chat()
            for _ in clients:
                await engine.asked.acquire()
            activator.ready(engine, other)
            for task in list(engine._tasks):
                task.cancel()
            statuses = [(await client.message()).status for client in clients]
            assert statuses == [200] * 200

    async def test_an_id_is_passed_on_as_it_was_written(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        activator.service()
        activator.ready(engine)
        client = await activator.client()
        await client.ask("POST", "/v1/chat/completions", HELLO, x_request_id="é")
        assert engine.requests[0].headers["x-request-id"].encode("latin-1") == "é".encode()

    async def test_long_heads_that_are_not_whole_are_in_the_budget(self) -> None:
        async with ActivatorHarness(budget=Budget(200_000)) as activator:
            clients = [await activator.client() for _ in range(6)]
            for client in clients:
                await client.write(POST, b"x: ", b"y" * 60_000)
            async with asyncio.timeout(PATIENCE):
                while activator.door.budget.used < 150_000:
                    await asyncio.sleep(0.01)
            assert activator.door.budget.used <= 200_000
            for client in clients:
                await client.close()
            async with asyncio.timeout(PATIENCE):
                while activator.door.budget.used:
                    await asyncio.sleep(0.01)

    @pytest.mark.parametrize("status", [b"600", b"999"])
    async def test_a_status_that_is_none_is_no_answer(self, activator: ActivatorHarness, status: bytes) -> None:
        async def strange(request: Message, stream: Stream) -> None:
            await stream.write(b"HTTP/1.1 " + status + b" What\r\ncontent-length: 0\r\n\r\n")

        async with ScriptedEngine(strange) as engine:
            activator.service()
            activator.ready(engine)
            client = await activator.client()
            assert (await client.ask("POST", "/v1/chat/completions", HELLO)).status == 502
