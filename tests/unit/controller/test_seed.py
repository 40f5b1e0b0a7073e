"""What an object is created from: no field of it may be one that a later version of the object drops."""

import pytest

from hearth.controller.seed import seed_of
from hearth.crd_translator import render
from tests.builders import llmservice, runtime

RENDERED = render(
    llmservice("spec.cache={prewarm: true, strategy: SharedPVC}", "spec.runtime={name: r}"), [runtime("r")]
)


def test_a_deployments_seed_has_what_never_changes_no_replica_and_no_token() -> None:
    (deployment,) = RENDERED.of_kind("Deployment")
    selector = {"serving.hearth.dev/llmservice": "qwen", "app.kubernetes.io/component": "engine"}
    assert deployment["spec"]["selector"] == {"matchLabels": selector}
    assert seed_of(deployment) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": deployment["metadata"],
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": selector},
            "template": {
                "metadata": {"labels": selector},
                "spec": {
                    "containers": [{"name": "engine", "image": "nvidia:1"}],
                    "automountServiceAccountToken": False,
                },
            },
        },
    }


def test_a_services_seed_has_no_ports() -> None:
    services = RENDERED.of_kind("Service")
    assert any("ports" in service["spec"] for service in services)
    for service in services:
        wanted = {name: value for name, value in service["spec"].items() if name != "ports"}
        assert seed_of(service) == {**service, "spec": wanted}


@pytest.mark.parametrize("kind", ["ScaledObject", "PersistentVolumeClaim", "Job"])
def test_what_never_drops_a_field_is_its_own_seed(kind: str) -> None:
    (item,) = RENDERED.of_kind(kind)
    assert seed_of(item) == item
