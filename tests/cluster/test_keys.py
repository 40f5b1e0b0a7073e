"""API keys on a real API server: the right that activators get, and what the controller may not give. There is no kubelet:
the activator is a process with its own account, the engine is none."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.cluster.controlplane import CommandFailed
from tests.cluster.installed import CLIENTS, SYSTEM, Installed
from tests.cluster.kubectl import NAMESPACE, Cluster
from tests.cluster.test_deploy import can_i, may

SECRET, ALICE = "hearth-api-keys", "key-of-alice-0123"
KEYS = "spec.endpoint.authentication={secretRef: {name: hearth-api-keys}}"
ACTIVATOR = f"system:serviceaccount:{SYSTEM}:hearth-activator"
CONTROLLER = f"system:serviceaccount:{SYSTEM}:hearth-controller"


@pytest.fixture(scope="module")
def cluster(installed: Installed) -> Iterator[Cluster]:
    with installed.served():
        yield Cluster(installed.plane)


@pytest.fixture(autouse=True)
def nothing_left(cluster: Cluster) -> Iterator[None]:
    yield
    cluster.plane.kubectl("delete", "llmservice", "--all", "-n", NAMESPACE, "--cascade=foreground")
    cluster.plane.kubectl("delete", "secret", "--all", "-n", NAMESPACE)


def put_secret(cluster: Cluster, keys: str, name: str = SECRET) -> None:
    about = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE}}
    cluster.plane.kubectl("apply", "-f", "-", stdin=json.dumps({**about, "stringData": {"keys": keys}}))


def keys_ready(cluster: Cluster, name: str = "qwen") -> Any:
    return cluster.condition("KeysReady", name) or {}


def told(cluster: Cluster, reason: str, name: str = "qwen") -> Any:
    return cluster.until(lambda: (seen := keys_ready(cluster, name)).get("reason") == reason and seen, reason)


def owners(cluster: Cluster, kind: str) -> list[str]:
    found = cluster.get(kind, SECRET)
    return sorted(owner["name"] for owner in (found or {"metadata": {}})["metadata"].get("ownerReferences", []))


def may_list(cluster: Cluster, name: str, namespace: str = NAMESPACE) -> bool:
    """Whether the activators may list the Secret of this name, as the API server says."""
    try:
        cluster.plane.kubectl(
            *("get", "secrets", "-n", namespace, f"--field-selector=metadata.name={name}", f"--as={ACTIVATOR}")
        )
    except CommandFailed as error:
        if "forbidden" not in str(error):
            raise
        return False
    return True


def status_of(key: str | None, model: str = "qwen", **more: Any) -> int:
    """What a client without much patience is answered; 0 where it is held: then it was let in."""
    fields = {"authorization": f"Bearer {key}"} if key else {}
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], **more}
    try:
        with httpx.Client(timeout=httpx.Timeout(5, read=0.5), trust_env=False) as client:
            return client.post(f"http://{CLIENTS}/v1/chat/completions", json=body, headers=fields).status_code
    except httpx.ReadTimeout:
        return 0


def test_activators_may_read_one_secret_where_somebody_needs_it_and_nothing_else(cluster: Cluster) -> None:
    put_secret(cluster, ALICE)
    put_secret(cluster, "password", "database")
    assert not may_list(cluster, SECRET)
    cluster.apply(KEYS, name="qwen")
    cluster.apply(KEYS, name="llama")
    cluster.until(lambda: owners(cluster, "rolebinding") == ["llama", "qwen"], "a RoleBinding of both")
    cluster.until(lambda: may_list(cluster, SECRET), "the right")
    assert not may_list(cluster, "database")
    assert not may_list(cluster, SECRET, "default")
    for verb in ("list", "watch", "get"):
        assert not can_i(cluster.plane, "activator", f"{verb} secrets", NAMESPACE)
    assert not may(cluster.plane, ACTIVATOR, f"get secrets/{SECRET}", NAMESPACE)
    cluster.plane.kubectl("delete", "llmservice", "llama", "-n", NAMESPACE)
    cluster.until(lambda: owners(cluster, "role") == ["qwen"], "one owner less")
    assert may_list(cluster, SECRET)
    cluster.apply(name="qwen")
    cluster.until(lambda: not cluster.get("role", SECRET) and not cluster.get("rolebinding", SECRET), "nobody's")
    cluster.until(lambda: not may_list(cluster, SECRET), "no right")


def test_both_go_with_the_last_service(cluster: Cluster) -> None:
    cluster.apply(KEYS, name="qwen")
    cluster.until(lambda: owners(cluster, "rolebinding") == ["qwen"], "a RoleBinding")
    cluster.plane.kubectl("delete", "llmservice", "qwen", "-n", NAMESPACE)
    cluster.until(lambda: not cluster.get("role", SECRET) and not cluster.get("rolebinding", SECRET), "both gone")


def test_what_the_controller_may_not_give(cluster: Cluster) -> None:
    """Kubernetes' rule: who gives a right has it. It has this one, by name, and neither `escalate` nor `bind`."""
    plane = cluster.plane
    as_controller = (f"--as={CONTROLLER}", "-n", NAMESPACE)
    role = ("create", "role", SECRET, "--resource=secrets")
    for asked in (
        ("--verb=list",),
        ("--verb=list", "--resource-name=database"),
        ("--verb=get", f"--resource-name={SECRET}"),
    ):
        with pytest.raises(CommandFailed, match="attempting to grant RBAC permissions not currently held"):
            plane.kubectl(*role, *asked, *as_controller)
    with pytest.raises(CommandFailed, match="attempting to grant RBAC permissions not currently held"):
        plane.kubectl("create", "rolebinding", "mine", "--clusterrole=admin", f"--user={CONTROLLER}", *as_controller)
    for request in ("escalate roles", "bind roles", "bind clusterroles", "list secrets", "get secrets", "patch roles"):
        assert not can_i(plane, "controller", request, NAMESPACE)
    for kind in ("role", "rolebinding"):  # of others, none can be changed or removed
        with pytest.raises(CommandFailed, match="forbidden"):
            plane.kubectl("delete", kind, "edit", *as_controller)


def test_what_somebody_edits_is_put_back(cluster: Cluster) -> None:
    cluster.apply(KEYS, name="qwen")
    rule = cluster.until(lambda: (cluster.get("role", SECRET) or {}).get("rules"), "a Role")
    patch = json.dumps({"rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["*"]}]})
    cluster.plane.kubectl("patch", "role", SECRET, "-n", NAMESPACE, "--type=merge", "-p", patch)
    cluster.until(lambda: cluster.get("role", SECRET)["rules"] == rule, "the rules put back")


def test_a_secrets_life_is_told_and_felt(cluster: Cluster) -> None:
    cluster.apply(KEYS, name="qwen")
    message = told(cluster, "KeysNotFound")["message"]
    assert f"kubectl create secret generic {SECRET} -n {NAMESPACE} --from-file=keys=FILE" in message
    cluster.until(lambda: (cluster.condition("Ready", "qwen") or {}).get("reason") == "KeysNotFound", "Ready says it")
    cluster.until(lambda: status_of(ALICE) == 503, "the door is closed")
    put_secret(cluster, f"alice={ALICE}")
    told(cluster, "KeysFound")
    cluster.until(lambda: status_of("key-of-nobody") == 401, "the keys are read")
    assert cluster.replicas("qwen") == 0, "and nothing was woken"
    put_secret(cluster, f"alice={ALICE}-2")
    cluster.until(lambda: status_of(ALICE) == 401, "the key is revoked")
    cluster.until(lambda: status_of(f"{ALICE}-2", stream=True) in {0, 200}, "and the other one is let in")
    cluster.plane.kubectl("delete", "secret", SECRET, "-n", NAMESPACE)
    cluster.until(lambda: status_of(f"{ALICE}-2") == 503, "the door is closed again")


def test_a_name_that_may_not_be_read_is_told(cluster: Cluster) -> None:
    put_secret(cluster, ALICE, "database")
    cluster.apply(KEYS.replace(SECRET, "database"), name="qwen")
    assert f"may be let read {SECRET} alone" in told(cluster, "KeysNotAllowed")["message"]
    assert cluster.get("role", SECRET) is None
    cluster.until(lambda: status_of(ALICE) == 503, "nobody is let in")


def test_authentication_is_taken_away_by_server_side_apply(cluster: Cluster) -> None:
    """A default below it would stay behind, and the API server refuse what is left."""
    manifest = {
        "apiVersion": "serving.hearth.dev/v1alpha1",
        "kind": "LLMService",
        "metadata": {"name": "qwen", "namespace": NAMESPACE},
        "spec": {
            "model": {"source": {"uri": "hf://Qwen/Qwen3-8B"}},
            "runtime": {"name": "nvidia-vllm"},
            "endpoint": {"authentication": {"secretRef": {"name": SECRET}}},
        },
    }
    apply = ("apply", "--server-side", "--field-manager=person", "-f", "-")
    cluster.plane.kubectl(*apply, stdin=json.dumps(manifest))
    del manifest["spec"]["endpoint"]  # type: ignore[attr-defined]
    cluster.plane.kubectl(*apply, stdin=json.dumps(manifest))
    assert "authentication" not in cluster.get("llmservice", "qwen")["spec"]["endpoint"]
