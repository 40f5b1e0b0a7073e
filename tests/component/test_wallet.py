"""Denial of wallet at both doors: who can have a model started, and how often."""

import json
from collections.abc import AsyncIterator

import pytest

from hearth.activator.origins import Origins
from hearth.activator.starts import AddressStarts
from tests.component.harness import BOTH, HELLO, ActivatorHarness, Message, ScriptedEngine

PAGE = {"origin": "https://evil.example"}
NEEDS_KEYS = "spec.endpoint.authentication={secretRef: {name: hearth-api-keys}}"


@pytest.fixture(params=BOTH)
async def door(request: pytest.FixtureRequest) -> AsyncIterator[ActivatorHarness]:
    async with ActivatorHarness(
        server=request.param, origins=Origins(["https://chat.example"]), addresses=AddressStarts(2)
    ) as made:
        made.service("spec.endpoint.coldStart.mode=reject")
        yield made


async def ask(
    door: ActivatorHarness, content_type: str = "application/json", model: str = "qwen", **fields: str
) -> Message:
    body = json.dumps({**HELLO, "model": model}).encode()
    return await post(door, "/v1/chat/completions", content_type, body, **fields)


async def post(door: ActivatorHarness, path: str, content_type: str, body: bytes, **fields: str) -> Message:
    client = await door.client()
    lines = [f"POST {path} HTTP/1.1", "host: llm.example", f"content-length: {len(body)}"]
    lines += [f"content-type: {content_type}"] if content_type else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    await client.write("\r\n".join(lines).encode(), b"\r\n\r\n", body)
    return await client.message()


class TestPages:
    @pytest.mark.parametrize(
        "content_type",
        ["text/plain", "application/x-www-form-urlencoded", "", "application/csp-report", "text/ping", "video/mp4"],
    )
    @pytest.mark.parametrize("origin", ["https://evil.example", "null"])
    async def test_a_page_of_anybodys_wakes_nothing(
        self, door: ActivatorHarness, content_type: str, origin: str
    ) -> None:
        answer = await ask(door, content_type, origin=origin)
        assert (answer.status, answer.json["error"]["code"]) == (403, "origin_not_allowed")
        assert "access-control-allow-origin" not in answer.headers
        assert door.gate().hold.requests == 0
        assert 'hearth_activator_unrouted_requests_total{reason="origin_not_allowed"} 1.0' in door.metrics()

    @pytest.mark.parametrize(
        "fields",
        [
            {"origin": "https://chat.example"},
            {"origin": "https://llm.example"},
            {**PAGE, "sec_fetch_site": "same-origin"},
            {},
        ],
    )
    async def test_a_page_that_is_let_in_or_none_at_all(self, door: ActivatorHarness, fields: dict[str, str]) -> None:
        assert (await ask(door, "text/plain", **fields)).json["error"]["code"] == "model_starting"

    @pytest.mark.parametrize("mode", ["no-cors", "navigate"])
    async def test_what_a_browser_sends_without_asking_wakes_nothing(self, door: ActivatorHarness, mode: str) -> None:
        fields = {**PAGE, "sec_fetch_site": "cross-site", "sec_fetch_mode": mode}
        assert (await ask(door, "application/json", **fields)).status == 403
        fields["sec_fetch_mode"] = "cors"
        assert (await ask(door, "application/json", **fields)).json["error"]["code"] == "model_starting"

    async def test_a_warm_model_answers_no_page_of_anybodys(self, door: ActivatorHarness) -> None:
        async with ScriptedEngine() as engine:
            door.ready(engine)
            assert (await ask(door, "text/plain", **PAGE)).status == 403
            assert engine.requests == []
            assert (await ask(door, **PAGE)).status == 200, "no page sends this unasked"


class TestBudgets:
    async def test_of_an_address(self, door: ActivatorHarness) -> None:
        for number in range(3):
            door.service("spec.endpoint.coldStart.mode=reject", name=f"qwen-{number}")
        answers = [await ask(door, model=f"qwen-{number}") for number in range(3)]
        assert [answer.json["error"]["code"] for answer in answers] == [*["model_starting"] * 2, "cold_starts_limited"]
        assert (answers[2].status, answers[2].headers["retry-after"]) == (429, "1800")
        assert door.gate("qwen-2").hold.requests == 0
        assert (await ask(door, model="qwen-0")).json["error"]["code"] == "model_starting", (
            "a start under way costs none"
        )

    async def test_of_a_key(self, door: ActivatorHarness) -> None:
        door.addresses.limit = None
        for number in range(2):
            door.service("spec.endpoint.coldStart.mode=reject", NEEDS_KEYS, name=f"qwen-{number}")
        door.keys("alice=key-of-alice cold_starts=1\nbob=key-of-bob")
        alice = {"x_api_key": "key-of-alice"}
        answers = [await ask(door, model=f"qwen-{number}", **alice) for number in (0, 1)]
        assert [answer.json["error"]["code"] for answer in answers] == ["model_starting", "rate_limit_exceeded"]
        assert "1 cold starts an hour" in answers[1].json["error"]["message"]
        assert door.gate("qwen-1").hold.requests == 0
        answer = await ask(door, model="qwen-1", x_api_key="key-of-bob")
        assert answer.json["error"]["code"] == "model_starting"

    async def test_of_a_service(self, door: ActivatorHarness) -> None:
        door.addresses.limit = None
        door.service("spec.endpoint.coldStart={mode: reject, maxPerHour: 1}")
        async with ScriptedEngine() as engine:
            assert (await ask(door)).json["error"]["code"] == "model_starting"
            door.ready(engine)
            assert (await ask(door)).status == 200
            door.ready()
            assert (await ask(door)).json["error"]["code"] == "cold_starts_limited"
            door.ready(engine)
            assert (await ask(door)).status == 200, "a warm request costs none"
        metrics = door.metrics()
        assert 'hearth_activator_cold_starts_asked_total{namespace="ai",service="qwen"} 1.0' in metrics


class TestWhatAsksNothing:
    """It wakes no model; and what could not have woken one keeps none awake."""

    @pytest.mark.parametrize(
        ("path", "content_type", "body"),
        [
            ("/v1/audio/transcriptions", "", b""),
            ("/v1/audio/translations", "application/json", b"{}"),
            ("/v1/audio/transcriptions", "multipart/form-data; boundary=X", b"--X--\r\n"),
            (
                "/v1/images/edits",
                "multipart/form-data; boundary=X",
                b'--X\r\ncontent-disposition: form-data; name="prompt"\r\n\r\nx\r\n--X--\r\n',
            ),
            ("/v1/images/variations", "multipart/form-data", b"no form at all"),
            ("/v1/chat/completions", "application/json", b'{"messages": []}'),
            ("/infill", "", b""),
        ],
    )
    async def test_a_sleeping_model_says_so(
        self, door: ActivatorHarness, path: str, content_type: str, body: bytes
    ) -> None:
        door.service(enginePaths=["/infill"])
        answer = await post(door, f"/ai/qwen{path}", content_type, body)
        assert (answer.status, answer.json["error"]["code"]) == (400, "missing_required_parameter")
        assert door.gate().hold.requests == 0

    @pytest.mark.parametrize("path", ["/v1/responses/resp_1", "/v1/responses/resp_1/cancel"])
    async def test_what_is_stored_nowhere_is_asked_of_nobody(self, door: ActivatorHarness, path: str) -> None:
        answer = await post(door, f"/ai/qwen{path}", "application/json", b"{}")
        assert (answer.status, answer.json["error"]["code"]) == (503, "model_asleep")
        assert door.gate().hold.requests == 0

    async def test_a_form_with_a_file_wakes_it(self, door: ActivatorHarness) -> None:
        form = b'--X\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\nx\r\n--X--\r\n'
        answer = await post(door, "/ai/qwen/v1/audio/transcriptions", "multipart/form-data; boundary=X", form)
        assert answer.json["error"]["code"] == "model_starting"

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("GET", "/health", b""),
            ("HEAD", "/version", b""),
            ("GET", "/v1/responses/resp_1", b""),
            ("POST", "/v1/chat/completions", b"{}"),
        ],
    )
    async def test_a_warm_model_answers_and_is_kept_by_none_of_it(
        self, door: ActivatorHarness, method: str, path: str, body: bytes
    ) -> None:
        async with ScriptedEngine() as engine:
            door.ready(engine)
            client = await door.client()
            await client.write(
                f"{method} /ai/qwen{path} HTTP/1.1\r\nhost: llm.example\r\ncontent-length: {len(body)}\r\n\r\n".encode(),
                body,
            )
            assert (await client.message(head_only=method == "HEAD")).status == 200
            assert len(engine.requests) == 1
            assert door.gate().hold.requests == 0
            assert (await ask(door)).status == 200
            assert door.gate().hold.requests == 1
