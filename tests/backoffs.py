"""Back-offs for tests: nobody waits for one."""

from types import ModuleType

import pytest


def noted_backoffs(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> list[tuple[int, float, float]]:
    """What the module asks of its `backoff` from now on: failures in a row, the first and the longest wait."""
    asked: list[tuple[int, float, float]] = []

    def backoff(count: int, first: float, last: float) -> float:
        asked.append((count, first, last))
        return 0.001

    monkeypatch.setattr(module, "backoff", backoff)
    return asked
