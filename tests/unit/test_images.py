"""What the images of the test bed are called, what is laid into them, and how they come into a registry's storage."""

import hashlib
import json
from pathlib import Path

import pytest

from hearth.api.manifest import load_runtimes
from tests.builders import ROOT
from tests.cluster.images.oci import Layout, serve
from tests.cluster.images.recipes import NotBuildable, base, lay_engine, repository


@pytest.mark.parametrize(
    ("reference", "asked"),
    [
        ("hearth", "library/hearth:latest"),
        ("vllm/vllm-openai:v1", "vllm/vllm-openai:v1"),
        ("quay.io/ascend/vllm-ascend:v1", "ascend/vllm-ascend:v1"),
        ("localhost/a:1", "library/a:1"),
        ("registry:5000/a/b", "a/b:latest"),
    ],
)
def test_a_reference_is_asked_for_without_its_registry(reference: str, asked: str) -> None:
    assert repository(reference) == asked


def test_a_digest_is_refused() -> None:
    with pytest.raises(NotBuildable, match="found a digest"):
        repository(f"a/b@sha256:{'0' * 64}")


def test_all_stages_of_the_dockerfile_are_built_on_one_base() -> None:
    found = base((ROOT / "Dockerfile").read_text())
    assert found.image == f"python:{found.version}-slim-{found.release}"
    with pytest.raises(NotBuildable, match="found 2 bases"):
        base("FROM python:3.13-slim-trixie AS a\nFROM python:3.14-slim-trixie\n")


def test_the_engine_is_where_each_runtimes_command_looks_for_it(tmp_path: Path) -> None:
    runtimes = load_runtimes(ROOT / "runtimes")
    lay_engine(runtimes, tmp_path)
    for runtime in runtimes:
        if command := runtime.spec.container.command:
            place = command[0].removeprefix("/") if command[0].startswith("/") else f"usr/local/bin/{command[0]}"
            assert (tmp_path / place).readlink() == Path("/opt/simulated/engine")


def test_the_engine_is_a_module_where_python_is_told_to_run_one(tmp_path: Path) -> None:
    (runtime,) = [one for one in load_runtimes(ROOT / "runtimes") if one.metadata.name == "nvidia-vllm"]
    words = ["python3", "-m", "vllm.entrypoints.openai.api_server"]
    container = runtime.spec.container.model_copy(update={"command": words})
    spec = runtime.spec.model_copy(update={"container": container})
    lay_engine([runtime.model_copy(update={"spec": spec})], tmp_path)
    module = tmp_path / "opt/simulated/modules/vllm/entrypoints/openai/api_server.py"
    assert module.readlink() == Path("/opt/simulated/engine")
    assert not (tmp_path / "usr").exists()


def layout(folder: Path, **images: str) -> Layout:
    """Each image has one layer; one that was replaced is in the index without a name."""
    made = Layout(folder)

    def write(data: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        made.blob(digest).parent.mkdir(parents=True, exist_ok=True)
        made.blob(digest).write_bytes(data)
        return digest

    entries = []
    for name, layer in images.items():
        parts = {
            "config": {"digest": write(f"config of {name}".encode())},
            "layers": [{"digest": write(layer.encode())}],
        }
        entry: dict[str, object] = {"digest": write(json.dumps(parts).encode())}
        if name != "replaced":
            entry["annotations"] = {"org.opencontainers.image.ref.name": name}
        entries.append(entry)
    (folder / "index.json").write_text(json.dumps({"manifests": entries}))
    return made


def test_only_what_has_a_name_is_kept(tmp_path: Path) -> None:
    made = layout(tmp_path, replaced="old", hearth="new")
    made.prune()
    manifest = made.manifest("hearth")
    left = {path.name for path in (tmp_path / "blobs/sha256").iterdir()}
    assert left == {digest.removeprefix("sha256:") for digest in (manifest, *made.blobs(manifest))}


def test_images_under_several_names_are_the_same_files(tmp_path: Path) -> None:
    made = layout(tmp_path / "oci", engine="layer")
    manifest = made.manifest("engine")
    for repository_, tag in (("a/b", "1"), ("c/d", "2")):
        serve(made, manifest, repository_, tag, tmp_path / "storage")
    root = tmp_path / "storage/docker/registry/v2"
    for repository_, tag in (("a/b", "1"), ("c/d", "2")):
        here = root / "repositories" / repository_
        assert (here / f"_manifests/tags/{tag}/current/link").read_text() == manifest
        assert {file.read_text() for file in here.glob("_layers/sha256/*/link")} == set(made.blobs(manifest))
    value = manifest.removeprefix("sha256:")
    assert (root / "blobs/sha256" / value[:2] / value / "data").samefile(made.blob(manifest))
