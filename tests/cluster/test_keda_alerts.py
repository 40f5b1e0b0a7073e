"""A KEDA that does not run, on a real control plane, before a real Prometheus with the rules in seconds for minutes."""

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import yaml

from tests.cluster.installed import CLIENTS, SCALER, Installed
from tests.cluster.kubectl import NAMESPACE, Cluster
from tests.monitoring.scraped import RULES, in_seconds, prometheus

OPERATIONS = {
    role: f"127.0.0.1:{port}" for role, port in (("scaler", 18081), ("controller", 18082), ("activator", 18083))
}
DEMAND = "127.0.0.1:9091"
NAME = "night"


def test_keda_is_away_and_comes_back(installed: Installed, tmp_path: Path) -> None:
    cluster, rules = Cluster(installed.plane), tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump(in_seconds(RULES.read_text())))
    with (
        installed.role(
            "scaler", "--listen", SCALER, "--activator", DEMAND, "--operations-listen", OPERATIONS["scaler"]
        ),
        installed.role("controller", "--scaler-address", SCALER, "--operations-listen", OPERATIONS["controller"]),
        installed.role(
            *("activator", "--listen", CLIENTS, "--demand-listen", DEMAND),
            *("--operations-listen", OPERATIONS["activator"]),
        ),
        prometheus(tmp_path, list(OPERATIONS.values()), rules=rules) as running,
    ):
        cluster.apply(name=NAME)
        cluster.until(lambda: cluster.asleep(NAME), "asleep")
        running.until(f'hearth:phase{{service="{NAME}",phase="ScaledToZero"}} == 1')
        running.until(f'sum(hearth_scaler_streams{{service="{NAME}"}}) > 0')
        # The scaler was there before its activator: in seconds for minutes that is told.
        running.until('absent(ALERTS{alertstate="firing"})')

        installed.plane.kill("keda-operator")
        installed.plane.kill("keda-adapter")
        try:
            running.until(f'ALERTS{{alertname="HearthKedaNotListening",service="{NAME}",alertstate="firing"}}')
            with asking():
                running.until(f'ALERTS{{alertname="HearthKedaNotActing",service="{NAME}",alertstate="firing"}}')
                running.until('ALERTS{alertname="HearthKedaDown",alertstate="firing"}')
                running.until(f'hearth_llmservice_not_ready{{service="{NAME}",reason="KedaNotRunning"}} == 1')
                assert running.query('ALERTS{alertname="HearthEngineCrashLoop"}') == []
        finally:
            installed.plane.start_keda()
        running.until(f'hearth:replicas{{service="{NAME}"}} == 1')  # who was held is served, were there a node
        running.until('absent(ALERTS{alertname=~"HearthKeda.*",alertstate="firing"})')
    installed.plane.kubectl("delete", "llmservice", NAME, "-n", NAMESPACE)


@contextlib.contextmanager
def asking() -> Iterator[None]:
    """A client that is held while the context lasts."""
    body = json.dumps({"model": f"{NAMESPACE}/{NAME}", "messages": [{"role": "user", "content": "Hello"}]}).encode()
    host, _, port = CLIENTS.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {CLIENTS}\r\ncontent-length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        yield
