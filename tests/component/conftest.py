from collections.abc import AsyncIterator

import pytest

from tests.component.harness import ActivatorHarness, ScriptedEngine


@pytest.fixture
async def activator() -> AsyncIterator[ActivatorHarness]:
    """A door behind a real uvicorn with the activator's own protocol, without the API server and the gRPC beside it."""
    async with ActivatorHarness() as harness:
        yield harness


@pytest.fixture
async def engine() -> AsyncIterator[ScriptedEngine]:
    """An engine that does what the test tells it to, byte for byte."""
    async with ScriptedEngine() as scripted:
        yield scripted
