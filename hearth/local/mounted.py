"""Secrets as the roles' pods have them mounted: in a folder, whose files are swapped at once when the Secret changes.

As the kubelet's atomic writer does it: files are links into `..data`, which is a link to a folder of its own for each
state of the Secret.
"""

import asyncio
import base64
import os
import shutil
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
        self._number = 0

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
        folder = self._folders[name]
        folder.mkdir(mode=0o700, exist_ok=True)
        self._number += 1
        made = folder / f"..{self._number}"
        made.mkdir()
        for key, value in (item.get("data") or {}).items():
            (made / key).write_bytes(base64.b64decode(value))
            if not (folder / key).is_symlink():
                (folder / key).symlink_to(Path("..data") / key)
        before = os.readlink(folder / "..data") if (folder / "..data").is_symlink() else None
        (folder / "..data_tmp").symlink_to(made.name)
        (folder / "..data_tmp").replace(folder / "..data")
        if before is not None:
            shutil.rmtree(folder / before)
