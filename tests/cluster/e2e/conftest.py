from collections.abc import Iterator

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.cluster.deployed import Deployed, deployed


@pytest.fixture(scope="package")
def hearth(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Hearth as users install it, on nodes that run its pods."""
    with deployed(plane, tmp_path_factory.mktemp("nodes")) as made:
        yield made
