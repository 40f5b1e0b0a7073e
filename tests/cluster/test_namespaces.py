"""Hearth for some namespaces, with rights there alone."""

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.builders import ROOT, llmservice_manifest
from tests.cluster.controlplane import HOST
from tests.cluster.installed import SYSTEM, Installed
from tests.cluster.kubectl import NAMESPACE, Cluster

BINDINGS = ROOT / "deploy" / "namespaced" / "rolebindings.yaml"  # they are for ai-prod


@pytest.fixture(scope="module")
def cluster(installed: Installed) -> Iterator[Cluster]:
    plane = installed.plane
    plane.kubectl("delete", "clusterrolebinding", "hearth-controller", "hearth-activator")
    plane.kubectl("apply", "-f", str(BINDINGS))
    plane.kubectl("create", "namespace", "other")
    only = f"--namespace={NAMESPACE}"
    with (
        installed.role("scaler", "--listen", f"{HOST}:9090", "--activator", "127.0.0.1:9"),
        installed.role("controller", "--scaler-address", f"{HOST}:9090", only),
        installed.role(
            "activator", only, "--listen", f"{HOST}:8080", "--demand-listen", f"{HOST}:9091",
            "--operations-listen", "127.0.0.1:0",
        ),
    ):  # fmt: skip
        yield Cluster(plane)
    plane.kubectl("delete", "namespace", "other")
    plane.kubectl("apply", "--server-side", "-k", str(ROOT / "deploy"))  # as it was, to be uninstalled


def test_the_namespaces_that_are_given_are_looked_after_and_no_other(cluster: Cluster) -> None:
    other = llmservice_manifest("qwen", "other")
    cluster.plane.kubectl("apply", "-f", "-", stdin=json.dumps(other))
    cluster.apply(name="qwen")
    cluster.until(lambda: cluster.status("qwen").get("phase") == "ScaledToZero", "made")
    cluster.until(lambda: (cluster.condition("ScaledObjectReady", "qwen") or {}).get("reason"), "KEDA is heard")
    served = f"http://{HOST}:8080/v1/models"
    cluster.until(lambda: models(served) == ["qwen"], "served")
    assert Cluster(cluster.plane, "other").status("qwen")["observedGeneration"] == -1, "as the API server makes it"
    assert Cluster(cluster.plane, "other").get("deployment", "qwen") is None
    cluster.plane.kubectl("delete", "llmservice", "qwen", "-n", NAMESPACE, "--cascade=foreground")


@pytest.mark.parametrize(("namespace", "answer"), [(NAMESPACE, True), ("other", False)])
@pytest.mark.parametrize(
    ("role", "verb", "group", "resource"),
    [("controller", "patch", "apps", "deployments"), ("activator", "list", "serving.hearth.dev", "llmservices")],
)
def test_the_roles_have_their_rights_there_alone(
    cluster: Cluster, role: str, verb: str, group: str, resource: str, namespace: str, answer: bool
) -> None:
    attributes = {"verb": verb, "group": group, "resource": resource, "namespace": namespace}
    spec = {"user": f"system:serviceaccount:{SYSTEM}:hearth-{role}", "resourceAttributes": attributes}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    found = json.loads(cluster.plane.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(review)))
    assert found["status"].get("allowed", False) is answer


def models(url: str) -> list[str]:
    try:
        return [model["id"] for model in httpx.get(url, trust_env=False).json().get("data", ())]
    except httpx.TransportError:
        return []
