"""`python -m tests.cluster.images.twice`: build the roles' image twice, from two copies of the sources, with nothing kept from
one to the other, and compare. Exits with 1 and the names of what differs, where the two are not the same to the byte."""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from hashlib import sha256
from pathlib import Path

from tests.builders import ROOT
from tests.cluster.images.__main__ import built_base
from tests.cluster.images.buildah import Buildah, require_root
from tests.cluster.images.oci import Layout
from tests.cluster.images.recipes import base


def main() -> int:
    require_root()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hearth/images-work"
    buildah = Buildah.of(cache)
    with tempfile.TemporaryDirectory(prefix="hearth-twice-") as folder:
        layout = Layout(Path(folder) / "oci")
        built_base(buildah, layout, base((ROOT / "Dockerfile").read_text()))
        manifests = [_built(buildah, layout, Path(folder), name) for name in ("first", "second")]
        print(*(f"{manifest}\n" for manifest in manifests), sep="", end="", flush=True)
        differs = [
            line
            for one, other in zip(*map(layout.blobs, manifests), strict=True)
            if one != other
            for line in _differences(layout.blob(one), layout.blob(other))
        ]
    print("the same" if manifests[0] == manifests[1] else "\n".join(differs[:50] or ["not the same: other layers"]))
    return 0 if manifests[0] == manifests[1] else 1


def _built(buildah: Buildah, layout: Layout, folder: Path, name: str) -> str:
    """Builds it as if on another machine; returns its manifest."""
    began = time.monotonic()
    print(f"{name}: building …", file=sys.stderr, flush=True)
    context = folder / name
    context.mkdir()
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for path in map(Path, filter(None, tracked.split("\0"))):
        (context / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, context / path)  # with a time of its own
    image = f"localhost/hearth-{name}"
    caches = folder / f"{name}-caches"  # those of cache mounts
    caches.mkdir()
    buildah.build(image, context / "Dockerfile", context, ["--no-cache", "--timestamp=0"], TMPDIR=str(caches))
    buildah.export(image, layout.folder, name)
    buildah.run("rmi", image)
    print(f"{name}: built in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return layout.manifest(name)


def _differences(one: Path, other: Path) -> list[str]:
    """What two blobs have that the other has not: files of layers, or the text of a configuration."""
    if not (tarfile.is_tarfile(one) and tarfile.is_tarfile(other)):
        return [one.read_text(), other.read_text()]
    found = [_members(each) for each in (one, other)]
    return sorted(name for name in found[0].keys() | found[1].keys() if found[0].get(name) != found[1].get(name))


def _members(layer: Path) -> dict[str, tuple[object, ...]]:
    with tarfile.open(layer) as archive:
        return {
            member.name: (
                *(member.mode, member.uid, member.gid, member.mtime, member.linkname),
                sha256(file.read()).hexdigest() if (file := archive.extractfile(member)) else None,
            )
            for member in archive
        }


if __name__ == "__main__":
    sys.exit(main())
