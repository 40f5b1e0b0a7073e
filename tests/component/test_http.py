"""HTTP/1.1 at the client's end: what is refused, and what must not be confused. Bytes on a socket."""

import json

import pytest

from hearth.http1.limits import Limits
from tests.component.harness import HELLO, ActivatorHarness, Message, ScriptedEngine, Stream, answer_events

BODY = b'{"model": "qwen"}'
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
LENGTH = b"content-length: %d\r\n" % len(BODY)


async def said(activator: ActivatorHarness, *parts: bytes) -> Message:
    """What the activator answers to these bytes."""
    client = await activator.client()
    await client.write(*parts)
    return await client.message()


# RFC 9112, 11.2 and 6.3: a message whose end two readers may see at different places.
@pytest.mark.parametrize(
    "bytes_",
    [
        pytest.param(HEAD + LENGTH + b"transfer-encoding: chunked\r\n\r\n" + CHUNKED, id="length and chunks"),
        pytest.param(HEAD + LENGTH + b"content-length: 5\r\n\r\n" + BODY, id="two lengths"),
        pytest.param(HEAD + b"content-length: +17\r\n\r\n" + BODY, id="a length with a sign"),
        pytest.param(HEAD + b"content-length: 1_7\r\n\r\n" + BODY, id="a length that is no number"),
        pytest.param(HEAD + b"transfer-encoding: chunked, identity\r\n\r\n" + CHUNKED, id="chunked is not last"),
        pytest.param(HEAD + b"transfer-encoding : chunked\r\n\r\n" + CHUNKED, id="space before the colon"),
        pytest.param(HEAD + LENGTH + b"x-a: 1\r\n  folded\r\n\r\n" + BODY, id="a folded line"),
        pytest.param(HEAD + LENGTH + b"x-a: 1\nx-b: 2\r\n\r\n" + BODY, id="a bare line feed"),
        pytest.param(HEAD + LENGTH + b"x-a: \x00\r\n\r\n" + BODY, id="a NUL"),
        pytest.param(HEAD + b"transfer-encoding: chunked\r\n\r\n-1\r\n" + BODY, id="a negative chunk"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS"),
    ],
)
async def test_what_may_be_read_in_two_ways_is_refused(
    activator: ActivatorHarness, engine: ScriptedEngine, bytes_: bytes
) -> None:
    activator.service()
    activator.ready(engine)
    client = await activator.client()
    await client.write(bytes_)
    answer = await client.message()
    assert answer.status == 400
    assert answer.headers["connection"] == "close"
    assert await client.rest() == b"", "closed: what follows has no meaning"
    assert engine.requests == []


async def test_a_head_without_end_is_refused(activator: ActivatorHarness) -> None:
    client = await activator.client()
    await client.write(HEAD, b"x-large: ")
    for _ in range(Limits().head_bytes // 1024 + 2):
        try:
            await client.write(b"x" * 1024)
        except ConnectionError:
            break
    assert (await client.head()).status == 431


async def test_large_fields_are_taken(activator: ActivatorHarness, engine: ScriptedEngine) -> None:
    activator.service()
    activator.ready(engine)
    large = b"x" * (Limits().head_bytes // 2)
    answer = await said(activator, HEAD, LENGTH, b"x-large: ", large, b"\r\n\r\n", BODY)
    assert answer.status == 200
    assert engine.requests[0].headers["x-large"] == large.decode()


async def test_chunks_become_a_length(activator: ActivatorHarness, engine: ScriptedEngine) -> None:
    activator.service()
    activator.ready(engine)
    answer = await said(activator, HEAD, b"transfer-encoding: chunked\r\n\r\n", CHUNKED)
    assert answer.status == 200
    (request,) = engine.requests
    assert (request.body, request.headers["content-length"]) == (BODY, str(len(BODY)))
    assert "transfer-encoding" not in request.headers


@pytest.mark.parametrize(
    ("first", "fields", "status"),
    [
        pytest.param("GET /v1/models HTTP/1.1", "", 400, id="no host"),
        pytest.param("GET /v1/models HTTP/1.1", "host: a\r\nhost: b\r\n", 400, id="two hosts"),
        pytest.param("GET http:// HTTP/1.1", "host: a\r\n", 400, id="a target that is no URL"),
        pytest.param("CONNECT engine:443 HTTP/1.1", "host: engine:443\r\n", 405, id="a tunnel"),
        pytest.param("TRACE / HTTP/1.1", "host: qwen.ai\r\n", 405, id="an echo"),
        pytest.param("GET /v1/models HTTP/2.0", "host: a\r\n", 505, id="another version"),
    ],
)
async def test_what_is_no_request_for_here_is_refused_in_words(
    activator: ActivatorHarness, engine: ScriptedEngine, first: str, fields: str, status: int
) -> None:
    activator.service()
    activator.ready(engine)
    client = await activator.client()
    await client.write(f"{first}\r\n{fields}\r\n".encode())
    answer = await client.message()
    assert (answer.status, answer.headers["connection"]) == (status, "close")
    assert answer.json["error"]["type"] == "invalid_request_error"
    assert ("allow" in answer.headers) == (status == 405)
    assert engine.requests == []


async def test_what_comes_behind_a_refused_request_is_not_served(
    activator: ActivatorHarness, engine: ScriptedEngine
) -> None:
    activator.service()
    activator.ready(engine)
    client = await activator.client()
    await client.write(b"GET / HTTP/1.1\r\n\r\n", HEAD, LENGTH, b"\r\n", BODY)
    assert (await client.message()).status == 400
    assert await client.rest() == b""
    assert engine.requests == []


async def test_the_host_of_an_absolute_target_counts(activator: ActivatorHarness, engine: ScriptedEngine) -> None:
    activator.service()
    activator.ready(engine)
    answer = await said(activator, b"GET http://qwen.ai:80/health HTTP/1.1\r\nhost: other\r\n\r\n")
    assert answer.status == 200
    assert engine.requests[0].start == "GET /health HTTP/1.1"
    assert engine.requests[0].headers["x-forwarded-host"] == "qwen.ai:80"


async def test_a_clients_trailers_are_not_merged_into_its_head(
    activator: ActivatorHarness, engine: ScriptedEngine
) -> None:
    activator.service()
    activator.ready(engine)
    trailers = b"authorization: Bearer stolen\r\nhost: elsewhere\r\n\r\n"
    answer = await said(activator, HEAD, b"transfer-encoding: chunked\r\n\r\n", CHUNKED[:-2], trailers)
    assert answer.status == 200
    assert "authorization" not in engine.requests[0].headers
    assert engine.requests[0].headers["x-forwarded-host"] == "x"


async def test_an_engines_trailers_end_its_answer(activator: ActivatorHarness, engine: ScriptedEngine) -> None:
    async def answer(request: Message, stream: Stream) -> None:
        await stream.write(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-digest\r\n\r\n2\r\n{}\r\n0\r\nx-digest: 1\r\n\r\n"
        )

    engine.handler = answer
    activator.service()
    activator.ready(engine)
    client = await activator.client()
    for _ in range(2):  # the second one on the same connections, at both ends
        message = await client.ask("POST", "/v1/chat/completions", HELLO)
        assert (message.status, message.body) == (200, b"{}")
        assert "trailer" not in message.headers
    assert engine.connections == 1


@pytest.mark.parametrize("method", ["DELETE", "GET"])
async def test_other_methods_are_passed_on_to_an_engine_that_is_there(
    activator: ActivatorHarness, engine: ScriptedEngine, method: str
) -> None:
    activator.service()
    activator.ready(engine)
    client = await activator.client()
    assert (await client.ask(method, "/ai/qwen/v1/responses/resp_1?a=1&b=%20")).status == 200
    assert engine.requests[0].start == f"{method} /v1/responses/resp_1?a=1&b=%20 HTTP/1.1"
    assert "content-length" not in engine.requests[0].headers


@pytest.mark.parametrize("target", ["*", "/", "/v1/chat/completions"])
async def test_options_are_told(activator: ActivatorHarness, target: str) -> None:
    client = await activator.client()
    for _ in range(2):
        answer = await client.ask("OPTIONS", target)
        assert (answer.status, "POST" in answer.headers["allow"]) == (204, True)


async def test_websocket_is_refused_in_words(activator: ActivatorHarness) -> None:
    activator.service()
    answer = await said(
        activator,
        b"GET /ai/qwen/v1/realtime HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n",
    )
    assert (answer.status, answer.json["error"]["code"]) == (426, "websocket_not_supported")


async def test_a_models_name_reaches_no_head(activator: ActivatorHarness, engine: ScriptedEngine) -> None:
    activator.service()
    activator.ready(engine)
    client = await activator.client()
    evil = "nobody\r\nx-injected: 1"
    answer = await client.ask("POST", "/v1/chat/completions", {**HELLO, "model": evil})
    assert answer.status == 404
    assert "x-injected" not in answer.headers
    path = await client.ask("POST", "/ai/qwen%0d%0ax-injected:%201/v1/chat/completions", HELLO)
    assert "x-injected" not in path.headers
    assert all("x-injected" not in request.headers for request in engine.requests)


async def test_an_error_in_here_is_no_bad_request(
    activator: ActivatorHarness, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(model: str) -> None:
        raise LookupError("a mistake of ours")

    activator.service()
    monkeypatch.setattr(activator.door.directory, "by_model", broken)
    client = await activator.client()
    await client.chat()
    answer = await client.message()
    assert (answer.status, answer.headers["connection"]) == (500, "close")
    assert await client.rest() == b""
    assert "a mistake of ours" in caplog.text
    assert [record.levelname for record in caplog.records if record.exc_info] == ["ERROR"]


async def test_an_idle_connection_keeps_no_prompt(activator: ActivatorHarness, engine: ScriptedEngine) -> None:
    activator.service()
    activator.ready(engine)
    client = await activator.client()
    assert (await client.ask("POST", "/v1/chat/completions", HELLO)).status == 200
    await activator.idle()
    (connection,) = activator.connections()
    assert connection.current is None
    assert activator.door.budget.used == 0


async def test_a_client_of_http_1_0(activator: ActivatorHarness, engine: ScriptedEngine) -> None:
    engine.handler = answer_events
    activator.service()
    activator.ready(engine)
    client = await activator.client()
    body = json.dumps({**HELLO, "stream": True}).encode()
    await client.write(b"POST /v1/chat/completions HTTP/1.0\r\ncontent-length: %d\r\n\r\n" % len(body), body)
    assert "transfer-encoding" not in (await client.head()).headers
    assert (await client.rest()).endswith(b"data: [DONE]\n\n")
