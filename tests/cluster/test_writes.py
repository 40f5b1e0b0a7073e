"""Many LLMServices on a real API server with KEDA: what the controller asks for each, and that it writes nothing that
stands.

MANY=1000 makes it a measurement; its figures go to build/many.json.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.figures import Figure, write
from hearth.kube.client import KubeClient
from hearth.kube.informer import Informer
from hearth.kube.kinds import LLMSERVICE, SCALED_OBJECT
from hearth.kube.objects import KubeObject, ObjectKey, condition
from tests.builders import ROOT
from tests.cluster.installed import SCALER, Installed
from tests.cluster.kubectl import NAMESPACE, Cluster
from tests.cluster.many import make

MANY = int(os.environ.get("MANY", "20"))
REST_SECONDS = 60.0 if "MANY" in os.environ else 1.0
"""How long to count what a cluster at rest does."""
AT_A_TIME = 16
OPERATIONS = "127.0.0.1:9393"
REVIEWS = ("authentication.k8s.io", "authorization.k8s.io", "coordination.k8s.io")
"""Groups of what changes nothing, and of Leases."""
CONTROLLER = ("--scaler-address", SCALER, "--operations-listen", OPERATIONS)


@pytest.fixture
def heard(installed: Installed) -> Iterator[Installed]:
    with installed.heard():
        yield installed


@pytest.mark.timeout(1800)
async def test_a_controller_that_starts_again_writes_nothing_that_stands(heard: Installed) -> None:
    cluster = Cluster(heard.plane)
    with heard.role("controller", *CONTROLLER):
        await asyncio.to_thread(cluster.until, lambda: told("hearth_controller_keda_running") == 1, "it knows of KEDA")
        began, before = time.monotonic(), len(written(heard))
        before_making = heard.plane.cpu_seconds()
        await make(heard.plane.kubeconfig, NAMESPACE, MANY, AT_A_TIME)
        rendered = await watched(heard.plane.kubeconfig, SCALED_OBJECT.everywhere, lambda item: True) - began
        slept = await watched(heard.plane.kubeconfig, LLMSERVICE.everywhere, asleep) - began
        making = used_since(before_making, heard) | {"hearth-controller": told("process_cpu_seconds_total")}
        await asyncio.to_thread(
            cluster.until, lambda: told("hearth_controller_queue_length") == 0, "it has no more to do"
        )
        first = written(heard)[before:]
    requests = Counter(line.rpartition(" ")[0] for line in first)
    each = len(first) / MANY
    began, before = time.monotonic(), len(written(heard))
    with heard.role("controller", *CONTROLLER):
        await asyncio.to_thread(cluster.until, looked_at_all, "it has looked at every LLMService")
        took = time.monotonic() - began
        again = written(heard)[before:]
        memory, seconds = told("process_resident_memory_bytes") / 2**20, told("process_cpu_seconds_total")
        used, asked = heard.plane.cpu_seconds(), changes(heard)
        await asyncio.sleep(REST_SECONDS)  # a while of rest is what is measured
        resting, at_rest = used_since(used, heard), changes(heard) - asked
    print(f"{MANY} LLMServices: {rendered:.1f} s until all were rendered, {slept:.1f} s until all slept")
    print(f"writes of each: {each:.1f}; {dict(requests.most_common())}")
    print(f"CPU until all slept: {shares(making, 1)}")
    print(f"started again: {took:.1f} s, {seconds:.1f} s of CPU, {memory:.0f} MiB")
    print(
        f"at rest, each minute: {shares(resting, REST_SECONDS / 60)} of CPU, and writes {dict(at_rest.most_common())}"
    )
    figures = [
        Figure("many_services", MANY, ""),
        Figure("many_rendered_s", rendered, "s"),
        Figure("many_asleep_s", slept, "s"),
        Figure("many_writes_each", each, "requests"),
        Figure("many_asleep_cpu_s", sum(making.values()), "s"),
        Figure("many_asleep_cpu_apiserver_s", making["kube-apiserver"] + making["etcd"], "s"),
        Figure("many_asleep_cpu_keda_s", making["keda-operator"] + making["keda-adapter"], "s"),
        Figure("many_asleep_cpu_controller_s", making["hearth-controller"], "s"),
        Figure("many_restart_s", took, "s"),
        Figure("many_restart_cpu_s", seconds, "s"),
        Figure("many_controller_mib", memory, "MiB"),
        Figure("many_rest_keda_cpu_s", resting["keda-operator"] * 60 / REST_SECONDS, "s a minute"),
        Figure("many_rest_writes", sum(at_rest.values()) * 60 / REST_SECONDS, "a minute"),
    ]
    write(figures, ROOT / "build" / "many.json")
    assert again == []
    # Two Services, a Deployment, a claim and a ScaledObject are made; two of them are applied for their first time.
    made = requests["create services"], requests["create deployments"], requests["create scaledobjects"]
    assert made == (2 * MANY, MANY, MANY)
    assert requests["patch deployments"] == requests["patch services"] == MANY
    assert requests["patch scaledobjects"] == requests["patch persistentvolumeclaims"] == 0


def written(installed: Installed) -> list[str]:
    """What the controller has written beside its own affairs."""
    return installed.plane.writes_of("hearth-controller")


def changes(installed: Installed) -> Counter[str]:
    """What anybody has asked the API server to change until now, by verb and resource."""
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(installed.plane.kubectl("get", "--raw=/metrics")):
        for sample in family.samples if family.name == "apiserver_request" else ():
            about = sample.labels
            if about["verb"] in ("POST", "PUT", "PATCH", "DELETE") and about["group"] not in REVIEWS:
                found["/".join(filter(None, (about["verb"], about["resource"], about["subresource"])))] += int(
                    sample.value
                )
    return found


def used_since(before: Mapping[str, float], installed: Installed) -> dict[str, float]:
    """Seconds of a core that each process of the control plane has used since then."""
    return {name: used - before[name] for name, used in installed.plane.cpu_seconds().items()}


def shares(seconds: Mapping[str, float], minutes: float) -> str:
    """Who used how many seconds of a core a minute, the most first."""
    most = sorted(seconds.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{name} {used / minutes:.1f} s" for name, used in most if used >= 0.1)


def told(metric: str) -> float:
    """What the controller says of itself; -1 where it says nothing yet."""
    try:
        text = httpx.get(f"http://{OPERATIONS}/metrics", trust_env=False).text
    except httpx.HTTPError:
        return -1
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == metric:
                return sample.value
    return -1


def looked_at_all() -> bool:
    return told("hearth_controller_reconcile_seconds_count") >= MANY and told("hearth_controller_queue_length") == 0


def asleep(item: KubeObject) -> bool:
    return condition(item, "Ready").get("reason") == "ScaledToZero"


async def watched(kubeconfig: Path, path: str, content: Callable[[KubeObject], bool]) -> float:
    """Watch until there are as many of a kind that are so; when that was."""
    kube = await KubeClient.connect(kubeconfig)
    so: set[ObjectKey] = set()
    reached = asyncio.Event()

    def changed(key: ObjectKey, item: KubeObject | None) -> None:
        (so.add if item is not None and content(item) else so.discard)(key)
        if len(so) == MANY:
            reached.set()

    try:
        following = asyncio.create_task(Informer(kube, path, changed).run())
        await reached.wait()
        following.cancel()
        await asyncio.wait([following])
    finally:
        await kube.close()
    return time.monotonic()
