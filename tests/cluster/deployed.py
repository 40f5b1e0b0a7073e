"""Hearth as users have it: deploy/ applied as it is, its roles as pods on the nodes of the tests' agent."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.builders import ROOT
from tests.cluster.controlplane import ControlPlane
from tests.cluster.installed import SYSTEM
from tests.cluster.kubectl import NAMESPACE, Cluster

ROLES = ("controller", "activator", "scaler")
ACTIVATOR = f"http://hearth-activator.{SYSTEM}.svc"


class Deployed:
    """Nodes, Hearth and the bundled runtimes in a control plane. `state` is a folder for the nodes."""

    def __init__(self, plane: ControlPlane, image: Path, state: Path) -> None:
        self.plane = plane
        self.cluster = Cluster(plane)
        self.state = state
        self._image = image

    @contextlib.contextmanager
    def nodes(self) -> Iterator[None]:
        """Run the node agent."""
        self.state.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "tests.cluster.agent", "--kubeconfig", str(self.plane.kubeconfig)]
        with (self.state / "agent.log").open("ab") as output:
            agent = subprocess.Popen(
                [*command, "--image", str(self._image), "--state", str(self.state)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=ROOT,
            )
        try:
            self.cluster.until(lambda: "gpu-1" in self.plane.kubectl("get", "nodes", "-o", "name"), "nodes")
            self.plane.kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=30s")
            self.plane.start_proxy("gpu-1")
            yield
            assert agent.poll() is None, f"the node agent ended:\n{self.log('agent.log')}"
        finally:
            agent.terminate()
            try:
                agent.wait(30)
            except subprocess.TimeoutExpired:
                agent.kill()
                agent.wait()
            self.plane.kill("kube-proxy")
            self.plane.kubectl("delete", "node", "--all")

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
        self.plane.kubectl("delete", "-k", str(ROOT / "deploy"))

    def engines(self, **arguments: list[str]) -> None:
        """Arguments of the simulated engines that start from now on, by LLMService (`-` written as `_`)."""
        known = {name.replace("_", "-"): words for name, words in arguments.items()}
        made = self.state / "engines.json.new"
        made.write_text(json.dumps(known))
        made.rename(self.state / "engines.json")

    def pods(self, role: str) -> list[Any]:
        """The pods of one of Hearth's roles that are not on their way out."""
        found = Cluster(self.plane, SYSTEM).items("pods", f"app.kubernetes.io/name=hearth-{role}")
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    def kill(self, pod: Any) -> None:
        """End a pod's process as a crash would."""
        (container,) = pod["status"]["containerStatuses"]
        os.kill(int(container["containerID"].removeprefix("process://")), signal.SIGKILL)

    def log(self, name: str, lines: int = 40) -> str:
        return "\n".join((self.state / name).read_text(errors="replace").splitlines()[-lines:])


@contextlib.contextmanager
def deployed(plane: ControlPlane, state: Path) -> Iterator[Deployed]:
    """Hearth installed on running nodes; everything is taken away when the context is left."""
    image = os.environ.get("HEARTH_IMAGE")
    assert image, "HEARTH_IMAGE names no image; run `make e2e`, which builds it"
    made = Deployed(plane, Path(image), state)
    with made.nodes():
        plane.kubectl("create", "namespace", NAMESPACE)
        try:
            made.install()
            yield made
        finally:
            made.uninstall()
            plane.kubectl("delete", "namespace", NAMESPACE)
