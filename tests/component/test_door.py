"""Where a request goes, and what is refused at the door."""

import asyncio
import json

import pytest

from tests.component.harness import BOTH, HELLO, ActivatorHarness, ScriptedEngine

SERVERS = BOTH


async def test_the_model_in_the_body_names_the_service(activator: ActivatorHarness, engine: ScriptedEngine) -> None:
    activator.service()
    activator.ready(engine)
    client = await activator.client()
    answer = await client.ask("POST", "/v1/chat/completions?trace=a%20b", HELLO)
    assert (answer.status, answer.json) == (200, {"asked": "/v1/chat/completions?trace=a%20b"})
    (request,) = engine.requests
    assert request.json == HELLO
    assert request.headers["host"] == engine.address


async def test_a_path_names_the_service_and_is_cut_off(activator: ActivatorHarness, engine: ScriptedEngine) -> None:
    activator.service()
    activator.ready(engine)
    client = await activator.client()
    assert (await client.ask("POST", "/ai/qwen/v1/embeddings", {})).json == {"asked": "/v1/embeddings"}


async def test_a_host_names_the_service(activator: ActivatorHarness, engine: ScriptedEngine) -> None:
    activator.service()
    activator.ready(engine)
    client = await activator.client()
    answer = await client.ask("GET", "/v1/responses/resp_1", host="qwen.ai.svc.cluster.local:80")
    assert answer.json == {"asked": "/v1/responses/resp_1"}


async def test_the_engine_is_asked_for_the_name_that_it_serves(
    activator: ActivatorHarness, engine: ScriptedEngine
) -> None:
    activator.service()
    activator.ready(engine)
    client = await activator.client()
    body = b'{"model": "ai/qwen", "temperature": 0.10, "messages": []}'
    assert (await client.ask("POST", "/v1/chat/completions", body)).status == 200
    (request,) = engine.requests
    assert b'"temperature":0.10' in request.body.replace(b" ", b"")
    assert request.json["model"] == "qwen"


async def test_what_is_about_one_connection_is_not_forwarded(
    activator: ActivatorHarness, engine: ScriptedEngine
) -> None:
    activator.service()
    activator.ready(engine)
    client = await activator.client()
    answer = await client.ask(
        *("POST", "/v1/chat/completions", HELLO),
        connection="keep-alive, x-secret",
        x_secret="1",
        authorization="Bearer k",
        x_forwarded_for="203.0.113.9",
        x_request_id="r-1",
    )
    sent = engine.requests[0].headers
    assert "x-secret" not in sent
    assert sent["authorization"] == "Bearer k"
    assert sent["x-forwarded-for"] == "203.0.113.9, 127.0.0.1"
    assert sent["x-request-id"] == answer.headers["x-request-id"] == "r-1"


async def test_a_connection_serves_one_request_after_the_other(
    activator: ActivatorHarness, engine: ScriptedEngine
) -> None:
    activator.service()
    activator.ready(engine)
    client = await activator.client()
    for _ in range(3):
        assert (await client.ask("POST", "/v1/chat/completions", HELLO)).status == 200
    assert len(engine.requests) == 3
    assert engine.connections == 1


@pytest.mark.parametrize(
    ("target", "body", "status", "code", "says"),
    [
        ("/v1/chat/completions", {"model": "none"}, 404, "model_not_found", "'none'"),
        ("/v1/chat/completions", {"messages": []}, 400, "model_required", "No model was named"),
        ("/v1/chat/completions", b"{broken", 400, "bad_request", "not a JSON object"),
        ("/ai/none/v1/chat/completions", b"", 404, "model_not_found", "'ai/none'"),
        ("/chat/completions", HELLO, 404, "unknown_path", "did you mean /v1/chat/completions?"),
        ("/v1/v1/chat/completions", HELLO, 404, "unknown_path", "did you mean /v1/chat/completions?"),
        ("/ai/qwen/chat/completions", HELLO, 404, "unknown_path", "did you mean /ai/qwen/v1/chat/completions?"),
        ("/v1/chat/completion", HELLO, 404, "unknown_path", "did you mean /v1/chat/completions?"),
        ("/v1/embedings", HELLO, 404, "unknown_path", "did you mean /v1/embeddings?"),
        ("/v1/sleep", HELLO, 404, "unknown_path", "the paths of inference are served"),
        ("/ai/qwen/sleep", b"", 404, "unknown_path", "not served"),
        ("/ai/qwen/v1/load_lora_adapter", {"lora_name": "x"}, 404, "unknown_path", "not served"),
        ("/ai/qwen/collective_rpc", {"method": "x"}, 404, "unknown_path", "not served"),
        ("/ai/qwen/v1/chat/completions", b"", 400, "missing_required_parameter", "no messages"),
        ("/v1/chat/completions", {"model": "qwen"}, 400, "missing_required_parameter", "no messages"),
    ],
)
async def test_a_request_for_no_service_is_refused(
    activator: ActivatorHarness, target: str, body: object, status: int, code: str, says: str
) -> None:
    activator.service()
    client = await activator.client()
    answer = await client.ask("POST", target, body)
    assert (answer.status, answer.json["error"]["code"]) == (status, code)
    assert says in answer.json["error"]["message"]
    assert activator.gate().hold.cold_since is None


@pytest.mark.parametrize(
    "path", ["/metrics", "/sleep", "/v1/files", "/v1/responses/../../sleep", "/v1/responses/%2e%2e/x"]
)
async def test_a_warm_engine_is_asked_for_inference_alone(
    activator: ActivatorHarness, engine: ScriptedEngine, path: str
) -> None:
    activator.service()
    activator.ready(engine)
    client = await activator.client()
    for method in ("GET", "POST", "DELETE"):
        answer = await client.ask(method, f"/ai/qwen{path}")
        assert (answer.status, answer.json["error"]["code"]) == (404, "unknown_path")
    assert engine.requests == []


async def test_a_body_over_the_limit_is_refused_by_its_length_and_by_counting(activator: ActivatorHarness) -> None:
    activator.service()
    big = json.dumps({**HELLO, "padding": "x" * 2**20}).encode()
    by_length = await activator.client()
    await by_length.send("POST", "/v1/chat/completions", big)
    assert (await by_length.message()).json["error"]["code"] == "request_too_large"
    counted = await activator.client()
    await counted.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
    for piece in (big[:700_000], big[700_000:]):
        await counted.write(b"%x\r\n%b\r\n" % (len(piece), piece))
    assert (await counted.message()).status == 413


async def test_expect_100_continue_is_answered(activator: ActivatorHarness, engine: ScriptedEngine) -> None:
    activator.service()
    activator.ready(engine)
    client = await activator.client()
    body = json.dumps(HELLO).encode()
    await client.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n"
        % len(body)
    )
    assert (await client.head()).status == 100
    await client.write(body)
    assert (await client.message()).status == 200


async def test_a_head_request_has_no_body(activator: ActivatorHarness, engine: ScriptedEngine) -> None:
    async def answer(request: object, stream: object) -> None:
        await stream.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")  # type: ignore[attr-defined]

    engine.handler = answer
    activator.service()
    activator.ready(engine)
    client = await activator.client()
    answer_head = await client.ask("HEAD", "/ai/qwen/health")
    assert (answer_head.status, answer_head.headers["content-length"]) == (200, "5")
    assert (await client.ask("GET", "/v1/models")).status == 200


class TestModels:
    async def test_every_service_is_listed_whether_it_is_loaded_or_not(self, activator: ActivatorHarness) -> None:
        activator.service(name="cold", phase="ScaledToZero")
        activator.service(name="warm", phase="Ready")
        activator.service("spec.endpoint.openAICompatible=false", name="raw")
        activator.ready("127.0.0.1:9", name="warm")
        client = await activator.client()
        models = (await client.ask("GET", "/v1/models")).json
        assert models["object"] == "list"
        seen = {model["id"]: (model["hearth"]["phase"], model["hearth"]["ready_replicas"]) for model in models["data"]}
        assert seen == {"cold": ("ScaledToZero", 0), "warm": ("Ready", 1)}

    async def test_one_model_and_none(self, activator: ActivatorHarness) -> None:
        activator.service()
        client = await activator.client()
        for name in ("qwen", "ai/qwen", "ai%2Fqwen"):
            assert (await client.ask("GET", f"/v1/models/{name}")).json["id"] == "qwen"
        assert (await client.ask("GET", "/v1/models/none")).status == 404

    async def test_the_address_of_one_service_lists_that_one(self, activator: ActivatorHarness) -> None:
        activator.service(name="one")
        activator.service(name="two")
        client = await activator.client()
        models = (await client.ask("GET", "/ai/two/v1/models")).json
        assert [model["id"] for model in models["data"]] == ["two"]

    async def test_looking_at_models_wakes_none(self, activator: ActivatorHarness) -> None:
        activator.service()
        client = await activator.client()
        await client.ask("GET", "/ai/qwen/v1/models")
        assert (await client.ask("GET", "/ai/qwen/health")).json["error"]["code"] == "model_asleep"
        assert not activator.gate().hold.lease(asyncio.get_running_loop().time())


async def test_health_and_readiness(activator: ActivatorHarness) -> None:
    client = await activator.client()
    assert (await client.ask("GET", "/healthz")).body == b"ok\n"
    assert (await client.ask("GET", "/readyz")).status == 200


async def test_a_runtime_may_serve_more(activator: ActivatorHarness, engine: ScriptedEngine) -> None:
    activator.service(enginePaths=["/infill"])
    activator.ready(engine)
    client = await activator.client()
    assert (await client.ask("POST", "/ai/qwen/infill", {"input_prefix": "x"})).json == {"asked": "/infill"}
    assert (await client.ask("POST", "/ai/qwen/props", {})).status == 404


async def test_a_path_that_a_runtime_adds_is_asked_of_the_model_that_the_body_names(
    activator: ActivatorHarness, engine: ScriptedEngine
) -> None:
    activator.service(enginePaths=["/infill"])
    activator.ready(engine)
    activator.service(name="other", enginePaths=["/completion"])
    client = await activator.client()
    assert (await client.ask("POST", "/infill", {"model": "qwen", "input_prefix": "x"})).json == {"asked": "/infill"}
    for body in ({"model": "other", "input_prefix": "x"}, {"input_prefix": "x"}, {"model": "unknown"}):
        refused = await client.ask("POST", "/infill", body)
        assert refused.status in (400, 404), refused
    assert (await client.ask("GET", "/infill")).status == 405
    activator.service(enginePaths=[])
    refused = await client.ask("POST", "/infill", {"model": "qwen", "input_prefix": "x"})
    assert (refused.status, refused.json["error"]["code"]) == (404, "unknown_path")
