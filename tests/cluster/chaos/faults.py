"""Strikes a part, and heals it. Each is a function from (world, strike) to what heals; it blocks, and asks kubectl."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

from tests.cluster.chaos import net
from tests.cluster.chaos.table import Fault, Part, Phase, Strike
from tests.cluster.chaos.world import World, pid_of
from tests.cluster.installed import SYSTEM
from tests.cluster.kubectl import NAMESPACE

LOST_PERCENT, DELAY_SECONDS = 10, 0.2
PROCESSES = {
    Part.KEDA: ("keda-operator", "keda-adapter"),
    Part.APISERVER: ("kube-apiserver",),
    Part.ETCD: ("etcd",),
}


def victims(world: World, part: Part) -> list[Any]:
    """The pods that are struck: one activator, one scaler, the controller that leads, an engine of each model that has some (the one
    that drains, and the older one in a rollout)."""
    if part is Part.CONTROLLER:
        return [world.leader()]
    if part.role is not None:
        return world.hearth.pods(part.role)[:1]
    if part is not Part.ENGINE:
        return []
    engines = [pod for phase in Phase for pod in world.engines(phase)[:1] if Strike(Fault.KILL, part).touches(phase)]
    return [pod for pod in engines if pid_of(pod) is not None]


def strike(world: World, struck: Strike, pods: list[Any]) -> Callable[[], None]:
    """Strike; what is returned heals."""
    match struck.fault:
        case Fault.KILL:
            return _ended(world, struck.part, pods, signal.SIGKILL)
        case Fault.TERM:
            return _ended(world, struck.part, pods, signal.SIGTERM)
        case Fault.STOP:
            return _stopped(world, struck.part, pods)
        case Fault.PARTITION:
            return _entered(net.dropped(_traffic(struck.part, pods)))
        case Fault.LOSS:
            return _entered(net.dropped(_traffic(struck.part, pods), LOST_PERCENT))
        case Fault.DELAY:
            return _entered(net.delayed(_traffic(struck.part, pods), DELAY_SECONDS))


def _ended(world: World, part: Part, pods: list[Any], number: signal.Signals) -> Callable[[], None]:
    """Pods are told to go as by an eviction, or end by themselves; their node and their Deployment bring others. What leads of KEDA
    is started again at once; API server and etcd come back when it is healed."""
    plane = world.hearth.plane
    if number is signal.SIGTERM and pods:
        for namespace in (SYSTEM, NAMESPACE):
            if names := [pod["metadata"]["name"] for pod in pods if pod["metadata"]["namespace"] == namespace]:
                plane.kubectl("delete", "pod", "-n", namespace, "--wait=false", *names)
        return lambda: None
    for pod in pods:
        _signal(pid_of(pod), number)
    match part:
        case Part.KEDA:
            for name in PROCESSES[part]:
                plane.signal(name, number)
        case Part.APISERVER:
            return _ended_and_back(world, "kube-apiserver", number, plane.start_apiserver)
        case Part.ETCD:
            return _ended_and_back(world, "etcd", number, plane.start_etcd)
    return lambda: None


def _ended_and_back(world: World, name: str, number: signal.Signals, start: Callable[[], None]) -> Callable[[], None]:
    """It has the time of the fault to end by itself, and is killed then: an API server waits a minute for its watches."""
    world.hearth.plane.signal(name, number)

    def back() -> None:
        world.hearth.plane.kill(name)
        start()

    return back


def _stopped(world: World, part: Part, pods: list[Any]) -> Callable[[], None]:
    plane = world.hearth.plane
    processes = [pid for pod in pods if (pid := pid_of(pod)) is not None]
    for pid in processes:
        _signal(pid, signal.SIGSTOP)
    for name in PROCESSES.get(part, ()):
        plane.signal(name, signal.SIGSTOP)

    def go_on() -> None:
        for pid in processes:
            _signal(pid, signal.SIGCONT)
        for name in PROCESSES.get(part, ()):
            plane.signal(name, signal.SIGCONT)

    return go_on


def _signal(pid: int | None, number: signal.Signals) -> None:
    """A process that a node has ended meanwhile (its liveness probe failed) is nobody's."""
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _traffic(part: Part, pods: list[Any]) -> list[dict[str, list[str]]]:
    match part:
        case Part.KEDA:
            return [net.of_keda()]
        case Part.APISERVER | Part.ETCD:
            return [net.of_port(PROCESSES[part][0])]
    return [net.of_pod(pod["status"]["podIP"]) for pod in pods]


def _entered(fault: "contextlib.AbstractContextManager[None]") -> Callable[[], None]:
    with contextlib.ExitStack() as stack:
        stack.enter_context(fault)
        return stack.pop_all().close


@contextlib.contextmanager
def healed_at_the_end(heal: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """`heal`, to be called once; where the test ends before, it is called then."""
    left = [heal]

    def once() -> None:
        if left:
            left.pop()()

    try:
        yield once
    finally:
        once()
