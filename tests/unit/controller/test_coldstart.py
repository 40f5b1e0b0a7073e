"""Phases from pods and their Events; progress from what earlier starts took."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hearth.controller.coldstart import by_others, cold_start, progress
from hearth.controller.status import verdicts
from hearth.controller.verdict import Verdict
from hearth.controller.world import World

CREATING = {"state": {"waiting": {"reason": "ContainerCreating"}}}
RUNNING = {"state": {"running": {}}, "started": False}


def at(seconds: float) -> str:
    return (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def world(
    *containers: dict[str, Any], replicas: int = 1, ready: int = 0, events: tuple[dict[str, Any], ...] = ()
) -> World:
    deployment = {"spec": {"replicas": replicas}, "status": {"readyReplicas": ready}}
    pods = [
        {
            "metadata": {"name": f"p{number}", "uid": f"u{number}"},
            "spec": {"nodeName": "n"},
            "status": {"containerStatuses": [container]},
        }
        for number, container in enumerate(containers)
    ]
    return World(deployment, None, pods, events)


def event(reason: str, message: str = "", uid: str = "u0") -> dict[str, Any]:
    return {"reason": reason, "message": message, "involvedObject": {"uid": uid}}


@pytest.mark.parametrize(
    ("events", "phase", "says"),
    [
        ([], "pulling-image", "ContainerCreating"),
        ([event("Pulling", 'Pulling image "vllm"')], "pulling-image", 'Pulling image "vllm"'),
        ([event("Pulling"), event("Pulled", "Successfully pulled")], "starting", "Successfully pulled"),
        ([event("FailedMount", 'secret "hf" not found')], "starting", 'secret "hf" not found'),
        ([event("Pulling", "another pod's", uid="u9")], "pulling-image", "ContainerCreating"),
        ([event("Pulling", "pulling"), event("Scheduled", "of no phase")], "pulling-image", "pulling"),
    ],
)
def test_events_say_what_creating_a_container_waits_for(events: list[dict[str, Any]], phase: str, says: str) -> None:
    assert cold_start(world(CREATING, events=tuple(events))) == {"phase": phase, "message": f"pod p0: {says}"}


def pod(name: str, *, since: float | None, begun: float | None, ready: str = "False") -> dict[str, Any]:
    condition = {"type": "Ready", "status": ready, **({} if since is None else {"lastTransitionTime": at(since)})}
    state = {} if begun is None else {"running": {"startedAt": at(begun)}}
    return {
        "metadata": {"name": name, "uid": name},
        "spec": {"nodeName": "n"},
        "status": {"conditions": [condition], "containerStatuses": [{"state": state}]},
    }


@pytest.mark.parametrize(
    ("pods", "starts"),
    [
        ([pod("a", since=0, begun=5)], True),
        ([pod("a", since=5, begun=5)], True),
        ([pod("a", since=0, begun=None)], True),
        ([pod("a", since=None, begun=5)], True),
        ([pod("a", since=9, begun=5)], False),
        ([pod("a", since=9, begun=5), pod("b", since=9, begun=12)], True),
    ],
)
def test_a_replica_that_was_ready_is_no_start(pods: list[dict[str, Any]], starts: bool) -> None:
    """Its probe fails for a moment, or its engine hangs: what it takes to be back is nothing that a start takes."""
    seen = World({"spec": {"replicas": 1}}, None, pods)
    assert (cold_start(seen) is not None) is starts
    if not starts:
        old = {"coldStartHistory": [{"loading": 40.0}]}
        assert progress(seen, old, at(20)) == (None, [{"loading": 40.0}])
        (verdict,) = [v for v in verdicts(seen, Verdict("RuntimeResolved", True, "Resolved", "")) if v.type == "Ready"]
        assert verdict.message == f"pod a was ready, and is not since {at(9)}"


def test_a_node_that_is_being_added_is_told() -> None:
    pod = {"metadata": {"name": "p0", "uid": "u0"}, "spec": {}, "status": {}}
    seen = World({"spec": {"replicas": 1}}, None, [pod], [event("TriggeredScaleUp", "gpu-pool 0->1")])
    assert cold_start(seen) == {"phase": "scheduling", "message": "pod p0: a node is being added: gpu-pool 0->1"}


def test_what_each_phase_took_is_remembered_once_the_engine_is_ready() -> None:
    status: dict[str, Any] = {}
    start: dict[str, Any] | None = None
    for seconds, seen in ((0, world()), (2, world(CREATING)), (12, world(RUNNING)), (50, world(RUNNING))):
        start, history = progress(seen, status, at(seconds))
        assert history == []
        status = {"coldStart": start}
    assert start is not None
    assert (start["phase"], start["since"]) == ("loading", at(12))
    start, history = progress(world(RUNNING, ready=1), status, at(60))
    assert start is None
    assert history == [{"scheduling": 2, "pulling-image": 10, "loading": 48}]


def test_eta_and_percent_come_from_earlier_starts() -> None:
    status: dict[str, Any] = {"coldStartHistory": [{"scheduling": 2, "pulling-image": 8, "loading": 40}]}
    start, _ = progress(world(), status, at(0))
    assert start is not None
    assert (start["eta"], start["percent"]) == (50, 0)
    status["coldStart"] = start
    start, _ = progress(world(RUNNING), status, at(5))
    assert start is not None
    assert (start["eta"], start["percent"]) == (40, round(100 * 5 / 45))
    status["coldStart"] = start
    start, _ = progress(world(RUNNING), status, at(35))
    assert start is not None
    assert (start["eta"], start["percent"]) == (10, round(100 * 35 / 45))


def test_a_start_that_was_given_up_teaches_nothing() -> None:
    status = {"coldStart": {"phase": "loading", "since": at(0)}}
    assert progress(world(replicas=0), status, at(500)) == (None, [])


def test_only_the_latest_starts_are_remembered() -> None:
    status = {
        "coldStartHistory": [{"loading": float(n)} for n in range(5)],
        "coldStart": {"phase": "loading", "since": at(0)},
    }
    _, history = progress(world(RUNNING, ready=1), status, at(9))
    assert [took["loading"] for took in history] == [1, 2, 3, 4, 9]


@pytest.mark.parametrize(
    ("reason", "phase"),
    [
        ("Pulling", "pulling-image"),
        ("Pulled", "starting"),
        ("Created", "starting"),
        ("FailedMount", "starting"),
        ("FailedAttachVolume", "starting"),
        ("FailedCreatePodSandBox", "starting"),
        ("TriggeredScaleUp", "scheduling"),
        ("NotTriggerScaleUp", "scheduling"),
    ],
)
def test_each_event_that_is_known_has_its_phase(reason: str, phase: str) -> None:
    found = cold_start(world(CREATING, events=(event(reason, "said"),)))
    assert found == {"phase": phase, "message": "pod p0: said"}


def test_before_there_is_a_pod_it_is_scheduled() -> None:
    assert cold_start(world()) == {"phase": "scheduling", "message": "no pod yet"}


@pytest.mark.parametrize(
    ("manager", "owned", "theirs"),
    [
        ("us", {"f:phase": {}, "f:since": {}}, False),
        ("kubectl-patch", {"f:phase": {}}, True),
        ("kubectl-patch", {}, False),
        ("kubectl-patch", {".": {}}, False),
        ("kubectl-patch", {".": {}, "f:took": {".": {}}}, False),
        ("kubectl-patch", {".": {}, "f:took": {".": {}, "f:loading": {}}}, True),
    ],
)
def test_a_start_that_somebody_else_wrote_is_told_by_its_fields(
    manager: str, owned: dict[str, Any], theirs: bool
) -> None:
    entry = {"manager": manager, "fieldsV1": {"f:status": {"f:coldStart": owned}}}
    assert (
        by_others({"metadata": {"managedFields": [{}, {"manager": "x", "fieldsV1": {}}, entry]}}, "coldStart", "us")
        is theirs
    )
