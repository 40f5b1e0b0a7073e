"""Images of one layer each, which a node's containerd imports: the real ones can't be pulled here.

OCI's layout in a tar: https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.cluster.node.nodes import Node

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


def provide(node: Node, container: dict[str, Any], program: Path, path: str, uid: int) -> None:
    """Give a node the image that a container names, with `program` at `path`, and change the container to take it; its
    probes begin at once. Raises CommandFailed."""
    load_program(node, container["image"], program, path, uid)
    container["imagePullPolicy"] = "Never"
    for probe in ("livenessProbe", "readinessProbe"):
        container[probe]["initialDelaySeconds"] = 1


def load_program(node: Node, reference: str, program: Path, path: str, uid: int) -> None:
    """Give a node an image of one program, by the name that pods give. Raises CommandFailed."""
    runs = {"User": f"{uid}:{uid}", "Entrypoint": [path], "WorkingDir": "/"}
    load(node, reference, _tar({path: program.read_bytes()}, mode=0o755), runs)


def load_files(node: Node, reference: str, files: Mapping[str, bytes]) -> None:
    """Give a node an image that has files, by their paths, and runs nothing. Raises CommandFailed."""
    load(node, reference, _tar(files), {})


def load(node: Node, reference: str, layer: bytes, runs: Mapping[str, Any]) -> None:
    """Give a node an image of one layer, a tar. Raises CommandFailed."""
    archive = node.folder / "image.tar"
    archive.write_bytes(_archive(reference if "." in reference else f"docker.io/{reference}", layer, runs))
    node.run("ctr", "-n", "k8s.io", "images", "import", str(archive))
    archive.unlink()


def _archive(reference: str, layer: bytes, runs: Mapping[str, Any]) -> bytes:
    """An image as ctr imports it; `reference` is the name that pods give."""
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": dict(runs),
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    parts = [(_CONFIG, _json(config)), (_LAYER, layer)]
    described = [_descriptor(kind, content) for kind, content in parts]
    manifest = _json({"schemaVersion": 2, "mediaType": _MANIFEST, "config": described[0], "layers": described[1:]})
    named = {**_descriptor(_MANIFEST, manifest), "annotations": {"io.containerd.image.name": reference}}
    blobs = {f"blobs/{_digest(content).replace(':', '/')}": content for content in (manifest, *(c for _, c in parts))}
    index = _json({"schemaVersion": 2, "manifests": [named]})
    return _tar({"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": index, **blobs})


def _tar(files: Mapping[str, bytes], mode: int = 0o644) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name.lstrip("/"))
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def _descriptor(kind: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": _digest(content), "size": len(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _json(document: Any) -> bytes:
    return json.dumps(document).encode()
