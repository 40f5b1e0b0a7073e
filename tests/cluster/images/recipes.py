"""Which images there are, under which names, and of what each is built. Another image is another Recipe.

Knows folders and references; builds nothing.
"""

import itertools
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from hearth.api.inferenceruntime import InferenceRuntime
from hearth.api.manifest import load_runtimes
from tests.builders import ROOT

HERE = Path(__file__).parent

_BASE = re.compile(r"^FROM\s+(?P<image>python:(?P<version>\d+\.\d+)-slim-(?P<release>[a-z]+))\b", re.MULTILINE)
# What every image has, and what may stand before an engine's own command.
_SHELLS = frozenset({"sh", "bash", "/bin/sh", "/bin/bash", "env", "python", "python3"})


class NotBuildable(Exception):
    """A recipe that can't be followed; the text says why and what to change."""


@dataclass(frozen=True, slots=True)
class Base:
    """What the Dockerfile is built on: its image, the version of its Python and Debian's release."""

    image: str
    version: str
    release: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """`references` are the names under which nodes pull it; the first one is what later recipes are built from. `fill` lays into
    an empty folder what the Containerfile copies, where its context is not one that is there."""

    references: tuple[str, ...]
    containerfile: Path
    context: Path | None = None
    fill: Callable[[Path], None] | None = None


def base(dockerfile: str) -> Base:
    """Raises NotBuildable where the Dockerfile's stages are built on no base of Python's, or on several."""
    found = {(match["image"], match["version"], match["release"]) for match in _BASE.finditer(dockerfile)}
    if len(found) != 1:
        raise NotBuildable(f"Dockerfile: FROM: found {len(found)} bases python:X.Y-slim-RELEASE; expected one")
    return Base(*found.pop())


def recipes(pause: Path) -> list[Recipe]:
    """In the order in which they are built. `pause` is the program of a pod's sandbox.

    Raises NotBuildable, ManifestError.
    """
    runtimes = load_runtimes(ROOT / "runtimes")
    return [
        Recipe(("local/pause:1",), HERE / "pause/Containerfile", fill=lambda folder: _copy(pause, folder / "pause")),
        Recipe(("library/hearth:latest",), ROOT / "Dockerfile", context=ROOT),
        Recipe(
            tuple(sorted({repository(image) for runtime in runtimes for image in images_of(runtime)})),
            HERE / "engine/Containerfile",
            fill=lambda folder: lay_engine(runtimes, folder / "root"),
        ),
    ]


def engines_for_real() -> list[Recipe]:
    """What is built where it is asked for: gigabytes. Raises ManifestError."""
    (runtime,) = [each for each in load_runtimes(ROOT / "runtimes/vendors") if each.metadata.name == "cpu-vllm"]
    return [Recipe((repository(runtime.spec.container.image),), HERE / "vllm/Containerfile", context=HERE / "vllm")]


def images_of(runtime: InferenceRuntime) -> Iterable[str]:
    """The images of a runtime's pods."""
    yield runtime.spec.container.image
    if runtime.spec.prewarm is not None and runtime.spec.prewarm.image is not None:
        yield runtime.spec.prewarm.image


def repository(reference: str) -> str:
    """`quay.io/ascend/vllm-ascend:TAG` without its registry: `ascend/vllm-ascend:TAG`, as a registry is asked for it.

    Raises NotBuildable for a digest: nothing that is built here has it.
    """
    if "@" in reference:
        raise NotBuildable(f"image {reference!r}: found a digest; expected a tag, which an image of the tests can have")
    first, slash, rest = reference.partition("/")
    # https://pkg.go.dev/github.com/distribution/reference: what has a dot or a colon, or is localhost, is a host.
    name = rest if slash and ("." in first or ":" in first or first == "localhost") else reference
    name = name if "/" in name else f"library/{name}"
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def lay_engine(runtimes: Iterable[InferenceRuntime], root: Path) -> None:
    """The simulated engine at every place where a runtime's command looks for its engine."""
    engine = root / "opt/simulated/engine"
    _copy(HERE / "engine/engine.py", engine)
    for client in ("huggingface_hub", "modelscope"):  # what a prewarm Job imports: hearth/crd_translator/prewarm.py
        _copy(HERE / "engine/hub.py", root / "opt/simulated/modules" / f"{client}.py")
    for runtime in runtimes:
        command = runtime.spec.container.command
        if command and command[0] not in _SHELLS:
            place = root / (command[0][1:] if command[0].startswith("/") else f"usr/local/bin/{command[0]}")
            _link(place, engine, root)
        for flag, module in itertools.pairwise(command):
            if flag == "-m":
                _link(root / "opt/simulated/modules" / f"{module.replace('.', '/')}.py", engine, root)


def _link(place: Path, engine: Path, root: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.is_symlink():
        place.symlink_to(f"/{engine.relative_to(root)}")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755)
