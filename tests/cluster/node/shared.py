"""What the nodes of a test bed share: a registry and a provisioner of volumes, each a real one, as a process."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from tests.cluster.controlplane import ControlPlane
from tests.cluster.node.settings import REGISTRY

STORAGE = Path(__file__).with_name("storage.yaml")
NAMESPACE = "kube-system"


class Service:
    """A process that can be ended and started again; its log is NAME.log in `folder`."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, **env: str) -> None:
        self.name = name
        self._command = command
        self._folder = folder
        self._env = {**os.environ, **env}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, where it does not run."""
        if self._process is not None:
            return
        with (self._folder / f"{self.name}.log").open("ab") as output:
            self._process = subprocess.Popen(
                self._command, env=self._env, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """It takes connections and answers nobody, until `go_on` or the context is left."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.go_on()

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    @property
    def ended(self) -> bool:
        """Whether it ended by itself."""
        return self._process is not None and self._process.poll() is not None


def registry(images: Path, folder: Path) -> Service:
    """distribution on the images that tests/cluster/images built; nothing is written to them."""
    configuration = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(images / "storage")},
            "maintenance": {"readonly": {"enabled": True}, "uploadpurging": {"enabled": False}},
        },
        "http": {"addr": REGISTRY},
    }
    file = folder / "registry.yaml"
    file.write_text(yaml.safe_dump(configuration))
    return Service("registry", [str(images / "registry"), "serve", str(file)], folder, OTEL_TRACES_EXPORTER="none")


def provisioner(plane: ControlPlane, programs: Path, folder: Path) -> Service:
    """rancher's local-path-provisioner, with what storage.yaml tells it. Raises CommandFailed."""
    plane.kubectl("apply", "-f", str(STORAGE))
    told = json.loads(plane.kubectl("get", "configmap", "local-path-config", "-n", NAMESPACE, "-o", "json"))["data"]
    for name in ("config.json", "helperPod.yaml"):
        (folder / name).write_text(told[name])
    return Service(
        "local-path-provisioner",
        [
            *[str(programs / "local-path-provisioner"), "start", f"--config={folder}/config.json"],
            *[f"--kubeconfig={plane.kubeconfig}", f"--namespace={NAMESPACE}"],
            *["--configmap-name=local-path-config", f"--helper-pod-file={folder}/helperPod.yaml"],
        ],
        folder,
    )
