"""https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/"""

from typing import Any

from hearth.emulators.podstatus import View, pod_status
from tests.unit.emulators.objects import pod

THEN, NOW = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"


def status(view: View, now: str = NOW) -> dict[str, Any]:
    return pod_status(pod("p"), view, now, "10.0.0.1")


def container(view: View) -> dict[str, Any]:
    found: dict[str, Any] = status(view)["containerStatuses"][0]
    return found


def test_one_that_is_being_made_is_pending() -> None:
    made = status(View())
    assert (made["phase"], made["hostIP"]) == ("Pending", "10.0.0.1")
    assert "podIP" not in made
    assert made["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}


def test_one_that_runs() -> None:
    view = View(address="127.0.0.9", pid=7, running_since=THEN, started=True)
    made = status(view)
    assert (made["phase"], made["podIP"]) == ("Running", "127.0.0.9")
    (found,) = made["containerStatuses"]
    assert found["state"] == {"running": {"startedAt": THEN}}
    assert (found["ready"], found["started"], found["restartCount"]) == (False, True, 0)
    assert "lastState" not in found


def test_the_time_of_a_condition_is_when_it_changed() -> None:
    view = View(pid=7)
    first = {each["type"]: each for each in status(view, THEN)["conditions"]}
    view.ready = True
    then = {each["type"]: each for each in status(view, NOW)["conditions"]}
    assert (first["Ready"]["status"], then["Ready"]["status"]) == ("False", "True")
    assert then["Ready"]["lastTransitionTime"] == NOW
    assert then["Initialized"]["lastTransitionTime"] == THEN


def test_one_that_is_started_again_at_once_and_then_backs_off() -> None:
    exited = View(restarts=1, exit_code=3, running_since=THEN, exited_at=NOW, waiting=None)
    assert container(exited)["state"]["terminated"]["exitCode"] == 3
    assert status(exited)["phase"] == "Running", "a pod that is restarted is not over"
    exited.waiting = ("CrashLoopBackOff", "back-off")
    found = container(exited)
    assert found["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
    assert found["lastState"]["terminated"] == {"exitCode": 3, "reason": "Error", "startedAt": THEN, "finishedAt": NOW}


def test_one_that_is_over() -> None:
    assert status(View(over=True))["phase"] == "Succeeded"
    assert container(View(over=True))["state"]["terminated"]["reason"] == "Completed"
    assert status(View(over=True, exit_code=1))["phase"] == "Failed"
