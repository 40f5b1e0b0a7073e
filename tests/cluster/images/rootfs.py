"""An image's file system on disk, and commands in it, as a container runtime has them: for tests that look into images."""

import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
# A mount namespace in which the root can't be written to, but for /tmp; then the user, with the one environment.
_ENTER = """set -e
mount --bind "$0" "$0"
mount -o remount,bind,ro "$0"
mount -t tmpfs tmp "$0/tmp"
mount --rbind /dev "$0/dev"
mount -t proc proc "$0/proc"
exec chroot "$@"
"""


def unpack(layers: Sequence[Path], root: Path) -> None:
    """Lay layers (tar files, the lowest first) over one another; what a layer takes away is marked in it.

    https://github.com/opencontainers/image-spec/blob/main/layer.md
    """
    root.mkdir()
    for layer in layers:
        with tarfile.open(layer) as archive:
            names = [Path(member.name) for member in archive]
        for name in names:
            if name.name == _OPAQUE:
                subprocess.run(["find", root / name.parent, "-mindepth", "1", "-delete"], check=True)
            elif name.name.startswith(_WHITEOUT):
                subprocess.run(["rm", "-rf", root / name.parent / name.name.removeprefix(_WHITEOUT)], check=True)
        subprocess.run(
            ["tar", "-x", "-C", root, "-f", layer, "--numeric-owner", "--exclude", f"{_WHITEOUT}*"], check=True
        )


def command(root: Path, argv: Sequence[str], env: Mapping[str, str], user: str = "0:0") -> list[str]:
    """What runs `argv` with the image's files as its root, read-only, as `user`."""
    environment = [f"{name}={value}" for name, value in env.items()]
    entered = ["sh", "-c", _ENTER, str(root), f"--userspec={user}", str(root), "/usr/bin/env", "-i", *environment]
    return ["unshare", "--mount", *entered, *argv]
