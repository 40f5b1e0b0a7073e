import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.controlplane import ControlPlane, running
from tests.cluster.installed import Installed


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A real API server, controller manager, scheduler and KEDA, for all tests of the run."""
    binaries = os.environ.get("HEARTH_CONTROLPLANE")
    assert binaries, "HEARTH_CONTROLPLANE names no folder of binaries; run `make e2e`, which builds them"
    with running(Path(binaries), tmp_path_factory.mktemp("controlplane")) as plane:
        yield plane


@pytest.fixture(scope="module")
def installed(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """Hearth in the cluster, by deploy/."""
    made = Installed(plane, tmp_path_factory.mktemp("roles"))
    made.install()
    yield made
    made.uninstall()
