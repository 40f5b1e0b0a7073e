"""Certificates that the controller makes, on a real API server with a real KEDA: KEDA uses them, strangers hear nothing,
and all of them change while requests are held."""

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from hearth.controller.ownership import MANAGER
from hearth.proto import demand_pb2
from hearth.proto import externalscaler_pb2 as pb
from hearth.proto.demand_pb2_grpc import DemandStub
from hearth.proto.externalscaler_pb2_grpc import ExternalScalerStub
from hearth.tls.certificates import certificates_in
from tests.cluster.controlplane import HOST
from tests.cluster.installed import CLIENTS, SYSTEM, Installed
from tests.cluster.kubectl import NAMESPACE, Cluster
from tests.cluster.mounted import mounted, secret_data
from tests.cluster.test_deploy import may

SCALER, DEMAND = f"{HOST}:9443", f"{HOST}:9444"
CONTROLLER = f"system:serviceaccount:{SYSTEM}:hearth-controller"
OURS = {"hearth-ca": SYSTEM, "hearth-activator-tls": SYSTEM, "hearth-scaler-tls": SYSTEM, "hearth-keda-tls": "keda"}


@pytest.fixture
def cluster(installed: Installed) -> Iterator[Cluster]:
    made = Cluster(installed.plane)
    yield made
    made.plane.kubectl("delete", "llmservice", "--all", "-n", NAMESPACE, "--cascade=foreground")
    for name, namespace in OURS.items():
        made.plane.kubectl("delete", "secret", name, "-n", namespace, "--ignore-not-found")


@contextlib.contextmanager
def secured(installed: Installed, folder: Path, *lives: str) -> Iterator[None]:
    """All three roles as deploy/ runs them, each with its Secret mounted."""
    folders = {name: folder / name for name in ("hearth-activator-tls", "hearth-scaler-tls")}
    operations = ("--operations-listen", "127.0.0.1:0")
    activator, scaler = (("--tls", str(each)) for each in folders.values())
    with (
        mounted(installed.plane, SYSTEM, folders),
        installed.role("scaler", "--listen", SCALER, "--activator", DEMAND, *scaler, *operations),
        installed.role("controller", "--scaler-address", SCALER, "--tls", "controller", *lives),
        installed.role("activator", "--listen", CLIENTS, "--demand-listen", DEMAND, *activator, *operations),
    ):
        yield


class Held:
    """A request that nobody answers: there is no kubelet."""

    def __init__(self, model: str) -> None:
        self.heartbeats = 0
        self.ended = ""
        self._model = model
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        body = {"model": self._model, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
        try:
            with httpx.stream(
                "POST", f"http://{CLIENTS}/v1/chat/completions", json=body, timeout=60, trust_env=False
            ) as answer:
                for _ in answer.iter_bytes():
                    self.heartbeats += 1
                    if self._stop.is_set():
                        return
                self.ended = f"ended with {answer.status_code}"
        except httpx.HTTPError as error:
            self.ended = repr(error)

    def __enter__(self) -> "Held":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def trigger(cluster: Cluster, name: str) -> Any:
    return (cluster.get("scaledobject", name) or {"spec": {"triggers": [{}]}})["spec"]["triggers"][0]


def refused(call: Any) -> str:
    with pytest.raises(grpc.RpcError) as error:
        call()
    return str(error.value.code().name)


def answered(channel: grpc.Channel, question: pb.GetMetricsRequest) -> pb.GetMetricsResponse | None:
    """What a scaler answers; None while it hears no activator."""
    try:
        return ExternalScalerStub(channel).GetMetrics(question, timeout=5)
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return None


def test_keda_has_a_certificate_and_who_has_none_hears_nothing(
    installed: Installed, cluster: Cluster, tmp_path: Path
) -> None:
    with secured(installed, tmp_path):
        cluster.apply("spec.endpoint.coldStart.heartbeatInterval=1s", name="qwen")
        cluster.until(lambda: cluster.asleep("qwen"), "KEDA has asked the scaler")
        wanted = {"kind": "ClusterTriggerAuthentication", "name": "hearth-keda"}
        assert trigger(cluster, "qwen")["authenticationRef"] == wanted
        assert len(trigger(cluster, "qwen")["metadata"]["certificate"]) == 16
        keda, other = (
            secret_data(cluster.plane, "keda", "hearth-keda-tls"),
            secret_data(cluster.plane, SYSTEM, "hearth-ca"),
        )
        ref = pb.ScaledObjectRef(name="qwen", namespace=NAMESPACE, scalerMetadata={"target": "1"})
        question = pb.GetMetricsRequest(scaledObjectRef=ref, metricName="queueDepth")
        with grpc.insecure_channel(SCALER) as channel:
            assert refused(lambda: ExternalScalerStub(channel).GetMetrics(question, timeout=5)) == "UNAVAILABLE"
        with grpc.insecure_channel(DEMAND) as channel:
            updates = DemandStub(channel).Watch(demand_pb2.WatchRequest(scaler="stranger"), timeout=5)
            assert refused(lambda: next(iter(updates))) == "UNAVAILABLE"
        with grpc.secure_channel(SCALER, grpc.ssl_channel_credentials(keda["ca.crt"])) as channel:
            assert refused(lambda: ExternalScalerStub(channel).GetMetrics(question, timeout=5)) == "UNAVAILABLE"
        with grpc.secure_channel(
            SCALER, grpc.ssl_channel_credentials(keda["ca.crt"], keda["tls.key"], keda["tls.crt"])
        ) as channel:
            # Of an activator that was late by a few seconds the scaler says that it does not hear it.
            answer = cluster.until(lambda: answered(channel, question), "an answer to KEDA's certificate")
            assert [value.metricValue for value in answer.metricValues] == [0]
        assert "tls.key" in other
        with Held("qwen"):
            cluster.until(lambda: cluster.replicas("qwen") == 1, "KEDA heard it", 15)


def test_everything_is_renewed_and_the_authority_succeeded_while_requests_are_held(
    installed: Installed, cluster: Cluster, tmp_path: Path
) -> None:
    """A certificate's life is a minute here, an authority's two: renewed at two thirds."""
    lives = ("--certificate-hours", str(60 / 3600), "--authority-hours", str(120 / 3600))
    with secured(installed, tmp_path, *lives):
        for name in ("qwen", "llama"):
            cluster.apply("spec.endpoint.coldStart.heartbeatInterval=1s", name=name)
        cluster.until(lambda: cluster.asleep("qwen") and cluster.asleep("llama"), "KEDA has asked the scaler")
        told, ca = trigger(cluster, "qwen")["metadata"]["certificate"], secret_data(cluster.plane, SYSTEM, "hearth-ca")
        with Held("qwen") as held:
            cluster.until(lambda: cluster.replicas("qwen") == 1, "KEDA heard it", 15)
            cluster.until(
                lambda: secret_data(cluster.plane, SYSTEM, "hearth-ca")["tls.crt"] != ca["tls.crt"],
                "a successor signs",
                150,
            )
            now = secret_data(cluster.plane, SYSTEM, "hearth-ca")
            assert ca["tls.crt"] in certificates_in(now["ca.crt"]), "the one before is trusted until it ends"
            last = secret_data(cluster.plane, "keda", "hearth-keda-tls")["tls.crt"]
            cluster.until(lambda: trigger(cluster, "qwen")["metadata"]["certificate"] != told, "KEDA is told", 30)
            assert not held.ended, held.ended
            assert held.heartbeats > 60
            # Past the end of every certificate that there was at the beginning.
            cluster.until(
                lambda: secret_data(cluster.plane, "keda", "hearth-keda-tls")["tls.crt"] != last, "renewed again", 90
            )
            with Held("llama") as another:
                cluster.until(lambda: cluster.replicas("llama") == 1, "a push, hours later", 20)
                assert not another.ended
            ready = cluster.condition("ScaledObjectReady", "llama")
            assert ready["status"] == "True", ready
            assert not held.ended, held.ended


def test_what_somebody_else_made_is_not_written_and_what_is_deleted_is_made_anew(
    installed: Installed, cluster: Cluster
) -> None:
    plane = cluster.plane
    plane.kubectl("create", "secret", "generic", "hearth-scaler-tls", "-n", SYSTEM, "--from-literal=mine=1")
    with installed.role("controller", "--scaler-address", SCALER, "--tls", "controller"):
        cluster.until(lambda: secret_data(plane, SYSTEM, "hearth-ca"), "the authority is made")
        cluster.until(lambda: "is somebody else's" in installed.log_of("controller"), "that none is made is told")
        assert secret_data(plane, SYSTEM, "hearth-scaler-tls") == {"mine": b"1"}
        assert not secret_data(plane, "keda", "hearth-keda-tls")
        plane.kubectl("delete", "secret", "hearth-scaler-tls", "-n", SYSTEM)
        made = cluster.until(lambda: secret_data(plane, SYSTEM, "hearth-scaler-tls"), "made once the name is free", 20)
        plane.kubectl("delete", "secret", "hearth-scaler-tls", "-n", SYSTEM)
        again = cluster.until(lambda: secret_data(plane, SYSTEM, "hearth-scaler-tls"), "made again", 20)
        assert made["ca.crt"] == again["ca.crt"]
        assert made["tls.key"] != again["tls.key"]
        broken = json.dumps({"data": {"tls.key": base64.b64encode(b"half").decode()}})
        plane.kubectl("patch", "secret", "hearth-scaler-tls", "-n", SYSTEM, "--type=merge", "-p", broken)
        cluster.until(lambda: secret_data(plane, SYSTEM, "hearth-scaler-tls")["tls.key"] != b"half", "mended", 20)
    text = plane.kubectl("get", "secret", "hearth-ca", "-n", SYSTEM, "-o", "json", "--show-managed-fields")
    assert {entry["manager"] for entry in json.loads(text)["metadata"]["managedFields"]} == {MANAGER}


def test_the_controller_reaches_its_own_secrets_alone(installed: Installed) -> None:
    for name, namespace in OURS.items():
        for verb in ("get", "list", "watch", "update"):
            allowed = installed.plane.kubectl(
                *("auth", "can-i", verb, f"secrets/{name}", f"--as={CONTROLLER}", "-n", namespace)
            )
            assert allowed.startswith("yes")
    for request in ("get secrets/database", "list secrets", "delete secrets/hearth-ca", "get secrets/kedaorg-certs"):
        for namespace in (SYSTEM, "keda", NAMESPACE):
            assert not may(installed.plane, CONTROLLER, request.replace("/", " ", 0), namespace), request
