"""Images as files: an OCI layout in, what a registry keeps of it out.

The layout: https://github.com/opencontainers/image-spec/blob/main/image-layout.md. A registry's storage is the one that
distribution's registry/storage/paths.go describes. Blobs are the same files in both: they are linked, not copied.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NAME = "org.opencontainers.image.ref.name"


@dataclass(frozen=True, slots=True)
class Layout:
    """A folder with images by name, which share their blobs."""

    folder: Path

    def manifest(self, name: str) -> str:
        """The digest of an image's manifest. Raises KeyError where there is none of that name."""
        return self._named()[name]

    def blobs(self, digest: str) -> list[str]:
        """What a manifest names: its configuration, and its layers from the lowest up."""
        document = json.loads(self.blob(digest).read_bytes())
        return [part["digest"] for part in (document["config"], *document["layers"])]

    def blob(self, digest: str) -> Path:
        return self.folder / "blobs" / digest.replace(":", "/")

    def prune(self) -> None:
        """Remove what no name leads to: an image that was pushed again leaves its manifest and its blobs behind."""
        index = self._index()
        index["manifests"] = [entry for entry in index["manifests"] if _name(entry)]
        self._file.write_text(json.dumps(index))
        manifests = set(self._named().values())
        kept = {self.blob(digest) for manifest in manifests for digest in (manifest, *self.blobs(manifest))}
        for file in (self.folder / "blobs").glob("*/*"):
            if file not in kept:
                file.unlink()

    @property
    def _file(self) -> Path:
        return self.folder / "index.json"

    def _index(self) -> dict[str, Any]:
        index: dict[str, Any] = json.loads(self._file.read_bytes())
        return index

    def _named(self) -> dict[str, str]:
        return {name: entry["digest"] for entry in self._index()["manifests"] if (name := _name(entry))}


def _name(entry: dict[str, Any]) -> str:
    """ "" for one whose name another image has now."""
    return str(entry.get("annotations", {}).get(_NAME, ""))


def serve(layout: Layout, manifest: str, repository: str, tag: str, storage: Path) -> None:
    """Lay an image into a registry's storage under a name and a tag."""
    root = storage / "docker/registry/v2"
    blobs = layout.blobs(manifest)
    for digest in (manifest, *blobs):
        algorithm, _, value = digest.partition(":")
        data = root / "blobs" / algorithm / value[:2] / value / "data"
        if not data.exists():
            data.parent.mkdir(parents=True)
            os.link(layout.blob(digest), data)
    here = root / "repositories" / repository
    for digest in blobs:
        _link(here / "_layers", digest)
    _link(here / "_manifests/revisions", manifest)
    _link(here / "_manifests/tags" / tag / "index", manifest)
    current = here / "_manifests/tags" / tag / "current/link"
    current.parent.mkdir(parents=True, exist_ok=True)
    current.write_text(manifest)


def _link(folder: Path, digest: str) -> None:
    place = folder / digest.replace(":", "/")
    place.mkdir(parents=True, exist_ok=True)
    (place / "link").write_text(digest)
