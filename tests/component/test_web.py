"""The Starlette application by itself, in Starlette's test client: no socket, no connection of ours."""

import json
import threading
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import anyio
import pytest
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

from hearth.activator import feed
from hearth.activator.demand import DemandBoard
from hearth.activator.lane.door import Door
from hearth.activator.origins import Origins
from hearth.activator.web.app import create_app
from hearth.api.key import ServiceKey
from hearth.http1.limits import Limits
from tests.builders import endpoint_slice, llmservice_manifest
from tests.component.harness import HELLO, ScriptedEngine

NOBODY = {**HELLO, "model": "nobody"}


class Web:
    """The application on the test client's own event loop; `door` is called there."""

    def __init__(self, client: TestClient, door: Door) -> None:
        self.client = client
        self.door = door

    def call(self, function: Any, *arguments: Any) -> Any:
        assert self.client.portal is not None
        return self.client.portal.call(function, *arguments)

    def service(self, name: str = "qwen", *assignments: str, **status: Any) -> None:
        manifest = llmservice_manifest(name, "ai", *assignments)
        manifest["status"] = status
        self.call(self.door.directory.put_service, ("ai", name), manifest)

    def ready(self, *addresses: str, name: str = "qwen") -> None:
        item = endpoint_slice(name, "ai", *addresses)
        self.call(self.door.directory.put_slice, ("ai", f"{name}-1"), item)


def _web(*origins: str, ready: bool = True) -> Iterator[Web]:
    doors: list[Door] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if not doors:  # on the loop that will serve
            door = Door(DemandBoard(), CollectorRegistry(), Limits(body_bytes=10_000), origins=Origins(origins))
            door.app = create_app(door, lambda: ready)
            doors.append(door)
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            doors[0].close()
            await send({"type": "lifespan.shutdown.complete"})
            return
        assert doors[0].app is not None
        await doors[0].app(scope, receive, send)

    with TestClient(app, base_url="http://llm.example", raise_server_exceptions=False) as client:
        yield Web(client, doors[0])


@pytest.fixture
def web() -> Iterator[Web]:
    yield from _web()


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/", "/ai/qwen/v1/models"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_models_are_listed(web: Web, path: str, method: str) -> None:
    web.service()
    answer = web.client.request(method, path)
    assert answer.status_code == 200
    assert answer.headers["x-request-id"]
    assert (answer.json()["data"][0]["id"] == "qwen") if method == "GET" else answer.content == b""


@pytest.mark.parametrize("path", ["/v1/models/qwen", "/v1/models/qwen/", "/v1/models/ai/qwen", "/v1/models/ai%2Fqwen"])
def test_one_model(web: Web, path: str) -> None:
    web.service()
    assert web.client.get(path).json()["id"] == "qwen"


def test_what_is_not_there_is_told_in_openais_shape(web: Web) -> None:
    for method, path, status, code in (
        ("GET", "/v1/models/nobody", 404, "model_not_found"),
        ("POST", "/v1/models", 405, "method_not_allowed"),
        ("GET", "/v1/nothing", 404, "unknown_path"),
        ("PUT", "/v1/chat/completions", 405, "method_not_allowed"),
        ("GET", "/hearth/v1/nothing", 404, "unknown_path"),
    ):
        answer = web.client.request(method, path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), path
        assert ("allow" in answer.headers) == (status == 405)


def test_anthropics_paths_are_told_in_anthropics(web: Web) -> None:
    answer = web.client.post("/v1/messages", json=NOBODY)
    assert (answer.status_code, answer.json()["type"]) == (404, "error")


@pytest.mark.parametrize("ready", [True, False])
def test_readiness(ready: bool) -> None:
    for web in _web(ready=ready):
        assert web.client.get("/readyz").status_code == (200 if ready else 503)
        assert web.client.get("/healthz").status_code == 200


def test_an_inference_request_is_relayed_over_asgi(web: Web) -> None:
    with _engine() as engine:
        web.service()
        web.ready(engine.address)
        answer = web.client.post("/v1/chat/completions", json=HELLO, headers={"x-request-id": "mine"})
    assert (answer.status_code, answer.json()) == (200, {"asked": "/v1/chat/completions"})
    assert answer.headers["x-request-id"] == "mine"
    assert web.door.budget.used == 0


def test_a_body_over_the_limit(web: Web) -> None:
    answer = web.client.post("/v1/chat/completions", content=b"x" * 20_000)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")
    assert web.door.budget.used == 0


def test_services_say_what_they_are_doing(web: Web) -> None:
    web.service(phase="Ready")
    web.ready("127.0.0.1:9")
    web.service(
        "cold", "spec.endpoint.coldStart.mode=reject", phase="Loading", coldStart={"phase": "loading", "percent": 40}
    )
    assert web.client.post("/v1/chat/completions", json={**HELLO, "model": "cold"}).status_code == 503
    cold, warm = web.client.get("/hearth/v1/services").json()["services"]
    assert (warm["namespace"], warm["name"], warm["model"], warm["ready_replicas"]) == ("ai", "qwen", "qwen", 1)
    assert warm["cold_start"] is None
    assert (cold["waiting"], cold["in_flight"], cold["cold_start"]["percent"]) == (0, 0, 40)
    assert cold["cold_start"]["elapsed"] >= 0


async def test_the_feed_tells_all_then_what_changes() -> None:
    """Over ASGI by hand: the test client keeps a stream until its end, and this one has none."""
    door = Door(DemandBoard(), CollectorRegistry())
    app = create_app(door, lambda: True)
    told: list[dict[str, Any]] = []
    heard = anyio.Event()
    gone = anyio.Event()

    async def send(message: Any) -> None:
        nonlocal heard
        if message["type"] == "http.response.body" and (body := message.get("body")):
            told.append(json.loads(body.decode().partition("data: ")[2]))
            heard.set()

    async def receive() -> Any:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def next_one() -> dict[str, Any]:
        nonlocal heard
        with anyio.fail_after(5):
            while not told:
                heard = anyio.Event()
                await heard.wait()
        return told.pop(0)

    door.directory.put_service(("ai", "qwen"), llmservice_manifest("qwen", "ai"))
    scope = {"type": "http", "method": "GET", "path": "/hearth/v1/services/events", "headers": [], "query_string": b""}
    async with anyio.create_task_group() as group:
        group.start_soon(app, scope, receive, send)
        assert [service["name"] for service in (await next_one())["services"]] == ["qwen"]
        door.directory.put_slice(("ai", "s"), endpoint_slice("qwen", "ai", "127.0.0.1:9"))
        assert (await next_one())["services"][0]["ready_replicas"] == 1
        door.directory.put_service(("ai", "qwen"), None)
        assert (await next_one())["services"] == [{"namespace": "ai", "name": "qwen", "gone": True}]
        gone.set()
    assert not door.feed.watched
    door.close()


async def test_the_feed_has_room_for_so_many() -> None:
    changes = feed.Feed()
    listeners = [changes.changes() for _ in range(feed.MAX_LISTENERS)]
    async with anyio.create_task_group() as group:
        for listener in listeners:
            group.start_soon(anext, listener)
        with anyio.fail_after(5):
            while not changes.full:
                await anyio.lowlevel.checkpoint()
        changes.close()
        group.cancel_scope.cancel()
    for listener in listeners:
        await listener.aclose()
    assert not changes.watched


async def test_the_feed_says_that_it_is_there_whatever_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may see few LLMServices hears nothing of the others; a proxy would cut off what is silent."""
    monkeypatch.setattr(feed, "BEAT_SECONDS", 0.3)
    monkeypatch.setattr(feed, "COALESCE_SECONDS", 0.01)
    changes = feed.Feed()
    told: list[frozenset[ServiceKey]] = []

    async def listen() -> None:
        async with aclosing(changes.changes()) as news:
            async for keys in news:
                told.append(keys)
                if told.count(frozenset()) == 2:
                    return

    async with anyio.create_task_group() as group:
        group.start_soon(listen)
        with anyio.fail_after(5):
            while told.count(frozenset()) < 2:
                changes.changed(ServiceKey("ai", "busy"))
                await anyio.sleep(0.02)  # somebody's requests, all the time
    assert ServiceKey("ai", "busy") in set().union(*told)


def test_a_page_of_a_known_origin_may_ask() -> None:
    for web in _web("https://chat.example"):
        asks = {"origin": "https://chat.example", "access-control-request-method": "POST"}
        preflight = web.client.options("/v1/chat/completions", headers=asks)
        assert preflight.headers["access-control-allow-origin"] == "https://chat.example"
        error = web.client.post("/v1/chat/completions", json=NOBODY, headers={"origin": "https://chat.example"})
        assert (error.status_code, error.headers["access-control-allow-origin"]) == (404, "https://chat.example")


class _Running:
    def __init__(self, engine: ScriptedEngine, stop: Any) -> None:
        self.address = engine.address
        self.stop = stop


class _engine:  # noqa: N801  (used as a context)
    """A scripted engine on an event loop of its own, since the test client's is busy with the application."""

    def __enter__(self) -> _Running:
        ready = threading.Event()
        found: list[_Running] = []

        async def run() -> None:
            async with ScriptedEngine() as engine:
                stop = anyio.Event()
                loop = anyio.lowlevel.current_token()
                found.append(_Running(engine, lambda: anyio.from_thread.run_sync(stop.set, token=loop)))
                ready.set()
                await stop.wait()

        self._thread = threading.Thread(target=lambda: anyio.run(run))
        self._thread.start()
        assert ready.wait(10)
        self._running = found[0]
        return self._running

    def __exit__(self, *error: object) -> None:
        self._running.stop()
        self._thread.join(10)
