"""The simulated engine over sockets: it must look like vLLM 0.32 to whoever waits for it and talks to it.

Each test is named after what the real one does; its docstring says where in vLLM's sources that stands.
"""

import asyncio
import contextlib
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from hearth.emulators.engine import Engine
from hearth.emulators.engine_core import EngineConfig
from hearth.emulators.engine_faults import FAULTS, POISON, fault_protocol
from hearth.emulators.engine_speech import WORDS
from hearth.emulators.listening import Place
from hearth.emulators.ports import free_port
from hearth.operations import EmbeddedServer, bind

PATIENCE = 20.0
CONFIG = EngineConfig("qwen", "127.0.0.1", 0, 0, 0, tokens_per_second=1000, slots=16)
HELLO: dict[str, Any] = {"model": "qwen", "messages": [{"role": "user", "content": "x"}], "max_tokens": 4}


class Face:
    """A loaded engine that listens in this process."""

    def __init__(self, engine: Engine, port: int, http: httpx.AsyncClient) -> None:
        self.engine, self.port, self.http = engine, port, http

    async def chat(self, fault: str = "", **changes: Any) -> httpx.Response:
        return await self.http.post("/v1/chat/completions", json={**HELLO, **changes}, headers={"x-sim-fault": fault})

    async def post(self, path: str, **body: Any) -> httpx.Response:
        return await self.http.post(path, json=body)

    def figure(self, name: str, **labels: str) -> float:
        value = self.engine.registry.get_sample_value(f"vllm:{name}", {"model_name": "qwen", "engine": "0", **labels})
        assert value is not None
        return value

    async def until(self, name: str, value: float) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.figure(name) != value:
                await asyncio.sleep(0.005)  # a figure has no bell


@contextlib.asynccontextmanager
async def serving(config: EngineConfig = CONFIG) -> AsyncIterator[Face]:
    engine = Engine(config)
    engine.core.loaded.set()
    listening = bind("127.0.0.1:0")
    port = listening.getsockname()[1]
    protocol = fault_protocol(config.active_faults, f"127.0.0.1:{port}")
    server = EmbeddedServer(uvicorn.Config(engine.app(), http=protocol, log_level="critical", lifespan="off"))
    task = asyncio.create_task(server.serve(sockets=[listening]))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=PATIENCE) as http:
        yield Face(engine, port, http)
    server.should_exit = server.force_exit = True
    await task
    listening.close()


@pytest.fixture
async def face() -> AsyncIterator[Face]:
    async with serving() as made:
        yield made


def events(answer: httpx.Response) -> list[Any]:
    """The data of a stream's events, [DONE] as it is."""
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


class TestCompletions:
    """vllm/entrypoints/openai/chat_completion and completion: protocol.py and serving.py."""

    async def test_a_chat_that_ends_at_max_tokens_says_length(self, face: Face) -> None:
        chat = (await face.chat()).json()
        assert (chat["object"], chat["model"]) == ("chat.completion", "qwen")
        (choice,) = chat["choices"]
        assert choice["message"]["content"].split() == ["Nobody", "asked", "for", "a"]
        assert (choice["finish_reason"], choice["stop_reason"]) == ("length", None)
        assert "tool_calls" not in choice["message"], "where it calls none"
        usage = chat["usage"]
        assert usage["completion_tokens"] == 4
        assert usage["total_tokens"] == usage["prompt_tokens"] + 4

    @pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
    async def test_both_names_of_the_limit(self, face: Face, name: str) -> None:
        limits: dict[str, Any] = {"max_tokens": 9, name: 2}
        chat = (await face.chat(**limits)).json()
        assert chat["usage"]["completion_tokens"] == 2

    async def test_without_a_limit_it_ends_by_itself_and_says_stop(self, face: Face) -> None:
        (choice,) = (await face.chat(max_tokens=None)).json()["choices"]
        assert choice["finish_reason"] == "stop"
        assert choice["message"]["content"].endswith("back to zero. ")

    async def test_a_stop_sequence_is_not_said_and_is_named(self, face: Face) -> None:
        (choice,) = (await face.chat(stop=["nothing", "for a"], max_tokens=30)).json()["choices"]
        assert choice["message"]["content"] == "Nobody asked "
        assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", "for a")

    async def test_n_choices_with_an_index_each(self, face: Face) -> None:
        chat = (await face.chat(n=3)).json()
        assert [choice["index"] for choice in chat["choices"]] == [0, 1, 2]
        assert chat["usage"]["completion_tokens"] == 12

    async def test_text_completions_end_at_16_tokens_where_nothing_else_is_said(self, face: Face) -> None:
        text = (await face.post("/v1/completions", model="qwen", prompt=["x", "y"], n=2)).json()
        assert text["object"] == "text_completion"
        assert [choice["index"] for choice in text["choices"]] == [0, 1, 2, 3]
        assert len(text["choices"][3]["text"].split()) == 16

    async def test_a_stream_begins_with_the_role_and_ends_with_usage_and_done(self, face: Face) -> None:
        answer = await face.chat(stream=True, stream_options={"include_usage": True})
        assert answer.headers["content-type"].startswith("text/event-stream")
        first, *words, last, usage, done = events(answer)
        assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        assert [word["choices"][0]["delta"]["content"] for word in words] == ["Nobody ", "asked ", "for "]
        assert {word["choices"][0]["finish_reason"] for word in (first, *words)} == {None}
        assert last["choices"][0]["delta"] == {"content": "a "}
        assert last["choices"][0]["finish_reason"] == "length", "with the last token"
        assert (usage["choices"], usage["usage"]["completion_tokens"]) == ([], 4)
        assert done == "[DONE]"
        assert len({chunk["id"] for chunk in (first, *words, last, usage)}) == 1

    async def test_a_stream_that_stops_by_itself_ends_with_an_empty_delta(self, face: Face) -> None:
        *_, last, done = events(await face.chat(stream=True, max_tokens=None))
        assert last["choices"][0]["delta"] == {"content": ""}
        assert (last["choices"][0]["finish_reason"], done) == ("stop", "[DONE]")

    async def test_ids_are_unique_or_the_clients_own(self, face: Face) -> None:
        one, two = (await face.chat()).json()["id"], (await face.chat(stream=True)).text
        assert one.startswith("chatcmpl-")
        assert one not in two
        own = await face.http.post("/v1/chat/completions", json=HELLO, headers={"x-request-id": "mine"})
        assert own.json()["id"] == "chatcmpl-mine"

    @pytest.mark.parametrize("stream", ["true", 1, True])
    async def test_what_pydantic_takes_for_true_streams(self, face: Face, stream: object) -> None:
        assert events(await face.chat(stream=stream))[-1] == "[DONE]"


class TestOtherPaths:
    async def test_responses_whole(self, face: Face) -> None:
        """vllm/entrypoints/openai/responses/protocol.py: one that ends at its limit is incomplete."""
        answer = (await face.post("/v1/responses", model="qwen", input="x", max_output_tokens=2)).json()
        assert (answer["object"], answer["status"]) == ("response", "incomplete")
        assert answer["incomplete_details"] == {"reason": "max_output_tokens"}
        assert answer["output"][0]["content"][0]["text"] == "Nobody asked "
        whole = (await face.post("/v1/responses", model="qwen", input=[{"role": "user", "content": "x"}])).json()
        assert (whole["status"], whole["incomplete_details"]) == ("completed", None)

    async def test_responses_stream_named_and_numbered_events_without_done(self, face: Face) -> None:
        """api_router.py, _convert_stream_to_sse_events."""
        answer = await face.post("/v1/responses", model="qwen", input="x", max_output_tokens=2, stream=True)
        made = events(answer)
        assert [event["type"] for event in made] == [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
        assert [event["sequence_number"] for event in made] == list(range(10))
        assert answer.text.count("event: response.output_text.delta\n") == 2

    async def test_messages_whole_and_as_a_stream(self, face: Face) -> None:
        """vllm/entrypoints/anthropic/serving.py: chat in Anthropic's envelopes, without ping."""
        asked = {**HELLO, "max_tokens": 2, "system": "Be brief."}
        whole = (await face.http.post("/v1/messages", json=asked)).json()
        assert (whole["type"], whole["stop_reason"]) == ("message", "max_tokens")
        assert whole["content"] == [{"type": "text", "text": "Nobody asked "}]
        answer = await face.http.post("/v1/messages", json={**asked, "stream": True})
        assert [event["type"] for event in events(answer)] == [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
        assert events(answer)[-2]["usage"]["output_tokens"] == 2
        stopped = await face.http.post("/v1/messages", json={**asked, "max_tokens": 30, "stop_sequences": ["for"]})
        assert (stopped.json()["stop_reason"], stopped.json()["stop_sequence"]) == ("stop_sequence", "for")

    async def test_tokens_there_and_back(self, face: Face) -> None:
        """vllm/entrypoints/serve/tokenize/protocol.py."""
        told = (await face.post("/tokenize", model="qwen", prompt="Grüße, Welt", return_token_strs=True)).json()
        assert told["count"] == len(told["tokens"]) == len(told["token_strs"])
        assert told["max_model_len"] == CONFIG.max_model_len
        back = await face.post("/detokenize", model="qwen", tokens=told["tokens"])
        assert back.json() == {"prompt": "Grüße, Welt"}
        assert (await face.post("/detokenize", model="qwen", tokens=[-1])).status_code == 400
        counted = await face.post("/v1/messages/count_tokens", model="qwen", messages=HELLO["messages"])
        assert counted.json()["input_tokens"] > 0

    async def test_embeddings_depend_on_the_text_alone(self, face: Face) -> None:
        same = await face.post("/v1/embeddings", model="qwen", input=["a", "b", "a"])
        one, two, three = (item["embedding"] for item in same.json()["data"])
        assert one == three != two

    async def test_version_and_models(self, face: Face) -> None:
        assert (await face.http.get("/version")).json() == {"version": "0.32.0"}
        (model,) = (await face.http.get("/v1/models")).json()["data"]
        assert (model["id"], model["owned_by"]) == ("qwen", "vllm")


class TestRefusals:
    """vllm/entrypoints/serve/exception_handling, recorded as vLLM 0.32 words them."""

    async def test_a_model_that_is_not_served(self, face: Face) -> None:
        """serve/engine/serving.py, _check_model."""
        answer = await face.chat(model="other")
        message = "The model `other` does not exist. Valid aliases: qwen."
        assert answer.status_code == 404
        error = {"message": message, "type": "NotFoundError", "param": "model", "code": 404}
        assert answer.json() == {"error": error}

    async def test_no_model_is_the_one_that_is_served(self, face: Face) -> None:
        assert (await face.chat(model=None)).status_code == 200

    async def test_missing_messages(self, face: Face) -> None:
        answer = await face.post("/v1/chat/completions", model="qwen")
        told = "{'type': 'missing', 'loc': 'body.messages', 'msg': 'Field required', 'input': '<dict of 1 items>'}"
        error = {"message": f"1 validation error:\n  {told}", "type": "Bad Request", "param": "body.messages"}
        assert (answer.status_code, answer.json()) == (400, {"error": {**error, "code": 400}})

    async def test_json_that_is_none(self, face: Face) -> None:
        headers = {"content-type": "application/json"}
        answer = await face.http.post("/v1/chat/completions", content=b'{"model": ', headers=headers)
        error = answer.json()["error"]
        assert (answer.status_code, error["type"], error["param"]) == (400, "Bad Request", "body.10")
        assert "JSON decode error" in error["message"]

    @pytest.mark.parametrize(
        ("changes", "param"),
        [
            ({"max_tokens": "many"}, "body.max_tokens"),
            ({"messages": "x"}, "body.messages"),
            ({"stop": 7}, "body.stop"),
            ({"messages": ["x"]}, "body.messages.0"),
            ({"stream": "perhaps"}, "body.stream"),
        ],
    )
    async def test_wrong_types_name_the_field(self, face: Face, changes: dict[str, Any], param: str) -> None:
        answer = await face.chat(**changes)
        error = answer.json()["error"]
        assert (answer.status_code, error["type"], error["param"]) == (400, "Bad Request", param)

    @pytest.mark.parametrize(
        ("field", "value", "param"), [("max_tokens", 0, "max_tokens"), ("n", 0, None), ("max_tokens", -1, "max_tokens")]
    )
    async def test_less_than_one(self, face: Face, field: str, value: int, param: str | None) -> None:
        """sampling_params.py, _verify_args and _verify_num_sequences."""
        changes: dict[str, Any] = {field: value}
        answer = await face.chat(**changes)
        message = f"{field} must be at least 1, got {value}."
        error = {"message": message, "type": "BadRequestError", "param": param, "code": 400}
        assert (answer.status_code, answer.json()) == (400, {"error": error})

    @pytest.mark.parametrize(
        "body",
        [b'{"messages": ' + b"[" * 100_000, b'{"messages": "\xff"}', b'{"max_tokens": 1' + b"0" * 5000 + b"}"],
    )
    async def test_a_body_that_its_parser_gives_up_on(self, face: Face, body: bytes) -> None:
        """FastAPI: what is no JSONDecodeError is "There was an error parsing the body"."""
        headers = {"content-type": "application/json"}
        answer = await face.http.post("/v1/chat/completions", content=body, headers=headers)
        error = {"message": "There was an error parsing the body", "type": "Bad Request", "param": None, "code": 400}
        assert (answer.status_code, answer.json()) == (400, {"error": error})

    @pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses", "/tokenize"])
    async def test_half_a_surrogate_pair(self, face: Face, path: str) -> None:
        """register.py: a ValueError of the tokenizer is a 400."""
        half = rb'{"model": "qwen", "max_tokens": 2, "prompt": "\ud800", "input": "\ud800", '
        body = half + rb'"messages": [{"role": "user", "content": "\ud800"}]}'
        answer = await face.http.post(path, content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["error"]["type"]) == (400, "BadRequestError")

    async def test_too_many_choices(self, face: Face) -> None:
        """sampling_params.py, _verify_num_sequences: VLLM_MAX_N_SEQUENCES."""
        answer = await face.chat(n=10**9)
        assert answer.status_code == 400
        assert answer.json()["error"]["message"].startswith("n must be at most 16384, got 1000000000.")

    async def test_a_prompt_that_is_longer_than_the_context(self) -> None:
        """renderers/params.py, _token_len_check."""
        async with serving(replace(CONFIG, max_model_len=100)) as face:
            answer = await face.chat(messages=[{"role": "user", "content": "x" * 1000}])
            error = answer.json()["error"]
            assert (answer.status_code, error["type"], error["param"]) == (400, "BadRequestError", "input_tokens")
            assert error["message"].startswith("This model's maximum context length is 100 tokens.")

    async def test_an_answer_is_no_longer_than_the_context_leaves(self) -> None:
        """serve/utils/api_utils.py, get_max_tokens: what is too much is cut, not refused."""
        async with serving(replace(CONFIG, max_model_len=20)) as face:
            usage = (await face.chat(max_tokens=10**12)).json()["usage"]
            assert usage["total_tokens"] == 20

    async def test_a_body_that_says_that_it_is_no_json(self, face: Face) -> None:
        """serve/utils/api_utils.py, validate_json_request."""
        answer = await face.http.post("/v1/completions", content=b"{}", headers={"content-type": "text/plain"})
        assert answer.status_code == 400
        assert "Unsupported Media Type: Only 'application/json' is allowed" in answer.json()["error"]["message"]

    async def test_stream_options_without_a_stream(self, face: Face) -> None:
        answer = await face.chat(stream_options={"include_usage": True})
        assert answer.status_code == 400
        assert "Stream options can only be defined when `stream=True`." in answer.json()["error"]["message"]

    async def test_anthropics_shape_is_for_what_its_route_refuses(self, face: Face) -> None:
        """anthropic/api_router.py translates; a body that does not validate never gets there."""
        unknown = (await face.http.post("/v1/messages", json={**HELLO, "model": "other"})).json()
        assert (unknown["type"], unknown["error"]["type"]) == ("error", "NotFoundError")
        invalid = (await face.http.post("/v1/messages", json={"model": "qwen"})).json()
        assert invalid["error"]["type"] == "Bad Request"

    @pytest.mark.parametrize(
        ("method", "path", "status", "detail"),
        [("GET", "/nowhere", 404, "Not Found"), ("GET", "/v1/completions", 405, "Method Not Allowed")],
    )
    async def test_paths_that_there_are_not(self, face: Face, method: str, path: str, status: int, detail: str) -> None:
        """FastAPI's own words: vLLM's handler is for its own HTTPException."""
        answer = await face.http.request(method, path)
        assert (answer.status_code, answer.json()) == (status, {"detail": detail})

    async def test_head_is_no_method_of_health(self, face: Face) -> None:
        assert (await face.http.head("/health")).status_code == 405


class TestCounting:
    """vllm/v1/metrics/loggers.py: names, and the labels model_name and engine."""

    async def test_slots_and_who_waits(self) -> None:
        async with serving(replace(CONFIG, slots=1, tokens_per_second=4)) as face:
            asked = [asyncio.create_task(face.chat()) for _ in range(3)]
            await face.until("num_requests_waiting", 2)
            assert face.figure("num_requests_running") == 1
            assert face.figure("kv_cache_usage_perc") == 1
            lines = (await face.http.get("/metrics")).text.splitlines()
            assert 'vllm:num_requests_running{engine="0",model_name="qwen"} 1.0' in lines
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def test_each_choice_is_counted(self) -> None:
        async with serving(replace(CONFIG, tokens_per_second=4)) as face:
            asked = asyncio.create_task(face.chat(n=3))
            await face.until("num_requests_running", 3)
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)

    @pytest.mark.parametrize("stream", [True, False])
    @pytest.mark.parametrize("n", [1, 2])
    async def test_who_goes_away_takes_the_whole_request_along(self, stream: bool, n: int) -> None:
        """serve/utils/api_utils.py, with_cancellation; v1/engine/async_llm.py aborts what is cancelled."""
        async with serving(replace(CONFIG, tokens_per_second=2, slots=2, prefill_seconds=60)) as face:
            prefilled = asyncio.create_task(face.chat(stream=stream, n=n))
            await face.until("num_requests_running", n)
            waiting = asyncio.create_task(face.chat(stream=stream, n=3 - n))
            await face.until("num_requests_waiting", 1)
            for task in (prefilled, waiting):
                task.cancel()
            await asyncio.gather(prefilled, waiting, return_exceptions=True)
            await face.until("num_requests_running", 0)
            await face.until("num_requests_waiting", 0)
            assert face.figure("request_success_total", finished_reason="abort") == 3

    async def test_who_has_gone_away_is_not_waited_for_in_the_end(self) -> None:
        """An engine whose clients were killed with their answers ends at SIGTERM as if they had never been."""
        async with serving(replace(CONFIG, tokens_per_second=2)) as face:
            for _ in range(3):
                async with face.http.stream(
                    "POST", "/v1/chat/completions", json={**HELLO, "stream": True, "max_tokens": 1000}
                ) as answer:
                    await anext(answer.aiter_lines())
            await face.until("num_requests_running", 0)
            async with asyncio.timeout(PATIENCE / 2):
                await face.engine.core.drain(PATIENCE)

    async def test_who_waits_and_goes_away_is_not_counted_either(self) -> None:
        async with serving(replace(CONFIG, tokens_per_second=2, slots=1)) as face:
            first, second = (asyncio.create_task(face.chat(max_tokens=9)) for _ in range(2))
            await face.until("num_requests_waiting", 1)
            second.cancel()
            await face.until("num_requests_waiting", 0)
            assert face.figure("num_requests_running") == 1
            first.cancel()
            await asyncio.gather(first, second, return_exceptions=True)

    async def test_how_requests_ended(self, face: Face) -> None:
        await face.chat()
        await face.chat(max_tokens=None)
        assert face.figure("request_success_total", finished_reason="length") == 1
        assert face.figure("request_success_total", finished_reason="stop") == 1
        assert face.figure("generation_tokens_total") == 4 + len(WORDS)


class EngineProcess:
    def __init__(self, process: asyncio.subprocess.Process, address: str, http: httpx.AsyncClient) -> None:
        self.process, self.address, self.http = process, address, http

    async def health(self) -> int | None:
        """The status of /health; None: nobody listens."""
        try:
            return (await self.http.get("/health")).status_code
        except httpx.ConnectError:
            return None

    async def ready(self) -> list[int | None]:
        """Wait until it is healthy; what /health said on the way, without repetitions."""
        seen: list[int | None] = []
        async with asyncio.timeout(PATIENCE):
            while True:
                now = await self.health()
                if seen[-1:] != [now]:
                    seen.append(now)
                if now == 200:
                    return seen
                await asyncio.sleep(0.01)  # a probe's period

    async def asked(self, path: str = "/v1/chat/completions", **changes: Any) -> httpx.Response:
        return await self.http.post(path, json={**HELLO, "max_tokens": 5000, **changes})

    async def running(self, count: int) -> None:
        line = f'vllm:num_requests_running{{engine="0",model_name="qwen"}} {count}.0'
        async with asyncio.timeout(PATIENCE):
            while line not in (await self.http.get("/metrics")).text:
                await asyncio.sleep(0.01)  # Prometheus polls, too


@contextlib.asynccontextmanager
async def engine_process(
    *arguments: str, command: Sequence[str] = ("vllm", "serve", "some/model", "--served-model-name", "qwen")
) -> AsyncIterator[EngineProcess]:
    place = Place.found(free_port())
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "hearth.emulators.engine", "--pod-address", place.address],
        *["--start-seconds", "0.1", "--load-seconds", "0.3", "--tokens-per-second", "50", *arguments],
        *["--model", "qwen", "--", *command, f"--port={place.port}"],
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    url = f"http://{place.address}:{place.port}"
    try:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE) as http:
            yield EngineProcess(process, place.address, http)
    finally:
        if process.returncode is None:
            process.kill()
        async with asyncio.timeout(PATIENCE):
            await process.wait()


async def test_its_port_opens_when_it_is_ready_and_not_before() -> None:
    """launchers/launcher.py: setup_server binds before the engine is made, uvicorn listens when it is."""
    async with engine_process() as engine:
        assert await engine.ready() == [None, 200]


class TestLlamaCpp:
    """llama.cpp, tools/server/server-http.cpp and server-context.cpp: what is not as vLLM has it."""

    async def test_its_port_is_open_while_it_loads_and_everything_is_a_503(self) -> None:
        async with serving(replace(CONFIG, family="llamacpp")) as face:
            face.engine.core.loaded.clear()
            for path in ("/health", "/metrics", "/v1/models", "/nowhere"):
                answer = await face.http.get(path)
                error = {"code": 503, "message": "Loading model", "type": "unavailable_error"}
                assert (answer.status_code, answer.json()) == (503, {"error": error})
            face.engine.core.loaded.set()
            assert (await face.http.get("/health")).status_code == 200

    async def test_as_a_process(self) -> None:
        async with engine_process(command=["/app/llama-server", "--host", "0.0.0.0"]) as engine:
            assert await engine.ready() == [None, 503, 200]

    async def test_its_figures_have_no_labels(self) -> None:
        async with serving(replace(CONFIG, family="llamacpp", tokens_per_second=4, slots=1)) as face:
            asked = [asyncio.create_task(face.chat()) for _ in range(2)]
            await face.until("num_requests_waiting", 1)
            lines = (await face.http.get("/metrics")).text.splitlines()
            assert {"llamacpp:requests_processing 1.0", "llamacpp:requests_deferred 1.0"} <= set(lines)
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def test_without_metrics_there_are_none(self) -> None:
        async with serving(replace(CONFIG, family="llamacpp", has_metrics=False)) as face:
            assert (await face.http.get("/metrics")).status_code == 501

    async def test_any_model_is_the_one_that_is_served(self) -> None:
        async with serving(replace(CONFIG, family="llamacpp")) as face:
            assert (await face.chat(model="other")).status_code == 200


class TestTermination:
    """launchers/launcher.py, handle_shutdown: with --shutdown-timeout 0, its default, the engine is stopped first."""

    async def test_streams_end_with_an_error_event_and_done(self) -> None:
        async with engine_process() as engine:
            await engine.ready()
            chat = asyncio.create_task(engine.asked(stream=True))
            text = asyncio.create_task(engine.asked("/v1/completions", prompt="x", stream=True))
            await engine.running(2)
            engine.process.send_signal(signal.SIGTERM)
            for answer in (await chat, await text):
                *_, error, done = events(answer)
                assert (error["error"]["type"], error["error"]["code"]) == ("InternalServerError", 500)
                assert error["error"]["message"].startswith("EngineCore encountered an issue.")
                assert done == "[DONE]"
            assert await engine.process.wait() == 0

    async def test_whole_answers_are_a_500_and_with_several_choices_a_200_with_nothing_in_it(self) -> None:
        async with engine_process() as engine:
            await engine.ready()
            one, two = (asyncio.create_task(engine.asked(n=n)) for n in (1, 2))
            await engine.running(3)
            engine.process.send_signal(signal.SIGTERM)
            assert (await one).status_code == 500
            assert (await one).json()["error"]["type"] == "InternalServerError"
            assert (await two).status_code == 200
            choices = (await two).json()["choices"]
            assert [(c["message"]["content"], c["finish_reason"]) for c in choices] == [("", "abort")] * 2

    async def test_anthropics_stream_ends_with_an_error_and_the_responses_are_cut(self) -> None:
        async with engine_process() as engine:
            await engine.ready()
            message = asyncio.create_task(engine.asked("/v1/messages", stream=True))
            response = asyncio.create_task(engine.asked("/v1/responses", input="x", max_output_tokens=900, stream=True))
            await engine.running(2)
            engine.process.send_signal(signal.SIGTERM)
            assert events(await message)[-1]["error"]["type"] == "internal_error"
            with pytest.raises(httpx.RemoteProtocolError):
                await response

    async def test_with_a_shutdown_timeout_what_runs_is_finished(self) -> None:
        async with engine_process("--shutdown-seconds", "20") as engine:
            await engine.ready()
            asked = asyncio.create_task(engine.asked(max_tokens=30))
            await engine.running(1)
            engine.process.send_signal(signal.SIGTERM)
            answer = await asked
            assert (answer.status_code, answer.json()["usage"]["completion_tokens"]) == (200, 30)
            assert await engine.process.wait() == 0

    async def test_while_it_loads_it_ends_at_once(self) -> None:
        async with engine_process("--load-seconds", "60") as engine:
            async with asyncio.timeout(PATIENCE):
                while _caught(engine.process.pid) is False:
                    await asyncio.sleep(0.01)  # its handler has no bell
                engine.process.send_signal(signal.SIGTERM)
                assert await engine.process.wait() == 0


def _caught(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    mask = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(mask >> (signal.SIGTERM - 1) & 1)


class TestFaults:
    async def test_an_error_500(self, face: Face) -> None:
        assert (await face.chat("error-500")).status_code == 500

    async def test_a_hang(self, face: Face) -> None:
        with pytest.raises(httpx.ReadTimeout):
            await face.http.post("/v1/embeddings", json={}, headers={"x-sim-fault": "hang"}, timeout=0.3)
        assert (await face.chat()).status_code == 200, "the others go on"

    @pytest.mark.parametrize(
        ("fault", "prompt"),
        [("crash-mid-stream", "x"), ("crash-on-request", "x"), ("crash-on-prompt", f"please {POISON}")],
    )
    async def test_a_crash(self, fault: str, prompt: str) -> None:
        async with engine_process("--fault", fault) as engine:
            await engine.ready()
            with pytest.raises(httpx.TransportError):
                await engine.asked(messages=[{"role": "user", "content": prompt}], stream=True, max_tokens=20)
            assert await engine.process.wait() == 1

    async def test_a_crash_is_for_the_poisoned_prompt_alone(self) -> None:
        async with serving(replace(CONFIG, faults=frozenset({"crash-on-prompt"}))) as face:
            assert (await face.chat()).status_code == 200

    async def test_a_crash_while_loading(self) -> None:
        async with engine_process("--fault", "crash-while-loading") as engine:
            async with asyncio.timeout(PATIENCE):
                assert await engine.process.wait() == 1

    async def test_a_fault_by_a_file_that_can_be_taken_away(self, tmp_path: Path) -> None:
        file = tmp_path / "faults"
        file.write_text("error-500\n")
        async with serving(replace(CONFIG, fault_file=file)) as face:
            assert (await face.chat()).status_code == 500
            file.write_text("redirect\n")
            assert (await face.chat()).status_code == 307
            assert (await face.http.get("/health")).status_code == 200, "its probes go on"
            file.unlink()
            assert (await face.chat()).status_code == 200

    async def test_connections_are_refused_by_one_that_has_loaded(self) -> None:
        async with engine_process("--fault", "refuse", "--load-seconds", "0.01") as engine:
            async with asyncio.timeout(PATIENCE):
                while not _caught(engine.process.pid):
                    await asyncio.sleep(0.01)  # its handler has no bell
            assert await engine.health() is None

    @pytest.mark.parametrize(
        ("fault", "method", "expected"),
        [
            ("two-responses", "POST", [b"content-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\n", b"stray"]),
            ("body-to-head", "HEAD", [b"content-length: 32\r\n\r\n", b"stray"]),
            ("short-length", "POST", [b"content-length: 2\r\n\r\n{}{", b"stray"]),
            ("long-length", "POST", [b"content-length: 1000\r\n\r\n{}"]),
            ("close-after-head", "POST", [b"content-length: 1000\r\n\r\n"]),
            ("invalid-head", "POST", [b"HTTP/1.1 OK\x00"]),
            ("redirect", "POST", [b"307", b"location: http://127.0.0.1:"]),
            ("endless-head", "POST", [b"HTTP/1.1 200 OK\r\n", b"x-filler: " + b"x" * 1000, b"x" * 1000]),
        ],
    )
    async def test_bytes_of_its_own(self, face: Face, fault: str, method: str, expected: list[bytes]) -> None:
        said = await raw(face, fault, method, sum(map(len, expected)) + 1000)
        for part in expected:
            assert part in said
        assert said.endswith(expected[-1]) or fault != "close-after-head"

    async def test_a_reset(self, face: Face) -> None:
        with pytest.raises(ConnectionResetError):
            await raw(face, "reset", "POST", 1)

    async def test_an_endless_head_does_not_outlive_its_client(self, face: Face) -> None:
        await raw(face, "endless-head", "POST", 200_000)
        assert (await face.chat()).status_code == 200

    async def test_a_connection_goes_on_behind_a_fault(self, face: Face) -> None:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{face.port}", trust_env=False) as http:
            for _ in range(3):
                answer = await http.post("/v1/completions", json=HELLO, headers={"x-sim-fault": "redirect"})
                assert answer.status_code == 307
            assert (await http.post("/v1/chat/completions", json=HELLO)).status_code == 200

    def test_all_are_in_the_docs(self) -> None:
        page = (Path(__file__).parents[2] / "docs" / "local.md").read_text()
        assert [fault for fault in FAULTS if f"| `{fault}` |" not in page] == []


async def raw(face: Face, fault: str, method: str, most: int) -> bytes:
    """What comes back on a connection, up to so many bytes or until nothing comes for a moment."""
    reader, writer = await asyncio.open_connection("127.0.0.1", face.port)
    try:
        head = f"{method} /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-sim-fault: {fault}\r\ncontent-length: 2\r\n\r\n"
        writer.write(head.encode())
        await writer.drain()
        writer.write(b"{}")
        said = b""
        with contextlib.suppress(TimeoutError):
            while len(said) < most:
                async with asyncio.timeout(0.5):  # silence is what ends some of these answers
                    piece = await reader.read(65536)
                if not piece:
                    break
                said += piece
        return said
    finally:
        writer.close()


async def test_a_port_that_is_taken_ends_it_at_once() -> None:
    """As vLLM: the address is bound before anything is loaded."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "hearth.emulators.engine", "--model", "qwen", "--port", str(port)],
            stderr=asyncio.subprocess.PIPE,
        )
        _, error = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == 1
    assert b"Address already in use" in error
