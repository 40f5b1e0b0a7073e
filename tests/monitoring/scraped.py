"""A real Prometheus that scrapes what it is told to, and answers PromQL."""

import contextlib
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml

from hearth.emulators.ports import free_port
from tests.builders import ROOT

RULES = ROOT / "deploy/monitoring/rules.yaml"
PATIENCE = 60.0


def binary(name: str) -> str:
    """`prometheus` or `promtool`. Raises FileNotFoundError with what to do."""
    found = shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name}: not found; on Debian: apt-get install prometheus")
    return found


class Prometheus:
    """A running one."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The series of an instant query."""
        return self._get("/api/v1/query", query=expr)

    def query_range(self, expr: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """The series of a range; times in seconds since 1970."""
        return self._get("/api/v1/query_range", query=expr, start=start, end=end, step=step)

    def until(self, expr: str) -> list[dict[str, Any]]:
        """Wait until a query has series; Prometheus tells nobody, so it is asked. Fails after a minute."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if series := self.query(expr):
                return series
            time.sleep(0.2)
        raise AssertionError(f"no series in {PATIENCE:g} s: {expr}")

    def rules(self) -> set[str]:
        """The names of all recordings and alerts that it evaluates."""
        groups = self._client.get("/api/v1/rules").raise_for_status().json()["data"]["groups"]
        return {rule["name"] for group in groups for rule in group["rules"]}

    def _get(self, path: str, **parameters: Any) -> list[dict[str, Any]]:
        answer = self._client.get(path, params=parameters)
        document = json.loads(answer.content)
        assert document.get("status") == "success", f"{parameters}: {answer.text}"
        series: list[dict[str, Any]] = document["data"]["result"]
        return series


@contextlib.contextmanager
def prometheus(
    folder: Path, targets: Sequence[str], more: Sequence[dict[str, Any]] = (), rules: Path = RULES
) -> Iterator[Prometheus]:
    """One that scrapes these host:port, and by `more` scrape configurations, each second, and evaluates the rules of
    deploy/monitoring."""
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {"job_name": "hearth", "honor_labels": True, "static_configs": [{"targets": list(targets)}]},
            *more,
        ],
    }
    with configured(folder, config) as running:
        yield running


@contextlib.contextmanager
def configured(folder: Path, config: dict[str, Any]) -> Iterator[Prometheus]:
    """One with this configuration; `folder` gets its file, its data and its log."""
    port = free_port()
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [binary("prometheus"), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:
                _wait_until_ready(client)
                yield Prometheus(client)
        finally:
            process.terminate()
            process.wait(30)


def _wait_until_ready(client: httpx.Client) -> None:
    """It has no port at first, and then answers 503 until its storage is open. Fails after a minute."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(httpx.TransportError):
            if client.get("/-/ready").status_code == 200:
                return
        assert time.monotonic() < deadline, f"Prometheus is not ready after {PATIENCE:g} s"
        time.sleep(0.1)


def in_seconds(rules: str) -> dict[str, Any]:
    """The rules with a second for each minute, and what is compared with seconds a sixtieth."""
    document: dict[str, Any] = yaml.safe_load(rules)
    for rule in document["groups"][0]["rules"]:
        for name in {"for", "keep_firing_for"} & rule.keys():
            rule[name] = rule[name].replace("m", "s")
        rule["expr"] = re.sub(r"\[(\d+)m\]", r"[\1s]", rule["expr"])
        rule["expr"] = rule["expr"].replace("> 60 and", "> 1 and").replace("> 900 unless", "> 15 unless")
    return document


def expanded(expr: str) -> str:
    """What Grafana makes of its variables."""
    selected = dict.fromkeys(("cluster", "namespace", "service"), ".*")
    for name, value in {**selected, "__rate_interval": "30s", "__range": "5m"}.items():
        expr = re.sub(rf"\${name}\b", value, expr)
    assert not re.search(r"\$[^1]", expr), "$1 is label_replace's"
    return expr
