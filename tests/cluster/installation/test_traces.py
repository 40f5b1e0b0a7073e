"""Traces as OpenTelemetry's own collector takes them, from the activators of an installation."""

import asyncio
import json
from collections.abc import Iterator

import pytest

from tests.cluster.e2e.conversation import Conversation, new_client
from tests.cluster.installed import SYSTEM
from tests.cluster.kubectl import NAMESPACE, Cluster
from tests.cluster.node.image import load_program
from tests.cluster.node.settings import NODES
from tests.cluster.real.deployed import Deployed, built

TELEMETRY, NAME = "telemetry", "traced"
IMAGE, PROGRAM, UID = "local/collector:1", "/collector", 65532
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
ENDPOINT = f"OTEL_EXPORTER_OTLP_ENDPOINT=http://collector.{TELEMETRY}.svc:4318"
CONFIGURATION = {
    "receivers": {"otlp": {"protocols": {"http": {"endpoint": "0.0.0.0:4318"}}}},
    "exporters": {"debug": {"verbosity": "detailed"}},
    "service": {
        "telemetry": {"metrics": {"level": "none"}},
        "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["debug"]}},
    },
}
LABELS = {"app": "collector"}


@pytest.fixture(scope="module")
def collector(hearth: Deployed) -> Iterator[Cluster]:
    """It runs as a pod, and the activators of the installation know where."""
    plane = hearth.plane
    load_program(hearth.nodes[NODES[0].name], IMAGE, built("HEARTH_INSTALLATION") / "collector", PROGRAM, UID)
    plane.kubectl("create", "namespace", TELEMETRY)
    objects = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "collector", "namespace": TELEMETRY},
            "data": {"config.yaml": json.dumps(CONFIGURATION)},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "collector", "namespace": TELEMETRY},
            "spec": {"selector": LABELS, "ports": [{"port": 4318}]},
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "collector", "namespace": TELEMETRY, "labels": LABELS},
            "spec": {
                "containers": [
                    {
                        "name": "collector",
                        "image": IMAGE,
                        "imagePullPolicy": "Never",
                        "args": ["--config=file:/etc/collector/config.yaml"],
                        "readinessProbe": {"tcpSocket": {"port": 4318}, "periodSeconds": 1},
                        "volumeMounts": [{"name": "config", "mountPath": "/etc/collector"}],
                    }
                ],
                "volumes": [{"name": "config", "configMap": {"name": "collector"}}],
            },
        },
    ]
    plane.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    plane.kubectl("wait", "--for=condition=Ready", "pod/collector", "-n", TELEMETRY, "--timeout=60s")
    plane.kubectl("set", "env", "deployment/hearth-activator", ENDPOINT, "-n", SYSTEM)
    hearth.rolled_out("activator")
    yield Cluster(plane, TELEMETRY)
    plane.kubectl("set", "env", "deployment/hearth-activator", "OTEL_EXPORTER_OTLP_ENDPOINT-", "-n", SYSTEM)
    hearth.rolled_out("activator")
    plane.kubectl("delete", "namespace", TELEMETRY)


async def test_a_cold_requests_spans_arrive(hearth: Deployed, collector: Cluster) -> None:
    """In the client's trace, with the wait for the engine, by the conventions that the collector's users know."""
    await asyncio.to_thread(hearth.cluster.apply, name=NAME)
    await asyncio.to_thread(hearth.cluster.until, lambda: hearth.cluster.asleep(NAME), "asleep")
    async with new_client() as client:
        client.headers["traceparent"] = f"00-{TRACE}-{PARENT}-01"
        assert (await Conversation(NAME).run(client)).whole

    def spans() -> str | None:
        told = collector.plane.kubectl("logs", "collector", "-n", TELEMETRY)
        return told if f"Trace ID       : {TRACE}" in told and f"Name           : chat {NAME}" in told else None

    told = await asyncio.to_thread(collector.until, spans, "the request's spans in what the collector was sent")
    for said in (
        *("service.name: Str(hearth-activator)", "Name           : POST /v1/chat/completions"),
        *(f"Parent ID      : {PARENT}", "Name           : wait", "Name           : first byte"),
        *(f"gen_ai.request.model: Str({NAME})", f"hearth.service: Str({NAMESPACE}/{NAME})"),
    ):
        assert said in told
    await asyncio.to_thread(hearth.plane.kubectl, "delete", "llmservice", NAME, "-n", NAMESPACE)
