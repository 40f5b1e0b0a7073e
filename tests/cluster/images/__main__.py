"""`python -m tests.cluster.images`: build what is not built yet; prints the folder.

`--vllm`: an image of vLLM for CPUs is among them, of 7 GB.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from hearth.api.manifest import ManifestError
from tests.builders import ROOT
from tests.cluster.images.buildah import Buildah, require_root
from tests.cluster.images.oci import Layout, serve
from tests.cluster.images.recipes import HERE, Base, NotBuildable, Recipe, base, engines_for_real, recipes


def build(cache: Path, more: Sequence[Recipe] = ()) -> Path:
    """The folder of images and registry; `more` are images that not everybody wants. Raises NotBuildable, ManifestError, CalledProcessError."""
    work = cache / "images-work"
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # who builds beside us builds the same names
        registry, pause = _programs(work)
        buildah = Buildah.of(work)
        layout = Layout(work / "oci")
        on = base((ROOT / "Dockerfile").read_text())
        served: dict[str, tuple[str, ...]] = {built_base(buildah, layout, on): ("local/base:1",)}
        for recipe in (*recipes(pause), *more):
            served[_image(buildah, layout, recipe)] = recipe.references
        layout.prune()
        key = hashlib.sha256(registry.parent.name.encode() + repr(sorted(served.items())).encode())
        key.update((HERE / "oci.py").read_bytes())
        made = cache / f"images-{key.hexdigest()[:12]}"
        if not made.exists():
            with _new(made) as folder:
                os.link(registry, folder / "registry")
                for manifest, references in served.items():
                    for reference in references:
                        repository, _, tag = reference.rpartition(":")
                        serve(layout, manifest, repository, tag, folder / "storage")
    return made


def built_base(buildah: Buildah, layout: Layout, on: Base) -> str:
    """The image that the Dockerfile is built on; returns its manifest."""
    maker = HERE / "base/make.sh"
    key = hashlib.sha256(maker.read_bytes() + repr(on).encode()).hexdigest()[:12]
    image = f"localhost/base:{key}"
    if not buildah.has(image):
        with _told(f"the base that stands for {on.image}, of Debian's packages, in half a minute to four"):
            subprocess.run(
                [maker, image, on.version, on.release],
                env={**os.environ, "BUILDAH": " ".join(buildah.command), "DEBS": str(buildah.folder / "debs")},
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr,
                check=True,
            )
    buildah.run("tag", image, f"docker.io/library/{on.image}")
    buildah.export(image, layout.folder, "base")
    return layout.manifest("base")


def _image(buildah: Buildah, layout: Layout, recipe: Recipe) -> str:
    """Returns the manifest of what a recipe makes."""
    name = recipe.references[0]
    image = f"docker.io/{name}"
    with _told(name), tempfile.TemporaryDirectory(prefix="hearth-image-") as made:
        if recipe.fill is not None:
            recipe.fill(Path(made))
        buildah.build(image, recipe.containerfile, recipe.context or Path(made))
        buildah.export(image, layout.folder, name)
    return layout.manifest(name)


def _programs(work: Path) -> tuple[Path, Path]:
    """The registry, and what a pod's sandbox runs; built from Go once."""
    sources = [
        HERE / "go.mod",
        HERE / "go.sum",
        HERE / "registry/main.go",
        HERE / "pause/main.go",
        HERE / "__main__.py",
    ]
    key = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]
    programs = work / f"programs-{key}"
    if not programs.exists():
        with _told("the registry, from its Go module, in half a minute to two"), _new(programs) as folder:
            for name, package in (("registry", "./registry"), ("pause", "./pause")):
                subprocess.run(
                    ["go", "build", "-trimpath", "-ldflags=-s -w", "-o", folder / name, package],
                    cwd=HERE,
                    env={**os.environ, "CGO_ENABLED": "0"},
                    stdin=subprocess.DEVNULL,
                    stdout=sys.stderr,
                    check=True,
                )
    return programs / "registry", programs / "pause"


@contextlib.contextmanager
def _new(folder: Path) -> Iterator[Path]:
    """A folder that is there when it is whole, and not before."""
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        yield made
        made.chmod(0o755)
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    began = time.monotonic()
    print(f"images: {what} …", file=sys.stderr, flush=True)
    yield
    print(f"images: {what}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def main() -> None:
    require_root()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hearth"
    try:
        print(build(cache, engines_for_real() if sys.argv[1:] == ["--vllm"] else ()))
    except (NotBuildable, ManifestError) as error:
        sys.exit(str(error))
    except subprocess.CalledProcessError as error:
        sys.exit(f"images: {' '.join(map(str, error.cmd))}: exited with {error.returncode}")


if __name__ == "__main__":
    main()
