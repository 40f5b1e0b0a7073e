"""The image of the roles, made by the steps of the Dockerfile beside this without an engine.

`python -m tests.cluster.agent.image` runs the RUN steps of the first stage, each in a mount namespace where /src is the
build context and /opt what the image will have; what came out is kept in the user's cache under the key of everything
that went in. The base image is the one thing that is not the real one: this machine's Python stands for it.
"""

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.builders import ROOT

_MOUNTS = """set -e
mount -t tmpfs -o mode=755 root "$1"
for path in /*; do
  name=${path#/}
  case $name in src|opt) continue ;; esac
  if [ -L "$path" ]; then cp -P "$path" "$1/"
  elif [ -d "$path" ]; then mkdir "$1/$name" && mount --rbind "$path" "$1/$name"
  fi
done
mkdir "$1/src" "$1/opt"
mount --bind "$2" "$1/src"
mount --bind "$3" "$1/opt"
exec chroot "$1" sh -c "cd /src; $4"
"""


class BuildFailed(Exception):
    """A step of the Dockerfile failed, or is one that is not known here."""


@dataclass(frozen=True, slots=True)
class Image:
    """`opt` is the image's /opt; the rest is what the last stage of the Dockerfile says."""

    opt: Path
    entrypoint: list[str]
    user: int
    env: dict[str, str]


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """(NAME, value) of each line, continued lines joined."""
    joined = dockerfile.replace("\\\n", "")
    lines = [line.strip() for line in joined.splitlines()]
    return [(name.upper(), value) for name, _, value in (ln.partition(" ") for ln in lines if ln and ln[0] != "#")]


def image_of(dockerfile: str, opt: Path) -> Image:
    """The last stage's own words."""
    found = instructions(dockerfile)
    last = max(index for index, (name, _) in enumerate(found) if name == "FROM")
    words = dict(found[last:])
    env = dict(pair.split("=", 1) for name, value in found[last:] if name == "ENV" for pair in shlex.split(value))
    return Image(opt, json.loads(words["ENTRYPOINT"]), int(words["USER"].partition(":")[0]), env)


def build(context: Path, cache: Path) -> Path:
    """Run the first stage; returns the folder that is the image's /opt. Raises BuildFailed."""
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=context,
        check=True,
        capture_output=True,
        text=True,
    )
    files = sorted(Path(line) for line in tracked.stdout.splitlines() if (context / line).is_file())
    shipped = [path for path in files if path.parts[0] not in ("tests", "docs", "benchmarks", ".ci")]
    key, layer = hashlib.sha256(sys.version.encode()), None
    with tempfile.TemporaryDirectory(prefix="hearth-image-") as folder:
        source = Path(folder) / "src"
        source.mkdir()
        for name, value in instructions((context / "tests/cluster/agent/Dockerfile").read_text())[1:]:
            key.update(f"{name} {value}".encode())
            match name:
                case "FROM":
                    break
                case "WORKDIR" if value == "/src":
                    pass
                case "COPY":
                    for path in _copied(value, shipped):
                        data = (context / path).read_bytes()
                        key.update(f"{path} {len(data)} ".encode() + data)
                        (source / path).parent.mkdir(parents=True, exist_ok=True)
                        (source / path).write_bytes(data)
                case "RUN":
                    layer = _run(value, source, layer, cache / f"image-{key.hexdigest()[:12]}")
                case _:
                    raise BuildFailed(f"Dockerfile: {name} {value}: not known to the tests' builder")
    if layer is None:
        raise BuildFailed("Dockerfile: no RUN in its first stage")
    return layer


def _copied(value: str, files: list[Path]) -> list[Path]:
    *sources, target = value.split()
    if target not in (".", "./"):
        raise BuildFailed(f"Dockerfile: COPY {value}: not known to the tests' builder")
    return files if sources == ["."] else [Path(source) for source in sources]


def _run(command: str, source: Path, before: Path | None, after: Path) -> Path:
    """One layer, which is made only once."""
    if after.exists():
        return after
    print(f"image: RUN {command[:90]} …", file=sys.stderr)
    after.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=after.parent, prefix=".image-") as folder:
        root, new = Path(folder) / "root", Path(folder) / "opt"
        root.mkdir()
        if before is None:
            new.mkdir()
        else:
            shutil.copytree(before, new, symlinks=True)
        as_user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        shell = ["unshare", *as_user, "--mount", "sh", "-c", _MOUNTS, "sh", str(root), str(source), str(new), command]
        made = subprocess.run(
            shell,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PIP_QUIET": "1"},
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            check=False,
        )
        if made.returncode != 0:
            raise BuildFailed(f"Dockerfile: RUN {command}: exited with {made.returncode}")
        new.chmod(0o755)
        try:
            new.rename(after)
        except OSError:
            if not after.is_dir():  # else another run of the tests was first with the same
                raise
    return after


def main() -> None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hearth"
    try:
        print(build(ROOT, cache))
    except BuildFailed as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
