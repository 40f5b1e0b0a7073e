"""Images of one program each, which a node's containerd imports: the real ones can't be pulled here.

OCI's layout in a tar: https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from tests.cluster.node.nodes import Node

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


def provide(node: Node, container: dict[str, Any], program: Path, path: str, uid: int) -> None:
    """Give a node the image that a container names, with `program` at `path`, and change the container to take it; its
    probes begin at once. Raises CommandFailed."""
    load(node, container["image"], program, path, uid)
    container["imagePullPolicy"] = "Never"
    for probe in ("livenessProbe", "readinessProbe"):
        container[probe]["initialDelaySeconds"] = 1


def load(node: Node, reference: str, program: Path, path: str, uid: int) -> None:
    """Give a node an image by the name that pods give. Raises CommandFailed."""
    archive = node.folder / f"{program.name}.tar"
    _write(archive, reference if "." in reference else f"docker.io/{reference}", path, program, uid)
    node.run("ctr", "-n", "k8s.io", "images", "import", str(archive))
    archive.unlink()


def _write(file: Path, reference: str, path: str, program: Path, uid: int) -> None:
    """An image with one file, `program` at `path`, that runs as `uid`; `reference` is the name that pods give."""
    layer = _tar({path.lstrip("/"): program.read_bytes()}, mode=0o755)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"User": f"{uid}:{uid}", "Entrypoint": [path], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    parts = [(_CONFIG, _json(config)), (_LAYER, layer)]
    described = [_descriptor(kind, content) for kind, content in parts]
    manifest = _json({"schemaVersion": 2, "mediaType": _MANIFEST, "config": described[0], "layers": described[1:]})
    named = {**_descriptor(_MANIFEST, manifest), "annotations": {"io.containerd.image.name": reference}}
    blobs = {f"blobs/{_digest(content).replace(':', '/')}": content for content in (manifest, *(c for _, c in parts))}
    index = _json({"schemaVersion": 2, "manifests": [named]})
    file.write_bytes(_tar({"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": index, **blobs}))


def _tar(files: dict[str, bytes], mode: int = 0o644) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def _descriptor(kind: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": _digest(content), "size": len(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _json(document: Any) -> bytes:
    return json.dumps(document).encode()
