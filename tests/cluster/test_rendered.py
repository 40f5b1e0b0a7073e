"""What the translator renders, taken by a real API server and KEDA's own CRDs."""

import json
from pathlib import Path

import pytest

from hearth import yamljson
from hearth.crd_translator import render
from hearth.kube.client import KubeClient
from tests.builders import ROOT, bundled_runtimes, llmservice
from tests.cluster.controlplane import CommandFailed, ControlPlane

GOLDEN = sorted((ROOT / "tests/unit/crd_translator/golden").glob("*.yaml"))


@pytest.fixture(scope="module")
def namespace(plane: ControlPlane) -> str:
    plane.kubectl("create", "namespace", "ai")
    return "ai"


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.stem)
def test_every_golden_file_is_accepted_strictly(plane: ControlPlane, namespace: str, golden: Path) -> None:
    plane.kubectl(
        *["apply", "--server-side", "--validate=strict", "--dry-run=server", "--field-manager=hearth"],
        *["-f", str(golden)],
    )


def test_text_that_looks_like_something_else_stays_text(plane: ControlPlane, namespace: str) -> None:
    looks = ["y", "no", "1e3", "0o17", "08", "-.5", "1:30", "2026-01-01", "null", "1_000", ".inf", "=", "\x85"]
    service = llmservice(f"spec.runtime.argsOverride={json.dumps(looks)}")
    text = yamljson.dump_all(render(service, bundled_runtimes()).of_kind("Deployment"))
    made = json.loads(plane.kubectl("apply", "--dry-run=server", "-o", "json", "-f", "-", stdin=text))
    assert made["spec"]["template"]["spec"]["containers"][0]["args"][-len(looks) :] == looks


def test_strict_means_that_an_unknown_field_is_refused(plane: ControlPlane, namespace: str) -> None:
    broken = GOLDEN[0].read_text().replace("minReplicaCount", "minimumReplicaCount")
    with pytest.raises(CommandFailed, match="minimumReplicaCount"):
        plane.kubectl("apply", "--server-side", "--validate=strict", "--dry-run=server", "-f", "-", stdin=broken)


async def test_applied_twice_nothing_changes_and_nobody_owns_the_replicas(plane: ControlPlane, namespace: str) -> None:
    golden = ROOT / "tests/unit/crd_translator/golden/runtime-nvidia-vllm.yaml"
    apply = ("apply", "--server-side", "--field-manager=hearth", "-f", str(golden), "-o", "json")
    versions = []
    for _ in range(2):
        plane.kubectl(*apply)
        specs = plane.kubectl("get", "deployment,service,pvc", "-n", namespace, "-o", "json", "--show-managed-fields")
        items = json.loads(specs)["items"]
        versions.append(
            {
                item["metadata"]["name"]: item["metadata"]["generation"]
                for item in items
                if "generation" in item["metadata"]
            }
        )
        (deployment,) = (item for item in items if item["kind"] == "Deployment")
        ours = next(m for m in deployment["metadata"]["managedFields"] if m["manager"] == "hearth")
        assert "f:replicas" not in ours["fieldsV1"]["f:spec"]
    assert versions[0] == versions[1]
    kube = await KubeClient.connect(plane.kubeconfig)
    listed = await kube.list_objects("/apis/apps/v1/deployments", "app.kubernetes.io/component=engine")
    assert [item["metadata"]["namespace"] for item in listed.items] == [namespace]
    await kube.close()
    plane.kubectl("delete", "-n", namespace, "-f", str(golden), "--wait=false")
