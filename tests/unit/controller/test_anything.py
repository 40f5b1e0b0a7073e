"""Whatever stands in the objects that the controller reads: it comes to a status that the API server takes."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hearth.api.status import LLMServiceStatus
from hearth.controller.events import transitions
from hearth.controller.ownership import needless, standing
from hearth.controller.scaledobject import carried_over, given_up, metric_name, nudged, ready_verdict
from hearth.controller.status import llmservice_status, verdicts
from hearth.controller.verdict import Verdict
from hearth.controller.world import World
from hearth.crd_translator import ClusterFacts
from hearth.crd_translator.scaledobject import render_scaled_object
from hearth.kube.objects import KubeObject
from tests.builders import llmservice
from tests.unit.controller.cluster import KEY, Cluster
from tests.unit.kube.test_objects import anything

NAMES = st.sampled_from(
    [
        *("metadata", "spec", "status", "name", "uid", "replicas", "readyReplicas", "conditions", "type", "reason"),
        *("message", "containerStatuses", "state", "waiting", "running", "triggers", "externalMetricNames", "nodeName"),
        *("ownerReferences", "labels", "involvedObject", "coldStart", "coldStartHistory", "since", "took", "phase"),
        *("accessModes", "generation", "deletionTimestamp", "nudge", "loading"),
    ]
)
WORDS = st.sampled_from(
    [
        "Ready",
        "PodScheduled",
        "True",
        "False",
        "CrashLoopBackOff",
        "ImagePullBackOff",
        "ContainerCreating",
        "loading",
        "s0-x",
    ]
)
strange = st.recursive(
    anything | WORDS | st.integers(),
    lambda inner: st.dictionaries(NAMES, inner, max_size=5) | st.lists(inner, max_size=3),
    max_leaves=25,
)
item = st.dictionaries(NAMES, strange, max_size=5)
pods = st.lists(item, max_size=3)
RESOLVED = Verdict("RuntimeResolved", True, "Resolved", "served by InferenceRuntime r")
NOW = "2026-01-01T00:00:00Z"


@given(st.none() | item, st.none() | item, pods, st.lists(item, max_size=3), item)
@settings(max_examples=120, deadline=None)
def test_a_status_is_one_that_the_models_take(
    deployment: KubeObject | None,
    scaled: KubeObject | None,
    pods: list[KubeObject],
    events: list[KubeObject],
    old: KubeObject,
) -> None:
    world = World(deployment, scaled, pods, events)
    found = verdicts(world, RESOLVED)
    status = llmservice_status(world, found, old, runtime="r", selector="a=b", url="http://x", generation=1, now=NOW)
    LLMServiceStatus.model_validate(status)
    json.dumps(status, allow_nan=False)
    about = {"metadata": {"name": "q", "namespace": "a", "uid": "u", "resourceVersion": "1"}}
    transitions(about, old, status, NOW, "one")


@given(item)
def test_any_scaledobject_is_judged_and_any_nudge_is_a_number(found: KubeObject) -> None:
    wanted = render_scaled_object(llmservice(), ClusterFacts())
    assert nudged(carried_over(wanted, found))["spec"]["triggers"][0]["metadata"]["nudge"].isdecimal()
    ready_verdict(found)
    given_up(found)
    metric_name(found)


@pytest.mark.parametrize("nudge", ["9" * 5000, "²", "-1", "0x1", "", "1" * 10])
def test_a_nudge_that_somebody_else_wrote_counts_for_nothing(nudge: str) -> None:
    wanted = render_scaled_object(llmservice(), ClusterFacts())
    wrote = {"spec": {"triggers": [{"metadata": {"nudge": nudge}}]}}
    assert nudged(carried_over(wanted, wrote))["spec"]["triggers"][0]["metadata"]["nudge"] == "1"


@given(item)
def test_any_object_is_somebodys(found: KubeObject) -> None:
    assert standing(found, KEY, "uid-service") in ("ours", "orphan", "leaving", "foreign")
    assert isinstance(needless({**found, "kind": "PersistentVolumeClaim"}, set(), "NodeLocalPVC"), bool)


@given(
    st.lists(st.tuples(st.sampled_from(["Deployment", "ScaledObject", "Pod", "Service"]), item), max_size=4), strange
)
@settings(max_examples=30, deadline=None)
async def test_a_look_among_strange_objects_ends(children: list[tuple[str, KubeObject]], status: Any) -> None:
    cluster = Cluster()
    await cluster.settle()
    cluster.services[next(iter(cluster.services))]["status"] = status
    for kind, child in children:
        known = cluster.belongings.get(KEY, kind, "qwen") or {"metadata": {}}
        made = {**known, **{name: part for name, part in child.items() if name != "metadata"}}
        cluster.belongings.put(kind, next(iter(cluster.services)), made)
    await cluster.reconciler.reconcile(KEY)
    assert cluster.status["conditions"]


@pytest.mark.parametrize(
    "old",
    [
        {"coldStart": {"phase": "loading", "since": "yesterday"}},
        {"coldStart": {"phase": "loading", "since": "2026-01-01T00:00:00"}},
        {"coldStart": {"phase": "loading", "since": "0001-01-01T00:00:00Z", "took": {"loading": 1e308}}},
        {"coldStart": {"phase": "sleeping", "since": NOW}},
        {"coldStartHistory": [{"loading": 1e308}, {"loading": "x"}, {"loading": -5}, "x", None]},
        {"coldStartHistory": "x", "coldStart": []},
        {"conditions": [{"type": ["Ready"]}, "x"]},
    ],
)
def test_a_status_that_somebody_else_wrote_is_no_reason_to_fail(old: KubeObject) -> None:
    for ready in (0, 1):
        world = World({"spec": {"replicas": 1}, "status": {"readyReplicas": ready}}, None, [])
        status = llmservice_status(
            world, verdicts(world, RESOLVED), old, runtime="r", selector="", url="", generation=1, now=NOW
        )
        LLMServiceStatus.model_validate(status)


def test_a_long_message_is_cut_to_what_the_status_takes() -> None:
    pod = {
        "metadata": {"name": "p"},
        "spec": {"nodeName": "n"},
        "status": {"containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull", "message": "x" * 9000}}}]},
    }
    world = World({"spec": {"replicas": 1}}, None, [pod])
    status = llmservice_status(
        world, verdicts(world, RESOLVED), {}, runtime="r", selector="", url="", generation=1, now=NOW
    )
    assert {len(condition["message"]) for condition in status["conditions"] if condition["type"] == "Ready"} == {4096}
    assert len(status["coldStart"]["message"]) == 4096
