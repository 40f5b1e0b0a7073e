"""Alerts of real states: a `hearth up` is broken on purpose, a real Prometheus scrapes it, the alert fires with the broken
one's name, and stops when that is mended. Its rules are those of deploy/monitoring with seconds for minutes.

What needs a KEDA, or faults of Hearth's own, is promtool's alone (test_rules.py).
"""

import concurrent.futures
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from tests.builders import llmservice_manifest
from tests.local.command import Hearth
from tests.monitoring.scraped import RULES, Prometheus, in_seconds, prometheus

NAMESPACE = "ai-prod"


@dataclass(frozen=True)
class Shift:
    """A night with `hearth up`: what it was told to scrape, and the file in which its engines' faults are written."""

    hearth: Hearth
    prometheus: Prometheus
    faults: Path
    kubeconfig: Path

    def apply(self, name: str, *assignments: str) -> None:
        """Apply an LLMService."""
        document = json.loads(self.kubeconfig.read_text())
        server, token = document["clusters"][0]["cluster"]["server"], document["users"][0]["user"]["token"]
        item = llmservice_manifest(name, NAMESPACE, *assignments)
        path = f"/apis/serving.hearth.dev/v1alpha1/namespaces/{NAMESPACE}/llmservices/{name}"
        headers = {"authorization": f"Bearer {token}", "content-type": "application/apply-patch+yaml"}
        query = {"fieldManager": "test", "force": "true"}
        answer = httpx.patch(
            f"{server}{path}", params=query, headers=headers, content=json.dumps(item), trust_env=False
        )
        answer.raise_for_status()
        told = f'hearth_llmservice_phase{{service="{name}"}} and on (service) hearth_activator_max_queue'
        self.prometheus.until(told)

    def delete(self, name: str) -> None:
        document = json.loads(self.kubeconfig.read_text())
        server, token = document["clusters"][0]["cluster"]["server"], document["users"][0]["user"]["token"]
        path = f"/apis/serving.hearth.dev/v1alpha1/namespaces/{NAMESPACE}/llmservices/{name}"
        headers = {"authorization": f"Bearer {token}"}
        httpx.delete(f"{server}{path}", headers=headers, trust_env=False).raise_for_status()

    def ask(self, name: str, times: int = 1, timeout: float = 60, **headers: str) -> list[int]:
        """Ask so many times at once; the statuses, 0 of what was given up."""

        named = {name.replace("_", "-"): value for name, value in headers.items()}

        def one(_: int) -> int:
            body = {"model": f"{NAMESPACE}/{name}", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}
            try:
                answer = client.post("/chat/completions", json=body, headers=named)
            except httpx.TimeoutException:
                return 0
            return answer.status_code

        limits = httpx.Limits(max_connections=None)
        with (
            httpx.Client(base_url=self.hearth.url, timeout=timeout, trust_env=False, limits=limits) as client,
            concurrent.futures.ThreadPoolExecutor(min(times, 40)) as pool,
        ):
            return list(pool.map(one, range(times)))

    def fires(self, alert: str, service: str) -> dict[str, str]:
        """Wait until it does; the alert's labels."""
        fires = f'ALERTS{{alertname="{alert}",alertstate="firing"'
        (series,) = self.prometheus.until(fires + (f',service="{service}"}}' if service else "}"))
        labels: dict[str, str] = series["metric"]
        return labels

    def is_over(self, alert: str, service: str) -> None:
        fires = f'ALERTS{{alertname="{alert}",alertstate="firing",service="{service}"}}'
        self.prometheus.until(f"absent({fires})")

    def status(self, name: str) -> str:
        """What `hearth status` says."""
        command = [
            sys.executable,
            "-m",
            "hearth",
            "status",
            f"{NAMESPACE}/{name}",
            "--kubeconfig",
            str(self.kubeconfig),
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout


@pytest.fixture(scope="module")
def shift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shift]:
    files = tmp_path_factory.mktemp("files")
    faults, rules = files / "faults", files / "rules.yaml"
    faults.write_text("")
    rules.write_text(yaml.safe_dump(in_seconds(RULES.read_text())))
    options = ["--sim", "load-seconds=2", "--sim", f"fault-file={faults}", "--accelerator", "nvidia.com/gpu=8"]
    with Hearth.up(tmp_path_factory.mktemp("up"), *options) as hearth:
        kubeconfig = re.search(r"hearth top --kubeconfig (\S+)", hearth.text)
        assert kubeconfig is not None
        targets = re.findall(r"http://([0-9.:]+)/metrics", hearth.text)
        with prometheus(tmp_path_factory.mktemp("prometheus"), targets, rules=rules) as running:
            running.until("count(hearth_build_info) == 3")
            yield Shift(hearth, running, faults, Path(kubeconfig[1]))


def test_nothing_fires_while_all_is_well(shift: Shift) -> None:
    shift.apply("well")
    assert shift.ask("well", 30) == [200] * 30
    shift.prometheus.until('hearth:responses:increase10m{service="well"} > 20')
    assert shift.prometheus.query('ALERTS{alertstate="firing"}') == []


def test_an_engine_that_answers_500(shift: Shift) -> None:
    shift.apply("errs")
    with background(lambda: shift.ask("errs", 40, x_sim_fault="error-500")):
        labels = shift.fires("HearthErrorShare", "errs")
    assert (labels["namespace"], labels["severity"]) == (NAMESPACE, "critical")
    shift.is_over("HearthErrorShare", "errs")


def test_no_node_has_the_devices(shift: Shift) -> None:
    shift.apply("large", "spec.resources.accelerators=64", "spec.scaling.activationTimeout=1s")
    with background(lambda: shift.ask("large", 3)):
        shift.fires("HearthRequestsTimeOut", "large")
        assert shift.fires("HearthServiceNotReady", "large")["reason"] == "Unschedulable"
        shift.fires("HearthReplicasMissing", "large")
    assert "Unschedulable" in shift.status("large")
    assert "Insufficient nvidia.com/gpu" in shift.status("large")
    (held,) = shift.prometheus.query('hearth_llmservice_accelerator_hours_total{service="large"}')
    assert float(held["value"][1]) == 0, "what has no node holds nothing"
    shift.apply("large", "spec.resources.accelerators=1", "spec.scaling.activationTimeout=30s")
    assert shift.ask("large") == [200]
    for alert in ("HearthRequestsTimeOut", "HearthServiceNotReady", "HearthReplicasMissing"):
        shift.is_over(alert, "large")


def test_one_that_nothing_can_serve_and_those_who_wait_for_it(shift: Shift) -> None:
    shift.apply("none", "spec.runtime={name: nowhere}", "spec.scaling.activationTimeout=2s")
    with background(lambda: shift.ask("none", 5)):
        shift.prometheus.until('hearth:waiting_requests{service="none"} == 5 and on (service) hearth:replicas == 0')
        assert shift.fires("HearthServiceNotReady", "none")["reason"] == "RuntimeNotFound"
        shift.fires("HearthRequestsTimeOut", "none")
    assert shift.prometheus.query('ALERTS{alertname="HearthKedaNotActing"}') == [], (
        "there is nothing that KEDA could act on"
    )
    assert "RuntimeNotFound" in shift.status("none")
    shift.delete("none")
    shift.prometheus.until('absent({__name__=~"hearth_.+",service="none"})')
    for alert in ("HearthServiceNotReady", "HearthRequestsTimeOut"):
        shift.is_over(alert, "none")


def test_an_engine_that_keeps_exiting(shift: Shift) -> None:
    shift.apply("loops")
    shift.faults.write_text("crash-while-loading")
    with background(lambda: shift.ask("loops", 1, timeout=5)):
        shift.fires("HearthEngineCrashLoop", "loops")
    said = shift.status("loops")
    assert "EngineCrashing" in said
    assert "kubectl logs" in said
    assert "scheduling" not in said
    shift.faults.write_text("")
    assert shift.ask("loops") == [200]
    shift.is_over("HearthEngineCrashLoop", "loops")


def test_a_queue_that_is_full(shift: Shift) -> None:
    shift.apply("full", "spec.endpoint.maxQueue=1")
    with background(lambda: shift.ask("full", 20)):
        shift.fires("HearthQueueFull", "full")
    shift.is_over("HearthQueueFull", "full")


def test_a_start_that_takes_ten_times_as_long(shift: Shift) -> None:
    shift.apply("slow", "spec.scaling.scaleDownStabilization=1s")
    assert shift.ask("slow") == [200]
    shift.prometheus.until('hearth_llmservice_phase{service="slow",phase="ScaledToZero"} == 1')
    shift.faults.write_text("slow-start")
    with background(lambda: shift.ask("slow", 1, timeout=2)):
        shift.fires("HearthColdStartOverdue", "slow")
    shift.faults.write_text("")
    shift.is_over("HearthColdStartOverdue", "slow")


def test_an_activator_that_is_not_heard(shift: Shift) -> None:
    (activator,) = children(shift.hearth.process.pid, "activator")
    os.kill(activator, signal.SIGSTOP)
    try:
        shift.fires("HearthDemandBlind", "")
    finally:
        os.kill(activator, signal.SIGCONT)
    shift.is_over("HearthDemandBlind", "")


def test_roles_that_are_not_scraped_and_one_that_is_scraped_twice(shift: Shift, tmp_path: Path) -> None:
    controller, activator, scaler = (
        next(target for target in re.findall(r"http://([0-9.:]+)/metrics", shift.hearth.text) if is_role(target, role))
        for role in ("controller", "activator", "scaler")
    )
    rules = tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump(in_seconds(RULES.read_text())))
    cluster = [
        {
            "job_name": name,
            "honor_labels": True,
            "static_configs": [{"targets": targets, "labels": {"cluster": name.rpartition("-")[0]}}],
        }
        for name, targets in {
            "west-1": [controller, activator, scaler],
            "west-2": [controller],
            "east-1": [activator],
            "north-1": [scaler],
        }.items()
    ]
    with prometheus(tmp_path, [], cluster, rules) as running:
        fires = 'ALERTS{alertname="%s",cluster="%s",alertstate="firing"}'
        for alert, where in {
            "HearthTwoLeaders": "west",
            "HearthScalerDown": "east",
            "HearthActivatorDown": "north",
            "HearthNoLeader": "east",
        }.items():
            running.until(fires % (alert, where))
        for alert in ("HearthScalerDown", "HearthActivatorDown", "HearthNoLeader"):
            assert running.query(fires % (alert, "west")) == []


@contextlib.contextmanager
def background(again: Callable[[], object]) -> Iterator[None]:
    """Do it again and again while the context lasts."""
    done = False

    def run() -> None:
        while not done:
            again()

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(run)
        try:
            yield
        finally:
            done = True
        running.result(120)


def children(parent: int, role: str) -> list[int]:
    """The processes of a role that this one started."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            ours = f"PPid:\t{parent}\n" in (entry / "status").read_text()
            if ours and role.encode() in words:
                found.append(int(entry.name))
    return found


def is_role(target: str, role: str) -> bool:
    text = httpx.get(f"http://{target}/metrics", trust_env=False).text
    return f'role="{role}"' in text
