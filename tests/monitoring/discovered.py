"""Kubernetes' pods as Prometheus discovers them (role: pod), for Debian's, which is built without that.

https://prometheus.io/docs/prometheus/latest/configuration/configuration/#pod
"""

import contextlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx


@contextlib.contextmanager
def pods_of(kubeconfig: Path) -> Iterator[str]:
    """The URL at which the pods of an API server are told as targets, by Prometheus' HTTP discovery."""
    document = json.loads(kubeconfig.read_text())
    server, token = document["clusters"][0]["cluster"]["server"], document["users"][0]["user"].get("token")
    headers = {"authorization": f"Bearer {token}"} if token else {}

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with httpx.Client(base_url=server, headers=headers, trust_env=False) as client:
                pods = client.get("/api/v1/pods").raise_for_status().json()["items"]
            body = json.dumps([target for pod in pods for target in targets(pod)]).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{serving.server_address[1]}/"
        finally:
            serving.shutdown()
            thread.join()


def targets(pod: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One for each port of each container."""
    metadata, status = pod["metadata"], pod.get("status", {})
    if not status.get("podIP"):
        return
    ready = {each["type"]: each["status"] for each in status.get("conditions", [])}.get("Ready", "Unknown")
    meta = {
        "__meta_kubernetes_namespace": metadata["namespace"],
        "__meta_kubernetes_pod_name": metadata["name"],
        "__meta_kubernetes_pod_phase": status.get("phase", ""),
        "__meta_kubernetes_pod_ready": ready.lower(),
    }
    for key, value in metadata.get("labels", {}).items():
        name = re.sub(r"\W", "_", key)
        meta |= {f"__meta_kubernetes_pod_label_{name}": value, f"__meta_kubernetes_pod_labelpresent_{name}": "true"}
    for container in pod["spec"]["containers"]:
        for port in container.get("ports", []):
            labels = {
                "__meta_kubernetes_pod_container_name": container["name"],
                "__meta_kubernetes_pod_container_port_name": port.get("name", ""),
            }
            yield {"targets": [f"{status['podIP']}:{port['containerPort']}"], "labels": {**meta, **labels}}
