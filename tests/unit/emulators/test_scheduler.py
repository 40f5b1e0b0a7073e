from typing import Any

from hearth.emulators.kinds import KubeObject
from hearth.emulators.scheduler import Scheduler, requests
from tests.unit.emulators.objects import cluster, node, pod

ONE = {"limits": {"v.com/gpu": "1"}, "requests": {"v.com/gpu": "1", "cpu": "500m"}}


def asking(name: str, resources: dict[str, Any] | None = None) -> KubeObject:
    item = pod(name, node=None)
    item["spec"]["containers"][0]["resources"] = resources or ONE
    item["status"] = {"phase": "Pending"}
    return item


def test_it_counts_devices_alone() -> None:
    assert requests(asking("p")) == {"v.com/gpu": 1}


def test_a_pod_goes_where_its_devices_are() -> None:
    store = cluster()
    store.put("nodes", node("a", other_gpu="8"))
    store.put("nodes", node("b", **{"v.com_gpu": "1"}))
    store.put("pods", asking("p"))
    Scheduler(store).look(("ai", "p"))
    bound = store.get("pods", "ai", "p")
    assert bound is not None
    assert bound["spec"]["nodeName"] == "b"
    (condition,) = bound["status"]["conditions"]
    assert (condition["type"], condition["status"]) == ("PodScheduled", "True")
    (event,) = store.find("events")
    assert (event["reason"], event["source"]["component"]) == ("Scheduled", "default-scheduler")
    assert event["message"] == "Successfully assigned ai/p to b"


def test_what_is_missing_is_said_once() -> None:
    store = cluster()
    store.put("nodes", node("a", **{"v.com_gpu": "1"}))
    store.put("pods", {**asking("taken"), "spec": {**asking("taken")["spec"], "nodeName": "a"}})
    store.put("pods", asking("p"))
    for _ in range(2):
        Scheduler(store).look(("ai", "p"))
    waiting = store.get("pods", "ai", "p")
    assert waiting is not None
    (condition,) = waiting["status"]["conditions"]
    assert (condition["status"], condition["reason"]) == ("False", "Unschedulable")
    assert condition["message"] == "0/1 nodes are available: 1 Insufficient v.com/gpu."
    (event,) = store.find("events")
    assert (event["type"], event["reason"], event["count"]) == ("Warning", "FailedScheduling", 1)
    over = store.get("pods", "ai", "taken")
    assert over is not None
    store.put("pods", {**over, "status": {"phase": "Succeeded"}})
    Scheduler(store).look(("ai", "p"))
    assert (store.get("pods", "ai", "p") or {})["spec"]["nodeName"] == "a", "a pod that is over holds no device"


def test_without_a_node() -> None:
    store = cluster()
    store.put("pods", asking("p"))
    Scheduler(store).look(("ai", "p"))
    (event,) = store.find("events")
    assert event["message"] == "0/0 nodes are available: there is no node."
