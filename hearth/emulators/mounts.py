"""Where a container's paths are on this machine: what is mounted in a pod, and what its image has.

In a cluster a container has a file system of its own. Here its process sees this machine's, so that a path which means
a volume, or a program of the image, is written as the folder that stands for it: in the command, in the environment and
in hooks. Nothing else of them changes. What an engine is not told, but has built in, it does not find so.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hearth.emulators.container import NotStartable, Start

_SHARED_MEMORY = "/dev/shm"


@dataclass(frozen=True, slots=True)
class Mounts:
    """`folders` maps a container's paths to this machine's."""

    folders: Mapping[str, str] = field(default_factory=dict)

    def told(self, start: Start, image_env: Mapping[str, str]) -> Start:
        """How the container starts here. What the image says in its variables is of this machine already."""
        env = {name: value if image_env.get(name) == value else self.text(value) for name, value in start.env.items()}
        return Start(self.words(start.argv), env)

    def words(self, argv: list[str]) -> list[str]:
        return [self.text(word) for word in argv]

    def text(self, text: str) -> str:
        """`text` with each path of the container that begins with one of ours made this machine's."""
        if not self.folders:
            return text
        paths = "|".join(re.escape(path) for path in sorted(self.folders, key=len, reverse=True))
        # It begins where no other path goes on, and ends with a part: /models/source is not in /a/models/source-2.
        return re.sub(rf"(?<![\w./-])({paths})(?![\w.-])", lambda found: self.folders[found[1]], text)


@dataclass(frozen=True, slots=True)
class Volumes:
    """What stands for the volumes of pods. `claims` are folders that were given for PersistentVolumeClaims, by name;
    every other claim has one of its own in `kept`, by namespace and name, which outlives the pods. What lives as long
    as its pod lies in `passing`."""

    kept: Path
    passing: Path
    claims: Mapping[str, str] = field(default_factory=dict)
    image: Mapping[str, str] = field(default_factory=dict)

    def of(self, pod: Mapping[str, Any]) -> Mounts:
        """The mounts of a pod's one container; folders that Kubernetes would make are made. Raises NotStartable."""
        folders = dict(self.image)
        for mount, volume in mounted(pod["spec"]):
            path = mount["mountPath"].rstrip("/")
            if path in self.image or path == _SHARED_MEMORY:  # this machine has one, too
                continue
            folder = self._folder(pod["metadata"], volume)
            if sub_path := mount.get("subPath"):
                folder /= sub_path
            folders[path] = str(folder)
        return Mounts(folders)

    def passing_of(self, pod: Mapping[str, Any]) -> Path:
        """The folder of everything that ends with the pod."""
        metadata = pod["metadata"]
        return self.passing / f"{metadata['namespace']}_{metadata['name']}"

    def _folder(self, metadata: Mapping[str, Any], volume: Mapping[str, Any]) -> Path:
        match volume:
            case {"persistentVolumeClaim": {"claimName": claim}} if claim in self.claims:
                return Path(self.claims[claim])
            case {"persistentVolumeClaim": {"claimName": claim}}:
                return _made(volume, self.kept / metadata["namespace"] / claim)
            case {"emptyDir": _}:
                return _made(volume, self.passing_of({"metadata": metadata}) / volume["name"])
            case {"hostPath": {"path": path, "type": "DirectoryOrCreate"}}:
                return _made(volume, Path(path))
            case {"hostPath": {"path": path}}:
                return Path(path)
        found = ", ".join(name for name in volume if name != "name")
        raise NotStartable(
            "CreateContainerError",
            f"volume {volume['name']}: found {found}; persistentVolumeClaim, emptyDir and hostPath are known here: "
            "give its folder with --mount MOUNTPATH=FOLDER",
        )


def mounted(spec: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """(mount, volume) for each mount of the first container of a pod's `spec`."""
    volumes = {volume["name"]: volume for volume in spec.get("volumes") or ()}
    for mount in spec["containers"][0].get("volumeMounts") or ():
        yield mount, volumes[mount["name"]]


def _made(volume: Mapping[str, Any], folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"volume {volume['name']}: {folder}: {error.strerror}"
        raise NotStartable("CreateContainerError", problem) from None
    return folder
