"""A container's file system, user and rights: what is around a command that runs as a pod's container."""

import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster.users import mapped

# What an image's base brings: here the machine's own. /usr is laid under a layer of the container's own.
BASE = ("/etc/alternatives", "/etc/ssl", "/etc/ld.so.cache", "/etc/nsswitch.conf", "/etc/passwd", "/etc/group")
LINKS = ("bin", "lib", "lib64", "sbin")


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder or file of the machine at a place in the container."""

    source: Path
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Sandbox:
    """`user` is a number, or None for who runs the tests; `env` is all that the command gets; `holder` is a process in
    the pod's network namespace. `files` are small files (path in the container, text)."""

    folder: Path
    holder: int
    env: dict[str, str]
    mounts: list[Mount] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    user: int | None = None
    read_only_root: bool = False
    no_new_privileges: bool = False
    drop_all: bool = False

    def command(self, command: list[str]) -> list[str]:
        """What runs `command` in here; it becomes the process itself, so that signals reach it."""
        script = self.folder / "container.sh"
        script.write_text(self._script(command))
        namespaces = [f"--{kind}=/proc/{self.holder}/ns/{kind}" for kind in ("net", "uts")]
        return ["nsenter", *namespaces, "unshare", "--mount", "sh", str(script)]

    def enter(self, pid: int, command: list[str]) -> list[str]:
        """What runs `command` beside the container's process: a hook, an exec probe."""
        return ["nsenter", f"--target={pid}", *["--mount", "--net", "--uts", "--root", "--wd"], *self._as(command)]

    def _as(self, command: list[str]) -> list[str]:
        environment = [f"{name}={value}" for name, value in self.env.items()]
        rights: list[str] = []
        if self.user is not None and mapped(self.user):
            rights += [f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups"]
        if self.drop_all:
            rights += ["--bounding-set=-all", "--inh-caps=-all"]
        if self.no_new_privileges:
            rights.append("--no-new-privs")
        return ["env", "-i", *environment, *(["setpriv", *rights] if rights else []), *command]

    def _script(self, command: list[str]) -> str:
        root = self.folder / "root"
        root.mkdir(exist_ok=True)
        mounts = [Mount(Path(path), path, read_only=True) for path in BASE if Path(path).exists()]
        if not Path(sys.base_prefix).is_relative_to("/usr"):
            mounts.append(Mount(Path(sys.base_prefix), sys.base_prefix, read_only=True))
        lines = ["set -e", f"root={shlex.quote(str(root))}", 'mount -t tmpfs -o mode=755 root "$root"']
        lines += [f'ln -s usr/{name} "$root/{name}"' for name in LINKS]
        lines += [
            f"layer={shlex.quote(str(self.folder / 'layer'))}",
            'mkdir -p "$layer" "$root/usr" && mount -t tmpfs layer "$layer" && mkdir "$layer/upper" "$layer/work"',
            'mount -t overlay -o "lowerdir=/usr,upperdir=$layer/upper,workdir=$layer/work" usr "$root/usr"',
        ]
        for name in ("proc", "dev"):
            lines.append(f'mkdir "$root/{name}" && mount --rbind /{name} "$root/{name}"')
        lines.append('mkdir -m 1777 "$root/tmp"')
        for path, text in self.files.items():
            target = f'"$root"{shlex.quote(path)}'
            lines.append(f'mkdir -p "$(dirname {target})" && printf %s {shlex.quote(text)} > {target}')
        for mount in [*mounts, *self.mounts]:
            target = f'"$root"{shlex.quote(mount.target)}'
            make = "mkdir -p" if mount.source.is_dir() else "touch"
            lines.append(f'mkdir -p "$(dirname {target})" && {make} {target}')
            lines.append(f"mount --bind {shlex.quote(str(mount.source))} {target}")
            if mount.read_only:
                lines.append(f"mount -o remount,bind,ro {target}")
        if self.read_only_root:
            lines.append('mount -o remount,ro "$root" && mount -o remount,ro "$root/usr"')
        lines.append(f'cd / && exec chroot "$root" {shlex.join(self._as(command))}')
        return "\n".join(lines) + "\n"


def rights_of(pod: dict[str, Any], container: dict[str, Any], image_user: int | None) -> dict[str, Any]:
    """What the security contexts of a pod and its container ask for, as arguments of Sandbox."""
    context = {**pod.get("securityContext", {}), **container.get("securityContext", {})}
    return {
        "user": context.get("runAsUser", image_user),
        "read_only_root": context.get("readOnlyRootFilesystem", False),
        "no_new_privileges": context.get("allowPrivilegeEscalation") is False,
        "drop_all": "ALL" in context.get("capabilities", {}).get("drop", []),
    }
