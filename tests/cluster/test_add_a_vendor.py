"""docs/add-a-vendor.md on a real API server: a chip that does not exist, on a node that says that it has it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import ROOT
from tests.cluster.controlplane import ControlPlane
from tests.cluster.installed import Installed
from tests.page import Page

PAGE = Page.read(ROOT / "docs" / "add-a-vendor.md")
NODE, RESOURCE = "acme-1", "acme.example/npu"
RUNTIME_CLASS = {
    "apiVersion": "node.k8s.io/v1",
    "kind": "RuntimeClass",
    "metadata": {"name": "acme"},
    "handler": "acme",
}


@pytest.fixture(scope="module")
def acme(installed: Installed) -> Iterator[ControlPlane]:
    """A cluster with Hearth, and what Acme's device plugin and container runtime make of a node."""
    plane = installed.plane
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": NODE, "labels": {"acme.example/npu.present": "true"}},
        "spec": {"taints": [{"key": RESOURCE, "effect": "NoSchedule"}]},
    }
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(node))
    patch = json.dumps({"status": {"allocatable": {RESOURCE: "8"}, "capacity": {RESOURCE: "8"}}})
    plane.kubectl("patch", "node", NODE, "--subresource=status", "--type=merge", "-p", patch)
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(RUNTIME_CLASS))
    with installed.looked_after():
        yield plane
        plane.kubectl("delete", "llmservice", "--all", "-A")
        plane.kubectl("delete", "infr", "acme-vllm", "--ignore-not-found")
    plane.kubectl("delete", "runtimeclass", "acme", "--ignore-not-found")
    plane.kubectl("delete", "node", NODE)


def env(plane: ControlPlane, tmp_path: Path) -> dict[str, str]:
    """With kubectl on the PATH, and the cluster's admin as its user."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "kubectl").symlink_to(plane.binaries / "kubectl")
    return {"KUBECONFIG": str(plane.kubeconfig), "PATH": f"{tools}:/usr/bin:/bin"}


def test_the_page_word_by_word(acme: ControlPlane, tmp_path: Path) -> None:
    PAGE.write(tmp_path)
    PAGE.follow("In a cluster", tmp_path, env(acme, tmp_path))
    deployment = json.loads(acme.kubectl("get", "deployment", "qwen", "-n", "ai-prod", "-o", "json"))
    (engine,) = deployment["spec"]["template"]["spec"]["containers"]
    assert engine["resources"]["limits"][RESOURCE] == "2"


@pytest.mark.parametrize("runtime", sorted((ROOT / "runtimes" / "vendors").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_api_server_takes_the_file_of_each_vendor(acme: ControlPlane, runtime: Path) -> None:
    acme.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", str(runtime))


def test_one_whose_image_is_not_public_is_not_accepted(acme: ControlPlane) -> None:
    acme.kubectl("apply", "-f", str(ROOT / "runtimes" / "vendors" / "biren-vllm.yaml"))
    try:
        acme.kubectl("wait", "--for=condition=Accepted=False", "infr/biren-vllm", "--timeout=30s")
        told = acme.kubectl("get", "infr", "biren-vllm", "-o", "jsonpath={.status.conditions[0].message}")
        assert "stands for an image that you have to give" in told
    finally:
        acme.kubectl("delete", "infr", "biren-vllm")
