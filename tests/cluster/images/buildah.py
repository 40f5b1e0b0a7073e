"""Debian's buildah (and skopeo), with a storage of its own, and what this machine says of where packages come from.

Nothing is pulled: what an image is built on has been built here. https://github.com/containers/buildah/tree/main/docs
"""

import configparser
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# Where Debian has the certificates that it trusts, in an image as on the machine.
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True, slots=True)
class Buildah:
    """`folder` has its images and containers, and what is mounted into steps that reach the network."""

    folder: Path
    driver: str

    @classmethod
    def of(cls, folder: Path) -> "Buildah":
        """With the driver that the folder's file system takes: layers on layers, or else copies of them."""
        folder.mkdir(parents=True, exist_ok=True)
        overlay = cls(folder, "overlay")
        tried = subprocess.run(
            [*overlay.command, "info"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
        )
        return overlay if tried.returncode == 0 else cls(folder, "vfs")

    @property
    def command(self) -> list[str]:
        storage = self.folder / self.driver
        return ["buildah", "--root", str(storage), "--runroot", str(storage / "run"), "--storage-driver", self.driver]

    def run(self, *words: str, **env: str) -> None:
        """Raises CalledProcessError; its words are on standard error."""
        command, environment = [*self.command, *words], {**os.environ, **env}
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=True, env=environment)

    def has(self, image: str) -> bool:
        words = [*self.command, "inspect", "--type", "image", image]
        return subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0

    def build(
        self, image: str, containerfile: Path, context: Path, steps: Sequence[str] = ("--layers",), **env: str
    ) -> None:
        """Follow a Containerfile; with the `steps` given, those that were followed before with the same are not
        followed again."""
        mounts = [f"--volume={source}:{target}:ro" for source, target in self._mounts().items()]
        options = [*steps, "--isolation=chroot", "--network=host", "--pull-never", "--quiet"]
        self.run("bud", *options, *mounts, f"--tag={image}", f"--file={containerfile}", str(context), **env)

    def export(self, image: str, layout: Path, name: str) -> None:
        """Into a folder of the OCI's layout, by skopeo, which leaves layers as they are: buildah's own push compresses them,
        each time, and those that are there already too."""
        storage = self.folder / self.driver
        source = f"containers-storage:[{self.driver}@{storage}+{storage / 'run'}]{image}"
        options = ["--insecure-policy", "copy", "--quiet", "--dest-oci-accept-uncompressed-layers"]
        subprocess.run(
            ["skopeo", *options, source, f"oci:{layout}:{name}"],
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            check=True,
        )

    def _mounts(self) -> dict[str, str]:
        """The machine's own way to packages: a mount is no part of the image."""
        settings = _pip_settings()
        trusted = settings.pop("cert", str(CERTIFICATES))
        if Path(trusted).is_file():
            settings["cert"] = str(CERTIFICATES)
        made = configparser.RawConfigParser()
        made["global"] = settings
        file = self.folder / "pip.conf"
        with file.open("w") as written:
            made.write(written)
        mounts = {str(file): "/etc/pip.conf", "/etc/hosts": "/etc/hosts"}
        if Path(trusted).is_file():
            mounts[trusted] = str(CERTIFICATES)
        return mounts


def _pip_settings() -> dict[str, str]:
    """What pip is configured with on this machine, for each command, its environment included."""
    known = ("index-url", "extra-index-url", "trusted-host", "proxy", "cert", "timeout", "retries")
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    ).stdout
    made: dict[str, str] = {}
    for line in listed.splitlines():  # global.index-url='https://…' and, what counts more, :env:.index-url='https://…'
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        key = "timeout" if key == "default-timeout" else key
        if key in known and (section == ":env:" or key not in made):
            made[key] = value.strip("'\"")
    return made


def require_root() -> None:
    """Raises SystemExit for who is not root: a file system with its users and mounts can't be made then."""
    if os.geteuid() != 0:
        sys.exit("tests/cluster/images: found a user who is not root; images and nodes are made as root: use sudo")
