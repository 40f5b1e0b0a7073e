from collections.abc import AsyncIterator

import pytest

from tests.component.harness import ActivatorHarness, ScriptedEngine


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A module that says SERVERS is the one suite of behaviour for both ways of a request: the lane under our own
    connections, and the inference route over ASGI under uvicorn's own."""
    servers = getattr(metafunc.module, "SERVERS", None)
    if servers is not None and "activator" in metafunc.fixturenames:
        metafunc.parametrize("activator", servers, indirect=True)


@pytest.fixture
async def activator(request: pytest.FixtureRequest) -> AsyncIterator[ActivatorHarness]:
    """A door behind a real uvicorn, without the API server and the gRPC beside it."""
    async with ActivatorHarness(server=getattr(request, "param", "ours")) as harness:
        yield harness


@pytest.fixture
async def engine() -> AsyncIterator[ScriptedEngine]:
    """An engine that does what the test tells it to, byte for byte."""
    async with ScriptedEngine() as scripted:
        yield scripted
