"""Who reaches which port, as the cluster's network enforces it: NetworkPolicies of deploy/ and of each LLMService."""

import asyncio
import json
from collections.abc import Iterator

import pytest

from tests.cluster.e2e.conversation import Conversation, new_client
from tests.cluster.installed import SYSTEM
from tests.cluster.kubectl import NAMESPACE
from tests.cluster.real.deployed import Deployed

PYTHON = "/opt/hearth/bin/python"
NAME = "shut"
ENGINE_PORT = 8000
STRANGER, MONITORING = "elsewhere", "monitoring"
PRETENDS = {"app.kubernetes.io/name": "hearth-activator"}
# Pods that ask: (namespace, name) → labels. Who only wears a label is not who is meant by it.
CALLERS = {
    (NAMESPACE, "tenant"): {},
    (NAMESPACE, "pretender"): PRETENDS,
    (STRANGER, "stranger"): {},
    (STRANGER, "pretender"): PRETENDS,
    (MONITORING, "prometheus"): {},
    ("keda", "of-keda"): {},
}
ROLES = ("activator", "scaler", "controller")
# From whom a port is open; to all others it is shut. `deploy/…` are Hearth's own pods.
OPEN = {
    ("engine", ENGINE_PORT): {f"{SYSTEM}/deploy/hearth-activator", f"{MONITORING}/prometheus"},
    ("activator", 9443): {f"{SYSTEM}/deploy/hearth-scaler"},
    ("scaler", 9443): {"keda/of-keda"},
    **{(role, 8081): None for role in ROLES},
    ("activator", 8080): None,
}
EVERYBODY = [
    *(f"{namespace}/{name}" for namespace, name in CALLERS),
    *(f"{SYSTEM}/deploy/hearth-{role}" for role in ROLES),
]


@pytest.fixture(scope="module")
def callers(hearth: Deployed) -> Iterator[None]:
    """Pods in namespaces of tenants and of others, that can ask; and an engine that stays."""
    plane = hearth.plane
    made = (STRANGER, MONITORING)
    for namespace in made:
        plane.kubectl("create", "namespace", namespace)
    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"namespace": namespace, "name": name, "labels": labels},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [
                    {"name": "python", "image": "hearth:latest", "imagePullPolicy": "IfNotPresent"}
                    | {"command": [PYTHON, "-c", "import signal; signal.pause()"]}
                ],
            },
        }
        for (namespace, name), labels in CALLERS.items()
    ]
    listed = {"apiVersion": "v1", "kind": "List", "items": pods}
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(listed))
    for namespace, name in CALLERS:
        plane.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "-n", namespace, "--timeout=60s")
    hearth.cluster.apply("spec.scaling.min=1", name=NAME)
    hearth.cluster.until(lambda: hearth.cluster.status(NAME).get("phase") == "Ready", "the engine is ready")
    yield
    plane.kubectl("delete", "llmservice", NAME, "-n", NAMESPACE)
    plane.kubectl("delete", "-f", "-", stdin=json.dumps(listed))
    for namespace in made:
        plane.kubectl("delete", "namespace", namespace)


def address_of(hearth: Deployed, whose: str) -> str:
    if whose == "engine":
        (pod,) = hearth.cluster.items("pods", f"serving.hearth.dev/llmservice={NAME}")
    else:
        pod = hearth.pods(whose)[0]
    return str(pod["status"]["podIP"])


def reached(hearth: Deployed, caller: str, address: str, port: int) -> bool:
    """Whether a pod opens a connection, tried once: what is enforced is there before a pod is Ready."""
    namespace, _, name = caller.partition("/")
    if name.startswith("deploy/hearth-"):
        # Never the one that is asked: what a pod asks itself passes no policy.
        name = hearth.pods(name.removeprefix("deploy/hearth-"))[-1]["metadata"]["name"]
    ask = (
        "import socket, sys\n"
        "try: socket.create_connection((sys.argv[1], int(sys.argv[2])), 3); print('open')\n"
        "except OSError as error: print(type(error).__name__)"
    )
    said = hearth.plane.kubectl("exec", "-n", namespace, name, "--", PYTHON, "-c", ask, address, str(port))
    return said.strip() == "open"


@pytest.mark.usefixtures("callers")
@pytest.mark.parametrize(("whose", "port"), OPEN)
def test_a_port_is_open_to_whom_it_is_for_and_shut_to_others(hearth: Deployed, whose: str, port: int) -> None:
    expected = OPEN[whose, port]
    address = address_of(hearth, whose)
    found = {caller for caller in EVERYBODY if reached(hearth, caller, address, port)}
    assert found == (set(EVERYBODY) if expected is None else expected)


@pytest.mark.usefixtures("callers")
async def test_a_cold_request_is_answered_by_a_model_whose_engines_are_shut(hearth: Deployed) -> None:
    """KEDA's pods, the scaler's, the activator's and the engine's: every way that a cold start takes is open."""
    name = "cold"
    await asyncio.to_thread(hearth.cluster.apply, "spec.scaling.scaleDownStabilization=1s", name=name)
    await asyncio.to_thread(hearth.cluster.until, lambda: hearth.cluster.asleep(name), "asleep")
    async with new_client() as client:
        assert (await Conversation(name).run(client)).whole
    await asyncio.to_thread(hearth.cluster.until, lambda: hearth.cluster.asleep(name), "asleep again", 120)
    hearth.plane.kubectl("delete", "llmservice", name, "-n", NAMESPACE)
