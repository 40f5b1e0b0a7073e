"""The work queue through any order of news, timers, looks and failures, beside what is true.

Its promise: no key is looked at by two at a time, and none that something happened to is forgotten.
"""

import time

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hearth.kube import workqueue
from hearth.kube.workqueue import WorkQueue
from tests.machines import far_enough
from tests.virtual import VirtualLoop

keys = st.sampled_from("abcd")


class QueueMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        # Without jitter, so that the test knows when.
        self.patch.setattr(workqueue, "backoff", lambda failures, first, last: min(last, first * 2.0**failures))
        self.loop = VirtualLoop()
        self.queue: WorkQueue[str] = WorkQueue()
        self.owed: set[str] = set()  # something happened since the last look began
        self.due: dict[str, float] = {}
        self.looking: set[str] = set()
        self.failures: dict[str, int] = {}

    def teardown(self) -> None:
        self.loop.end()
        self.patch.undo()

    @rule(key=keys)
    def news(self, key: str) -> None:
        self.queue.add(key)
        self.due.pop(key, None)
        self.owed.add(key)

    async def _add_after(self, key: str, seconds: float) -> None:
        self.queue.add_after(key, seconds)

    @rule(key=keys, seconds=st.sampled_from([0.0, 0.3, 5.0]))
    def later(self, key: str, seconds: float) -> None:
        self.loop.run(self._add_after(key, seconds))
        self._wait(key, seconds)

    def _wait(self, key: str, seconds: float) -> None:
        self.due[key] = min(self.due.get(key, float("inf")), self.loop.time() + seconds)
        self._happen()

    def _happen(self) -> None:
        # The loop calls what is due within its clock's resolution: 0.1 three times is no less than 0.3.
        now = self.loop.time() + time.get_clock_info("monotonic").resolution
        for key in [key for key, when in self.due.items() if when < now]:
            del self.due[key]
            self.owed.add(key)

    @precondition(lambda self: self.owed - self.looking)
    @rule()
    def take(self) -> None:
        self._settle()
        key = self.loop.run(self.queue.take())
        assert key not in self.looking, "two look at one"
        assert key in self.owed, "nothing happened to it"
        self.owed.discard(key)
        self.looking.add(key)

    @precondition(lambda self: self.looking)
    @rule(data=st.data(), failed=st.booleans(), again=st.sampled_from([None, 1.0]))
    def done(self, data: st.DataObject, failed: bool, again: float | None) -> None:
        key = data.draw(st.sampled_from(sorted(self.looking)))
        self.loop.run(self._done(key, failed, again))
        self.looking.discard(key)
        if failed:
            self.failures[key] = self.failures.get(key, 0) + 1
            wait: float | None = min(60.0, 0.2 * 2.0 ** self.failures[key])
        else:
            self.failures.pop(key, None)
            wait = again
        if key in self.owed:  # it stands in the line at once: no timer is needed
            self.due.pop(key, None)
        elif wait is not None:
            self._wait(key, wait)

    async def _done(self, key: str, failed: bool, again: float | None) -> None:
        self.queue.done(key, failed=failed, again=again)

    @rule(seconds=st.sampled_from([0.1, 1.0, 100.0]))
    def pass_time(self, seconds: float) -> None:
        self.loop.advance(seconds)
        self._happen()

    def _settle(self) -> None:
        self.loop.advance(0.0)
        self._happen()

    @invariant()
    def who_is_owed_a_look_stands_in_the_line_once(self) -> None:
        self._settle()
        assert len(self.queue) == len(self.owed - self.looking)


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = far_enough()
