"""Looks of the controller at one LLMService, on a cluster in memory."""

import copy
from datetime import timedelta
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from hearth.api.key import ServiceKey
from hearth.api.manifest import set_fields
from hearth.controller.choosing import Unreadable
from hearth.controller.fights import TIMES
from hearth.controller.keyaccess import Keys
from hearth.controller.pace import BURST, EACH_SECONDS
from hearth.controller.reconcile import (
    KEDA_LOOK_SECONDS,
    LOOK_SECONDS,
    NAME_LOOK_SECONDS,
    UNSEEN_LOOK_SECONDS,
)
from hearth.controller.verdict import Verdict
from hearth.crd_translator import ClusterFacts, EngineClient
from hearth.kube.client import Listed
from hearth.kube.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    InternalError,
    KubeError,
    Refused,
    TooManyRequests,
    Unanswered,
    Unavailable,
)
from hearth.kube.kinds import LLMSERVICE, RENDERED
from hearth.kube.objects import KubeObject, ObjectKey
from tests.unit.controller.cluster import KEY, LABEL, Cluster

NAMES = {
    "Deployment": ["qwen"],
    "Service": ["qwen", "qwen-engine"],
    "PersistentVolumeClaim": ["qwen-cache-nvidia"],
    "ScaledObject": ["qwen"],
}
EVERY_NAME = [(kind, name) for kind, names in NAMES.items() for name in names]


def foreign(kind: str, name: str, **metadata: Any) -> KubeObject:
    about = {"name": name, "namespace": "ai", **metadata}
    return {"apiVersion": RENDERED[kind].api_version, "kind": kind, "metadata": about, "spec": {"mine": True}}


async def test_everything_is_made_with_an_owner_and_no_replica() -> None:
    cluster = Cluster()
    await cluster.settle()
    assert {kind: cluster.names(kind) for kind in NAMES} == NAMES
    for item in cluster.api.objects.values():
        (owner,) = item["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"], owner["controller"]) == (
            *("LLMService", "qwen", "uid-service"),
            True,
        )
    deployment = cluster.get("Deployment", "qwen")
    assert deployment["spec"]["replicas"] == 0
    assert deployment["spec"]["template"]["spec"]["containers"][0]["args"], "and all of the rest"
    assert cluster.get("Service", "qwen-engine")["spec"]["ports"]
    assert cluster.status["phase"] == "ScaledToZero"
    assert cluster.reason("RuntimeResolved") == "Resolved"


async def test_a_look_that_changes_nothing_writes_nothing() -> None:
    cluster = Cluster()
    await cluster.settle()
    written = len(cluster.api.writes)
    for _ in range(3):
        await cluster.look()
    assert len(cluster.api.writes) == written


async def test_a_seed_has_no_field_that_a_later_version_may_drop() -> None:
    """Who creates an object owns the fields of that request for ever: an apply of a version without them leaves them."""
    cluster = Cluster()
    created: list[KubeObject] = []
    create = cluster.api.create_object

    async def noting(collection: str, item: KubeObject, manager: str = "") -> KubeObject:
        created.append(item)
        return await create(collection, item, manager)

    cluster.api.create_object = noting  # type: ignore[method-assign]
    await cluster.look()
    by_name = {(item["kind"], item["metadata"]["name"]): item["spec"] for item in created if item["kind"] in NAMES}
    deployment = by_name["Deployment", "qwen"]
    assert set(deployment) == {"replicas", "selector", "template"}
    assert [set(container) for container in deployment["template"]["spec"]["containers"]] == [{"name", "image"}]
    assert set(by_name["Service", "qwen-engine"]) == {"clusterIP", "selector"}, "ports change with the runtime"


@pytest.mark.parametrize(("kind", "name"), EVERY_NAME)
async def test_a_name_that_somebody_has_stops_every_write(kind: str, name: str) -> None:
    cluster = Cluster()
    theirs = copy.deepcopy(cluster.api.put(foreign(kind, name)))
    again = await cluster.look()
    assert cluster.api.writes == []
    assert list(cluster.api.objects.values()) == [theirs]
    assert (cluster.reason(), cluster.status["phase"]) == ("NameTaken", "Pending")
    assert f"{kind} ai/{name}" in cluster.message()
    assert "give the LLMService another name" in cluster.message()
    assert again == NAME_LOOK_SECONDS, "no watch of ours shows it: the clock does"
    (event,) = [event for event in cluster.api.events if event["reason"] == "NameTaken"]
    assert event["type"] == "Warning"


@pytest.mark.parametrize(("kind", "name"), EVERY_NAME)
async def test_it_goes_on_when_the_name_is_free(kind: str, name: str) -> None:
    cluster = Cluster()
    cluster.api.put(foreign(kind, name))
    await cluster.look()
    cluster.api.objects.clear()
    await cluster.settle()
    assert {kind: cluster.names(kind) for kind in NAMES} == NAMES
    cluster.keda_says()
    await cluster.look()
    assert cluster.reason() == "ScaledToZero"


async def test_all_names_that_are_taken_are_said_at_once() -> None:
    cluster = Cluster()
    for kind, name in EVERY_NAME:
        cluster.api.put(foreign(kind, name))
    await cluster.look()
    assert all(f"{kind} ai/{name}" in cluster.message() for kind, name in EVERY_NAME)


@pytest.mark.parametrize(
    "metadata",
    [
        {"labels": {"app.kubernetes.io/managed-by": "hearth"}},
        {"labels": {"serving.hearth.dev/llmservice": "another"}},
        {"labels": {"serving.hearth.dev/llmservice": "qwen"}, "ownerReferences": [{"kind": "Shop", "name": "s", "uid": "x", "controller": True}]},
        {"ownerReferences": [{"apiVersion": "serving.hearth.dev/v1alpha1", "kind": "LLMService", "name": "qwen-engine", "uid": "x", "controller": True}]},
    ],
)  # fmt: skip
async def test_what_only_looks_like_ours_is_not(metadata: dict[str, Any]) -> None:
    cluster = Cluster()
    cluster.api.put(foreign("Service", "qwen", **metadata))
    await cluster.look()
    assert (cluster.api.writes, cluster.reason()) == ([], "NameTaken")


async def test_two_services_whose_names_meet_say_whose_it_is() -> None:
    cluster = Cluster()
    owner = {"apiVersion": "serving.hearth.dev/v1alpha1", "kind": "LLMService", "name": "other", "uid": "x"}
    cluster.api.put(foreign("Service", "qwen-engine", ownerReferences=[{**owner, "controller": True}]))
    await cluster.look()
    assert "Service ai/qwen-engine (of LLMService other)" in cluster.message()


async def test_orphans_are_taken_by_the_service_that_is_made_again() -> None:
    cluster = Cluster()
    await cluster.settle()
    before = {path: item["metadata"]["uid"] for path, item in cluster.api.objects.items()}
    for item in cluster.api.objects.values():  # kubectl delete --cascade=orphan
        del item["metadata"]["ownerReferences"]
    cluster.apply(uid="uid-again")
    await cluster.settle()
    assert {path: item["metadata"]["uid"] for path, item in cluster.api.objects.items()} == before
    owners = {owner["uid"] for item in cluster.api.objects.values() for owner in item["metadata"]["ownerReferences"]}
    assert owners == {"uid-again"}


async def test_what_an_earlier_service_left_behind_is_waited_for() -> None:
    cluster = Cluster()
    await cluster.settle()
    written = len(cluster.api.writes)
    cluster.apply(uid="uid-again")  # deleted and applied again; the garbage collector has not come yet
    again = await cluster.look()
    assert len(cluster.api.writes) == written
    assert (cluster.reason(), again) == ("PredecessorLeaving", 1.0)
    assert [event["type"] for event in cluster.api.events if event["reason"] == "PredecessorLeaving"] == ["Normal"]
    cluster.api.objects.clear()
    await cluster.settle()
    assert cluster.names("Deployment") == ["qwen"]


async def test_finalizers_that_nobody_takes_off_are_told_after_a_while() -> None:
    """KEDA's, while its operator is away: what was deleted and applied again waits for it for ever."""
    cluster = Cluster()
    await cluster.settle()
    scaled = cluster.get("ScaledObject", "qwen")["metadata"]
    scaled |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["finalizer.keda.sh"]}
    await cluster.look()
    assert cluster.reason("ScaledObjectReady") == "FinalizersKept"
    assert "waits for finalizer.keda.sh" in cluster.message("ScaledObjectReady")
    cluster.apply(uid="uid-again")
    cluster.now += timedelta(seconds=50)
    await cluster.look()
    assert cluster.reason() == "PredecessorLeaving"
    cluster.now += timedelta(seconds=20)
    assert await cluster.look() == 1.0
    assert cluster.reason() == "FinalizersKept"
    assert "ScaledObject ai/qwen" in cluster.message()
    assert "waiting for finalizer.keda.sh" in cluster.message()
    told = [event["type"] for event in cluster.api.events if event["reason"] == "FinalizersKept"]
    assert "Warning" in told


async def test_a_status_is_of_what_was_just_written_whatever_the_informer_shows() -> None:
    """kubectl wait and Flux go by observedGeneration: what is said of a generation was read of its objects."""
    cluster = Cluster()
    await cluster.settle()
    cluster.keda_says()
    await cluster.settle()
    assert cluster.reason() == "ScaledToZero"
    cluster.apply("spec.scaling.min=1", generation=2)
    await cluster.reconciler.reconcile(KEY)  # the informers have shown nothing of this look's own writes
    assert cluster.status["observedGeneration"] == 2
    assert cluster.reason() == "Pending"


async def test_a_prewarm_that_was_cleaned_away_is_not_run_again() -> None:
    """By a TTL that a policy sets, or by hand: on the volume of a node each run would ask for the engine's devices."""
    cluster = Cluster("spec.cache.prewarm=true")
    await cluster.settle()
    (job,) = cluster.names("Job")
    cluster.get("Job", job)["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    await cluster.settle()
    claim = cluster.get("PersistentVolumeClaim", cluster.names("PersistentVolumeClaim")[0])
    assert cluster.status["prewarmed"] == {"job": job, "claim": claim["metadata"]["uid"]}
    del cluster.api.objects[RENDERED["Job"].path(KEY.namespace, job)]
    await cluster.settle()
    assert cluster.names("Job") == []
    assert cluster.reason("ModelCached") == "Cached"
    # Another claim is filled anew, and so is one that another Job would fill.
    claim["metadata"]["uid"] = "another"
    await cluster.settle()
    assert cluster.names("Job") == [job]


async def test_one_that_is_quicker_than_our_create_keeps_its_object() -> None:
    cluster = Cluster()
    look = cluster.api.get_object
    theirs = foreign("Service", "qwen")

    async def late(path: str, label_selector: str = "") -> KubeObject | None:
        found = await look(path, label_selector)
        if path.endswith("/services/qwen") and found is None:
            cluster.api.put(theirs)  # right behind our look
        return found

    cluster.api.get_object = late  # type: ignore[method-assign]
    with pytest.raises(AlreadyExists):
        await cluster.look()
    assert cluster.get("Service", "qwen")["spec"] == {"mine": True}
    assert cluster.names("Deployment") == [], "it stopped there"
    cluster.api.get_object = look  # type: ignore[method-assign]
    await cluster.look()
    assert cluster.reason() == "NameTaken"
    assert cluster.get("Service", "qwen")["spec"] == {"mine": True}


async def test_one_that_takes_the_place_of_ours_behind_our_back_is_not_written() -> None:
    """The informer still shows ours: its uid is sent along, and the API server refuses."""
    cluster = Cluster()
    await cluster.settle()
    cluster.apply("spec.scaling.max=3")
    cluster.api.put(foreign("ScaledObject", "qwen"))
    cluster.show = lambda: None  # type: ignore[method-assign]
    with pytest.raises(Conflict):
        await cluster.look()
    assert cluster.get("ScaledObject", "qwen")["spec"] == {"mine": True}


async def test_an_orphan_that_changes_while_we_look_is_looked_at_again() -> None:
    cluster = Cluster()
    await cluster.settle()
    for item in cluster.api.objects.values():
        del item["metadata"]["ownerReferences"]
    cluster.apply(uid="uid-again")
    cluster.show()
    for item in list(cluster.api.objects.values()):
        cluster.api.put({**item, "metadata": {**item["metadata"], "annotations": {"a": "b"}}})
    cluster.show = lambda: None  # type: ignore[method-assign]
    with pytest.raises(Conflict):
        await cluster.reconciler.reconcile(KEY)


BOTH = ClusterFacts(accelerators=frozenset({"nvidia.com/gpu", "huawei.com/Ascend910"}))
ASCEND_ALONE = ClusterFacts(accelerators=frozenset({"huawei.com/Ascend910"}), exhausted=frozenset({"nvidia.com/gpu"}))
EITHER = "spec.runtime.selector.vendor=[nvidia, ascend]"


def image(cluster: Cluster) -> str:
    (container,) = cluster.get("Deployment", "qwen")["spec"]["template"]["spec"]["containers"]
    return str(container["image"])


@pytest.mark.parametrize("orphaned", [True, False])
async def test_one_without_a_status_goes_on_with_the_choice_that_its_deployment_tells(orphaned: bool) -> None:
    """kubectl delete --cascade=orphan and apply; or a backup that has no status."""
    cluster = Cluster(EITHER)
    cluster.facts = ASCEND_ALONE
    await cluster.settle()
    before = image(cluster)
    cluster.get("Deployment", "qwen")["spec"]["replicas"] = 1
    cluster.get("Deployment", "qwen")["metadata"]["generation"] = 9
    cluster.facts = BOTH  # the one of higher priority is there by now
    cluster.services.clear()
    cluster.api.statuses.clear()
    if orphaned:
        for item in cluster.api.objects.values():
            item["metadata"]["ownerReferences"] = []
    cluster.apply(EITHER, uid="uid-again" if orphaned else "uid-service")
    await cluster.settle()
    assert (cluster.status["resolvedRuntime"], image(cluster)) == ("ascend-vllm", before)
    assert cluster.status["choice"]["resourceName"] == "huawei.com/Ascend910"
    assert cluster.status["choice"]["next"]["runtime"] == "nvidia-vllm", "it moves when it sleeps"


async def test_what_the_deployment_of_somebody_else_tells_chooses_nothing() -> None:
    cluster = Cluster(EITHER)
    cluster.facts = BOTH
    theirs = foreign("Deployment", "qwen", labels={LABEL: "qwen"})
    theirs["metadata"]["annotations"] = {"serving.hearth.dev/runtime": "ascend-vllm"}
    cluster.api.put(theirs)
    await cluster.look()
    assert cluster.reason() == "NameTaken"
    assert cluster.status["resolvedRuntime"] == "nvidia-vllm"


async def test_the_user_takes_back_what_the_deployment_tells() -> None:
    cluster = Cluster(EITHER)
    cluster.facts = ASCEND_ALONE
    await cluster.settle()
    cluster.services.clear()
    cluster.api.statuses.clear()
    cluster.facts = BOTH
    cluster.apply("spec.runtime={name: nvidia-vllm}")
    await cluster.settle()
    assert cluster.status["resolvedRuntime"] == "nvidia-vllm"


async def test_a_vendor_that_is_away_for_twelve_seconds_moves_nothing() -> None:
    cluster = Cluster(EITHER)
    cluster.facts = BOTH
    await cluster.settle()
    cluster.keda_says()
    await cluster.settle()
    written, before = len(cluster.api.writes), image(cluster)
    cluster.facts = ASCEND_ALONE  # the device plugin restarts
    assert await cluster.look() == pytest.approx(180)
    cluster.now += timedelta(seconds=12)
    cluster.facts = BOTH
    await cluster.settle()
    assert (len(cluster.api.writes), image(cluster)) == (written, before)
    assert "next" not in cluster.status["choice"], "what was so for twelve seconds is forgotten"
    assert cluster.status["resolvedRuntime"] == "nvidia-vllm"


async def test_a_vendor_that_stays_away_is_left_at_zero_after_minutes_and_its_claim_stays() -> None:
    cluster = Cluster(EITHER)
    cluster.facts = BOTH
    await cluster.settle()
    cluster.facts = ASCEND_ALONE
    await cluster.look()
    assert cluster.status["choice"]["next"] == {
        "runtime": "ascend-vllm",
        "resourceName": "huawei.com/Ascend910",
        "since": "2026-01-01T00:00:00Z",
    }
    cluster.now += timedelta(minutes=2, seconds=59)
    assert await cluster.look() == pytest.approx(1)
    assert cluster.status["resolvedRuntime"] == "nvidia-vllm"
    cluster.now += timedelta(seconds=1)
    await cluster.settle()
    assert cluster.status["resolvedRuntime"] == "ascend-vllm"
    assert cluster.names("PersistentVolumeClaim") == ["qwen-cache-ascend", "qwen-cache-nvidia"]
    cluster.apply("spec.runtime.selector.vendor=[amd]")
    await cluster.settle()
    assert cluster.status["resolvedRuntime"] == "amd-vllm", "what the user takes back is left at once"
    assert "qwen-cache-nvidia" in cluster.names("PersistentVolumeClaim"), "nor does his choice delete a claim"
    assert [path for verb, path in cluster.api.writes if verb == "delete"] == []


async def test_a_warm_engine_is_not_moved_however_long() -> None:
    cluster = Cluster(EITHER)
    cluster.facts = BOTH
    await cluster.settle()
    before = image(cluster)
    deployment = cluster.get("Deployment", "qwen")
    deployment["spec"]["replicas"] = 1
    deployment["metadata"]["generation"] = 9
    cluster.facts = ASCEND_ALONE
    for _ in range(3):
        await cluster.look()
        cluster.now += timedelta(hours=1)
    assert (image(cluster), cluster.status["resolvedRuntime"]) == (before, "nvidia-vllm")
    deployment = cluster.get("Deployment", "qwen")
    deployment["spec"]["replicas"] = 0
    deployment["metadata"]["generation"] = 10
    await cluster.settle()
    assert cluster.status["resolvedRuntime"] == "ascend-vllm", "when it sleeps"


async def test_what_others_wrote_into_the_choice_is_removed_where_it_changes() -> None:
    """An apply would leave their part, without the rest that the API server asks for."""
    cluster = Cluster(EITHER)
    cluster.facts = BOTH
    await cluster.settle()
    cluster.facts = ASCEND_ALONE
    await cluster.look()
    theirs = {"manager": "kubectl", "fieldsV1": {"f:status": {"f:choice": {"f:next": {"f:since": {}}}}}}
    service = cluster.services[ObjectKey(*KEY)]
    service["metadata"]["managedFields"] = [theirs]
    await cluster.look()
    assert cluster.api.merges == [], "nothing has changed"
    cluster.facts = BOTH
    await cluster.look()
    assert cluster.api.merges == [{"metadata": {"uid": "uid-service"}, "status": {"choice": None}}]
    assert cluster.status["choice"] == {"vendor": "nvidia", "resourceName": "nvidia.com/gpu"}


async def test_where_no_node_is_heard_nothing_is_the_better_one() -> None:
    cluster = Cluster(EITHER)
    cluster.facts = ClusterFacts(accelerators=frozenset({"huawei.com/Ascend910"}))
    await cluster.settle()
    assert cluster.status["resolvedRuntime"] == "ascend-vllm"
    cluster.facts = ClusterFacts(exhausted=frozenset({"huawei.com/Ascend910"}))
    await cluster.look()
    assert "next" not in cluster.status["choice"]


@pytest.mark.parametrize("gone", ["deleted", "unreadable", "another vendor's"])
@pytest.mark.parametrize("choice", ["spec.runtime={name: nvidia-vllm}", EITHER])
async def test_a_runtime_that_is_lost_for_a_moment_ends_nothing_and_scaling_goes_on(gone: str, choice: str) -> None:
    cluster = Cluster(choice)
    cluster.facts = BOTH
    await cluster.settle()
    before = image(cluster)
    runtime = cluster.runtimes.readable["nvidia-vllm"]
    if gone == "another vendor's":
        cluster.runtimes.put("nvidia-vllm", set_fields(runtime.to_manifest(), ["spec.vendor=nvidai"]))
    elif gone == "unreadable":
        cluster.runtimes.put("nvidia-vllm", set_fields(runtime.to_manifest(), ["spec.priority=high"]))
    else:
        cluster.runtimes.put("nvidia-vllm", None)
    cluster.apply(choice, "spec.scaling={min: 1, max: 3}")
    await cluster.settle()
    assert image(cluster) == before
    assert cluster.status["resolvedRuntime"] == "nvidia-vllm"
    scaled = cluster.get("ScaledObject", "qwen")["spec"]
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (1, 3)
    if gone == "unreadable":
        assert cluster.reason("RuntimeResolved") == "RuntimeInvalid"
        assert "spec.priority" in cluster.message("RuntimeResolved")
    elif gone == "deleted":
        assert cluster.reason("RuntimeResolved") == "RuntimeNotFound"
        assert "what runs stays" in cluster.message("RuntimeResolved")
    cluster.runtimes.put("nvidia-vllm", runtime.to_manifest())
    await cluster.settle()
    assert cluster.reason("RuntimeResolved") == "Resolved"
    assert image(cluster) == before


async def test_a_runtime_that_stays_away_is_followed_by_another_at_zero() -> None:
    cluster = Cluster(EITHER)
    cluster.facts = BOTH
    await cluster.settle()
    del cluster.runtimes.readable["nvidia-vllm"], cluster.runtimes.readable["nvidia-hami-vllm"]
    await cluster.settle()
    cluster.now += timedelta(minutes=3)
    await cluster.settle()
    assert cluster.status["resolvedRuntime"] == "ascend-vllm"


async def test_a_deployment_that_somebody_pauses_goes_on() -> None:
    cluster = Cluster()
    await cluster.settle()
    cluster.get("Deployment", "qwen")["spec"]["paused"] = True
    cluster.get("Deployment", "qwen")["metadata"]["generation"] = 9
    await cluster.settle()
    assert cluster.get("Deployment", "qwen")["spec"]["paused"] is False


def engine_pod(name: str, *owners: KubeObject, phase: str = "Running") -> KubeObject:
    labels = {LABEL: "qwen", "app.kubernetes.io/component": "engine", "pod-template-hash": "abc"}
    about = {"name": name, "namespace": "ai", "labels": labels, "ownerReferences": list(owners)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": {}, "status": {"phase": phase}}


REPLICA_SET = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "qwen-abc", "uid": "rs", "controller": True}


@pytest.mark.parametrize(
    ("pod", "moves"),
    [
        (engine_pod("evicted", REPLICA_SET, phase="Failed"), True),
        (engine_pod("stray"), True),
        (engine_pod("other", {**REPLICA_SET, "name": "other-abc"}), True),
        (engine_pod("ours", REPLICA_SET), False),
    ],
)
async def test_only_a_replica_that_has_not_ended_keeps_the_choice(pod: KubeObject, moves: bool) -> None:
    cluster = Cluster(EITHER)
    cluster.facts = BOTH
    await cluster.settle()
    cluster.belongings.put("Pod", ObjectKey("ai", pod["metadata"]["name"]), pod)
    cluster.facts = ASCEND_ALONE
    await cluster.look()
    cluster.now += timedelta(minutes=3)
    await cluster.settle()
    assert (cluster.status["resolvedRuntime"] == "ascend-vllm") is moves


async def test_a_pod_that_only_bears_our_labels_moves_no_condition() -> None:
    cluster = Cluster()
    await cluster.settle()
    cluster.keda_says()
    cluster.get("Deployment", "qwen")["spec"]["replicas"] = 1
    cluster.get("Deployment", "qwen")["metadata"]["generation"] = 9
    await cluster.settle()
    before, written = cluster.status, len(cluster.api.writes)
    stray = engine_pod("stray", phase="Pending")
    stray["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]
    cluster.belongings.put("Pod", ObjectKey("ai", "stray"), stray)
    await cluster.settle()
    assert (cluster.status, len(cluster.api.writes)) == (before, written)
    ours = {**stray, "metadata": {**stray["metadata"], "name": "ours", "ownerReferences": [REPLICA_SET]}}
    cluster.belongings.put("Pod", ObjectKey("ai", "ours"), ours)
    await cluster.settle()
    assert cluster.reason("PodsHealthy") == "Unschedulable"


async def test_an_object_that_only_bears_our_label_is_no_engine_of_the_service() -> None:
    cluster = Cluster()
    label = {"serving.hearth.dev/llmservice": "qwen"}
    theirs = foreign("Deployment", "qwen", labels=label)
    theirs["spec"] = {"replicas": 2}
    theirs["status"] = {"replicas": 2, "readyReplicas": 2}
    cluster.api.put(theirs)
    await cluster.look()
    assert (cluster.reason(), cluster.status["phase"]) == ("NameTaken", "Pending")
    assert (cluster.status["replicas"], cluster.status["readyReplicas"]) == (0, 0)


async def test_what_the_operator_of_v03_made_is_not_converted() -> None:
    cluster = Cluster()
    owner = {"apiVersion": "serving.hearth.dev/v1alpha1", "kind": "LLMService", "name": "qwen", "uid": "uid-service"}
    about = {"ownerReferences": [{**owner, "controller": True}], "managedFields": [{"manager": "hearth-operator"}]}
    for kind in ("Deployment", "Service", "ScaledObject"):
        cluster.api.put(foreign(kind, "qwen", **about))
    await cluster.look()
    assert cluster.api.writes == []
    assert cluster.reason() == "NameTaken"
    assert "docs/migrate-from-go.md" in cluster.message()


async def test_a_second_scaler_is_told() -> None:
    cluster = Cluster()
    await cluster.settle()
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "qwen"}
    theirs = {"metadata": {"name": "theirs", "namespace": "ai", "uid": "u"}, "spec": {"scaleTargetRef": target}}
    cluster.scalers.put("HorizontalPodAutoscaler", ObjectKey("ai", "theirs"), theirs)
    await cluster.look()
    assert cluster.reason("ScaledObjectReady") == "ScaledByOthers"
    assert "HorizontalPodAutoscaler ai/theirs" in cluster.message("ScaledObjectReady")


@pytest.mark.parametrize(("strategy", "left"), [("SharedPVC", ["qwen-cache"]), ("None", []), ("HostPath", [])])
async def test_a_claim_goes_with_its_strategy(strategy: str, left: list[str]) -> None:
    cluster = Cluster()
    await cluster.settle()
    cluster.apply(f"spec.cache.strategy={strategy}" if strategy != "None" else "spec.cache.strategy='None'")
    await cluster.settle()
    assert cluster.names("PersistentVolumeClaim") == left


async def test_what_is_not_ours_is_not_deleted_either() -> None:
    cluster = Cluster()
    label = {"serving.hearth.dev/llmservice": "qwen"}
    cluster.api.put(foreign("PersistentVolumeClaim", "my-data", labels=label))
    await cluster.settle()
    assert "my-data" in cluster.names("PersistentVolumeClaim")


async def test_without_keda_it_says_so_and_looks_again() -> None:
    cluster = Cluster()
    cluster.api.unknown = {"ScaledObject"}
    assert await cluster.look() == KEDA_LOOK_SECONDS
    assert cluster.reason("ScaledObjectReady") == "KedaNotInstalled"
    assert cluster.names("Deployment") == ["qwen"]
    cluster.api.unknown = set()
    await cluster.settle()
    assert cluster.names("ScaledObject") == ["qwen"]


async def test_one_that_has_replicas_is_looked_at_by_the_clock() -> None:
    cluster = Cluster()
    await cluster.settle()
    assert await cluster.look() == UNSEEN_LOOK_SECONDS, "KEDA's silence has no event"
    cluster.keda_says()
    assert await cluster.look() is None
    cluster.get("Deployment", "qwen")["spec"]["replicas"] = 1
    cluster.get("Deployment", "qwen")["metadata"]["generation"] = 9
    assert await cluster.look() == LOOK_SECONDS


async def test_keda_that_has_given_up_is_nudged_and_looked_at_again() -> None:
    cluster = Cluster()
    await cluster.settle()
    cluster.get("ScaledObject", "qwen")["status"] = {"externalMetricNames": ["s1-cron"]}
    assert await cluster.look() == 15.0
    assert cluster.get("ScaledObject", "qwen")["spec"]["triggers"][0]["metadata"]["nudge"] == "1"
    assert await cluster.look() == 15.0
    assert cluster.get("ScaledObject", "qwen")["spec"]["triggers"][0]["metadata"]["nudge"] == "1", "not at once again"


async def test_what_the_api_server_refuses_is_a_condition_and_what_passes_is_not() -> None:
    for error, reason in ((Forbidden("403: quota", 403), "Refused"), (Unavailable("503: etcd", 503), None)):
        cluster = Cluster()

        async def fail(collection: str, item: KubeObject, manager: str = "", error: Exception = error) -> KubeObject:
            if item["kind"] == "Event":
                return item
            raise error

        cluster.api.create_object = fail  # type: ignore[method-assign]
        with pytest.raises(Unavailable if reason is None else Refused):
            await cluster.look()
        assert [c["reason"] for c in cluster.status.get("conditions", []) if c["type"] == "Ready"] == (
            [reason] if reason else []
        )


async def test_one_that_cannot_be_read_says_so() -> None:
    cluster = Cluster("spec.scaling.drainTimeout=99999999999999999999999h")
    assert await cluster.look() is None
    assert cluster.reason() == "Invalid"
    assert "spec.scaling.drainTimeout" in cluster.message()


@pytest.mark.parametrize("value", ["-1", "1e5000", "NaN", "", None, 3.5, True, {"a": 1}])
async def test_a_queue_depth_that_is_none_is_not_told(value: object) -> None:
    cluster = Cluster()
    await cluster.settle()
    cluster.get("Deployment", "qwen")["spec"]["replicas"] = 1
    cluster.get("ScaledObject", "qwen")["status"] = {"externalMetricNames": ["s0-queueDepth"]}
    path = "/apis/external.metrics.k8s.io/v1beta1/namespaces/ai/s0-queueDepth"
    cluster.api.objects[path] = {
        "kind": "ExternalMetricValueList",
        "metadata": {"name": "m"},
        "items": [{"value": value}],
    }
    await cluster.look()
    assert "queueDepth" not in cluster.status
    cluster.api.objects[path]["items"] = [{"value": "7"}, {"value": "2k"}]
    await cluster.look()
    assert cluster.status["queueDepth"] == 2007


async def test_conditions_of_others_are_no_reason_to_write_a_status() -> None:
    cluster = Cluster()
    await cluster.settle()
    service = cluster.services[ObjectKey(*KEY)]
    theirs = {"type": "Theirs", "status": "True", "reason": "Theirs", "message": "theirs"}
    service["status"] = {**cluster.status, "conditions": [theirs, *cluster.status["conditions"]]}
    cluster.api.statuses.clear()
    await cluster.look()
    assert cluster.api.statuses == {}


async def test_conditions_of_others_that_leave_no_room_for_ours_go() -> None:
    cluster = Cluster()
    await cluster.settle()
    theirs = {"type": "Theirs", "status": "True", "reason": "Theirs", "message": "theirs"}
    cluster.services[ObjectKey(*KEY)]["status"] = {"conditions": [theirs] * 63}
    apply = cluster.api.apply_object

    async def full(path: str, item: KubeObject, manager: str) -> KubeObject:
        if path.endswith("/status") and not cluster.api.merges:
            raise Refused("422: status.conditions: Too many: 66: must have at most 64 items", 422)
        return await apply(path, item, manager)

    cluster.api.apply_object = full  # type: ignore[method-assign]
    cluster.api.statuses.clear()
    await cluster.look()
    patch = {"metadata": {"uid": "uid-service"}, "status": {"conditions": None}}
    assert cluster.api.merges == [patch]
    assert cluster.status["phase"] == "ScaledToZero"


@pytest.mark.parametrize(
    ("finalizers", "held"), [(["example.com/backup"], True), (["foregroundDeletion"], False), ([], False)]
)
async def test_one_that_is_deleted_and_held_says_by_whom(finalizers: list[str], held: bool) -> None:
    cluster = Cluster()
    await cluster.settle()
    cluster.apply(deletionTimestamp="2026-01-01T00:00:00Z", finalizers=finalizers)
    assert await cluster.look() == 10.0, "most are gone by then"
    cluster.apply(deletionTimestamp="2025-12-31T23:59:00Z", finalizers=finalizers)
    assert await cluster.look() is None
    assert (cluster.reason() == "FinalizersKept") is held
    assert ("example.com/backup" in cluster.message()) is held


async def test_one_whose_parts_are_held_says_by_whom() -> None:
    """Deleted in the foreground, with KEDA away."""
    cluster = Cluster()
    await cluster.settle()
    scaled = cluster.get("ScaledObject", "qwen")
    scaled["metadata"] |= {"deletionTimestamp": "2025-12-31T23:59:00Z", "finalizers": ["finalizer.keda.sh"]}
    cluster.api.put(scaled)
    await cluster.settle()
    cluster.apply(deletionTimestamp="2025-12-31T23:59:00Z", finalizers=["foregroundDeletion"])
    await cluster.look()
    assert cluster.reason() == "FinalizersKept"
    assert "finalizer.keda.sh of ScaledObject qwen" in cluster.message()


async def test_what_is_deleted_each_time_is_not_made_half() -> None:
    """A seed that is not made whole is a Deployment that KEDA could start."""
    cluster = Cluster()
    await cluster.settle()
    for _ in range(3 * TIMES):
        cluster.api.objects.pop(RENDERED["Deployment"].path(*KEY), None)
        await cluster.look()
        if "qwen" in cluster.names("Deployment"):
            assert cluster.get("Deployment", "qwen")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert cluster.names("Deployment") == []
    (told,) = [each for each in cluster.status["conditions"] if each["type"] == "UpToDate"]
    assert told["reason"] == "ChangedBack"
    assert "Deployment qwen: it was deleted" in told["message"]


async def test_what_is_refused_each_time_stays_refused() -> None:
    cluster = Cluster()
    await cluster.settle()
    refuse_claims(cluster)
    cluster.apply("spec.cache.size=20Gi")
    for _ in range(3 * TIMES):
        with pytest.raises(Refused):
            await cluster.look()
        assert cluster.reason() == "Refused"


async def test_a_status_that_two_write_is_written_now_and_then() -> None:
    cluster = Cluster()
    await cluster.settle()
    before, again = cluster.api.applied_statuses, None
    for number in range(5 * BURST):
        cluster.services[ObjectKey(*KEY)]["status"] = {**cluster.status, "phase": f"of another {number}"}
        again = await cluster.look()
    assert BURST // 2 < cluster.api.applied_statuses - before <= BURST
    assert again is not None
    assert 0 < again <= EACH_SECONDS


async def test_a_crd_that_does_not_know_a_field_gets_what_it_knows() -> None:
    cluster = Cluster()
    cluster.api.refused[LLMSERVICE.path(*KEY, "status")] = InternalError("500: field not declared in schema", 500)
    await cluster.settle()
    (merged,) = cluster.api.merges[-1:]
    assert merged["status"]["phase"] == "ScaledToZero"


def refuse_claims(cluster: Cluster) -> None:
    """Refuse whatever is applied to a claim, as the API server does where it may not change."""
    apply = cluster.api.apply_object

    async def immutable(path: str, item: KubeObject, manager: str) -> KubeObject:
        if item["kind"] == "PersistentVolumeClaim":
            raise Refused("422: spec is immutable after creation\n{ a dump of the object }", 422)
        return await apply(path, item, manager)

    cluster.api.apply_object = immutable  # type: ignore[method-assign]


async def test_one_refused_object_stops_no_other_and_is_told_by_name() -> None:
    cluster = Cluster()
    await cluster.settle()
    refuse_claims(cluster)
    cluster.apply("spec.cache.size=20Gi", "spec.scaling.max=7")
    with pytest.raises(Refused):
        await cluster.look()
    assert cluster.get("ScaledObject", "qwen")["spec"]["maxReplicaCount"] == 7
    assert cluster.reason() == "Refused"
    assert cluster.message() == "PersistentVolumeClaim qwen-cache-nvidia: 422: spec is immutable after creation"


async def test_a_class_that_nobody_names_any_more_stays_what_the_claim_has() -> None:
    """The API server lets nobody take it away, and any class will do now. Another one is refused by it, and told."""
    cluster = Cluster()
    cluster.apply("spec.cache.storageClassName=fast")
    await cluster.settle()
    cluster.apply("spec.scaling.max=7")
    await cluster.settle()
    claim = cluster.get("PersistentVolumeClaim", "qwen-cache-nvidia")
    assert claim["spec"]["storageClassName"] == "fast"
    assert cluster.get("ScaledObject", "qwen")["spec"]["maxReplicaCount"] == 7
    cluster.apply("spec.cache.storageClassName=slow")
    await cluster.settle()
    claim = cluster.get("PersistentVolumeClaim", "qwen-cache-nvidia")
    assert claim["spec"]["storageClassName"] == "slow", "asked for as it is said; the API server has its word"


async def test_a_template_that_the_api_server_refuses_leaves_nothing_that_keda_could_start() -> None:
    """A seed's pod has no securityContext, no probes and no limits: with a ScaledObject beside it, it would run."""
    cluster = Cluster()
    path = RENDERED["Deployment"].path("ai", "qwen")
    cluster.api.refused[path] = Refused("422: privileged and allowPrivilegeEscalation contradict each other", 422)
    for _ in range(2):
        with pytest.raises(Refused):
            await cluster.look()
    assert (cluster.names("Deployment"), cluster.names("ScaledObject")) == ([], [])
    assert cluster.names("Service") == ["qwen", "qwen-engine"], "what does no harm is there"
    assert cluster.reason() == "Refused"
    cluster.api.refused.clear()
    await cluster.settle()
    assert cluster.names("ScaledObject") == ["qwen"]


async def test_a_seed_that_could_not_be_made_whole_is_not_handed_to_keda() -> None:
    cluster = Cluster()
    apply = cluster.api.apply_object

    async def failing(path: str, item: KubeObject, manager: str) -> KubeObject:
        if item["kind"] == "Deployment":
            raise Unavailable("504: Timeout", 504)
        return await apply(path, item, manager)

    cluster.api.apply_object = failing  # type: ignore[method-assign]
    for _ in range(2):
        with pytest.raises(Unavailable):
            await cluster.look()
    assert (cluster.names("Deployment"), cluster.names("ScaledObject")) == (["qwen"], [])
    pod = cluster.get("Deployment", "qwen")["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    cluster.api.apply_object = apply  # type: ignore[method-assign]
    await cluster.settle()
    assert cluster.names("ScaledObject") == ["qwen"]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (InternalError("500: Internal error occurred: failed calling webhook\nmore", 500), True),
        (Unavailable("504: Timeout", 504), False),
    ],
)
async def test_an_object_that_the_api_server_fails_at_stops_no_other(error: KubeError, told: bool) -> None:
    """A webhook that is down, or a list with two items of a key, is a 500 for as long as nobody hears of it."""
    cluster = Cluster("spec.scaling.min=1")
    await cluster.settle()
    cluster.api.refused[RENDERED["Deployment"].path("ai", "qwen")] = error
    cluster.apply("spec.scaling.min=0", "spec.runtime.argsOverride=[--seed=1]", generation=2)
    for _ in range(2):
        with pytest.raises(Refused if told else Unavailable):
            await cluster.look()
    assert cluster.get("ScaledObject", "qwen")["spec"]["minReplicaCount"] == 0
    assert (cluster.reason() == "Refused") is told
    if told:
        assert cluster.message() == "Deployment qwen: 500: Internal error occurred: failed calling webhook"
        assert cluster.status["observedGeneration"] == 2
        assert {event["type"] for event in cluster.api.events if event["reason"] == "Refused"} == {"Warning"}
    cluster.api.refused.clear()
    cluster.keda_says()
    await cluster.settle()
    assert cluster.reason() == "ScaledToZero", "it recovers by itself"


@pytest.mark.parametrize("error", [Unanswered("no answer"), TooManyRequests("429", 429)])
async def test_an_api_server_that_is_away_is_not_asked_for_every_object(error: KubeError) -> None:
    cluster = Cluster()
    asked: list[str] = []

    async def away(collection: str, item: KubeObject, manager: str = "") -> KubeObject:
        asked.append(item["kind"])
        raise error

    cluster.api.create_object = away  # type: ignore[method-assign]
    with pytest.raises(type(error)):
        await cluster.look()
    assert (len(asked), cluster.status) == (1, {})


@pytest.mark.parametrize(
    ("owner", "reason"),
    [(None, "NameTaken"), ("shop", "NameTaken"), ("qwen", "NotSeen")],
)
async def test_an_hpa_of_the_name_that_keda_derives_is_not_given_to_keda(owner: str | None, reason: str) -> None:
    cluster = Cluster()
    owners = [{"kind": "ScaledObject", "name": owner, "uid": "v", "controller": True}] if owner else []
    path = "/apis/autoscaling/v2/namespaces/ai/horizontalpodautoscalers/keda-hpa-qwen"
    cluster.api.objects[path] = {
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "keda-hpa-qwen", "namespace": "ai", "uid": "u", "ownerReferences": owners},
    }
    for _ in range(3):
        await cluster.look()
    assert cluster.reason() == reason
    if reason == "NameTaken":
        assert cluster.api.writes == []
        assert "HorizontalPodAutoscaler ai/keda-hpa-qwen" in cluster.message()


@pytest.mark.parametrize("choice", ["{name: broken}", "{selector: {vendor: [huawei]}}"])
async def test_a_runtime_that_cannot_be_read_is_not_said_to_be_missing(choice: str) -> None:
    cluster = Cluster(f"spec.runtime={choice}")
    cluster.runtimes.unreadable = {"broken": Unreadable("huawei", "spec.vendor: required")}
    await cluster.look()
    assert cluster.reason("RuntimeResolved") == "RuntimeInvalid"
    assert "cannot be read: spec.vendor: required" in cluster.message("RuntimeResolved")
    assert "no such InferenceRuntime" not in cluster.message("RuntimeResolved")


async def test_a_runtime_that_is_deleted_leaves_what_runs_to_scale_as_the_spec_says() -> None:
    cluster = Cluster("spec.scaling.min=1")
    await cluster.settle()
    cluster.keda_says()
    cluster.get("Deployment", "qwen")["spec"]["replicas"] = 1
    cluster.get("Deployment", "qwen")["status"] = {"replicas": 1, "readyReplicas": 1}
    cluster.runtimes.put("nvidia-vllm", None)
    cluster.apply("spec.scaling.min=0")
    cluster.api.writes.clear()
    assert await cluster.look() == LOOK_SECONDS
    assert cluster.get("ScaledObject", "qwen")["spec"]["minReplicaCount"] == 0
    assert not [path for _, path in cluster.api.writes if "/deployments/" in path], (
        "without a runtime there is no pod to render"
    )
    assert (cluster.status["phase"], cluster.reason()) == ("Ready", "ReplicasReady")
    assert cluster.reason("RuntimeResolved") == "RuntimeNotFound"
    assert cluster.reason("PodsHealthy") == "AsWanted"
    await cluster.look()
    await cluster.look()
    written = len(cluster.api.writes)
    await cluster.look()
    assert len(cluster.api.writes) == written


async def test_how_far_a_prewarm_is_comes_from_its_pods_log_and_is_looked_at_by_the_clock() -> None:
    cluster = Cluster("spec.cache.prewarm=true")
    await cluster.settle()
    assert cluster.message("ModelCached").endswith("is at it")
    labels = {LABEL: "qwen", "app.kubernetes.io/component": "prewarm"}
    (job,) = cluster.names("Job")
    owner = {"kind": "Job", "name": job, "uid": cluster.get("Job", job)["metadata"]["uid"], "controller": True}
    about = {"name": "p", "namespace": "ai", "labels": labels, "ownerReferences": [owner]}
    pod = {"metadata": about, "status": {"phase": "Running"}}
    stray = {**pod, "metadata": {**about, "name": "a", "ownerReferences": []}}
    cluster.belongings.put("Pod", ObjectKey("ai", "a"), stray)
    cluster.belongings.put("Pod", ObjectKey("ai", "p"), pod)
    cluster.api.logs["/api/v1/namespaces/ai/pods/p/log"] = "hearth: in the cache: 2048 KiB\n"
    assert await cluster.look() == LOOK_SECONDS
    assert "2097152 bytes (2.0 MiB) so far" in cluster.message("ModelCached")
    assert cluster.status["replicas"] == 0, "it is no engine"
    cluster.api.logs.clear()
    assert await cluster.look() == LOOK_SECONDS, "a log that can't be read stops nothing"
    assert cluster.message("ModelCached").endswith("is at it")


async def test_an_hpa_that_is_not_there_is_told_once_there_is_a_replica() -> None:
    cluster = Cluster()
    await cluster.settle()
    cluster.keda_says()
    cluster.get("Deployment", "qwen")["spec"]["replicas"] = 1
    await cluster.look()
    assert cluster.reason("ScaledObjectReady") == "ScaledObjectReady"
    cluster.get("Deployment", "qwen")["status"] = {"replicas": 1, "readyReplicas": 1}
    await cluster.look()
    assert (cluster.reason("ScaledObjectReady"), cluster.reason()) == ("HPANotScaling", "ReplicasReady")


async def test_the_next_prewarm_begins_when_the_earlier_one_and_its_pods_are_gone() -> None:
    cluster = Cluster("spec.cache={prewarm: true, strategy: SharedPVC}")
    await cluster.settle()
    (first,) = cluster.names("Job")
    path = RENDERED["Job"].path("ai", first)
    cluster.api.blocked.add(path)
    made = cluster.get("Job", first)
    labels = {LABEL: "qwen", "app.kubernetes.io/component": "prewarm"}
    about = {"name": "p", "namespace": "ai", "labels": labels, "ownerReferences": [{"uid": made["metadata"]["uid"]}]}
    pod = {"metadata": about, "status": {"phase": "Running"}}
    cluster.belongings.put("Pod", ObjectKey("ai", "p"), pod)
    refuse_claims(cluster)
    cluster.apply("spec.cache={prewarm: true, strategy: SharedPVC, size: 20Gi}", "spec.template.metadata.labels={a: b}")
    for _ in range(2):
        with pytest.raises(Refused):
            await cluster.look()
        assert cluster.names("Job") == [first], "whatever else is refused"
    assert cluster.api.writes.count(("delete", path)) == 1
    del cluster.api.objects[path]
    with pytest.raises(Refused):
        await cluster.look()
    assert cluster.names("Job") == [], "its pod writes"
    cluster.belongings.put("Pod", ObjectKey("ai", "p"), None)
    with pytest.raises(Refused):
        await cluster.look()
    (second,) = cluster.names("Job")
    assert second != first


async def test_a_claim_that_somebody_deletes_is_not_held_by_the_prewarm_and_is_filled_anew() -> None:
    cluster = Cluster("spec.cache.prewarm=true")
    await cluster.settle()
    (name,) = cluster.names("Job")
    job = cluster.get("Job", name)
    job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    await cluster.look()
    assert cluster.reason("ModelCached") == "Cached"
    claim = cluster.get("PersistentVolumeClaim", "qwen-cache-nvidia")
    claim["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "resourceVersion": "900"}
    await cluster.settle()
    assert cluster.names("Job") == []
    del cluster.api.objects[RENDERED["PersistentVolumeClaim"].path("ai", "qwen-cache-nvidia")]
    await cluster.settle()
    assert cluster.names("Job") == [name]
    assert "status" not in cluster.get("Job", name), "another Job, which has filled nothing yet"
    assert cluster.reason("ModelCached") == "Downloading"


async def test_a_claim_that_was_made_anew_is_filled_anew() -> None:
    cluster = Cluster("spec.cache.prewarm=true")
    await cluster.settle()
    (name,) = cluster.names("Job")
    first = cluster.get("Job", name)["metadata"]
    first["creationTimestamp"] = "2026-01-01T00:00:00Z"
    claim = cluster.get("PersistentVolumeClaim", "qwen-cache-nvidia")
    claim["metadata"] |= {"creationTimestamp": "2026-01-01T00:01:00Z", "resourceVersion": "900", "uid": "another"}
    await cluster.settle()
    assert cluster.names("Job") == [name]
    assert cluster.get("Job", name)["metadata"]["uid"] != first["uid"]


async def test_a_prewarms_pod_that_the_cluster_refuses_is_told_at_rest_too() -> None:
    cluster = Cluster("spec.cache.prewarm=true")
    await cluster.settle()
    (name,) = cluster.names("Job")
    asked = f"involvedObject.uid={cluster.get('Job', name)['metadata']['uid']}"
    refused = {"reason": "FailedCreate", "message": "exceeded quota: none", "involvedObject": {"uid": asked[19:]}}
    first = {**refused, "reason": "SuccessfulCreate", "lastTimestamp": "2026-01-01T00:00:00Z"}
    later = {**refused, "lastTimestamp": "2026-01-01T00:00:01Z"}

    async def listed(path: str, label_selector: str = "", field_selector: str = "") -> Listed:
        return Listed([later, first] if field_selector == asked else [], "1")

    cluster.api.list_objects = listed  # type: ignore[method-assign]
    assert await cluster.look() == LOOK_SECONDS
    assert cluster.reason("ModelCached") == "PodNotCreated"
    cluster.get("Job", name)["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    assert await cluster.look() != LOOK_SECONDS
    assert cluster.reason("ModelCached") == "Cached"


async def test_engines_are_shut_to_others_while_the_installation_says_so() -> None:
    cluster = Cluster()
    cluster.facts = ClusterFacts(engine_clients=(EngineClient("hearth-system", "hearth-activator"),))
    await cluster.settle()
    assert cluster.names("NetworkPolicy") == ["qwen-engine"]
    made = [path for verb, path in cluster.api.writes if verb == "create"]
    policy, engines = RENDERED["NetworkPolicy"].path("ai", "qwen-engine"), RENDERED["Deployment"].path("ai", "qwen")
    assert made.index(policy) < made.index(engines), "no engine is open for a moment"
    cluster.facts = ClusterFacts()
    await cluster.settle()
    assert cluster.names("NetworkPolicy") == []


async def test_a_network_policy_of_somebody_is_left_and_told() -> None:
    cluster = Cluster()
    cluster.facts = ClusterFacts(engine_clients=(EngineClient("monitoring"),))
    path = RENDERED["NetworkPolicy"].path("ai", "qwen-engine")
    cluster.api.objects[path] = foreign("NetworkPolicy", "qwen-engine")
    before = copy.deepcopy(cluster.api.objects[path])
    await cluster.look()
    assert cluster.reason() == "NameTaken"
    assert "NetworkPolicy ai/qwen-engine" in cluster.message()
    assert cluster.api.objects[path] == before


async def test_the_fleet_hears_what_the_status_says_of_keys() -> None:
    class Closed:
        async def look(self, key: ServiceKey) -> Verdict:
            return Verdict("KeysReady", False, "KeysNotFound", "make the Secret")

    cluster = Cluster()
    cluster.reconciler._keys = cast("Keys", Closed())
    registry = CollectorRegistry()
    cluster.fleet.register(registry)
    await cluster.settle()
    assert cluster.reason() == "KeysNotFound"
    labels = {"namespace": "ai", "service": "qwen", "reason": "KeysNotFound"}
    assert registry.get_sample_value("hearth_llmservice_not_ready", labels) == 1


async def test_what_was_said_of_keda_holds_until_a_new_controller_knows_better() -> None:
    cluster, known = Cluster(), True
    away: str | None = "its Lease is old"
    cluster.reconciler._keda_away = lambda: away
    cluster.reconciler._keda_known = lambda: known
    await cluster.settle()
    assert cluster.reason("ScaledObjectReady") == "KedaNotRunning"
    away, known = None, False
    await cluster.look()
    assert cluster.reason("ScaledObjectReady") == "KedaNotRunning"
    assert cluster.message("ScaledObjectReady") == "its Lease is old"
    known = True
    await cluster.look()
    assert cluster.reason("ScaledObjectReady") != "KedaNotRunning"
