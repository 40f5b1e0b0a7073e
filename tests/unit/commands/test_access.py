from pathlib import Path

import pytest
import yaml

from hearth.commands.access import Access
from hearth.kube.errors import KubeError


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    file = tmp_path / "config"
    contexts = [{"name": "a", "context": {"namespace": "team-a"}}, {"name": "b", "context": {}}]
    file.write_text(yaml.safe_dump({"current-context": "a", "contexts": contexts}))
    return file


def test_the_option_then_the_variable_then_home_then_the_pod(
    kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Access.find(None, None) == Access(None, "default")
    usual = tmp_path / ".kube" / "config"
    usual.parent.mkdir()
    usual.write_text("{}")
    assert Access.find(None, None) == Access(usual, "default")
    monkeypatch.setenv("KUBECONFIG", f"{kubeconfig}:/other")
    assert Access.find(None, None) == Access(kubeconfig, "team-a")
    assert Access.find(usual, None) == Access(usual, "default")


def test_a_namespace_that_is_given_counts(kubeconfig: Path) -> None:
    assert Access.find(kubeconfig, "mine").namespace == "mine"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("a: [")
    for file in (broken, tmp_path / "missing"):
        with pytest.raises(KubeError, match=str(file)):
            Access.find(file, None)
