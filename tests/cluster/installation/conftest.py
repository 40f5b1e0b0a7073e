import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.controlplane import SERVICES, ControlPlane, running
from tests.cluster.installation import keda
from tests.cluster.node.settings import NODES
from tests.cluster.node.shared import Service
from tests.cluster.real.deployed import Deployed, built, deployed, nodes_of


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One without KEDA: that comes as pods."""
    with running(built("HEARTH_CONTROLPLANE"), tmp_path_factory.mktemp("controlplane"), keda=False) as plane:
        yield plane


@pytest.fixture(scope="package")
def hearth(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Hearth and KEDA as their users install them, on a node where NetworkPolicies are enforced."""
    folder = tmp_path_factory.mktemp("nodes")
    with nodes_of(plane, folder, NODES[:1]) as nodes:
        node = nodes[NODES[0].name]
        router = enforcer(plane, node.spec.name, folder)
        router.start()
        try:
            keda.install(plane, node, built("HEARTH_INSTALLATION"))
            with deployed(plane, nodes) as made:
                yield made
            assert not router.ended, (folder / "kube-router.log").read_text()[-3000:]
        finally:
            router.stop()


def enforcer(plane: ControlPlane, node: str, folder: Path) -> Service:
    """kube-router, which does nothing here but enforce NetworkPolicies on a node's pods."""
    for tool in ("ipset", "iptables"):
        assert shutil.which(tool), f"{tool} is not installed; kube-router needs Debian's package of that name"
    off = ("router", "service-proxy", "loadbalancer")
    return Service(
        "kube-router",
        [
            *[
                str(built("HEARTH_INSTALLATION") / "kube-router"),
                "--run-firewall=true",
                *(f"--run-{part}=false" for part in off),
            ],
            *[
                f"--kubeconfig={plane.kubeconfig}",
                f"--hostname-override={node}",
                f"--service-cluster-ip-range={SERVICES}",
            ],
            *["--metrics-port=0", "--health-port=0"],
        ],
        folder,
        PATH=f"{os.environ['PATH']}:/usr/sbin:/sbin",
    )
