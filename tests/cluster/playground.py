"""A cluster for a person: `make cluster` starts the test bed with Hearth in it and leaves it running.

It lives in namespaces of its own. What reaches in are two ports of the machine's loopback, whose sockets are opened
outside and served inside: the API server's and the activator's.
"""

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import yaml

from hearth.logs import configure
from hearth.process import run_until, stop_signal
from tests.builders import ROOT
from tests.cluster.controlplane import running
from tests.cluster.installed import SYSTEM
from tests.cluster.node import cgroups
from tests.cluster.real.deployed import deployed, nodes_of

STATE = ROOT / "build" / "cluster"
API_PORT, HTTP_PORT = 16443, 18080
START_SECONDS = 180.0

DOORS = {API_PORT: ("127.0.0.1", 6443), HTTP_PORT: (f"hearth-activator.{SYSTEM}.svc", 80)}


def up() -> None:
    """Start it, and say how to use it. Exits with 1 where it does not come up."""
    if running_pid() is not None:
        sys.exit("make cluster: there is one already; `make cluster-down` ends it")
    shutil.rmtree(STATE, ignore_errors=True)
    STATE.mkdir(parents=True)
    sockets = [_listen(port) for port in DOORS]
    inside = [sys.executable, "-m", "tests.cluster.playground", "serve", *(str(door.fileno()) for door in sockets)]
    with (STATE / "log").open("wb") as output:
        process = subprocess.Popen(
            [str(ROOT / "tests/cluster/controlplane/isolated"), *inside],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[door.fileno() for door in sockets],
            start_new_session=True,
            cwd=ROOT,
        )
    (STATE / "pid").write_text(str(process.pid))
    print("Starting a control plane, KEDA, three nodes and Hearth, in about half a minute …", flush=True)
    began = time.monotonic()
    deadline = began + START_SECONDS
    while not (STATE / "ready").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            tail = "\n".join((STATE / "log").read_text(errors="replace").splitlines()[-20:])
            down()
            sys.exit(f"make cluster: it did not come up:\n{tail}")
        time.sleep(0.2)  # another process' file has no event here
    kubectl = Path(os.environ["HEARTH_CONTROLPLANE"]) / "kubectl"
    print(
        f"""Up in {time.monotonic() - began:.0f} s: {(STATE / "ready").read_text()}.

export KUBECONFIG={STATE}/kubeconfig
alias kubectl={kubectl}     # or your own
kubectl apply -f examples/deepseek-v3-small.yaml && kubectl get llmservice -n ai-prod -w
curl -N http://127.0.0.1:{HTTP_PORT}/v1/chat/completions -H 'Content-Type: application/json' \\
  -d '{{"model": "deepseek-v3-small", "stream": true, "messages": [{{"role": "user", "content": "Hello"}}]}}'

kubectl logs -n {SYSTEM} deploy/hearth-activator -f
Logs of what runs below the pods are in {STATE}. make cluster-down ends it."""
    )


def down() -> None:
    """End it: with the first process of its namespaces goes everything in them."""
    pid = running_pid()
    if pid is not None:
        os.kill(pid, signal.SIGKILL)  # unshare(1) takes no other signal while its child runs
        while running_pid() is not None:
            time.sleep(0.1)  # not our child: there is no event for its end
        cgroups.sweep()
        shutil.rmtree(STATE / "nodes", ignore_errors=True)  # images and all: large
    (STATE / "pid").unlink(missing_ok=True)


def running_pid() -> int | None:
    """The process that holds the namespaces, if there is one."""
    file = STATE / "pid"
    if not file.exists():
        return None
    pid = int(file.read_text())
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return None
    return pid if b"tests.cluster.playground" in command else None


def serve(descriptors: list[int]) -> None:
    """Inside the namespaces: run everything until told to stop."""
    configure("json")
    times = Times()
    with running(Path(os.environ["HEARTH_CONTROLPLANE"]), _folder("controlplane")) as plane:
        times.note("control plane and KEDA")
        with nodes_of(plane, _folder("nodes")) as nodes:
            times.note("nodes")
            with deployed(plane, nodes):
                times.note("Hearth, with the pulls of its image")
                document = yaml.safe_load(plane.kubeconfig.read_text())
                document["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{API_PORT}"
                (STATE / "kubeconfig").write_text(yaml.safe_dump(document))
                asyncio.run(_relay(descriptors, str(times)))


class Times:
    """What took how long, in the order in which it was noted."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._noted: list[str] = []

    def note(self, what: str) -> None:
        now = time.monotonic()
        self._noted.append(f"{what} {now - self._last:.0f} s")
        self._last = now

    def __str__(self) -> str:
        return ", ".join(self._noted)


async def _relay(descriptors: list[int], ready: str) -> None:
    stop = stop_signal()
    for descriptor, (host, port) in zip(descriptors, DOORS.values(), strict=True):
        door = socket.socket(fileno=descriptor)
        await asyncio.start_server(lambda r, w, host=host, port=port: _pass(r, w, host, port), sock=door)  # type: ignore[misc]
    (STATE / "ready.new").write_text(ready)
    (STATE / "ready.new").rename(STATE / "ready")
    await run_until(stop, asyncio.Event().wait())  # type: ignore[arg-type]


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
    """One connection, byte for byte both ways."""
    try:
        there, back = await asyncio.open_connection(host, port)
    except OSError:
        writer.close()
        return
    await asyncio.gather(_copy(reader, back), _copy(there, writer))


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    target.close()


def _listen(port: int) -> socket.socket:
    door = socket.socket()
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind(("127.0.0.1", port))
    except OSError as error:
        sys.exit(f"make cluster: port {port} of 127.0.0.1: {error.strerror}; it is needed")
    door.listen(128)
    return door


def _folder(name: str) -> Path:
    folder = STATE / name
    folder.mkdir()
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.playground", description=__doc__)
    parser.add_argument("what", choices=("up", "down", "serve"))
    parser.add_argument("descriptors", nargs="*", type=int)
    given = parser.parse_args()
    if given.what == "up":
        up()
    elif given.what == "down":
        down()
    else:
        serve(given.descriptors)


if __name__ == "__main__":
    main()
