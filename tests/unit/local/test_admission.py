"""What the local API server stores: nothing that a loop beside it would fall over, as in a cluster."""

from typing import Any

import pytest
import yaml
from starlette.testclient import TestClient

from hearth.api.manifest import load_llmservices, load_runtimes
from hearth.crd_translator import ClusterFacts, render
from hearth.emulators.apiserver import ApiOptions, Watches, create_api
from hearth.emulators.kinds import KindTable
from hearth.emulators.store import ObjectStore
from hearth.local.admission import admit
from tests.builders import ROOT, SEED

CONTAINER = {"name": "c", "image": "i"}
DEPLOYMENT: dict[str, Any] = {
    "selector": {"matchLabels": {"a": "b"}},
    "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [CONTAINER]}},
}
SCALED = {"scaleTargetRef": {"name": "d"}, "triggers": [{"type": "cron", "metadata": {"end": "x"}}]}
HEARTH = "/apis/serving.hearth.dev/v1alpha1/namespaces/ai-prod/llmservices"


@pytest.fixture
def api() -> TestClient:
    store = ObjectStore()
    for name in ("ai", "ai-prod"):
        store.put("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return TestClient(create_api(store, Watches(), ApiOptions(admit=admit)))


def posted(api: TestClient, resource: str, spec: Any, **metadata: Any) -> Any:
    kind = KindTable().named(resource)
    named = {"name": "x", **metadata}
    item = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": named, "spec": spec}
    return api.post(kind.path("ai"), json=item)


@pytest.mark.parametrize(
    ("resource", "spec", "says"),
    [
        ("deployments", DEPLOYMENT | {"replicas": "x"}, "spec.replicas: Invalid value: 'x': expected a whole number"),
        ("deployments", DEPLOYMENT | {"replicas": True}, "spec.replicas: Invalid value"),
        ("deployments", DEPLOYMENT | {"replicas": -1}, "spec.replicas: Invalid value: '-1'"),
        ("deployments", DEPLOYMENT | {"template": None}, "spec.template: Required value"),
        ("deployments", DEPLOYMENT | {"template": {"spec": {"containers": []}}}, "spec.containers: Required value"),
        ("deployments", "x", "spec: Invalid value: 'x': expected an object"),
        ("pods", {"containers": "x"}, "spec.containers: Invalid value: 'x': expected a list"),
        ("pods", {"containers": [{"name": "c"}]}, "spec.containers[0].image: Required value"),
        ("pods", {"containers": [CONTAINER | {"args": [1]}]}, "spec.containers[0].args[0]: Invalid value: '1'"),
        ("services", {"selector": {"a": 1}}, "spec.selector[a]: Invalid value: '1': expected a string"),
        ("services", None, "spec: Required value"),
        ("scaledobjects", SCALED | {"triggers": []}, "spec.triggers: Required value"),
        ("scaledobjects", SCALED | {"scaleTargetRef": {}}, "spec.scaleTargetRef.name: Required value"),
    ],
)
def test_what_a_loop_cannot_read_is_refused(api: TestClient, resource: str, spec: Any, says: str) -> None:
    answer = posted(api, resource, spec)
    assert answer.status_code == 422, answer.text
    assert says in answer.json()["message"]


def test_an_owner_without_a_uid_is_refused(api: TestClient) -> None:
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "p"}
    answer = posted(api, "pods", {"containers": [CONTAINER]}, ownerReferences=[owner])
    assert answer.status_code == 422
    assert "metadata.ownerReferences[0].uid: Required value" in answer.json()["message"]


def test_what_is_right_is_stored_and_a_null_is_not_there(api: TestClient) -> None:
    assert posted(api, "deployments", DEPLOYMENT | {"replicas": None}).json()["spec"]["replicas"] == 1
    container = {**CONTAINER, "env": None, "resources": {"limits": {"v.com/gpu": 1}}}
    assert posted(api, "pods", {"containers": [container]}).status_code == 201
    assert posted(api, "scaledobjects", SCALED).status_code == 201


@pytest.mark.parametrize(("status", "says"), [({"coldStart": [1]}, "status.coldStart"), ({"phase": "x"}, "phase")])
def test_a_status_is_looked_at_too(api: TestClient, status: Any, says: str) -> None:
    assert api.post(HEARTH, json=yaml.safe_load(SEED.read_text())).status_code == 201
    place, merge = f"{HEARTH}/deepseek-v3-small/status", {"content-type": "application/merge-patch+json"}
    answer = api.patch(place, json={"status": status}, headers=merge)
    assert answer.status_code == 422, answer.text
    assert says in answer.json()["message"]
    assert api.patch(place, json={"status": {"phase": "Ready"}}, headers=merge).status_code == 200


def test_all_that_llmservices_become_is_admitted() -> None:
    kinds, runtimes = KindTable(), load_runtimes(ROOT / "runtimes")
    for service in load_llmservices([SEED]):
        for item in render(service, runtimes, ClusterFacts()).objects:
            assert admit(kinds.of(item), item) == item
