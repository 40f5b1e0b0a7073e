import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from hearth.commands.access import Access
from hearth.kube.client import KubeClient
from hearth.kube.errors import KubeError


def written(file: Path, current: str | None, **namespaces: str) -> Path:
    """A kubeconfig with these contexts and their namespaces; each context's cluster is one of its own."""
    contexts = [
        {"name": name, "context": {"cluster": f"{file.name}-{name}", "user": "u", **({"namespace": ns} if ns else {})}}
        for name, ns in namespaces.items()
    ]
    clusters = [
        {"name": f"{file.name}-{name}", "cluster": {"server": f"http://{file.name}-{name}:1"}} for name in namespaces
    ]
    document: dict[str, Any] = {"contexts": contexts, "clusters": clusters, "users": [{"name": "u", "user": {}}]}
    file.write_text(yaml.safe_dump(document | ({"current-context": current} if current else {})))
    return file


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    return written(tmp_path / "config", "a", a="team-a", b="")


def test_the_option_then_the_variable_then_home_then_the_pod(
    kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Access.find(None, None) == Access((), "default")
    (tmp_path / ".kube").mkdir()
    usual = written(tmp_path / ".kube" / "config", "home", home="")
    assert Access.find(None, None) == Access((usual,), "default", "home")
    monkeypatch.setenv("KUBECONFIG", f"{kubeconfig}:/other")
    assert Access.find(None, None) == Access((kubeconfig,), "team-a", "a")
    assert Access.find(usual, None) == Access((usual,), "default", "home")


async def test_of_several_files_the_first_that_says_something_counts(
    kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As kubectl merges them; the client library would take the last current-context."""
    none = written(tmp_path / "none", None, c="team-c")
    late = written(tmp_path / "late", "d", d="team-d", a="not-this-one")
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(map(str, (none, "", tmp_path / "missing", kubeconfig, late))))
    found = Access.find(None, None)
    assert found == Access((none, kubeconfig, late), "team-a", "a")
    kube = await KubeClient.connect(found.kubeconfigs, found.context)
    assert kube._api.configuration.host == "http://config-a:1"
    await kube.close()
    assert Access.find(None, None, "d").namespace == "team-d"
    assert Access.find(None, None, "c").namespace == "team-c"


async def test_a_file_that_says_nothing_is_no_obstacle(
    kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_the_context = tmp_path / "current"
    only_the_context.write_text(
        "apiVersion: v1\nkind: Config\nclusters: null\ncontexts: null\ncurrent-context: b\nusers: null\n"
    )
    monkeypatch.setenv("KUBECONFIG", f"/dev/null:{only_the_context}:{kubeconfig}")
    found = Access.find(None, None)
    assert (found.kubeconfigs, found.context) == ((only_the_context, kubeconfig), "b")
    kube = await KubeClient.connect(found.kubeconfigs, found.context)
    assert kube._api.configuration.host == "http://config-b:1"
    await kube.close()
    with pytest.raises(KubeError, match="no current-context; its contexts: none"):
        Access.find(Path("/dev/null"), None)


def test_a_namespace_that_is_given_counts(kubeconfig: Path) -> None:
    assert Access.find(kubeconfig, "mine").namespace == "mine"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("a: [")
    for file in (broken, tmp_path / "missing"):
        with pytest.raises(KubeError, match=str(file)):
            Access.find(file, None)


def test_where_none_of_the_files_is_there_the_first_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/one:{tmp_path}/two")
    with pytest.raises(KubeError, match=f"{tmp_path}/one cannot be read"):
        Access.find(None, None)


@pytest.mark.parametrize(
    ("context", "words"), [("z", "context 'z' is not there; its contexts: a, b"), (None, "no current")]
)
def test_a_context_that_is_not_there_is_named_with_those_that_are(
    tmp_path: Path, context: str | None, words: str
) -> None:
    file = written(tmp_path / "config", None, a="", b="")
    with pytest.raises(KubeError, match=words):
        Access.find(file, None, context)


def test_a_context_without_any_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(KubeError, match="there is no kubeconfig"):
        Access.find(None, None, "a")
