from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local.command import Hearth


@pytest.fixture(scope="module")
def hearth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hearth]:
    """`hearth up` as a person runs it, on the example manifest, with an engine that loads quickly."""
    folder: Path = tmp_path_factory.mktemp("up")
    with Hearth.up(
        folder, "--sim", "load-seconds=1.5", "--set", "spec.endpoint.coldStart.heartbeatInterval=200ms"
    ) as running:
        yield running
