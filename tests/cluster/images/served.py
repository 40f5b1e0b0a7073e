"""What a registry's storage holds of an image: its configuration and its layers."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Served:
    """An image as a node would pull it: `layers` are tar files, the lowest first; `config` is what it says of itself."""

    config: dict[str, Any]
    layers: tuple[Path, ...]

    @property
    def env(self) -> dict[str, str]:
        return dict(pair.split("=", 1) for pair in self.config.get("Env", []))


def served(reference: str) -> Served:
    """The image that HEARTH_IMAGES' registry has as `repository:tag`. Raises FileNotFoundError where it has none."""
    folder = os.environ.get("HEARTH_IMAGES")
    assert folder, "HEARTH_IMAGES names no folder of images; run `make e2e`, which builds them"
    root = Path(folder) / "storage/docker/registry/v2"
    repository, tag = reference.rsplit(":", 1)
    manifest = json.loads(
        _blob(
            root, (root / "repositories" / repository / "_manifests/tags" / tag / "current/link").read_text()
        ).read_bytes()
    )
    config = json.loads(_blob(root, manifest["config"]["digest"]).read_bytes())
    return Served(config["config"], tuple(_blob(root, layer["digest"]) for layer in manifest["layers"]))


def _blob(root: Path, digest: str) -> Path:
    algorithm, _, value = digest.partition(":")
    return root / "blobs" / algorithm / value[:2] / value / "data"
