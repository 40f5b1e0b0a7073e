"""Objects that the API server takes and nobody expects: the others are served, and no role ends or meets a fault."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.builders import llmservice_manifest, runtime_manifest
from tests.cluster.installed import CLIENTS, Installed
from tests.cluster.kubectl import NAMESPACE, Cluster


@pytest.fixture(scope="module")
def cluster(installed: Installed) -> Iterator[Cluster]:
    """`role` fails at the end where one has ended, or has logged a stack."""
    with installed.served():
        yield Cluster(installed.plane)


def served(cluster: Cluster, name: str) -> bool:
    try:
        models = httpx.get(f"http://{CLIENTS}/v1/models", trust_env=False).json().get("data", ())
    except httpx.ConnectError:
        return False  # it does not listen yet; then it says that it does not know its services yet
    made = cluster.status(name).get("phase") == "ScaledToZero"
    return made and name in [model["id"] for model in models]


def test_the_first_one_is_served(cluster: Cluster) -> None:
    cluster.apply(name="first")
    cluster.until(lambda: served(cluster, "first"), "first")


def test_a_runtime_that_is_nested_two_thousand_deep(cluster: Cluster) -> None:
    deep: dict[str, Any] = runtime_manifest("spec.priority=1000", name="deep")
    text = json.dumps(deep["spec"]["container"])[:-1]
    nested = '{"a":' * 2000 + "1" + "}" * 2000
    container = f'{text}, "env": [{{"name": "A", "valueFrom": {nested}}}]}}'
    deep["spec"]["container"] = "CONTAINER"
    manifest = json.dumps(deep).replace('"CONTAINER"', container)
    cluster.plane.kubectl("create", "--validate=false", "-f", "-", stdin=manifest)
    cluster.apply("spec.runtime={name: deep}", name="deep")
    found = cluster.until(lambda: cluster.condition("RuntimeResolved", "deep"), "a condition")
    assert (found["status"], found["reason"]) == ("False", "RuntimeInvalid")
    cluster.apply(name="second")
    cluster.until(lambda: served(cluster, "second"), "another one, beside it")
    cluster.plane.kubectl("delete", "infr", "deep")


def test_annotations_as_long_as_they_may_be(cluster: Cluster) -> None:
    manifest = llmservice_manifest("long", NAMESPACE)
    manifest["metadata"]["annotations"] = {"note": "x" * 255 * 1024}
    cluster.plane.kubectl("create", "-f", "-", stdin=json.dumps(manifest))
    cluster.until(lambda: served(cluster, "long"), "the long one")


def test_a_status_that_somebody_else_wrote(cluster: Cluster) -> None:
    status = {
        "phase": "Loading",
        "coldStart": {"phase": "loading", "since": "0001-01-01T00:00:00Z", "took": {"loading": 31_536_000}},
        "coldStartHistory": [{"loading": 31_536_000, "nothing": 0}] * 16,
    }
    patch = json.dumps({"status": status})
    cluster.plane.kubectl("patch", "llms/first", "-n", NAMESPACE, "--subresource=status", "--type=merge", "-p", patch)
    cluster.until(lambda: served(cluster, "first"), "first, again")


def test_objects_with_our_label_that_say_something_else(cluster: Cluster) -> None:
    labels = {"serving.hearth.dev/llmservice": "first", "app.kubernetes.io/component": "engine"}
    spec = {"containers": [{"name": "x", "image": "x"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stray", "labels": labels}, "spec": spec}
    cluster.plane.kubectl("create", "-n", NAMESPACE, "-f", "-", stdin=json.dumps(pod))
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "stray"},
        "involvedObject": {"kind": "Pod", "name": "stray", "namespace": NAMESPACE},
    }
    cluster.plane.kubectl("create", "-n", NAMESPACE, "-f", "-", stdin=json.dumps(event))
    cluster.apply(name="third")
    cluster.until(lambda: served(cluster, "third"), "another one")
    names = ("first", "second", "third", "long", "deep")
    cluster.plane.kubectl("delete", "llmservice", *names, "-n", NAMESPACE, "--cascade=foreground")
    cluster.plane.kubectl("delete", "pod", "stray", "-n", NAMESPACE, "--grace-period=0", "--force")
