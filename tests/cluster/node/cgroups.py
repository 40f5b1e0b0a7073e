"""Control groups of a test bed: one name in every hierarchy, made before its nodes and removed after them.

Hierarchies are cgroup v1's, each with controllers of its own, v2's, or both, as the machine has them. Who made a group
holds a lock on it, so that a later run can tell what a killed one has left.
"""

import contextlib
import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PREFIX = "hearth-"
GONE_SECONDS = 10.0


def hierarchies() -> list[Path]:
    """Where each hierarchy is mounted."""
    if (ROOT / "cgroup.controllers").exists():
        return [ROOT]
    return sorted(path for path in ROOT.iterdir() if path.is_dir() and not path.is_symlink())


@contextlib.contextmanager
def group() -> Iterator[str]:
    """The name of a new group; what is in it is removed when the context is left, once its processes are gone. Raises
    OSError where who runs this may not make one."""
    sweep()
    name = f"{PREFIX}{uuid.uuid4().hex[:8]}"
    make(name)
    lock = _lock(name)
    try:
        yield name
    finally:
        if lock is not None:
            os.close(lock)
        remove(name)


def make(name: str) -> None:
    """A group in every hierarchy, with those above it."""
    for hierarchy in hierarchies():
        (hierarchy / name).mkdir(parents=True, exist_ok=True)


def sweep() -> None:
    """Remove what runs that were killed have left."""
    for left in {path.name for hierarchy in hierarchies() for path in hierarchy.glob(f"{PREFIX}*")}:
        if (lock := _lock(left)) is not None:
            os.close(lock)
            remove(left)


def processes(name: str, containing: str) -> list[int]:
    """The processes of the groups below `name` whose own name has `containing` in it."""
    found = _containing("pids", name, containing)
    return [int(line) for folder in found for line in (folder / "cgroup.procs").read_text().split()]


def throttled(name: str, containing: str) -> float:
    """Seconds for which these groups had to wait, having used up the CPU that they may.
    https://docs.kernel.org/scheduler/sched-bwc.html#statistics"""
    seconds = 0.0
    for folder in _containing("cpu", name, containing):
        said = dict(line.split() for line in (folder / "cpu.stat").read_text().splitlines())
        seconds += int(said.get("throttled_usec", 0)) / 1e6 + int(said.get("throttled_time", 0)) / 1e9
    return seconds


def _containing(controller: str, name: str, containing: str) -> list[Path]:
    """The groups below `name` whose own name has `containing` in it, in the hierarchy of a controller."""
    hierarchy = ROOT / controller if (ROOT / controller).is_dir() else ROOT
    return [Path(folder) for folder, _, _ in os.walk(hierarchy / name) if containing in Path(folder).name]


def remove(name: str) -> None:
    """Remove the group and those below it. Raises OSError where a process in it does not end."""
    deadline = time.monotonic() + GONE_SECONDS
    for hierarchy in hierarchies():
        while not _removed(hierarchy / name):
            if time.monotonic() > deadline:
                raise OSError(f"{hierarchy / name}: a process in it does not end")
            time.sleep(0.05)  # one that was killed is on its way out: there is no event for the last one


def _removed(group: Path) -> bool:
    for folder, _, _ in os.walk(group, topdown=False):
        try:
            Path(folder).rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True


def _lock(name: str) -> int | None:
    """A descriptor that holds the group's lock; None where another has it, or there is no such group."""
    hierarchy = hierarchies()[0]
    try:
        descriptor = os.open(hierarchy / name, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
