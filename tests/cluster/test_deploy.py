"""deploy/: taken by the API server, and every account may do what its role does and no more."""

import json

import pytest
import yaml

from tests.builders import ROOT
from tests.cluster.controlplane import CommandFailed, ControlPlane
from tests.cluster.installed import SYSTEM, Installed
from tests.cluster.kubectl import NAMESPACE, Cluster
from tools.dashboards import DASHBOARDS


def test_installing_again_changes_nothing(installed: Installed) -> None:
    def generations() -> dict[str, int]:
        items = json.loads(installed.plane.kubectl("get", "deployment,pdb", "-n", SYSTEM, "-o", "json"))["items"]
        return {f"{item['kind']}/{item['metadata']['name']}": item["metadata"]["generation"] for item in items}

    before = generations()
    assert len(before) == 6
    installed.plane.kubectl("apply", "--server-side", "--validate=strict", "-k", str(ROOT / "deploy"))
    assert generations() == before


def test_the_pods_meet_the_restricted_standard(installed: Installed) -> None:
    """The namespace enforces it: a pod that does not meet it would not be made."""
    for role, count in (("controller", 2), ("activator", 2), ("scaler", 2)):
        installed.plane.kubectl(
            *["wait", "-n", SYSTEM, f"deployment/hearth-{role}", "--timeout=30s"],
            f"--for=jsonpath={{.status.replicas}}={count}",
        )
        pods = json.loads(
            installed.plane.kubectl(
                "get", "pods", "-n", SYSTEM, "-l", f"app.kubernetes.io/name=hearth-{role}", "-o", "json"
            )
        )
        assert len(pods["items"]) == count


MAY = {
    "controller": [
        *["list llmservices.serving.hearth.dev", "watch inferenceruntimes.serving.hearth.dev", "list nodes"],
        *["patch llmservices.serving.hearth.dev/status", "create deployments.apps", "patch scaledobjects.keda.sh"],
        *[
            "get services",
            "get persistentvolumeclaims",
            "get jobs.batch",
            "get scaledobjects.keda.sh",
            "patch services",
            "create events.events.k8s.io",
            "create persistentvolumeclaims",
            "create jobs.batch",
            "watch pods",
            "get pods/log",
        ],
    ],
    "activator": ["list llmservices.serving.hearth.dev", "watch endpointslices.discovery.k8s.io"],
    "scaler": [],
}
MAY_NOT = {
    "controller": [
        "get secrets",
        "list secrets",
        "watch secrets",
        "escalate roles.rbac.authorization.k8s.io",
        "bind roles.rbac.authorization.k8s.io",
        "patch roles.rbac.authorization.k8s.io",
        "delete rolebindings.rbac.authorization.k8s.io",
        "create clusterrolebindings.rbac.authorization.k8s.io",
        "delete llmservices.serving.hearth.dev",
        "create pods",
        "update deployments.apps/scale",
    ],
    "activator": [
        "list pods",
        "get secrets",
        "list secrets",
        "watch secrets",
        "patch llmservices.serving.hearth.dev/status",
        "list nodes",
    ],
    "scaler": ["list llmservices.serving.hearth.dev", "list endpointslices.discovery.k8s.io", "get secrets"],
}


def can_i(plane: ControlPlane, role: str, request: str, namespace: str) -> bool:
    return may(plane, f"system:serviceaccount:{SYSTEM}:hearth-{role}", request, namespace)


def may(plane: ControlPlane, user: str, request: str, namespace: str) -> bool:
    verb, resource = request.split()
    resource, _, subresource = resource.partition("/")
    extra = [f"--subresource={subresource}"] if subresource else []
    try:
        told = plane.kubectl("auth", "can-i", verb, resource, *extra, f"--as={user}", "-n", namespace)
        return told.startswith("yes")
    except CommandFailed as error:  # can-i exits with 1 for "no"
        if "no" not in str(error).splitlines():
            raise
        return False


@pytest.mark.parametrize(("role", "request_"), [(role, what) for role in MAY for what in MAY[role]])
def test_an_account_may_do_what_its_role_does(installed: Installed, role: str, request_: str) -> None:
    assert can_i(installed.plane, role, request_, "default")


@pytest.mark.parametrize(("role", "request_"), [(role, what) for role in MAY_NOT for what in MAY_NOT[role]])
def test_an_account_may_do_no_more(installed: Installed, role: str, request_: str) -> None:
    assert not can_i(installed.plane, role, request_, "default")


def test_who_may_edit_a_namespace_may_edit_its_llmservices_and_no_others(installed: Installed) -> None:
    plane, kind = installed.plane, "llmservices.serving.hearth.dev"
    cluster = Cluster(plane)
    for role, verbs in (("edit", ("get", "create", "patch", "delete")), ("view", ("get", "list", "watch"))):
        plane.kubectl("create", "rolebinding", f"{role}s", f"--clusterrole={role}", f"--user={role}or", "-n", NAMESPACE)
        for verb in verbs:  # the controller manager aggregates in its own time
            cluster.until(lambda v=verb, r=role: may(plane, f"{r}or", f"{v} {kind}", NAMESPACE), f"{role}: {verb}")  # type: ignore[misc]
        assert not may(plane, f"{role}or", f"get {kind}", "default")
        assert not may(plane, f"{role}or", f"patch {kind}/status", NAMESPACE)
    assert not may(plane, "viewor", f"create {kind}", NAMESPACE)


def test_the_scaler_sees_the_activators_of_its_own_namespace(installed: Installed) -> None:
    for verb in ("list", "watch"):
        assert can_i(installed.plane, "scaler", f"{verb} endpointslices.discovery.k8s.io", SYSTEM)


def test_grafanas_config_maps_are_taken_and_have_the_sidecars_label(installed: Installed) -> None:
    folder = str(ROOT / "deploy/dashboards")
    installed.plane.kubectl("apply", "--dry-run=server", "--validate=strict", "-k", folder)
    listed = list(yaml.safe_load_all(installed.plane.kubectl("kustomize", folder)))
    assert {item["metadata"]["labels"]["grafana_dashboard"] for item in listed} == {"1"}
    boards = [json.loads(text) for item in listed for text in item["data"].values()]
    assert {board["uid"] for board in boards} == {board.uid for board in DASHBOARDS}


def test_the_pod_monitor_finds_every_role_at_a_port_that_it_has(installed: Installed) -> None:
    """There is no Prometheus operator here, which would take it: what it selects is looked at in its place."""
    listed = list(yaml.safe_load_all(installed.plane.kubectl("kustomize", str(ROOT / "deploy/monitoring"))))
    monitor, engines = [item for item in listed if item["kind"] == "PodMonitor"]
    assert engines["metadata"]["name"] == "hearth-engines"
    for item in listed:
        assert item["metadata"]["labels"] == {"release": "kube-prometheus-stack"}
    (expression,) = monitor["spec"]["selector"]["matchExpressions"]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    items = json.loads(installed.plane.kubectl("get", "deployments", "-n", SYSTEM, "-o", "json"))["items"]
    templates = [item["spec"]["template"] for item in items]
    assert {template["metadata"]["labels"][expression["key"]] for template in templates} == set(expression["values"])
    for template in templates:
        ports = {port["name"]: port["containerPort"] for port in template["spec"]["containers"][0]["ports"]}
        assert ports[endpoint["port"]] == 8081
        assert not template["metadata"].get("annotations"), "one way to scrape"
