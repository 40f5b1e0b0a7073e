from collections.abc import Callable
from typing import Any

import pytest

from hearth.activator.directory import Directory, Entry
from hearth.api.key import ServiceKey
from tests.builders import endpoint_slice, llmservice_manifest


class Changes(list[tuple[ServiceKey, Entry | None]]):
    def __call__(self, key: ServiceKey, entry: Entry | None) -> None:
        self.append((key, entry))


def directory(*names: str, on_change: Callable[[ServiceKey, Entry | None], None] | None = None) -> Directory:
    """A directory of services given as namespace/name."""
    made = Directory(Changes() if on_change is None else on_change)
    for full in names:
        namespace, name = full.split("/")
        made.put_service((namespace, name), llmservice_manifest(name, namespace))
    return made


def key_of(entry: Entry | None) -> str | None:
    return None if entry is None else "/".join(entry.key)


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("qwen.ai.svc.cluster.local", "ai/qwen"),
        ("qwen.ai.svc.cluster.local:80", "ai/qwen"),
        ("QWEN.AI.svc", "ai/qwen"),
        ("qwen.ai.svc.", "ai/qwen"),
        ("qwen.ai", None),
        ("qwen", None),
        ("qwen.other.svc", None),
        ("qwen.ai.example.com", None),
        ("127.0.0.1:8080", None),
        ("[::1]:8080", None),
        ("", None),
    ],
)
def test_a_host_names_a_service(host: str, found: str | None) -> None:
    assert key_of(directory("ai/qwen", "ai/twin", "lab/twin").by_host(host)) == found


@pytest.mark.parametrize(
    ("host", "found"),
    [("qwen.ai", "ai/qwen"), ("qwen", "ai/qwen"), ("twin.ai", "ai/twin"), ("twin", None), ("api.example.com", None)],
)
def test_a_short_host_may_name_one(host: str, found: str | None) -> None:
    assert key_of(directory("ai/qwen", "ai/twin", "lab/twin").by_short_host(host)) == found


@pytest.mark.parametrize("namespace", ["v1", "hearth", "healthz"])
def test_a_namespace_takes_no_path_of_the_apis_own(namespace: str) -> None:
    services = directory(f"{namespace}/chat")
    assert services.by_path(f"/{namespace}/chat/completions") is None
    assert key_of(services.by_host(f"chat.{namespace}.svc")) == f"{namespace}/chat"


def test_a_path_names_a_service_and_leaves_the_rest() -> None:
    services = directory("ai/qwen")
    found = services.by_path("/ai/qwen/v1/chat/completions")
    assert found is not None
    assert (key_of(found[0]), found[1]) == ("ai/qwen", "/v1/chat/completions")
    for path in ("/v1/chat/completions", "/ai/qwen", "/ai/none/v1/x", "/"):
        assert services.by_path(path) is None


def test_a_model_names_a_service_by_name_or_with_its_namespace() -> None:
    services = directory("ai/qwen", "ai/twin", "lab/twin")
    assert key_of(services.by_model("qwen")) == "ai/qwen"
    assert key_of(services.by_model("lab/twin")) == "lab/twin"
    assert services.by_model("none") is services.by_model("ai/none") is services.by_model("") is None


def test_who_came_first_keeps_a_name() -> None:
    services = Directory(Changes())
    for namespace, created in (("ai", "2026-02-01T00:00:00Z"), ("lab", "2026-01-01T00:00:00Z"), ("zoo", "")):
        manifest = llmservice_manifest("twin", namespace)
        manifest["metadata"]["creationTimestamp"] = created or "2026-03-01T00:00:00Z"
        services.put_service((namespace, "twin"), manifest)
    assert key_of(services.by_model("twin")) == "lab/twin"
    assert [services.model_id(entry) for entry in services] == ["ai/twin", "twin", "zoo/twin"]
    services.put_service(("lab", "twin"), None)
    assert key_of(services.by_model("twin")) == "ai/twin"


def test_a_service_that_is_not_openai_compatible_is_reached_by_address_only() -> None:
    services = Directory(Changes())
    services.put_service(("ai", "raw"), llmservice_manifest("raw", "ai", "spec.endpoint.openAICompatible=false"))
    assert key_of(services.by_host("raw.ai.svc")) == "ai/raw"
    assert services.by_model("ai/raw") is services.by_model("raw") is None


class TestReadyReplicas:
    def test_they_come_from_slices_whichever_comes_first(self) -> None:
        services = Directory(Changes())
        services.put_slice(("ai", "s1"), endpoint_slice("qwen", "ai", "10.0.0.1:8000", "10.0.0.2:8000"))
        services.put_service(("ai", "qwen"), llmservice_manifest())
        entry = services.get(("ai", "qwen"))
        assert entry is not None
        assert entry.ready == {"10.0.0.1:8000", "10.0.0.2:8000"}

    def test_several_slices_add_up_and_a_deleted_one_goes(self) -> None:
        changes = Changes()
        services = directory("ai/qwen", on_change=changes)
        services.put_slice(("ai", "s1"), endpoint_slice("qwen", "ai", "10.0.0.1:8000"))
        services.put_slice(("ai", "s2"), endpoint_slice("qwen", "ai", "10.0.0.2:8001"))
        services.put_slice(("ai", "s1"), None)
        entry = changes[-1][1]
        assert entry is not None
        assert entry.ready == {"10.0.0.2:8001"}
        assert len(changes) == 4

    def test_a_slice_that_goes_leaves_those_of_other_services(self) -> None:
        changes = Changes()
        services = directory("ai/qwen", "ai/llama", "lab/qwen", on_change=changes)
        for number, (namespace, name) in enumerate([("ai", "qwen"), ("ai", "llama"), ("lab", "qwen")]):
            services.put_slice((namespace, f"s-{name}"), endpoint_slice(name, namespace, f"10.0.0.{number}:8000"))
        changes.clear()
        services.put_slice(("ai", "s-qwen"), None)
        assert [key for key, _ in changes] == [("ai", "qwen")]
        assert {f"{entry.name}": set(entry.ready) for entry in services} == {
            "ai/qwen": set(),
            "ai/llama": {"10.0.0.1:8000"},
            "lab/qwen": {"10.0.0.2:8000"},
        }

    def test_a_slice_that_changes_hands_is_news_for_both(self) -> None:
        changes = Changes()
        services = directory("ai/qwen", "ai/llama", on_change=changes)
        services.put_slice(("ai", "s"), endpoint_slice("qwen", "ai", "10.0.0.1:8000"))
        changes.clear()
        services.put_slice(("ai", "s"), endpoint_slice("llama", "ai", "10.0.0.1:8000"))
        assert {key[1]: set(entry.ready) for key, entry in changes if entry is not None} == {
            "qwen": set(),
            "llama": {"10.0.0.1:8000"},
        }

    def test_one_that_is_not_ready_or_terminating_is_none(self) -> None:
        services = directory("ai/qwen")
        item = endpoint_slice("qwen", "ai", "10.0.0.1:8000", "10.0.0.2:8000", "10.0.0.3:8000")
        item["endpoints"][0]["conditions"] = {"ready": False}
        item["endpoints"][1]["conditions"] = {"ready": True, "terminating": True}
        item["endpoints"][2]["conditions"] = {}
        services.put_slice(("ai", "s1"), item)
        entry = services.get(("ai", "qwen"))
        assert entry is not None
        assert entry.ready == {"10.0.0.3:8000"}

    def test_an_unchanged_slice_is_no_change(self) -> None:
        changes = Changes()
        services = directory("ai/qwen", on_change=changes)
        for _ in range(2):
            services.put_slice(("ai", "s1"), endpoint_slice("qwen", "ai", "10.0.0.1:8000"))
        assert len(changes) == 2

    @pytest.mark.parametrize(
        "strange",
        [
            {"labels": {"endpointslice.kubernetes.io/managed-by": None}},
            {"labels": {"endpointslice.kubernetes.io/managed-by": "somebody"}},
            {"ownerReferences": None},
            {"ownerReferences": [{"kind": "Service", "name": "qwen-engine", "uid": "u"}]},
            {"ownerReferences": [{"kind": "Service", "name": "theirs", "uid": "u", "controller": True}]},
            {"ownerReferences": [{"kind": "Shop", "name": "qwen-engine", "uid": "u", "controller": True}]},
        ],
    )
    def test_a_slice_that_the_controller_did_not_make_for_the_engines_is_not_dialled(self, strange: Any) -> None:
        services = directory("ai/qwen")
        item = endpoint_slice("qwen", "ai", "10.0.0.1:8000")
        item["metadata"] |= {**strange, "labels": {**item["metadata"]["labels"], **strange.get("labels", {})}}
        services.put_slice(("ai", "s1"), item)
        entry = services.get(("ai", "qwen"))
        assert entry is not None
        assert entry.ready == frozenset()

    def test_a_slice_of_names_is_not_dialled(self) -> None:
        services = directory("ai/qwen")
        item = endpoint_slice("qwen", "ai", "metadata.google.internal:80")
        services.put_slice(("ai", "s1"), {**item, "addressType": "FQDN"})
        entry = services.get(("ai", "qwen"))
        assert entry is not None
        assert entry.ready == frozenset()

    def test_ipv6_addresses_are_bracketed(self) -> None:
        services = directory("ai/qwen")
        item = endpoint_slice("qwen", "ai", "10.0.0.1:8000")
        item["endpoints"][0]["addresses"] = ["fd00::1"]
        services.put_slice(("ai", "s1"), item)
        entry = services.get(("ai", "qwen"))
        assert entry is not None
        assert entry.ready == {"[fd00::1]:8000"}


def test_a_service_that_cannot_be_read_is_kept_as_it_was() -> None:
    changes = Changes()
    services = directory("ai/qwen", on_change=changes)
    services.put_service(("ai", "qwen"), llmservice_manifest("qwen", "ai", "spec.scaling.max=0"))
    assert key_of(services.by_model("qwen")) == "ai/qwen"
    assert len(changes) == 1


def test_a_deleted_service_is_gone() -> None:
    changes = Changes()
    services = directory("ai/qwen", on_change=changes)
    services.put_service(("ai", "qwen"), None)
    assert changes[-1] == (("ai", "qwen"), None)
    assert list(services) == []


def test_what_keeps_replicas_away_is_read_from_the_condition_ready() -> None:
    found: list[Entry | None] = []
    directory = Directory(lambda key, entry: found.append(entry))

    def trouble(status: str, reason: str, kind: str = "Ready") -> str | None:
        item = llmservice_manifest("qwen", "ai")
        condition = {"type": kind, "status": status, "reason": reason, "message": "names of the cluster"}
        item["status"] = {"conditions": [condition]}
        directory.put_service(("ai", "qwen"), item)
        assert found[-1] is not None
        return found[-1].trouble

    assert trouble("False", "ScalingPaused") == "its scaling is paused"
    assert trouble("False", "SomethingNew") == "its status says SomethingNew"
    assert trouble("False", "ColdStart") is None
    assert trouble("True", "ScaledToZero") is None
    assert trouble("False", "PodNotCreated", "PodsHealthy") is None, "another replica may be on its way"


class TestStarting:
    """Replicas that the EndpointSlice does not call ready."""

    A, B = "10.0.0.1:8000", "10.0.0.2:8000"

    def listed(self, made: Directory, *addresses: str, ready: bool = False) -> Entry:
        made.put_slice(("ai", "s"), endpoint_slice("qwen", "ai", *addresses, ready=ready))
        entry = made.get(("ai", "qwen"))
        assert entry is not None
        return entry

    def test_they_are_told_apart(self) -> None:
        entry = self.listed(directory("ai/qwen"), self.A)
        assert set(entry.ready) == set()
        assert set(entry.starting) == {self.A}

    def test_one_that_answered_is_ready_until_it_is_listed_as_something_else(self) -> None:
        made = directory("ai/qwen")
        self.listed(made, self.A, self.B)
        made.put_answered(ServiceKey("ai", "qwen"), self.A)
        entry = self.listed(made, self.A, self.B)
        assert set(entry.ready) == {self.A}
        assert set(entry.starting) == {self.B}
        assert self.listed(made, self.A, ready=True).ready == {self.A}
        entry = self.listed(made, self.A)
        assert set(entry.ready) == set(), "it is no start any more"
        assert set(entry.starting) == {self.A}

    def test_one_that_leaves_is_neither(self) -> None:
        made = directory("ai/qwen")
        self.listed(made, self.A)
        made.put_answered(ServiceKey("ai", "qwen"), self.A)
        leaving = endpoint_slice("qwen", "ai", self.A, ready=False)
        leaving["endpoints"][0]["conditions"]["terminating"] = True
        made.put_slice(("ai", "s"), leaving)
        entry = made.get(("ai", "qwen"))
        assert entry is not None
        assert set(entry.ready) == set()
        assert set(entry.starting) == set()

    def test_an_answer_of_one_that_is_not_listed_counts_for_nothing(self) -> None:
        made = directory("ai/qwen")
        made.put_answered(ServiceKey("ai", "qwen"), self.A)
        assert self.listed(made, self.A).ready == frozenset()

    def test_a_new_service_of_the_name_has_none_of_the_answers(self) -> None:
        made = directory("ai/qwen")
        self.listed(made, self.A)
        made.put_answered(ServiceKey("ai", "qwen"), self.A)
        made.put_service(("ai", "qwen"), None)
        made.put_service(("ai", "qwen"), llmservice_manifest("qwen", "ai"))
        assert self.listed(made, self.A).ready == frozenset()
