"""Hearth installed in the cluster by its own manifests; its roles run as processes, each with its own account.

There is no kubelet: the pods of deploy/ stay pending, and the processes here stand for them.
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.builders import ROOT
from tests.cluster.controlplane import HOST, ControlPlane
from tests.cluster.kubectl import NAMESPACE

SYSTEM = "hearth-system"
SCALER, CLIENTS = f"{HOST}:9090", f"{HOST}:8080"
"""Where the scaler listens for KEDA, and the activator for clients."""
NODES = {"gpu": "nvidia.com/gpu", "npu": "huawei.com/Ascend910"}


class Installed:
    """CRDs, accounts, bundled runtimes, a node of each vendor, and a namespace for LLMServices."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self.plane = plane
        self._folder = folder

    def install(self) -> None:
        self.plane.kubectl("apply", "--server-side", "-k", str(ROOT / "deploy"))
        self.plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        self.plane.kubectl("create", "namespace", NAMESPACE)
        self.plane.kubectl("apply", "-f", str(ROOT / "runtimes"))
        for name, resource in NODES.items():
            node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
            self.plane.kubectl("apply", "-f", "-", stdin=json.dumps(node))
            patch = json.dumps({"status": {"allocatable": {resource: "8"}, "capacity": {resource: "8"}}})
            self.plane.kubectl("patch", "node", name, "--subresource=status", "--type=merge", "-p", patch)

    def uninstall(self) -> None:
        """As docs say: first the LLMServices, then Hearth. No kubelet ends pods here, and a namespace waits for those that
        it finds for half their grace."""
        self.plane.kubectl("delete", "llmservices", "--all", "-n", NAMESPACE)
        self.plane.kubectl("delete", "scaledobjects,deployments,jobs,replicasets", "--all", "-n", NAMESPACE)
        self.plane.kubectl("delete", "pods", "--all", "-n", NAMESPACE, "--grace-period=0", "--force")
        self.plane.kubectl("delete", "namespace", NAMESPACE)
        self.plane.kubectl("delete", "-k", str(ROOT / "deploy"), "--ignore-not-found")
        self.plane.kubectl("delete", "node", *NODES)

    @contextlib.contextmanager
    def killed(self, role: str, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
        """Run a role that the test will kill."""
        process = self._start(role, self._folder / f"{role}.log", arguments)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    @contextlib.contextmanager
    def role(self, role: str, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
        """Run a role with the rights of its ServiceAccount; it must not end by itself, and stop when told."""
        log_file = self._folder / f"{role}.log"
        process = self._start(role, log_file, arguments)
        try:
            yield process
            if process.returncode is None:  # the test has not stopped it itself
                assert process.poll() is None, f"{role} ended:\n{log_file.read_text()[-3000:]}"
                process.terminate()
            assert process.wait(10) == 0, log_file.read_text()[-3000:]
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        assert "Traceback" not in log_file.read_text(), log_file.read_text()

    def log_of(self, role: str) -> str:
        """What a role has logged, all of its processes."""
        return (self._folder / f"{role}.log").read_text()

    @contextlib.contextmanager
    def looked_after(self) -> Iterator[None]:
        """Run a controller, and a scaler that hears no activator: it tells KEDA nothing, which then starts nothing."""
        with (
            self.role("scaler", "--listen", SCALER, "--activator", "127.0.0.1:9"),
            self.role("controller", "--scaler-address", SCALER),
        ):
            yield

    @contextlib.contextmanager
    def served(self) -> Iterator[None]:
        """Run all three roles; clients are served at `CLIENTS`."""
        with self.heard(), self.role("controller", "--scaler-address", SCALER):
            yield

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Run an activator, and a scaler that hears it: KEDA is content."""
        demand, operations = f"{HOST}:9091", ("--operations-listen", "127.0.0.1:0")
        with (
            self.role("scaler", "--listen", SCALER, "--activator", demand, *operations),
            self.role("activator", "--listen", CLIENTS, "--demand-listen", demand, *operations),
        ):
            yield

    def _start(self, role: str, log_file: Path, arguments: tuple[str, ...]) -> "subprocess.Popen[bytes]":
        account = self.plane.kubeconfig_of(SYSTEM, f"hearth-{role}")
        if role == "controller":
            arguments = ("--operations-listen", "127.0.0.1:0", *arguments)
        with log_file.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "hearth", role, "--kubeconfig", str(account), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
