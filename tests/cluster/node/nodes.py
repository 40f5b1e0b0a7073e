"""The nodes of a test bed, with what they share: a registry, the arguments of simulated engines, local volumes.

Each node is a set of namespaces (root.sh) with a containerd and a kubelet in it, both with their default paths: what is
done to a node is done there, by `Node.run`.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import yaml

from tests.cluster.controlplane import CommandFailed, ControlPlane, run
from tests.cluster.node import cgroups, settings, shared
from tests.cluster.node.arguments import EngineArguments
from tests.cluster.node.deviceplugin import DevicePlugin
from tests.cluster.node.settings import NODES, NodeSpec

START_SECONDS = 60.0
CPUS, GIBIBYTES = 64, 512
KUBELET_FOLDER = "var/lib/kubelet"


class NodeFailed(Exception):
    """A node can't be started; the text has what was said."""


class Node:
    """One node. `programs` as build.sh leaves them; `folder` is empty; `cgroup` is its group's path, in every
    hierarchy."""

    def __init__(self, spec: NodeSpec, plane: ControlPlane, programs: Path, folder: Path, cgroup: str) -> None:
        self.spec = spec
        self.folder = folder
        self.cgroup = cgroup
        self.kubelet_settings: dict[str, Any] = {}
        """What a test wants otherwise, of KubeletConfiguration; read when the kubelet starts."""
        self._plane = plane
        self._programs = programs
        self._namespaces: subprocess.Popen[str] | None = None
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.devices = DevicePlugin(folder / KUBELET_FOLDER / "device-plugins", spec.resource, spec.devices)

    def start(self) -> None:
        """Returns when the node is Ready and has its devices. Raises NodeFailed, CommandFailed."""
        self._prepare()
        self.power_on()

    def power_on(self) -> None:
        """Start it, or start it again: what is on its disk is there."""
        cgroups.make(self.cgroup)
        # It may be asked for an address that it had, and has: what has it goes with the namespace.
        run("ip", "address", "replace", f"{self.spec.address}/32", "dev", "lo")
        script = Path(__file__).with_name("root.sh")
        command = ["unshare", *["--mount", "--uts", "--pid", "--fork", "--kill-child"], str(script)]
        with self._log("root") as output:
            self._namespaces = subprocess.Popen(
                [*command, str(self.folder), self.spec.name, str(self._programs), str(self._plane.state)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            )
        assert self._namespaces.stdout is not None
        if self._namespaces.stdout.readline() != "ready\n":
            raise NodeFailed(f"{self.spec.name}: no root file system: {self.log('root')}")
        self.start_containerd()
        self.start_kubelet()

    def power_off(self) -> None:
        """As if its power failed: nothing says goodbye."""
        self.devices.stop()
        if self._namespaces is not None:
            self._namespaces.kill()
            self._namespaces.communicate()
            self._namespaces = None
        for process in self._running.values():
            process.kill()
            process.wait()
        self._running.clear()

    def remove(self) -> None:
        """End it, and leave nothing but its logs."""
        self.power_off()
        cgroups.remove(self.cgroup)
        for name in ("var", "tree"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def start_containerd(self) -> None:
        self._spawn("containerd", "--config", f"{self.folder}/containerd.toml")
        self._until("containerd", lambda: self.run("ctr", "--connect-timeout=1s", "version"))

    def start_kubelet(self) -> None:
        """Returns when its devices are allocatable and it is Ready."""
        told = settings.kubelet(self.spec, self.cgroup, f"{self._plane.state}/pki/ca.crt", self.kubelet_settings)
        (self.folder / "kubelet.yaml").write_text(told)
        self.devices.stop()
        self.devices.kubelet.unlink(missing_ok=True)  # an earlier one's: it is back when plugins may come
        self._spawn(
            *["kubelet", f"--config={self.folder}/kubelet.yaml", f"--kubeconfig={self.folder}/kubeconfig"],
            *[f"--hostname-override={self.spec.name}", f"--node-ip={self.spec.address}"],
        )
        self._until("kubelet", lambda: httpx.get(self._healthz, trust_env=False).raise_for_status())
        self._until("kubelet", self.devices.start)
        self._until("kubelet", self._ready)

    def stop(self, program: str) -> None:
        """End its kubelet or its containerd with SIGKILL; pods go on."""
        if program == "kubelet":
            self.devices.stop()
        process = self._running.pop(program)
        process.kill()
        process.wait()

    def start_again(self, program: str) -> None:
        """Of the two that `stop` ends. Raises NodeFailed."""
        if program == "kubelet":
            self.start_kubelet()
        else:
            self.start_containerd()

    def run(self, *command: str) -> str:
        """Standard output of a command on the node. Raises CommandFailed."""
        return run(*self._enter(), *command)

    def throttled(self, container: str) -> float:
        """Seconds for which a container had to wait for its limit of CPU, by the id that its status has."""
        return cgroups.throttled(self.cgroup, container.rpartition("/")[2])

    def kill_container(self, container: str) -> None:
        """End the first process of a container, by the id that its status has, as a crash would."""
        for pid in cgroups.processes(self.cgroup, container.rpartition("/")[2]):
            (line,) = [
                line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("NSpid:")
            ]
            if line.split()[-1] == "1":
                os.kill(pid, signal.SIGKILL)
                return
        raise NodeFailed(f"{self.spec.name}: no process of container {container}")

    def log(self, name: str, lines: int = 30) -> str:
        return "\n".join((self.folder / f"{name}.log").read_text(errors="replace").splitlines()[-lines:])

    @property
    def ended(self) -> list[str]:
        """Which of its programs have ended by themselves."""
        return [name for name, process in self._running.items() if process.poll() is not None]

    @property
    def _healthz(self) -> str:
        return f"http://{self.spec.address}:{settings.HEALTH_PORT}/healthz"

    def _ready(self) -> None:
        path = '{.status.conditions[?(@.type=="Ready")].status} {.status.allocatable}'
        said = self._plane.kubectl("get", "node", self.spec.name, "-o", f"jsonpath={path}")
        if not said.startswith("True ") or f'"{self.spec.resource}":"{self.spec.devices}"' not in said:
            raise NodeFailed(f"{self.spec.name}: not Ready: {said}")

    def _prepare(self) -> None:
        """Its disk, and what the machine's files are replaced with."""
        self.folder.mkdir(parents=True)
        for name, text in settings.files(self.spec, self.folder, self._programs).items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text)
        for file in self.spec.driver_files:
            driver = self.folder / "rootfs" / file
            driver.parent.mkdir(parents=True, exist_ok=True)
            driver.touch()
        (self.folder / "meminfo").write_text(settings.meminfo(Path("/proc/meminfo").read_text(), GIBIBYTES))
        for number in range(CPUS):
            topology = self.folder / "cpu" / f"cpu{number}" / "topology"
            topology.mkdir(parents=True)
            (topology / "core_id").write_text(f"{number}\n")
            (topology / "physical_package_id").write_text("0\n")
        # What is not online counts, and no control group gets it.
        online = Path("/sys/devices/system/cpu/online").read_text()
        (self.folder / "cpu" / "online").write_text(online)
        key, certificate = self._plane.certificate(
            f"node-{self.spec.name}", f"/O=system:nodes/CN=system:node:{self.spec.name}"
        )
        document = yaml.safe_load(self._plane.kubeconfig.read_text())
        document["users"][0]["user"] = {"client-certificate": str(certificate), "client-key": str(key)}
        (self.folder / "kubeconfig").write_text(yaml.safe_dump(document))

    def _enter(self) -> list[str]:
        if self._namespaces is None:
            raise NodeFailed(f"{self.spec.name} is off")
        (first,) = _children(self._namespaces.pid)
        path = f"{self._programs}:{os.environ['PATH']}"
        return ["nsenter", f"--target={first}", *["--mount", "--uts", "--pid", "--root", "--wd"], "env", f"PATH={path}"]

    def _spawn(self, name: str, *arguments: str) -> None:
        """Start a program of the node."""
        # nsenter(1) stays outside and hands no signal on: what it started ends with it.
        command = [*self._enter(), "setpriv", "--pdeathsig", "KILL", name, *arguments]
        with self._log(name) as output:
            self._running[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    @contextlib.contextmanager
    def _log(self, name: str) -> Iterator[Any]:
        with (self.folder / f"{name}.log").open("ab") as output:
            yield output

    def _until(self, program: str, probe: Callable[[], object]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                probe()
            except (CommandFailed, NodeFailed, httpx.HTTPError, grpc.RpcError, FileNotFoundError) as error:
                if self._running[program].poll() is not None:
                    raise NodeFailed(f"{self.spec.name}: {program} ended: {self.log(program)}") from error
                if time.monotonic() > deadline:
                    raise NodeFailed(f"{self.spec.name}: {error}; {program}: {self.log(program)}") from error
                time.sleep(0.1)  # a server that is not there yet has no event to wait for
            else:
                return


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Nodes:
    """Nodes and what they share. `programs` as build.sh leaves them, `images` as tests/cluster/images/build.sh;
    `folder` is empty."""

    def __init__(
        self, plane: ControlPlane, programs: Path, images: Path, folder: Path, specs: Sequence[NodeSpec] = NODES
    ) -> None:
        self.engines = EngineArguments()
        self.registry = shared.registry(images, folder)
        self.provisioner = shared.provisioner(plane, programs, folder)
        self._plane = plane
        self._programs = programs
        self._folder = folder
        self._specs = specs
        self._nodes: dict[str, Node] = {}

    def __getitem__(self, name: str) -> Node:
        return self._nodes[name]

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """All of it; nothing is left when the context is left. Raises NodeFailed, CommandFailed, OSError."""
        with ThreadPoolExecutor(len(self._specs)) as side_by_side, contextlib.ExitStack() as ends:
            cgroup = ends.enter_context(cgroups.group())
            for service in (self.registry, self.engines):
                ends.callback(service.stop)
                service.start()
            made = [
                Node(spec, self._plane, self._programs, self._folder / spec.name, f"{cgroup}/{spec.name}")
                for spec in self._specs
            ]
            self._nodes = {node.spec.name: node for node in made}
            ends.callback(self._plane.kubectl, "delete", "node", *self._nodes, "--ignore-not-found")
            ends.callback(lambda: list(side_by_side.map(Node.remove, made)))
            list(side_by_side.map(Node.start, made))
            ends.callback(self._plane.kill, "kube-proxy")
            self._plane.start_proxy(made[0].spec.name)
            ends.callback(self.provisioner.stop)
            self.provisioner.start()
            ends.callback(self._volumes_gone)
            yield
            ended = [f"{node.spec.name}: {name}: {node.log(name)}" for node in made for name in node.ended]
            assert not ended, f"ended by itself: {ended}"

    def _volumes_gone(self) -> None:
        """Wait until the folders of released volumes are removed: that is done by pods."""
        deadline = time.monotonic() + START_SECONDS
        while self._plane.kubectl("get", "pv", "-o", "name"):
            if time.monotonic() > deadline:
                raise NodeFailed(f"volumes are left: {self._plane.kubectl('get', 'pv')}")
            time.sleep(0.2)
        self._plane.kubectl("delete", "-f", str(shared.STORAGE))
