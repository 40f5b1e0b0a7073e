"""An event loop whose time passes at once: where nothing is to be done, it is the time of the next timer."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """Waits for nobody. `skipped` is the time that was not waited."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped = 0.0

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if not found:
            assert timeout is not None, "everybody waits, and no timer runs: nothing would ever happen"
            self.skipped += max(0.0, timeout)
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` is seconds since it was made, of timers alone."""

    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.skipped

    def run(self, what: Coroutine[Any, Any, T]) -> T:
        return self.run_until_complete(what)

    def advance(self, seconds: float) -> None:
        """Let so much time pass, and all that is due in it happen."""
        self.run(asyncio.sleep(seconds))

    def end(self) -> None:
        """Cancel what runs, and close."""
        tasks = asyncio.all_tasks(self)
        for task in tasks:
            task.cancel()
        if tasks:
            self.run_until_complete(asyncio.wait(tasks))
        self.run_until_complete(self.shutdown_asyncgens())
        self.close()
