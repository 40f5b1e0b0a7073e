"""Which users a process may become: one who is not root runs the tests in a namespace that has only root."""

from pathlib import Path


def mapped(user: int) -> bool:
    """Whether there is such a user."""
    ranges = [tuple(map(int, line.split())) for line in Path("/proc/self/uid_map").read_text().splitlines()]
    return any(first <= user < first + count for first, _, count in ranges)
