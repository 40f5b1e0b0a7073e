"""Sets the wall clock of one role's pods, with libfaketime: what a process reads as the time of day, not its monotonic clock."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

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
    set_env = ["set", "env", f"deployment/hearth-{role}", "-n", SYSTEM]
    set_ahead(0)
    _FILE.chmod(0o644)
    try:
        world.hearth.plane.kubectl(*set_env, *(f"{name}={value}" for name, value in given.items()))
        world.hearth.rolled_out(role)
        for pod in world.hearth.pods(role):
            assert "libfaketime" in Path(f"/proc/{pid_of(pod)}/maps").read_text(), "its clock can't be set"
        yield
    finally:
        set_ahead(0)
        world.hearth.plane.kubectl(*set_env, *(f"{name}-" for name in given))
        world.hearth.rolled_out(role)
        _FILE.unlink()
