"""Sets the wall clock of one role's pods, with libfaketime: what a process reads as the time of day, not its monotonic clock."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from tests.builders import ROOT
from tests.cluster.agent.image import image_of
from tests.cluster.chaos.world import World, pid_of
from tests.cluster.installed import SYSTEM

READ_SECONDS = 1
"""How often a process looks at what its clock is to say."""
_FILE = Path("/dev/shm/hearth-chaos-clock")


def library() -> Path:
    """Raises LookupError where the machine has none."""
    found = next(Path("/usr/lib").glob("*-linux-gnu*/faketime/libfaketime.so.1"), None)
    if found is None:
        raise LookupError("found no libfaketime.so.1 in /usr/lib; expected that of Debian's package libfaketime")
    return found


def _entrypoint() -> list[str]:
    return image_of((ROOT / "tests/cluster/agent/Dockerfile").read_text(), Path()).entrypoint


def set_ahead(seconds: int) -> None:
    """So far ahead of the machine's clock; negative: behind it."""
    _FILE.write_text(f"{seconds:+d}\n")


@contextlib.contextmanager
def settable(world: World, role: str) -> Iterator[None]:
    """While it is open, the pods of a role have a clock that `set_ahead` sets. Raises LookupError, CommandFailed."""
    given = {
        "LD_PRELOAD": str(library()),
        "FAKETIME_TIMESTAMP_FILE": str(_FILE),
        "FAKETIME_CACHE_DURATION": str(READ_SECONDS),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    plane = world.hearth.plane
    # By its command, not by the container's env: the library keeps what it knows in files of whoever loads it first, and a container
    # is entered as root.
    command = ["env", *(f"{name}={value}" for name, value in given.items()), *_entrypoint()]

    def run_by(command: list[str] | None) -> None:
        container = {"name": role, "command": command}
        patch = json.dumps({"spec": {"template": {"spec": {"containers": [container]}}}})
        plane.kubectl("patch", "deployment", f"hearth-{role}", "-n", SYSTEM, "-p", patch)
        world.hearth.rolled_out(role)

    set_ahead(0)
    _FILE.chmod(0o644)
    try:
        run_by(command)
        for pod in world.hearth.pods(role):
            assert "libfaketime" in Path(f"/proc/{pid_of(pod)}/maps").read_text(), "its clock can't be set"
        yield
    finally:
        set_ahead(0)
        run_by(None)
        _FILE.unlink()
