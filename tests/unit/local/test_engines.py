"""Which pods this machine can't run, and that it says so: the others are not its matter."""

from typing import Any

import pytest

from hearth.emulators.container import NotStartable
from hearth.local.engines import EngineOptions


def pod(*containers: dict[str, Any]) -> dict[str, Any]:
    spec = {"containers": list(containers), "terminationGracePeriodSeconds": 30}
    return {"metadata": {"name": "p", "namespace": "ai"}, "spec": spec}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (pod({"name": "a", "ports": [{"containerPort": 80}]}, {"name": "b"}), "spec.containers: found 2"),
        (pod({"name": "a", "command": ["true"]}), "container a: ports: found none"),
    ],
)
def test_what_cannot_be_run_here_is_said(given: dict[str, Any], says: str) -> None:
    with pytest.raises(NotStartable, match=says):
        EngineOptions().place(given)


def test_init_containers_are_not_run_and_that_is_said_but_for_our_own() -> None:
    given = pod({"name": "a", "ports": [{"containerPort": 8000}]})
    given["spec"]["initContainers"] = [{"name": "wait-for-model"}]
    assert EngineOptions().place(given).name == "p"
    given["spec"]["initContainers"] = [{"name": "certs"}]
    with pytest.raises(NotStartable, match="spec.initContainers: found certs; none is run here"):
        EngineOptions().place(given)


def test_a_pod_of_nobody_is_run_under_its_own_name() -> None:
    spec = EngineOptions().place(pod({"name": "a", "ports": [{"containerPort": 8000}]}))
    assert spec.command[spec.command.index("--model") + 1] == "p"
