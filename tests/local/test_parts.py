"""What `hearth up` does when one of its parts dies, and when somebody changes what it serves."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from hearth.local.parts import Announcements, PartDied, parts
from tests.builders import SEED
from tests.local.command import PATIENCE, Hearth

MODEL = "deepseek-v3-small"
ROLES = ("activator", "scaler", "controller")


def children(pid: int) -> dict[str, int]:
    """The direct children of a process that run this program or the simulated engine, by what they are."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                words = (folder / "cmdline").read_bytes().decode().split("\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == pid and "-m" in words:
                module, first = words[words.index("-m") + 1 : words.index("-m") + 3]
                found["engine" if "engine" in module else first] = int(folder.name)
    return found


class Running:
    """A `hearth up` that is expected to end by itself."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hearth", "up", "-f", str(SEED), "--port", "0", "--sim", "load-seconds=0.1"],
            env={**os.environ, "TMPDIR": str(folder), "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.first = ""
        for line in self.process.stdout:
            self.first += line
            if "Ctrl-C stops it" in line:
                break


@pytest.mark.parametrize("role", ROLES)
def test_a_role_that_is_killed_ends_it_at_once_and_in_words(role: str, tmp_path: Path) -> None:
    running = Running(tmp_path)
    try:
        there = children(running.process.pid)
        assert set(ROLES) <= there.keys(), running.first
        os.kill(there[role], signal.SIGKILL)
        killed = time.monotonic()
        _, said = running.process.communicate(timeout=PATIENCE)
    finally:
        running.process.kill()
    assert time.monotonic() - killed < 10, "the others are stopped, not waited for"
    assert running.process.returncode == 1
    assert f"hearth: {role} was killed by signal 9; the end of " in said
    assert f'"logger": "hearth.{role}' in said, "the end of its log is there to read"
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == [], "its folder is gone"
    for pid in there.values():
        assert not Path(f"/proc/{pid}").exists(), "and so is every process"


def test_when_it_is_killed_itself_nothing_of_it_is_left(tmp_path: Path) -> None:
    running = Running(tmp_path)
    there = children(running.process.pid)
    running.process.kill()
    running.process.communicate(timeout=PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while left := [pid for pid in there.values() if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)  # the end of a process that is nobody's child has no event here


async def together(name: str, work: Coroutine[Any, Any, None], body: Coroutine[Any, Any, None]) -> None:
    """A part, and what goes on beside it."""
    async with parts() as start:
        start(name, work)
        await body


async def for_ever() -> None:
    await asyncio.Event().wait()


async def fails() -> None:
    raise ValueError("no idea")


async def fails_together() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(fails())


async def returns() -> None:
    pass


async def test_a_part_that_fails_ends_the_others_and_says_which() -> None:
    with pytest.raises(PartDied, match="the scheduler failed: ValueError: no idea") as raised:
        await together("the scheduler", fails(), for_ever())
    assert isinstance(raised.value.__cause__, ValueError)
    with pytest.raises(PartDied, match="the kubelet failed: ValueError: no idea"):
        await together("the kubelet", fails_together(), for_ever())
    with pytest.raises(PartDied, match="KEDA ended by itself"):
        await together("KEDA", returns(), for_ever())


async def test_what_the_body_raises_is_raised_as_it_is() -> None:
    with pytest.raises(ValueError, match="no idea"):
        await together("the kubelet", for_ever(), fails())


async def test_a_folder_whose_path_is_too_long_is_said_with_what_to_do(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 110) / "hearth-abc"
    deep.mkdir(parents=True)
    with pytest.raises(OSError, match=r"TMPDIR: found .* at most 103; set TMPDIR to a shorter one"):
        async with Announcements.at(deep / "announced", {}):
            pass


class Cluster:
    """The local API server of a running `hearth up`, as curl has it."""

    def __init__(self, hearth: Hearth) -> None:
        found = re.search(r"hearth top --kubeconfig (\S+)", hearth.text)
        assert found is not None
        self.kubeconfig = Path(found[1])
        given: dict[str, Any] = yaml.safe_load(self.kubeconfig.read_text())
        token = given["users"][0]["user"]["token"]
        self.client = httpx.Client(
            base_url=given["clusters"][0]["cluster"]["server"],
            headers={"authorization": f"Bearer {token}"},
            trust_env=False,
        )

    def get(self, path: str) -> Any:
        return self.client.get(path).json()

    def until(self, path: str, seen: str) -> None:
        """Wait for a text in an object. Fails after a minute."""
        deadline = time.monotonic() + PATIENCE
        while seen not in (text := self.client.get(path).text):
            assert time.monotonic() < deadline, f"{seen} not in {text}"
            time.sleep(0.05)  # it is asked as curl would


@pytest.fixture
def cluster(hearth: Hearth) -> Iterator[Cluster]:
    cluster = Cluster(hearth)
    with cluster.client:
        yield cluster


SERVICES = "/apis/serving.hearth.dev/v1alpha1/namespaces/ai-prod/llmservices"
SCALED = f"/apis/keda.sh/v1alpha1/namespaces/ai-prod/scaledobjects/{MODEL}"
APPLY = {"content-type": "application/apply-patch+yaml"}


def test_an_applied_change_does_what_it_does_in_a_cluster(cluster: Cluster) -> None:
    changed = SEED.read_text().replace("max: 5", "max: 3")
    made = cluster.client.patch(
        f"{SERVICES}/{MODEL}", content=changed, headers=APPLY, params={"fieldManager": "curl", "force": "true"}
    )
    assert made.status_code == 200, made.text
    cluster.until(SCALED, '"maxReplicaCount":3')


def test_a_wrong_one_is_refused_in_words(cluster: Cluster) -> None:
    changed = SEED.read_text().replace("max: 5", "max: -1")
    made = cluster.client.patch(
        f"{SERVICES}/{MODEL}", content=changed, headers=APPLY, params={"fieldManager": "curl", "force": "true"}
    )
    assert made.status_code == 422
    assert "spec.scaling.max: found -1" in made.json()["message"]


def test_a_second_model_is_applied_and_deleted_while_it_runs(cluster: Cluster, hearth: Hearth) -> None:
    second = SEED.read_text().replace(MODEL, "second")
    assert cluster.client.post(SERVICES, content=second, headers={"content-type": "application/yaml"}).is_success
    hearth.wait_for("ai-prod/second  ScaledToZero")
    body = {"model": "second", "max_tokens": 3, "messages": [{"role": "user", "content": "Hello"}]}
    answer = httpx.post(f"{hearth.url}/chat/completions", json=body, timeout=PATIENCE, trust_env=False)
    assert len(answer.json()["choices"][0]["message"]["content"].split()) == 3
    assert cluster.client.delete(f"{SERVICES}/second").is_success
    deadline = time.monotonic() + PATIENCE
    pods = "/api/v1/namespaces/ai-prod/pods"
    while items := cluster.client.get(pods, params={"labelSelector": "serving.hearth.dev/llmservice=second"}).json()[
        "items"
    ]:
        assert time.monotonic() < deadline, json.dumps(items)
        time.sleep(0.05)  # it is asked as curl would


def test_an_engine_that_is_killed_comes_back_and_nothing_else_minds(hearth: Hearth, cluster: Cluster) -> None:
    ask = {"model": MODEL, "max_tokens": 3, "messages": [{"role": "user", "content": "Hello"}]}
    assert httpx.post(f"{hearth.url}/chat/completions", json=ask, timeout=PATIENCE, trust_env=False).is_success
    engine = children(hearth.process.pid)["engine"]
    os.kill(engine, signal.SIGKILL)
    cluster.until("/api/v1/namespaces/ai-prod/pods", '"restartCount":1')
    assert httpx.post(f"{hearth.url}/chat/completions", json=ask, timeout=PATIENCE, trust_env=False).is_success
    assert hearth.process.poll() is None


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_an_account_with_its_own_rights(role: str, cluster: Cluster) -> None:
    kubeconfig = cluster.kubeconfig.with_name(f"{role}.kubeconfig")
    token = yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]["token"]
    asked = {"authorization": f"Bearer {token}"}
    refused = cluster.client.delete(f"{SERVICES}/{MODEL}", headers=asked)
    assert refused.status_code == 403
    assert f'User "system:serviceaccount:hearth-system:hearth-{role}" cannot delete' in refused.json()["message"]
    allowed = cluster.client.get("/api/v1/nodes", headers=asked).status_code
    assert allowed == (200 if role == "controller" else 403)
