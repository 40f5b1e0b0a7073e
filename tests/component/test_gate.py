"""Requests that are held: what their clients hear, and how the wait ends."""

import asyncio
import json
from typing import Any

from tests.component.harness import (
    BOTH,
    EVENTS_HEAD,
    HELLO,
    ActivatorHarness,
    Client,
    Message,
    ScriptedEngine,
    Stream,
    answer_events,
    answer_ok,
    chunked,
)

SERVERS = BOTH

FAST = "spec.endpoint.coldStart.heartbeatInterval=100ms"
WHITE = "spec.endpoint.coldStart.whitespaceAfter=100ms"
SILENT = "spec.endpoint.coldStart.whitespaceAfter=0s"
ONE_SECOND = "spec.scaling.activationTimeout=1s"


async def open_stream(client: Client, **headers: str) -> Message:
    """Send a streaming chat request and read the head of the answer."""
    await client.send("POST", "/v1/chat/completions", {**HELLO, "stream": True}, **headers)
    return await client.head()


def status_of(beat: bytes) -> Any:
    assert beat.startswith(b"data: ")
    assert beat.endswith(b"\n\n")
    return json.loads(beat.removeprefix(b"data: "))["hearth"]


class TestHeartbeats:
    async def test_a_streaming_client_hears_the_phase_and_then_the_answer(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        activator.service(FAST)
        client = await activator.client()
        head = await open_stream(client, x_request_id="r-1")
        assert head.status == 200
        assert head.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert head.headers["x-request-id"] == "r-1"
        first = status_of(await client.chunk())
        assert first["phase"] == "requested"
        activator.service(FAST, phase="Loading", coldStart={"phase": "pulling-image"})
        while (beat := status_of(await client.chunk()))["phase"] == "requested":
            pass
        assert beat["phase"] == "pulling-image"
        assert beat["elapsed"] >= first["elapsed"]
        engine.handler = answer_events
        activator.ready(engine)
        rest = b"".join([chunk async for chunk in client.chunks()])
        events = [line for line in rest.split(b"\n\n") if line and b'"hearth"' not in line]
        assert events == [b'data: {"n": 1}', b'data: {"n": 2}', b"data: [DONE]"]

    async def test_the_time_to_go_is_learned_from_the_start_before(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        activator.service(FAST)
        engine.handler = answer_events
        first = await activator.client()
        await open_stream(first)
        assert "eta" not in status_of(await first.chunk())
        activator.ready(engine)
        _ = [chunk async for chunk in first.chunks()]
        activator.ready()
        second = await activator.client()
        await open_stream(second)
        assert status_of(await second.chunk())["eta"] >= 0

    async def test_the_time_to_go_is_what_the_status_remembers(self, activator: ActivatorHarness) -> None:
        history = [{"scheduling": 2.0, "pulling-image": 1.0, "loading": seconds} for seconds in (38.0, 40.0, 300.0)]
        activator.service(FAST, phase="ScaledToZero", coldStartHistory=history)
        client = await activator.client()
        await open_stream(client)
        assert status_of(await client.chunk())["eta"] == 43.0
        activator.service(FAST, phase="Loading", coldStart={"phase": "loading"}, coldStartHistory=history)
        while (beat := status_of(await client.chunk()))["phase"] == "requested":
            pass
        assert 35 < beat["eta"] <= 40

    async def test_named_events_for_a_client_that_asks_for_them(self, activator: ActivatorHarness) -> None:
        activator.service(FAST)
        client = await activator.client()
        await open_stream(client, x_hearth_events="1")
        event, data, *_ = (await client.chunk()).split(b"\n")
        assert event == b"event: hearth.status"
        assert json.loads(data.removeprefix(b"data: "))["phase"] == "requested"

    async def test_reasoning_for_chat_uis(self, activator: ActivatorHarness) -> None:
        activator.service(FAST, "spec.endpoint.coldStart.progress=reasoning")
        client = await activator.client()
        await open_stream(client)
        chunk = json.loads((await client.chunk()).removeprefix(b"data: "))
        assert chunk["object"] == "chat.completion.chunk"
        assert "Waking up" in chunk["choices"][0]["delta"]["reasoning_content"]
        completions = await activator.client()
        await completions.send("POST", "/v1/completions", {"model": "qwen", "prompt": "x", "stream": True})
        await completions.head()
        chunk = json.loads((await completions.chunk()).removeprefix(b"data: "))
        assert (chunk["object"], chunk["choices"][0]["text"]) == ("text_completion", ""), "no reasoning in a text"

    async def test_many_held_clients_are_all_beaten_to(self, activator: ActivatorHarness) -> None:
        activator.service(FAST)
        clients = [await activator.client() for _ in range(50)]
        for client in clients:
            await client.chat(stream=True)
        for client in clients:
            await client.head()
            for _ in range(3):
                status_of(await client.chunk())


class TestWhiteSpace:
    async def test_it_comes_before_the_json_of_a_patient_client(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        activator.service(FAST, WHITE)
        client = await activator.client()
        await client.chat()
        head = await client.head()
        assert (head.status, head.headers["content-type"]) == (200, "application/json")
        assert [await client.chunk() for _ in range(2)] == [b" ", b" "]
        activator.ready(engine)
        body = b"".join([chunk async for chunk in client.chunks()])
        assert json.loads(body) == {"asked": "/v1/chat/completions"}

    async def test_none_where_it_is_switched_off(self, activator: ActivatorHarness, engine: ScriptedEngine) -> None:
        activator.service(FAST, SILENT)
        client = await activator.client()
        await client.chat()
        beaten = await activator.client()
        await open_stream(beaten)
        for _ in range(3):
            await beaten.chunk()
        activator.ready(engine)
        answer = await client.message()
        assert answer.body.startswith(b"{")
        assert "content-length" in answer.headers

    async def test_none_where_the_answer_is_no_json(self, activator: ActivatorHarness, engine: ScriptedEngine) -> None:
        activator.service(FAST, WHITE)
        client = await activator.client()
        await client.send("POST", "/v1/audio/speech", {"model": "qwen", "input": "x"})
        beaten = await activator.client()
        await open_stream(beaten)
        for _ in range(3):
            await beaten.chunk()
        activator.ready(engine)
        assert (await client.message()).body.startswith(b"{")

    async def test_an_error_after_it_is_cut_so_that_nobody_takes_it_for_an_answer(
        self, activator: ActivatorHarness
    ) -> None:
        activator.service(FAST, WHITE, ONE_SECOND)
        client = await activator.client()
        await client.chat()
        assert (await client.head()).status == 200
        assert json.loads(await client.cut())["error"]["code"] == "activation_timeout"

    async def test_an_engines_error_after_it_is_cut_too(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        async def refuse(request: Message, stream: Stream) -> None:
            await stream.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 13\r\n\r\n", b'{"error": {}}')

        engine.handler = refuse
        activator.service(FAST, WHITE)
        client = await activator.client()
        await client.chat()
        await client.head()
        activator.ready(engine)
        assert json.loads(await client.cut()) == {"error": {}}


class TestTheWaitEnds:
    async def test_in_order_of_arrival(self, activator: ActivatorHarness, engine: ScriptedEngine) -> None:
        activator.service(SILENT, "spec.endpoint.concurrency=1")
        clients = []
        for number in range(5):
            client = await activator.client()
            await client.send("POST", f"/v1/chat/completions?n={number}", HELLO)
            clients.append(client)
            await activator.waiting(number + 1)
        activator.ready(engine)
        for client in clients:
            assert (await client.message()).status == 200
        assert [request.start.split()[1][-1] for request in engine.requests] == list("01234")

    async def test_spread_over_the_replicas_with_the_fewest_outstanding(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        release = asyncio.Event()

        async def hang_on(request: Message, stream: Stream) -> None:
            await release.wait()
            await answer_ok(request, stream)

        engine.handler = hang_on
        async with ScriptedEngine(hang_on) as other:
            activator.service(SILENT)
            activator.ready(engine, other)
            clients = [await activator.client() for _ in range(6)]
            for client in clients:
                await client.chat()
            for _ in range(3):
                await engine.asked.acquire()
                await other.asked.acquire()
            release.set()
            for client in clients:
                assert (await client.message()).status == 200
        assert (len(engine.requests), len(other.requests)) == (3, 3)

    async def test_timed_out_with_retry_after(self, activator: ActivatorHarness) -> None:
        activator.service(ONE_SECOND)
        client = await activator.client()
        answer = await client.ask("POST", "/v1/chat/completions", HELLO)
        assert (answer.status, answer.json["error"]["code"]) == (503, "activation_timeout")
        assert int(answer.headers["retry-after"]) >= 1
        assert "scaling.activationTimeout" in answer.json["error"]["message"]
        await activator.idle()

    async def test_timed_out_in_a_stream_as_an_event(self, activator: ActivatorHarness) -> None:
        activator.service(FAST, ONE_SECOND)
        client = await activator.client()
        await open_stream(client)
        body = b"".join([chunk async for chunk in client.chunks()])
        error = json.loads(body.rpartition(b"data: ")[2])["error"]
        assert error["code"] == "activation_timeout"

    async def test_deleted(self, activator: ActivatorHarness) -> None:
        activator.service()
        client = await activator.client()
        await client.chat()
        await activator.waiting(1)
        activator.delete()
        answer = await client.message()
        assert (answer.status, answer.json["error"]["code"]) == (503, "model_deleted")

    async def test_a_client_that_leaves_frees_its_place_and_the_lease_stays(self, activator: ActivatorHarness) -> None:
        activator.service("spec.endpoint.maxQueue=1")
        leaver = await activator.client()
        await leaver.chat()
        await activator.waiting(1)
        refused = await (await activator.client()).ask("POST", "/v1/chat/completions", HELLO)
        assert (refused.status, refused.json["error"]["code"]) == (429, "queue_full")
        assert int(refused.headers["retry-after"]) >= 1
        await leaver.close()
        await activator.waiting(0)
        assert activator.gate().hold.lease(asyncio.get_running_loop().time())
        await (await activator.client()).chat()
        await activator.waiting(1)

    async def test_a_changed_policy_counts_at_once(self, activator: ActivatorHarness) -> None:
        activator.service("spec.endpoint.maxQueue=1")
        await (await activator.client()).chat()
        await activator.waiting(1)
        activator.service("spec.endpoint.maxQueue=2")
        await (await activator.client()).chat()
        await activator.waiting(2)


async def test_reject_mode_refuses_at_once_and_starts(activator: ActivatorHarness, engine: ScriptedEngine) -> None:
    activator.service("spec.endpoint.coldStart.mode=reject")
    client = await activator.client()
    answer = await client.ask("POST", "/v1/chat/completions", HELLO)
    assert (answer.status, answer.json["error"]["code"]) == (503, "model_starting")
    assert int(answer.headers["retry-after"]) >= 1
    hold = activator.gate().hold
    assert hold.lease(asyncio.get_running_loop().time()), "the start that was asked for goes through"
    activator.ready(engine)
    assert (await client.ask("POST", "/v1/chat/completions", HELLO)).status == 200


class TestTheProcessEnds:
    async def test_who_waits_goes_on_waiting_and_is_answered_while_no_new_client_comes_in(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        activator.service(FAST)
        client = await activator.client()
        await client.chat(stream=True)
        assert (await client.head()).status == 200
        activator.stop()
        while True:
            try:
                await (await activator.client()).close()
            except ConnectionError:  # refused, or reset where it was still in the listener's queue
                break
        engine.handler = answer_events
        activator.ready(engine)
        assert b'data: {"n": 2}' in b"".join([chunk async for chunk in client.chunks()])
        assert await client.rest() == b"", "and then it is closed"

    async def test_who_still_waits_is_told_to_try_again(self, activator: ActivatorHarness) -> None:
        activator.service(FAST, WHITE)
        streaming, silent = await activator.client(), await activator.client()
        await streaming.chat(stream=True)
        assert (await streaming.head()).status == 200
        activator.service(FAST, SILENT)
        await silent.chat()
        await activator.waiting(2)
        activator.door.close()
        *_, last = [chunk async for chunk in streaming.chunks()]
        assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "activator_stopping"
        answer = await silent.message()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert activator.gate().hold.waiting == 0

    async def test_who_is_being_answered_is_told_and_the_engine_let_go(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        async def endless(request: Message, stream: Stream) -> None:
            await stream.write(EVENTS_HEAD, chunked(b"data: 1\n\n"))
            await stream.reader.read()  # until the connection is closed

        engine.handler = endless
        activator.service()
        activator.ready(engine)
        client = await activator.client()
        await client.chat(stream=True)
        await client.head()
        assert await client.chunk() == b"data: 1\n\n"
        activator.door.close()
        (event,) = [chunk async for chunk in client.chunks()]
        assert json.loads(event.removeprefix(b"data: "))["error"]["code"] == "activator_stopping"
        async with asyncio.timeout(5):
            await engine.dropped.wait()

    async def test_an_answer_of_known_length_is_cut_and_nothing_is_put_into_it(
        self, activator: ActivatorHarness, engine: ScriptedEngine
    ) -> None:
        async def half(request: Message, stream: Stream) -> None:
            await stream.write(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n0123456789")
            await stream.reader.read()  # until the connection is closed

        engine.handler = half
        activator.service()
        activator.ready(engine)
        client = await activator.client()
        await client.chat()
        assert (await client.head()).headers["content-length"] == "20"
        assert await client.exactly(10) == b"0123456789"
        activator.door.close()
        assert await client.rest() == b""
