from collections.abc import Iterator

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.cluster.real.deployed import Deployed, deployed, nodes_of


@pytest.fixture(scope="package")
def hearth(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Hearth as users install it, on nodes that run its pods."""
    with nodes_of(plane, tmp_path_factory.mktemp("nodes")) as nodes, deployed(plane, nodes) as made:
        yield made
