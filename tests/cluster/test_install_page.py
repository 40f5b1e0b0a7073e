"""docs/install.md, as a person types it: its commands in its order, on a cluster that has nothing of Hearth's."""

import json
import os
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.builders import ROOT
from tests.cluster.controlplane import CommandFailed, ControlPlane, run
from tests.cluster.installed import NODES, SYSTEM, Installed
from tests.cluster.kubectl import NAME, NAMESPACE, Cluster

CRDS = ROOT / "deploy" / "crds"


def commands(heading: str) -> list[list[str]]:
    """The words of each command in the code blocks below a heading of the page."""
    page = (ROOT / "docs/install.md").read_text()
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"^ *```\n(.*?)^ *```$", section, re.MULTILINE | re.DOTALL)
    return [shlex.split(line, comments=True) for block in blocks for line in block.splitlines() if line.strip()]


def asked(heading: str, program: str) -> list[list[str]]:
    """The arguments of one program's commands."""
    found = [words[1:] for words in commands(heading) if words[0] == program]
    assert found, f"docs/install.md: ## {heading} has no command of {program}"
    return found


@pytest.fixture
def helm(tmp_path: Path, plane: ControlPlane) -> Callable[..., str]:
    binary = os.environ.get("HEARTH_HELM")
    assert binary, "HEARTH_HELM names no helm; run `make e2e`, which builds it"
    folders = {f"HELM_{name}_HOME": str(tmp_path / name) for name in ("CACHE", "CONFIG", "DATA")}
    env = {**os.environ, **folders, "KUBECONFIG": str(plane.kubeconfig)}
    return lambda *arguments: run(binary, *arguments, env=env)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's paths begin where the repository does."""
    monkeypatch.chdir(ROOT)


@pytest.fixture
def nodes(plane: ControlPlane) -> Iterator[None]:
    for name, resource in NODES.items():
        plane.kubectl(
            "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
        )
        patch = json.dumps({"status": {"allocatable": {resource: "8"}, "capacity": {resource: "8"}}})
        plane.kubectl("patch", "node", name, "--subresource=status", "--type=merge", "-p", patch)
    yield
    plane.kubectl("delete", "node", *NODES)


@pytest.mark.usefixtures("here", "nodes")
def test_step_by_step_with_kubectl(plane: ControlPlane, tmp_path: Path) -> None:
    steps = asked("Install", "kubectl")
    model = next(number for number, words in enumerate(steps) if words[0] == "create")
    for words in steps[:model]:
        plane.kubectl(*words)
    installed = Installed(plane, tmp_path)
    # No node runs the pods of deploy/ here: the roles run beside it, with its accounts.
    with installed.looked_after():
        for words in steps[model:]:
            said = plane.kubectl(*words)
        assert said.splitlines()[0].split() == ["NAME", "PHASE", "READY", "REASON", "REPLICAS", "RUNTIME", "AGE"]
        assert said.splitlines()[1].split()[:5] == [NAME, "ScaledToZero", "True", "ScaledToZero", "0"]
        services, hearth = asked("Uninstall", "kubectl")
        plane.kubectl(*services)
        left = ("get", "deploy,scaledobject,pvc", "-n", NAMESPACE, "-o", "name")
        Cluster(plane).until(lambda: plane.kubectl(*left) == "", "nothing left of the LLMService")
    plane.kubectl(*hearth)
    plane.kubectl("delete", "namespace", NAMESPACE)
    assert "llmservices" not in plane.kubectl("get", "crd", "-o", "name")


@pytest.mark.usefixtures("here")
def test_helm_across_a_change_of_the_crds(plane: ControlPlane, helm: Callable[..., str], tmp_path: Path) -> None:
    """What Helm made, it owns: the page's way over to a version with other CRDs."""
    (install,) = asked("Install", "helm")
    (upgrade,) = asked("Upgrade", "helm")
    (crds,) = asked("Upgrade", "kubectl")
    assert crds[-1] == "deploy/crds"
    changed = tmp_path / "crds"
    changed.mkdir()
    for path in CRDS.glob("*.yaml"):
        crd = yaml.safe_load(path.read_text())
        crd["spec"]["versions"][0]["additionalPrinterColumns"][0]["name"] = "Renamed"
        (changed / path.name).write_text(yaml.safe_dump(crd))
    helm(*install)
    try:
        plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        plane.kubectl("create", "namespace", NAMESPACE)
        cluster = Cluster(plane)
        cluster.apply()
        uid = cluster.get("llmservice")["metadata"]["uid"]
        with pytest.raises(CommandFailed, match="conflict"):
            plane.kubectl("apply", "--server-side", "-f", str(changed))
        plane.kubectl(*crds[:-1], str(changed))
        helm(*upgrade)
        assert plane.kubectl("get", "llmservice", "-n", NAMESPACE).split()[:2] == ["NAME", "RENAMED"]
        assert cluster.get("llmservice")["metadata"]["uid"] == uid, "objects stay"
        assert plane.kubectl("get", "deployment", "hearth-controller", "-n", SYSTEM, "-o", "jsonpath={..image}") == (
            "REGISTRY/hearth:TAG"
        )
    finally:
        plane.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")
        helm("uninstall", "hearth", "-n", SYSTEM)
        plane.kubectl("delete", "-f", str(CRDS), "--ignore-not-found")
        plane.kubectl("delete", "namespace", SYSTEM, "--ignore-not-found")
