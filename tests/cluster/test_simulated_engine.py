"""The simulated engine's image: it has what a bundled runtime's container is started with, and behaves as the test bed says."""

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from hearth.api.inferenceruntime import InferenceRuntime
from hearth.api.manifest import load_runtimes
from hearth.emulators.ports import free_port
from tests.builders import ROOT
from tests.cluster.images.recipes import images_of, repository
from tests.cluster.images.rootfs import command, unpack
from tests.cluster.images.served import Served, served

RUNTIMES = load_runtimes(ROOT / "runtimes")
POD = "pod-1"


@pytest.fixture(scope="module")
def image() -> Served:
    """All names lead to one image."""
    found = {repository(name): served(repository(name)) for runtime in RUNTIMES for name in images_of(runtime)}
    first = next(iter(found.values()))
    assert all(one == first for one in found.values())
    return first


@pytest.fixture(scope="module")
def root(image: Served, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("engine") / "root"
    unpack(image.layers, made)
    return made


@contextlib.contextmanager
def told(arguments: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Serve an engine's arguments as the test bed does; gives the URL and the paths that were asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = json.dumps(arguments).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """pytest's output is no access log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/engines", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def engine(root: Path, image: Served, argv: list[str], url: str) -> Iterator["subprocess.Popen[bytes]"]:
    env = {**image.env, "HOSTNAME": POD, "HEARTH_ENGINES_URL": url}
    process = subprocess.Popen(command(root, argv, env), stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        assert process.wait(30) is not None


def models(port: int, process: "subprocess.Popen[bytes]") -> list[str]:
    """What it serves, once it answers its probe."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert process.poll() is None
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                return [model["id"] for model in httpx.get(f"http://127.0.0.1:{port}/v1/models").json()["data"]]
        time.sleep(0.05)  # its port has no event
    raise TimeoutError("the simulated engine did not answer its probe")


@pytest.mark.parametrize("runtime", RUNTIMES, ids=lambda runtime: runtime.metadata.name)
def test_it_starts_by_the_runtimes_own_command(runtime: InferenceRuntime, root: Path, image: Served) -> None:
    port = free_port()
    name = {"vllm": "--served-model-name", "llamacpp": "--alias"}[runtime.spec.family]
    argv = [*(runtime.spec.container.command or image.config["Entrypoint"]), "--port", str(port), name, "tiny"]
    with (
        told(["--start-seconds=0", "--load-seconds=0"]) as (url, asked),
        engine(root, image, argv, url) as process,
    ):
        assert models(port, process) == ["tiny"]
        assert asked == [f"/engines/{POD}"]


def test_it_behaves_as_it_is_told(root: Path, image: Served) -> None:
    port = free_port()
    with told(["--start-seconds=0", "--load-seconds=0", "--fault=crash-while-loading"]) as (url, _):
        process = subprocess.Popen(
            command(
                root,
                ["vllm", "serve", "tiny", "--port", str(port)],
                {**image.env, "HOSTNAME": POD, "HEARTH_ENGINES_URL": url},
            ),
            stdin=subprocess.DEVNULL,
        )
        assert process.wait(60) == 1


def test_it_behaves_as_by_default_where_nobody_tells(root: Path, image: Served) -> None:
    port = free_port()
    argv = ["vllm", "serve", "org/tiny", "--port", str(port)]
    with engine(root, image, argv, f"http://127.0.0.1:{free_port()}/engines") as process:
        assert models(port, process) == ["org/tiny"]


def test_it_has_what_hooks_and_jobs_use(root: Path, image: Served) -> None:
    """hearth/crd_translator/drain.py and prewarm.py: a shell, awk, and python3 for what there is no curl for."""
    script = "for name in sh awk date sleep cat du mkdir python3; do command -v $name || exit; done"
    done = subprocess.run(command(root, ["/bin/sh", "-c", script], image.env), check=False, capture_output=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("client", "variable"), [("huggingface_hub", "HF_HOME"), ("modelscope", "MODELSCOPE_CACHE")])
def test_it_downloads_as_a_prewarm_job_asks(client: str, variable: str, root: Path, image: Served) -> None:
    code = f"from {client} import snapshot_download; print(snapshot_download('org/tiny', revision=None))"
    words = command(root, ["python3", "-c", code], {**image.env, variable: "/tmp/cache"})
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("/tmp/cache/")
