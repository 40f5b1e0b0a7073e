"""https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/"""

from typing import Any

import pytest

from hearth.emulators.endpoints import PORTS_ANNOTATION, EndpointSlices, service_address, slices_of
from hearth.emulators.kinds import KubeObject
from hearth.emulators.store import ObjectStore
from tests.unit.emulators.objects import cluster, named, pod


def service(name: str = "s", **spec: Any) -> KubeObject:
    item = named("Service", name, labels={"tier": "1"}, uid="u")
    ports = [{"name": "web", "port": 80, "targetPort": "http"}]
    return {**item, "spec": {"selector": {"app": "x"}, "ports": ports, **spec}}


def conditions(item: KubeObject) -> dict[str, tuple[bool, bool, bool]]:
    """{address: (ready, serving, terminating)}."""
    return {
        each["addresses"][0]: (
            each["conditions"]["ready"],
            each["conditions"]["serving"],
            each["conditions"]["terminating"],
        )
        for each in item["endpoints"]
    }


def test_pods_are_ready_serving_and_terminating() -> None:
    ends = pod("c", ready=True, ip="127.0.0.3")
    ends["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    over = pod("d", ip="127.0.0.4")
    over["status"]["phase"] = "Failed"
    pods = [pod("a", ready=True, ip="127.0.0.1"), pod("b", ip="127.0.0.2"), ends, over, pod("e")]
    (made,) = slices_of(service(), pods)
    assert conditions(made) == {
        "127.0.0.1": (True, True, False),
        "127.0.0.2": (False, False, False),
        "127.0.0.3": (False, True, True),
    }
    assert made["ports"] == [{"name": "web", "port": 8000, "protocol": "TCP"}]
    assert made["metadata"]["labels"] == {
        "tier": "1",
        "kubernetes.io/service-name": "s",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    assert made["endpoints"][0]["targetRef"]["name"] == "a"


def test_pods_whose_port_is_elsewhere_are_in_another_slice() -> None:
    moved = pod("b", ip="127.0.0.1")
    moved["metadata"]["annotations"] = {PORTS_ANNOTATION: '{"8000": 41234}'}
    made = slices_of(service(), [pod("a", ip="127.0.0.1"), moved])
    assert sorted(each["ports"][0]["port"] for each in made) == [8000, 41234]
    assert len({each["metadata"]["name"] for each in made}) == 2


@pytest.fixture
def store() -> ObjectStore:
    store = cluster()
    store.put("services", service())
    return store


def test_the_slices_follow_the_pods(store: ObjectStore) -> None:
    looks = EndpointSlices(store)
    store.put("pods", pod("a", ready=True, ip="127.0.0.1"))
    looks.look(("ai", "s"))
    (made,) = store.find("endpointslices")
    assert made["metadata"]["ownerReferences"][0]["kind"] == "Service"
    looks.look(("ai", "s"))
    assert store.find("endpointslices") == [made], "a look that finds what it wants writes nothing"
    store.delete("pods", "ai", "a")
    looks.look(("ai", "s"))
    (emptied,) = store.find("endpointslices")
    assert emptied["endpoints"] == [], "the last slice stays, empty"


def test_a_service_without_a_selector_is_left_alone(store: ObjectStore) -> None:
    store.put("services", named("Service", "outside") | {"spec": {"type": "ExternalName", "externalName": "h"}})
    EndpointSlices(store).look(("ai", "outside"))
    assert store.find("endpointslices") == []


def test_a_name_of_the_cluster_leads_to_a_ready_endpoint(store: ObjectStore) -> None:
    store.put("pods", pod("a", ip="127.0.0.1"))
    EndpointSlices(store).look(("ai", "s"))
    assert service_address(store, "s.ai.svc.cluster.local", 80) is None, "none is ready"
    store.put("pods", pod("a", ready=True, ip="127.0.0.1"))
    EndpointSlices(store).look(("ai", "s"))
    assert service_address(store, "s.ai.svc.cluster.local", 80) == "127.0.0.1:8000"
    assert service_address(store, "s.ai.svc", 80) == "127.0.0.1:8000"
    assert service_address(store, "s.ai.svc", 81) is None, "a port that the Service has not"
    assert service_address(store, "none.ai.svc", 80) is None
    assert service_address(store, "127.0.0.1", 9090) == "127.0.0.1:9090"
