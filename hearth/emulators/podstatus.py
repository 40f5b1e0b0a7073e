"""A pod's status as a kubelet writes it. Pure: what is seen of its container and a clock in, status out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class View:
    """What is seen of a pod's one container. Times are RFC 3339. `waiting` is why it does not run, (reason, message);
    None while it has exited and is to be started again at once. `start_error` is why it could not be started at all."""

    address: str | None = None
    waiting: tuple[str, str] | None = ("ContainerCreating", "")
    running_since: str | None = None
    exited_at: str | None = None
    exit_code: int | None = None
    start_error: str | None = None
    started: bool = False
    ready: bool = False
    restarts: int = 0
    pid: int | None = None
    over: bool = False
    conditions: dict[str, tuple[str, str]] = field(default_factory=dict)


def pod_status(pod: Mapping[str, Any], view: View, now: str, host: str) -> dict[str, Any]:
    """The whole status, without what the scheduler wrote; keeps in the view since when each condition is what it is.
    `host` is the node's address."""
    container = pod["spec"]["containers"][0]
    terminated = {
        "exitCode": view.exit_code or 0,
        "reason": "StartError" if view.start_error else "Error" if view.exit_code else "Completed",
        **({"message": view.start_error} if view.start_error else {}),
        "startedAt": view.running_since,
        "finishedAt": view.exited_at,
    }
    if view.over:
        state: dict[str, Any] = {"terminated": terminated}
    elif view.pid is not None:
        state = {"running": {"startedAt": view.running_since}}
    elif view.waiting is not None:
        reason, message = view.waiting
        state = {"waiting": {"reason": reason, **({"message": message} if message else {})}}
    else:
        state = {"terminated": terminated}
    status: dict[str, Any] = {
        "name": container["name"],
        "image": container["image"],
        "imageID": container["image"],
        "ready": view.ready,
        "started": view.started,
        "restartCount": view.restarts,
        "state": state,
    }
    if view.pid is not None:
        status["containerID"] = f"process://{view.pid}"
    if view.restarts:
        status["lastState"] = {"terminated": {key: value for key, value in terminated.items() if value is not None}}
    ready = "True" if view.ready else "False"
    conditions = []
    for kind, value in (("Initialized", "True"), ("ContainersReady", ready), ("Ready", ready)):
        if view.conditions.get(kind, ("", ""))[0] != value:
            view.conditions[kind] = (value, now)
        conditions.append({"type": kind, "status": value, "lastTransitionTime": view.conditions[kind][1]})
    began = view.pid is not None or view.restarts > 0
    phase = ("Failed" if view.exit_code else "Succeeded") if view.over else "Running" if began else "Pending"
    made: dict[str, Any] = {
        "phase": phase,
        "hostIP": host,
        "hostIPs": [{"ip": host}],
        "startTime": view.conditions["Initialized"][1],
        "conditions": conditions,
        "containerStatuses": [status],
    }
    if view.address is not None:
        made |= {"podIP": view.address, "podIPs": [{"ip": view.address}]}
    return made
