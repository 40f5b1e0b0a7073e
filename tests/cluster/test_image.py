"""The image of the roles, as a node pulls it: what is in it, what is not, and that it runs as deploy/ runs it."""

import json
import os
import re
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hearth import __version__
from tests.builders import ROOT
from tests.cluster.images.rootfs import command, unpack
from tests.cluster.images.served import Served, served
from tools.compile import FOLDERS

MEGABYTE = 1_000_000
MOST = 250 * MEGABYTE
USER = "65532:65532"


@pytest.fixture(scope="module")
def image() -> Served:
    return served("library/hearth:latest")


@pytest.fixture(scope="module")
def own(image: Served) -> tuple[Path, ...]:
    """The layers that are not the base's."""
    base = served("local/base:1").layers
    assert image.layers[: len(base)] == base
    return image.layers[len(base) :]


@pytest.fixture(scope="module")
def root(image: Served, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("image") / "root"
    unpack(image.layers, made)
    made.parent.parent.chmod(0o755)
    made.parent.chmod(0o755)
    return made


def run(root: Path, image: Served, *argv: str) -> str:
    """As deploy/ has it: the user of the image, a root that can't be written to."""
    words = command(root, argv, image.env, USER)
    done = subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return done.stdout


def members(layers: tuple[Path, ...]) -> Iterator[tarfile.TarInfo]:
    for layer in layers:
        with tarfile.open(layer, "r:") as archive:  # not compressed, so that a layer's size is its content's
            yield from archive


def test_its_size_above_the_base_is_bounded(own: tuple[Path, ...]) -> None:
    sizes = [layer.stat().st_size for layer in own]
    print(
        f"layers above the base, MB: {[round(size / MEGABYTE, 1) for size in sizes]}, together {sum(sizes) / MEGABYTE:.1f}"
    )
    assert sum(sizes) <= MOST


def test_a_new_version_of_hearth_is_a_small_layer(own: tuple[Path, ...]) -> None:
    """Dependencies have a layer of their own, which nodes keep."""
    (mine,) = [
        layer for layer in own if any(member.name.endswith("/hearth/__init__.py") for member in members((layer,)))
    ]
    assert mine.stat().st_size <= MOST / 10


def test_nothing_is_left_to_build_or_install_with(root: Path) -> None:
    tools = re.compile(r"(pip|gcc|cc|cc1|c\+\+|g\+\+|clang|ld|make|git)[0-9.-]*|.*-linux-gnu-(gcc|ld|as).*")
    pip = re.compile(r"pip|ensurepip|pip-.*\.whl|pip-.*\.dist-info")
    found = [
        str(path)
        for folder, folders, files in os.walk(root)
        for path in map(Path(folder).joinpath, [*folders, *files])
        if pip.fullmatch(path.name) or (tools.fullmatch(path.name) and path.parent.name in {"bin", "sbin", "libexec"})
    ]
    assert found == []


def test_what_is_above_the_base_is_roots_and_nobodys_to_change(own: tuple[Path, ...]) -> None:
    """But /tmp, where everybody may write and nobody may change what is another's."""
    found = [
        f"{member.name}: {member.uid}:{member.gid} {member.mode:o}"
        for member in members(own)
        if member.uid or member.gid or member.mode & (stat.S_ISUID | stat.S_ISGID) or anybodys(member)
    ]
    assert found == []


def anybodys(member: tarfile.TarInfo) -> bool:
    return (
        not member.issym() and bool(member.mode & stat.S_IWOTH) and not (member.isdir() and member.mode & stat.S_ISVTX)
    )


def test_it_runs_as_deploy_runs_it(root: Path, image: Served) -> None:
    assert image.config["User"] == USER
    assert run(root, image, *image.config["Entrypoint"], "--version") == f"hearth {__version__}\n"
    for role in ("controller", "activator", "scaler"):
        assert f"hearth {role}" in run(root, image, *image.config["Entrypoint"], role, "--help")


def test_the_hot_path_is_compiled(root: Path, image: Served) -> None:
    """Asked of the image's own Python: each module is the extension, not the source beside it."""
    modules = [path for place in FOLDERS for path in sorted((ROOT / place).glob("*.py")) if path.stem != "__init__"]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in modules]
    program = f"import importlib; print(*(importlib.import_module(name).__file__ for name in {names}), sep='\\n')"
    files = run(root, image, "/opt/hearth/bin/python", "-P", "-c", program).split()
    assert len(files) == len(modules) > 10
    assert all(file.startswith("/opt/hearth/lib/") and file.endswith(".so") for file in files), files


def test_its_bill_of_materials_has_every_dependency(root: Path) -> None:
    """CycloneDX, made by the build of what it had installed: as pinned, with its licence."""
    bill = json.loads((root / "opt/hearth/sbom.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "hearth"
    listed = {canonical(part["name"]): part["version"] for part in bill["components"]}
    (site,) = (root / "opt/hearth/lib").glob("python3*/site-packages")
    installed = dict(distribution(folder.stem) for folder in site.glob("*.dist-info"))
    assert installed.pop("hearth") == __version__
    assert listed == installed
    pins = (line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines())
    assert listed.items() <= {canonical(name): version for name, version in pins}.items()
    unknown = {part["name"] for part in bill["components"] if not part.get("licenses")}
    assert unknown == {"protobuf"}  # its wheel names none; it is BSD-3-Clause
    assert all(part["purl"].startswith("pkg:pypi/") for part in bill["components"])


LICENCES = {
    *("Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CNRI-Python", "ISC", "MIT", "MIT-0", "PSF-2.0", "Python-2.0"),
    "MPL-2.0",  # certifi: a file that is passed on as it is
    *(f"License :: OSI Approved :: {name}" for name in ("Apache Software License", "BSD License", "MIT License")),
    "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)",
}
"""Those that let anybody use and pass on what is in the image; SECURITY.md. By SPDX, or as PyPI's classifiers have it."""


def test_every_licence_is_one_that_lets_it_be_passed_on(root: Path) -> None:
    bill = json.loads((root / "opt/hearth/sbom.cdx.json").read_text())
    found = {
        part["name"]: word
        for part in bill["components"]
        for licence in part.get("licenses", [])
        for word in words_of(licence)
        if word not in LICENCES
    }
    assert found == {}


def words_of(licence: dict[str, Any]) -> list[str]:
    """An expression of SPDX has several: all of them count."""
    named = licence.get("license", {})
    if name := named.get("name"):
        return [str(name)]
    expression = str(licence.get("expression") or named["id"])
    return re.findall(r"\b(?!(?:AND|OR|WITH)\b)[\w.+-]+", expression)


def canonical(name: str) -> str:
    """https://packaging.python.org/en/latest/specifications/name-normalization/"""
    return re.sub(r"[-_.]+", "-", name).lower()


def distribution(stem: str) -> tuple[str, str]:
    """`PyYAML-6.0.3` as a name and a version."""
    name, version = stem.rsplit("-", 1)
    return canonical(name), version
