"""The JDK's HttpClient offers `Upgrade: h2c` with the first request of a connection, whose body comes behind the offer."""

from pathlib import Path

from tests.clients.answers import answer
from tests.clients.clients import CLIENTS, running
from tests.component.harness import ActivatorHarness, ScriptedEngine


async def test_both_requests_of_a_connection_arrive_whole(installed: Path) -> None:
    (java,) = (client for client in CLIENTS if client.name == "java")
    async with ScriptedEngine(answer) as engine, ActivatorHarness() as activator, running(java, installed) as program:
        activator.service()
        activator.ready(engine)
        assert not (await program.ask(f"{activator.url}/v1", "qwen", "twice")).fault("chat")
        assert len(activator.connections()) == 1
    short, long = (request.body for request in engine.requests)
    assert short.endswith(b'"content": "Where were you?"}]}')
    assert long.startswith(b'{"model": "qwen", ')
    assert len(long) > 100_000
