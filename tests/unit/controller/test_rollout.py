"""How many replicas a rollout may take away at a time, and what is told of it."""

import copy
from typing import Any

import pytest

from hearth.api.labels import VERSION_ANNOTATION
from hearth.controller.rollout import room, version_verdict, with_room
from hearth.controller.world import World


def template(version: str) -> dict[str, Any]:
    return {
        "metadata": {"annotations": {VERSION_ANNOTATION: version}},
        "spec": {"containers": [{"name": "engine", "image": f"vllm:{version}"}]},
    }


def deployment(replicas: int, unavailable: int = 1, version: str = "new") -> dict[str, Any]:
    strategy = {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": unavailable}}
    return {"kind": "Deployment", "spec": {"replicas": replicas, "strategy": strategy, "template": template(version)}}


def pod(version: str, *, node: bool = True, phase: str = "Running") -> dict[str, Any]:
    made = {**template(version), "status": {"phase": phase}}
    made["spec"] = {**made["spec"], **({"nodeName": "n"} if node else {})}
    if not node:
        made["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]
    return made


NEW, OLD, WAITS, OLD_WAITS = pod("new"), pod("old"), pod("new", node=False), pod("old", node=False)


@pytest.mark.parametrize(
    ("pods", "replicas", "unavailable", "wanted"),
    [
        ([NEW, NEW, NEW], 3, 1, 1),
        ([NEW, NEW, WAITS], 3, 1, 2),
        ([NEW, WAITS, WAITS], 3, 2, 3),
        ([WAITS, WAITS], 2, 1, 2),  # never more than there are
        ([WAITS], 1, 1, 1),
        ([NEW, NEW, NEW], 3, 3, 1),  # all have a node again
        ([OLD, OLD, WAITS], 3, 2, 2),  # what it was before the rollout
        ([OLD, WAITS, WAITS], 3, 2, 2),  # the new template finds no node: the last old one stays
        ([OLD, WAITS, NEW], 3, 2, 2),
        ([OLD, NEW, WAITS, WAITS], 4, 2, 3),  # scaled up meanwhile, and the new template finds nodes
        ([OLD, WAITS], 2, 1, 1),
        ([NEW, pod("old", phase="Failed")], 1, 1, 1),
        ([], 0, 2, 1),
    ],
)
def test_one_more_than_there_are_without_a_node(
    pods: list[dict[str, Any]], replicas: int, unavailable: int, wanted: int
) -> None:
    assert room(World(deployment(replicas, unavailable), None, pods)) == wanted


def test_before_there_is_a_deployment_it_is_one() -> None:
    assert room(World(None, None, [])) == 1


def test_only_the_deployment_is_changed_and_nothing_in_place() -> None:
    objects = [deployment(3), {"kind": "Service", "spec": {}}]
    before = copy.deepcopy(objects)
    made = with_room(objects, World(deployment(3), None, [NEW, NEW, WAITS]))
    assert made[0]["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 2}
    assert (made[1], objects) == (before[1], before)


@pytest.mark.parametrize(
    ("pods", "status", "reason", "says"),
    [
        ([], True, "UpToDate", "the next replica runs version new, image vllm:new"),
        ([NEW, WAITS], True, "UpToDate", "all replicas run version new, image vllm:new"),
        (
            [OLD, OLD_WAITS, NEW],
            False,
            "RollingOut",
            "1 of 3 replicas run version new, image vllm:new; 2 run version old, image vllm:old, and are replaced",
        ),
        ([{"metadata": {}, "spec": {}}], False, "RollingOut", "1 run version unknown"),
    ],
)
def test_the_condition_says_which_version_runs(
    pods: list[dict[str, Any]], status: bool, reason: str, says: str
) -> None:
    verdict = version_verdict(World(deployment(3), None, pods))
    assert (verdict.type, verdict.status, verdict.reason) == ("UpToDate", status, reason)
    assert says in verdict.message
