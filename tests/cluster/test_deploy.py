"""deploy/: taken by the API server, and every account may do what its role does and no more."""

import json

import pytest

from tests.builders import ROOT
from tests.cluster.controlplane import CommandFailed, ControlPlane
from tests.cluster.installed import SYSTEM, Installed


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
            "patch services",
            "create events.events.k8s.io",
            "create persistentvolumeclaims",
            "create jobs.batch",
            "watch pods",
        ],
    ],
    "activator": ["list llmservices.serving.hearth.dev", "watch endpointslices.discovery.k8s.io"],
    "scaler": [],
}
MAY_NOT = {
    "controller": [
        "get secrets",
        "delete llmservices.serving.hearth.dev",
        "create pods",
        "update deployments.apps/scale",
    ],
    "activator": ["list pods", "get secrets", "patch llmservices.serving.hearth.dev/status", "list nodes"],
    "scaler": ["list llmservices.serving.hearth.dev", "list endpointslices.discovery.k8s.io", "get secrets"],
}


def can_i(plane: ControlPlane, role: str, request: str, namespace: str) -> bool:
    verb, resource = request.split()
    resource, _, subresource = resource.partition("/")
    extra = [f"--subresource={subresource}"] if subresource else []
    account = f"--as=system:serviceaccount:{SYSTEM}:hearth-{role}"
    try:
        return plane.kubectl("auth", "can-i", verb, resource, *extra, account, "-n", namespace).startswith("yes")
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


def test_the_scaler_sees_the_activators_of_its_own_namespace(installed: Installed) -> None:
    for verb in ("list", "watch"):
        assert can_i(installed.plane, "scaler", f"{verb} endpointslices.discovery.k8s.io", SYSTEM)
