"""Secrets as the roles' pods have them mounted: in a folder, whose files are swapped at once when the Secret changes.

As the kubelet's atomic writer does it: files are links into `..data`, which is a link to a folder of its own for each
state of the Secret.
"""

import asyncio
import base64
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from hearth.emulators.kinds import KubeObject
from hearth.emulators.store import Event, ObjectStore


class MountedSecrets:
    """Keeps Secrets of one namespace, by name, in folders."""

    def __init__(self, store: ObjectStore, namespace: str, folders: Mapping[str, Path]) -> None:
        self._store = store
        self._namespace = namespace
        self._folders = folders

    async def run(self) -> None:
        """Keep them until cancelled."""
        stop = self._store.listen(self._hear)
        try:
            for name in self._folders:
                if (item := self._store.get("secrets", self._namespace, name)) is not None:
                    self._write(name, item)
            await asyncio.Event().wait()
        finally:
            stop()

    def _hear(self, event: Event) -> None:
        metadata = event.object["metadata"]
        ours = event.resource == "secrets" and metadata.get("namespace") == self._namespace
        if ours and metadata["name"] in self._folders and event.type != "DELETED":
            self._write(metadata["name"], event.object)

    def _write(self, name: str, item: KubeObject) -> None:
        data = item.get("data") or {}
        swap(self._folders[name], {key: base64.b64decode(value) for key, value in data.items()})


def swap(folder: Path, files: Mapping[str, bytes]) -> None:
    """Let a folder have these files, all at once, in place of those that it has."""
    folder.mkdir(mode=0o700, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix="..", dir=folder))
    for name, content in files.items():
        (made / name).write_bytes(content)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(Path("..data") / name)
    data, waiting = folder / "..data", folder / "..data_tmp"
    before = data.resolve() if data.is_symlink() else None
    waiting.symlink_to(made.name)
    waiting.replace(data)
    if before is not None:
        shutil.rmtree(before)
