"""Readers of objects: any JSON in, the empty value where a part is not what it should be."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.api.base import API_VERSION, GROUP, VERSION
from hearth.kube import kinds, objects
from hearth.kube.endpoints import endpoints

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
PARTS = ("metadata", "status", "spec", "conditions", "labels", "ownerReferences", "ports", "endpoints", "addresses")
objects_like = st.recursive(
    anything,
    lambda inner: (
        st.dictionaries(st.sampled_from((*PARTS, "name", "type", "port", "uid")), inner, max_size=5)
        | st.lists(inner, max_size=3)
    ),
    max_leaves=20,
)


@given(objects_like)
@pytest.mark.parametrize(
    ("read", "kind"),
    [
        (objects.metadata, dict),
        (objects.name_of, str),
        (objects.uid_of, str),
        (objects.version_of, str),
        (objects.labels_of, dict),
        (objects.owners_of, list),
        (objects.is_leaving, bool),
        (objects.conditions_of, list),
        (lambda item: objects.condition(item, "Ready"), dict),
        (lambda item: objects.number(item, "spec", "port"), int),
        (lambda item: objects.texts(item, "spec", "addresses"), list),
    ],
)
def test_a_reader_takes_any_json(read: Callable[[object], object], kind: type, item: object) -> None:
    assert isinstance(read(item), kind)


@given(objects_like)
def test_a_slice_that_is_none_has_no_addresses_or_those_of_its_texts(item: object) -> None:
    if isinstance(item, dict):
        assert all(isinstance(endpoint.address, str) for endpoint in endpoints(item))


@pytest.mark.parametrize("port", [0, -1, 65536, 2**70, True, "http", None, 80.5])
def test_a_port_that_is_none_is_not_dialled(port: object) -> None:
    item: dict[str, Any] = {
        "addressType": "IPv4",
        "ports": [{"port": port}],
        "endpoints": [{"addresses": ["10.0.0.1"]}],
    }
    assert endpoints(item) == ()


def test_an_object_without_a_name_is_none() -> None:
    with pytest.raises(ValueError, match="without metadata.name"):
        objects.key_of({"metadata": {"namespace": "ai"}})


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00+00:00"),
        ("2026-01-01T00:00:00", "2026-01-01T00:00:00+00:00"),
        ("2026-01-01T00:00:60Z", None),
        ("yesterday", None),
        ("", None),
        (7, None),
        (None, None),
    ],
)
def test_times(written: object, read: str | None) -> None:
    found = objects.instant(written)
    assert (found.isoformat() if found else None) == read


@pytest.mark.parametrize(
    ("owner", "made_of", "there"),
    [
        ({"kind": "ReplicaSet", "name": "qwen-abc"}, "abc", True),
        ({"kind": "ReplicaSet", "name": "qwen-abc"}, None, False),
        ({"kind": "ReplicaSet", "name": "qwen-other"}, "abc", False),
        ({"kind": "ReplicaSet", "name": "qwen-abc", "controller": False}, "abc", False),
        ({"kind": "Deployment", "name": "qwen", "uid": "u"}, None, True),
        ({"kind": "Deployment", "name": "qwen", "uid": "v"}, None, False),
        ({"kind": "Deployment", "name": "qwen", "uid": ""}, None, False),
    ],
)
def test_whose_a_pod_is(owner: dict[str, object], made_of: str | None, there: bool) -> None:
    labels = {"pod-template-hash": made_of} if made_of else {}
    pod = {"metadata": {"labels": labels, "ownerReferences": [{"controller": True, **owner}]}}
    assert objects.is_replica_of(pod, "qwen", "u") is there
    assert not objects.is_replica_of({"metadata": {"labels": labels}}, "qwen", "")


def test_our_kinds_are_the_models_kinds() -> None:
    assert kinds.LLMSERVICE.api == f"/apis/{GROUP}/{VERSION}"
    assert kinds.LLMSERVICE.api_version == API_VERSION


def test_paths() -> None:
    assert kinds.POD.everywhere == "/api/v1/pods"
    assert kinds.LLMSERVICE.path("ai", "qwen", "status") == (
        "/apis/serving.hearth.dev/v1alpha1/namespaces/ai/llmservices/qwen/status"
    )
    assert kinds.path_of({"kind": "Job", "metadata": {"namespace": "ai", "name": "j"}}) == (
        "/apis/batch/v1/namespaces/ai/jobs/j"
    )
