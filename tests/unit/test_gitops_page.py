"""docs/how-to/gitops.md: Argo CD's scripts, run on what the controller writes; and what kstatus makes of the same."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from lupa import lua51

from hearth.controller.runtimes import runtime_status
from hearth.kube.objects import KubeObject
from tests.builders import ROOT, runtime_manifest
from tests.unit.controller.cluster import KEY, Cluster

BLOCKS = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/how-to/gitops.md").read_text(), re.DOTALL)
SCRIPTS = {
    name.rpartition("_")[2]: script
    for block in BLOCKS
    for name, script in yaml.safe_load(block).get("data", {}).items()
    if name.startswith("resource.customizations.health.serving.hearth.dev_")
}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def health(item: KubeObject, kind: str = "LLMService") -> tuple[str, str]:
    """As Argo CD asks: the object is the global `obj`. https://argo-cd.readthedocs.io/en/stable/operator-manual/health/"""
    lua: Any = lua51.LuaRuntime()
    lua.globals().obj = lua.table_from(json.loads(json.dumps(item)), recursive=True)
    told = lua.execute(SCRIPTS[kind])
    return told["status"], told["message"]


def kstatus(item: KubeObject) -> str:
    """What kstatus says of an object whose kind it does not know.
    https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md"""
    status = item.get("status") or {}
    if status.get("observedGeneration", item["metadata"]["generation"]) != item["metadata"]["generation"]:
        return "InProgress"
    said = {each["type"]: each["status"] for each in status.get("conditions", [])}
    if said.get("Stalled") == "True":
        return "Failed"
    return "InProgress" if said.get("Reconciling") == "True" or said.get("Ready", "True") != "True" else "Current"


async def looked_at(*assignments: str) -> KubeObject:
    """An LLMService that KEDA looks after, once the controller is done with it."""
    cluster = Cluster(*assignments)
    await cluster.look()
    if "qwen" in cluster.names("ScaledObject"):
        cluster.keda_says()
    await cluster.settle()
    return cluster.services[KEY]  # type: ignore[index]


async def test_one_that_sleeps_is_healthy() -> None:
    item = await looked_at()
    assert health(item) == ("Healthy", "the first request starts a replica")
    assert kstatus(item) == "Current"


@pytest.mark.parametrize("status", [None, {"observedGeneration": -1}])
async def test_one_that_nobody_has_looked_at_is_waited_for(status: KubeObject | None) -> None:
    item = await looked_at()
    item = {**item, "status": status} if status else {name: value for name, value in item.items() if name != "status"}
    assert health(item)[0] == "Progressing"
    changed = await looked_at()
    changed["metadata"]["generation"] = 2
    assert health(changed)[0] == "Progressing", "what it says is of the spec before"
    assert kstatus(changed) == "InProgress"


async def test_one_that_waits_for_its_first_replica_is_waited_for() -> None:
    item = await looked_at("spec.scaling.min=1")
    assert health(item)[0] == "Progressing"
    assert kstatus(item) == "InProgress"


async def test_one_that_time_does_not_mend_is_degraded() -> None:
    item = await looked_at("spec.scaling.min=3", "spec.scaling.max=2")
    assert health(item)[0] == "Degraded"
    assert "spec.scaling" in health(item)[1]
    assert kstatus(item) == "Failed"


@pytest.mark.parametrize(
    ("why_not", "stalled", "argo", "flux"),
    [
        (None, False, "Healthy", "Current"),
        ("spec.vendor: required", True, "Degraded", "Failed"),
        ("spec.container.image: give one", False, "Degraded", "Current"),
    ],
)
def test_a_runtime(why_not: str | None, stalled: bool, argo: str, flux: str) -> None:
    item = runtime_manifest()
    item["metadata"] |= {"generation": 3, "uid": "uid"}
    assert health(item, "InferenceRuntime")[0] == "Progressing"
    item["status"] = {"observedGeneration": -1}
    assert (health(item, "InferenceRuntime")[0], kstatus(item)) == ("Progressing", "InProgress")
    item["status"] = runtime_status(item, why_not, NOW, stalled=stalled)
    assert health(item, "InferenceRuntime") == (argo, why_not or "LLMServices can be served by it")
    assert kstatus(item) == flux
    assert runtime_status(item, why_not, NOW, stalled=stalled) is None, "it stands"
    mended = runtime_status(item, None, NOW, stalled=False)
    if stalled:
        assert mended is not None
        assert [condition["type"] for condition in mended["conditions"]] == ["Accepted"]
