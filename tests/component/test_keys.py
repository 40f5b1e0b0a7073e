"""API keys at both doors: ours and any ASGI server's. Who has none wakes nothing, waits nowhere and fills no memory."""

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hearth.activator.allowance import key_label
from hearth.activator.keyring import Keyring, KeySource
from hearth.activator.origins import Origins
from tests.component.harness import (
    BOTH,
    EVENTS_HEAD,
    HELLO,
    ActivatorHarness,
    Message,
    ScriptedEngine,
    answer_events,
    chunked,
)

ALICE, STRANGER = "key-of-alice", "key-of-a-stranger"
NEEDS_KEYS = "spec.endpoint.authentication={secretRef: {name: hearth-api-keys}}"
EVERYWHERE = KeySource("hearth-system", "hearth-api-keys", "keys")


@pytest.fixture(params=BOTH)
async def door(request: pytest.FixtureRequest) -> AsyncIterator[ActivatorHarness]:
    """ai/qwen needs a key, Alice has one."""
    async with ActivatorHarness(server=request.param, origins=Origins(["https://chat.example"])) as made:
        made.service(NEEDS_KEYS)
        made.keys(f"alice={ALICE}")
        yield made


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def ask(
    door: ActivatorHarness, target: str = "/v1/chat/completions", body: object = HELLO, **fields: str
) -> Message:
    client = await door.client()
    return await client.ask("POST" if body is not None else "GET", target, body, **fields)


class TestWithoutAKey:
    @pytest.mark.parametrize("target", ["/v1/chat/completions", "/ai/qwen/v1/chat/completions"])
    @pytest.mark.parametrize("fields", [{}, bearer(STRANGER), {"x_api_key": STRANGER}])
    async def test_nobody_is_let_in(self, door: ActivatorHarness, target: str, fields: dict[str, str]) -> None:
        answer = await ask(door, target, **fields)
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == 'Bearer realm="hearth"'
        error = answer.json["error"]
        assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")
        assert STRANGER not in answer.body.decode()

    async def test_anthropics_clients_hear_it_in_their_words(self, door: ActivatorHarness) -> None:
        answer = await ask(door, "/v1/messages", x_api_key=STRANGER)
        assert answer.status == 401
        assert answer.json["type"] == "error"
        assert answer.json["error"]["type"] == "authentication_error"

    async def test_nothing_is_woken_and_nobody_waits(self, door: ActivatorHarness) -> None:
        await ask(door)
        await ask(door, "/ai/qwen/v1/chat/completions", **bearer(STRANGER))
        gate = door.gate()
        assert (gate.hold.waiting, gate.hold.requests, gate.hold.cold_since) == (0, 0, None)
        assert gate.tally.admitted == 0
        assert sum(gate.tally.rejected.values()) == 0
        assert 'hearth_activator_unrouted_requests_total{reason="invalid_api_key"} 2.0' in door.metrics()

    async def test_a_body_is_not_read(self, door: ActivatorHarness) -> None:
        client = await door.client()
        head = "POST /ai/qwen/v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 500000\r\n\r\n"
        await client.write(head.encode())
        answer = await client.message()
        assert answer.status == 401
        assert door.budget.used == 0

    async def test_who_waits_for_a_100_hears_of_no_key(self, door: ActivatorHarness) -> None:
        client = await door.client()
        await client.send("POST", "/v1/chat/completions", HELLO, expect="100-continue")
        assert (await client.message()).status == 401

    async def test_a_model_that_is_not_there_is_told_alike(self, door: ActivatorHarness) -> None:
        for target in ("/ai/qwen/v1/chat/completions", "/ai/nobody/v1/chat/completions"):
            assert (await ask(door, target)).status == 401
            assert (await ask(door, target, **bearer(STRANGER))).status == 401
        for target in ("/ai/qwen/v1/models", "/ai/nobody/v1/models"):
            assert (await ask(door, target, None)).status == 401

    async def test_probes_need_none(self, door: ActivatorHarness) -> None:
        assert [(await ask(door, path, None)).status for path in ("/healthz", "/readyz")] == [200, 200]

    async def test_preflights_need_none_and_a_page_can_read_the_refusal(self, door: ActivatorHarness) -> None:
        client = await door.client()
        page = {"origin": "https://chat.example"}
        asked = {**page, "access_control_request_method": "POST", "access_control_request_headers": "authorization"}
        answer = await client.ask("OPTIONS", "/v1/chat/completions", **asked)
        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == "https://chat.example"
        answer = await ask(door, **page)
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (401, "https://chat.example")

    async def test_where_some_models_are_open_the_others_stay_closed(self, door: ActivatorHarness) -> None:
        door.service(name="open")
        async with ScriptedEngine() as engine:
            door.ready(engine, name="open")
            assert (await ask(door, body={**HELLO, "model": "open"})).status == 200
            assert (await ask(door)).status == 401
            assert (await ask(door, body={**HELLO, "model": "nobody"})).status == 401, "told alike"


class TestWithAKey:
    @pytest.mark.parametrize(
        "fields", [bearer(ALICE), {"x_api_key": ALICE}, {**bearer(ALICE), "x_api_key": "sk-ant-something"}]
    )
    async def test_the_engine_answers_and_hears_of_no_key(self, door: ActivatorHarness, fields: dict[str, str]) -> None:
        async with ScriptedEngine() as engine:
            door.ready(engine)
            assert (await ask(door, **fields)).status == 200
            (request,) = engine.requests
            assert {"authorization", "x-api-key"}.isdisjoint(request.headers)

    async def test_a_stream_of_a_cold_model(self, door: ActivatorHarness) -> None:
        client = await door.client()
        await client.send("POST", "/v1/chat/completions", {**HELLO, "stream": True}, **bearer(ALICE))
        await door.waiting(1)
        async with ScriptedEngine(answer_events) as engine:
            door.ready(engine)
            answer = await client.message()
            assert answer.body.endswith(b"data: [DONE]\n\n")

    async def test_a_key_for_another_model_finds_none(self, door: ActivatorHarness) -> None:
        door.service(NEEDS_KEYS.replace("hearth-api-keys", "others"), name="llama")
        door.keys("key-of-bob", name="others")
        for model in ("llama", "nobody"):
            answer = await ask(door, body={**HELLO, "model": model}, **bearer(ALICE))
            assert (answer.status, answer.json["error"]["code"]) == (404, "model_not_found")
            assert f"'{model}' does not exist, or this API key is not for it" in answer.json["error"]["message"]
        assert door.gate("llama").hold.requests == 0

    async def test_an_open_models_engine_is_told_no_key_of_ours_and_any_other(self, door: ActivatorHarness) -> None:
        door.service(name="open")
        async with ScriptedEngine() as engine:
            door.ready(engine, name="open")
            for key in (ALICE, "the-engines-own"):
                assert (await ask(door, body={**HELLO, "model": "open"}, **bearer(key))).status == 200
            ours, its = engine.requests
            assert "authorization" not in ours.headers
            assert its.headers["authorization"] == "Bearer the-engines-own"

    async def test_it_is_in_no_log(self, door: ActivatorHarness, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        async with ScriptedEngine() as engine:
            door.ready(engine)
            await ask(door, **bearer(ALICE))
            await ask(door, **bearer(STRANGER))
        assert ALICE not in caplog.text
        assert STRANGER not in caplog.text

    async def test_another_key_counts_from_the_next_request_on(self, door: ActivatorHarness) -> None:
        async with ScriptedEngine() as engine:
            door.ready(engine)
            client = await door.client()
            assert (await client.ask("POST", "/v1/chat/completions", HELLO, **bearer(ALICE))).status == 200
            door.keys("alice=key-of-alice-2")
            assert (await client.ask("POST", "/v1/chat/completions", HELLO, **bearer(ALICE))).status == 401
            assert (await ask(door, **bearer("key-of-alice-2"))).status == 200

    async def test_an_answer_under_way_outlives_its_key(self, door: ActivatorHarness) -> None:
        client = await door.client()
        await client.send("POST", "/v1/chat/completions", HELLO, **bearer(ALICE))
        await door.waiting(1)
        door.keys("alice=key-of-alice-2")
        async with ScriptedEngine() as engine:
            door.ready(engine)
            assert (await client.message()).status == 200


class TestKeysThatCannotBeRead:
    async def test_the_door_is_closed_in_words(self, door: ActivatorHarness) -> None:
        assert "hearth_activator_unreadable_key_sources 0.0" in door.metrics()
        door.keys(None)
        assert "hearth_activator_unreadable_key_sources 1.0" in door.metrics()
        answer = await ask(door, "/ai/qwen/v1/chat/completions", **bearer(ALICE))
        assert (answer.status, answer.json["error"]["code"]) == (503, "keys_unreadable")
        assert answer.headers["retry-after"] == "5"
        assert (await ask(door, "/ai/qwen/v1/chat/completions")).status == 401
        assert (await ask(door, **bearer(ALICE))).status == 503
        assert door.gate().hold.requests == 0


class TestWhatIsListed:
    @pytest.fixture
    async def lists(self, door: ActivatorHarness) -> ActivatorHarness:
        door.service(NEEDS_KEYS.replace("hearth-api-keys", "others"), name="llama")
        door.keys("key-of-bob", name="others")
        door.service(name="open")
        return door

    async def listed(self, door: ActivatorHarness, **fields: str) -> tuple[list[str], list[str]]:
        models = (await ask(door, "/v1/models", None, **fields)).json
        services = (await ask(door, "/hearth/v1/services", None, **fields)).json
        return [item["id"] for item in models["data"]], [item["name"] for item in services["services"]]

    async def test_each_sees_its_own(self, lists: ActivatorHarness) -> None:
        assert await self.listed(lists) == (["open"], ["open"])
        assert await self.listed(lists, **bearer(STRANGER)) == (["open"], ["open"])
        assert await self.listed(lists, **bearer(ALICE)) == (["open", "qwen"], ["open", "qwen"])
        assert await self.listed(lists, x_api_key="key-of-bob") == (["llama", "open"], ["llama", "open"])

    async def test_one_model(self, lists: ActivatorHarness) -> None:
        assert (await ask(lists, "/v1/models/qwen", None, **bearer(ALICE))).status == 200
        assert (await ask(lists, "/v1/models/llama", None, **bearer(ALICE))).status == 404
        assert (await ask(lists, "/ai/llama/v1/models", None, **bearer(ALICE))).status == 404
        assert (await ask(lists, "/ai/llama/v1/models/llama", None)).status == 401

    async def test_who_would_see_nothing_needs_a_key(self, door: ActivatorHarness) -> None:
        for path in ("/v1/models", "/hearth/v1/services", "/hearth/v1/services/events", "/v1/models/qwen"):
            assert (await ask(door, path, None)).status == 401
        client = await door.client()
        assert (await client.ask("HEAD", "/v1/models")).status == 401

    async def test_the_feed_tells_of_nothing_else(self, lists: ActivatorHarness) -> None:
        client = await lists.client()
        await client.send("GET", "/hearth/v1/services/events", **bearer(ALICE))
        await client.head()

        async def names() -> dict[str, Any]:
            event = (await client.chunk()).decode()
            return {item["name"]: item for item in json.loads(event.partition("data: ")[2])["services"]}

        assert list(await names()) == ["open", "qwen"]
        lists.service(NEEDS_KEYS.replace("hearth-api-keys", "others"), name="llama", phase="Loading")
        lists.delete("llama")
        lists.service(NEEDS_KEYS, phase="Loading")
        assert list(await names()) == ["qwen"]
        lists.delete()
        assert await names() == {"qwen": {"namespace": "ai", "name": "qwen", "gone": True}}


@pytest.mark.parametrize("server", BOTH)
async def test_the_activators_own_keys_close_every_path(server: Any) -> None:
    async with ActivatorHarness(server=server, keyring=Keyring(EVERYWHERE)) as door, ScriptedEngine() as engine:
        door.service()
        door.ready(engine)
        assert (await ask(door, **bearer(ALICE))).status == 503, "not read yet"
        door.keys(ALICE, namespace="hearth-system")
        for path in ("/v1/models", "/", "/nothing", "/hearth/v1/services"):
            assert (await ask(door, path, None)).status == 401
        assert (await ask(door)).status == 401
        assert (await ask(door, **bearer(ALICE))).status == 200
        assert (await ask(door, "/v1/models", None, **bearer(ALICE))).json["data"][0]["id"] == "qwen"


class TestLimits:
    async def limited(self, door: ActivatorHarness, limits: str) -> None:
        door.keys(f"alice={ALICE} {limits}")

    async def test_requests_a_minute(self, door: ActivatorHarness) -> None:
        await self.limited(door, "rpm=2")
        async with ScriptedEngine() as engine:
            door.ready(engine)
            first = await ask(door, **bearer(ALICE))
            assert first.headers["x-ratelimit-limit-requests"] == "2"
            assert first.headers["x-ratelimit-remaining-requests"] == "1"
            await ask(door, **bearer(ALICE))
            third = await ask(door, **bearer(ALICE))
            assert (third.status, third.json["error"]["code"]) == (429, "rate_limit_exceeded")
            assert 1 <= int(third.headers["retry-after"]) <= 30
            assert third.headers["x-ratelimit-remaining-requests"] == "0"
            assert len(engine.requests) == 2
        assert door.gate().tally.rejected["rate_limit_exceeded"] == 1

    async def test_a_limited_request_wakes_nothing(self, door: ActivatorHarness) -> None:
        await self.limited(door, "max_parallel_requests=1")
        client = await door.client()
        await client.send("POST", "/v1/chat/completions", HELLO, **bearer(ALICE))
        await door.waiting(1)
        before = door.gate().hold.requests
        answer = await ask(door, "/v1/messages", x_api_key=ALICE)
        assert (answer.status, answer.json["error"]["type"]) == (429, "rate_limit_error")
        assert door.gate().hold.requests == before
        await client.close()
        await door.idle()
        second = await door.client()
        await second.send("POST", "/v1/chat/completions", HELLO, **bearer(ALICE))
        await door.waiting(1)

    @pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
    async def test_tokens_a_minute_of_streams(self, door: ActivatorHarness, path: str) -> None:
        async def answer(request: Message, stream: Any) -> None:
            await stream.write(EVENTS_HEAD, chunked(b'data: {"n": 1}\n\n'))
            usage = b'{"input_tokens": 300, "output_tokens": 400, "total_tokens": 700}'
            await stream.write(chunked(b'data: {"usage": %b}\n\n' % usage), b"0\r\n\r\n")

        await self.limited(door, "tpm=500")
        body = {**HELLO, "input": "Hello", "stream": True}
        async with ScriptedEngine(answer) as engine:
            door.ready(engine)
            first = await ask(door, path, body, x_api_key=ALICE)
            assert first.headers["x-ratelimit-remaining-tokens"] == "500"
            second = await ask(door, path, body, x_api_key=ALICE)
            assert second.status == 429
            assert second.headers["x-ratelimit-remaining-tokens"] == "0"
        label = key_label("alice")
        key = f'key="{label}",namespace="ai"'
        tokens = f'hearth_activator_key_tokens_total{{{key},secret="hearth-api-keys"}} 700.0'
        limited = f'hearth_activator_key_limited_requests_total{{{key},reason="tpm",secret="hearth-api-keys"}} 1.0'
        assert tokens in door.metrics()
        assert limited in door.metrics()

    async def test_tokens_of_a_document(self, door: ActivatorHarness) -> None:
        async def answer(request: Message, stream: Any) -> None:
            body = json.dumps({"choices": [], "usage": {"total_tokens": 21}}).encode()
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
            await stream.write(head, body)

        async with ScriptedEngine(answer) as engine:
            door.ready(engine)
            await ask(door, **bearer(ALICE))
        assert [counts.tokens for counts in door.door.keyring.counts.values()] == [21]

    async def test_what_fails_takes_a_request_and_no_tokens(self, door: ActivatorHarness) -> None:
        async def answer(request: Message, stream: Any) -> None:
            await stream.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")

        await self.limited(door, "max_parallel_requests=1 tpm=10")
        async with ScriptedEngine(answer) as engine:
            door.ready(engine)
            for _ in range(3):
                assert (await ask(door, **bearer(ALICE))).status == 400
        assert [counts.tokens for counts in door.door.keyring.counts.values()] == [0]
