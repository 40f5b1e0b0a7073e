"""Hearth as users have it: deploy/ applied as it is, its roles as pods of the image on real nodes."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.builders import ROOT
from tests.cluster.controlplane import ControlPlane
from tests.cluster.installed import SYSTEM
from tests.cluster.kubectl import NAMESPACE, Cluster
from tests.cluster.node.nodes import Nodes
from tests.cluster.node.settings import NODES, NodeSpec

ROLES = ("controller", "activator", "scaler")
ACTIVATOR = f"http://hearth-activator.{SYSTEM}.svc"


class Deployed:
    """Hearth and the bundled runtimes in a control plane that has nodes."""

    def __init__(self, plane: ControlPlane, nodes: Nodes) -> None:
        self.plane = plane
        self.nodes = nodes
        self.cluster = Cluster(plane)

    def install(self) -> None:
        """By the steps of docs/install.md. Raises CommandFailed."""
        self.plane.kubectl("apply", "--server-side", "-k", str(ROOT / "deploy"))
        self.plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        self.plane.kubectl("apply", "-f", str(ROOT / "runtimes"))
        for role in ROLES:
            self.rolled_out(role)

    def rolled_out(self, role: str) -> None:
        """Wait until every pod of one of Hearth's roles is ready. Raises CommandFailed."""
        self.plane.kubectl("rollout", "status", f"deployment/hearth-{role}", "-n", SYSTEM, "--timeout=90s")

    def uninstall(self) -> None:
        """First the LLMServices, then Hearth, as docs/install.md says."""
        self.plane.kubectl("delete", "llmservice", "--all", "-A")
        self.plane.kubectl("delete", "-k", str(ROOT / "deploy"), "--ignore-not-found")

    def engines(self, **arguments: list[str]) -> None:
        """Arguments of the simulated engines that start from now on, by LLMService (`-` written as `_`)."""
        self.nodes.engines.known = {name.replace("_", "-"): words for name, words in arguments.items()}

    def pods(self, role: str) -> list[Any]:
        """The pods of one of Hearth's roles that are not on their way out."""
        found = Cluster(self.plane, SYSTEM).items("pods", f"app.kubernetes.io/name=hearth-{role}")
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    def kill(self, pod: Any) -> None:
        """End a pod's process as a crash would."""
        (container,) = pod["status"]["containerStatuses"]
        self.nodes[pod["spec"]["nodeName"]].kill_container(container["containerID"])


@contextlib.contextmanager
def nodes_of(plane: ControlPlane, state: Path, specs: Sequence[NodeSpec] = NODES) -> Iterator[Nodes]:
    """Running nodes; `state` is a folder for them."""
    nodes = Nodes(plane, built("HEARTH_NODE"), built("HEARTH_IMAGES"), state, specs)
    with nodes.running():
        yield nodes


@contextlib.contextmanager
def deployed(plane: ControlPlane, nodes: Nodes) -> Iterator[Deployed]:
    """Hearth installed on nodes; everything is taken away when the context is left."""
    made = Deployed(plane, nodes)
    plane.kubectl("create", "namespace", NAMESPACE)
    try:
        made.install()
        yield made
    finally:
        made.uninstall()
        plane.kubectl("delete", "namespace", NAMESPACE)


def built(name: str) -> Path:
    """The folder of what a build script has made, by the variable that names it."""
    folder = os.environ.get(name)
    assert folder, f"{name} names no folder; run `make e2e`, which builds what is in it"
    return Path(folder)
