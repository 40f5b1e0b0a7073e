"""Work queue: keys to look at again. One worker at a time for each key, no key twice in the line, failures back off.

The habit of controller-runtime: a key says where to look, never what happened.
"""

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from hearth.backoff import backoff

K = TypeVar("K", bound=Hashable)

_FIRST_RETRY, _LAST_RETRY = 0.2, 60.0  # seconds


class WorkQueue(Generic[K]):
    """`add` from anywhere in the event loop; workers `take` a key and say `done` with it. No more than `each` keys of
    one `group` are taken at a time, where it is given: what one waits for is not what all wait for."""

    def __init__(self, group: Callable[[K], Hashable] | None = None, each: int = 0) -> None:
        self._group, self._each = group, each
        self._at_work: Counter[Hashable] = Counter()
        self._parked: dict[Hashable, deque[K]] = defaultdict(deque)
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._waiting: set[K] = set()
        self._taken: set[K] = set()
        self._again: set[K] = set()
        self._timers: dict[K, tuple[float, asyncio.Handle]] = {}  # uvloop's handles do not always tell their time
        self._failures: dict[K, int] = {}

    def __len__(self) -> int:
        """Keys in the line, those not counted whose time has not come."""
        return len(self._waiting)

    def add(self, key: K) -> None:
        """Look at `key` soon; one that is being looked at is looked at once more afterwards."""
        if (timer := self._timers.pop(key, None)) is not None:
            timer[1].cancel()
        if key in self._taken:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Look at `key` in so many seconds, unless something asks for it sooner."""
        due = asyncio.get_running_loop().time() + seconds
        timer = self._timers.get(key)
        if timer is None or timer[0] > due:
            if timer is not None:
                timer[1].cancel()
            self._timers[key] = (due, asyncio.get_running_loop().call_at(due, self._due, key))

    async def take(self) -> K:
        """The next key."""
        while True:
            key = await self._ready.get()
            if self._group is not None:
                group = self._group(key)
                if self._at_work[group] >= self._each:
                    self._parked[group].append(key)
                    continue
                self._at_work[group] += 1
            self._waiting.discard(key)
            self._taken.add(key)
            return key

    def done(self, key: K, *, failed: bool = False, again: float | None = None) -> None:
        """The look at `key` is over; a failed one is repeated after a jittered, growing while, another `again` seconds
        later where it says so."""
        self._taken.discard(key)
        if self._group is not None:
            self._free(self._group(key))
        if failed:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            self.add_after(key, backoff(failures, _FIRST_RETRY, _LAST_RETRY))
        else:
            self._failures.pop(key, None)
            if again is not None:
                self.add_after(key, again)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _free(self, group: Hashable) -> None:
        self._at_work[group] -= 1
        if not self._at_work[group]:
            del self._at_work[group]
        if parked := self._parked.get(group):
            self._ready.put_nowait(parked.popleft())
            if not parked:
                del self._parked[group]

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)
