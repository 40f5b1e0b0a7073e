"""A client's connection through any order of pieces, answers, stalls and ends, beside what is true.

Its promise: requests are taken whole, in their order, one at a time; answers go out in that order; of the budget nothing is left
behind when it is over.
"""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.machines import far_enough
from tests.unit.http1.test_served import GET, Server, chunked, post

BODY = b"0123456789" * 30
MESSAGES = {
    "get": (GET, b""),
    "post": (post(BODY), BODY),
    "chunked": (chunked(BODY[:100], BODY[100:]), BODY),
    "expects": (post(BODY, b"expect: 100-continue"), BODY),
}
WHOLE_BUDGET = 10 * len(BODY)


class ServedMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.server = Server(WHOLE_BUDGET, answers=False, pipelined=1000)
        self._connect()

    def _connect(self) -> None:
        self.server.asked.clear()
        self.server.bodies.clear()
        self.server.refused.clear()
        self.peer = self.server.connect()
        self.unsent = b""
        self.wanted: list[bytes] = []  # the bodies of what was written, in order
        self.ends: list[int] = []  # where each message ends, in bytes written
        self.sent = 0
        self.answered = 0
        self.unread = False
        self.over = False

    @property
    def whole(self) -> int:
        """Requests that have come whole."""
        return sum(end <= self.sent for end in self.ends)

    @precondition(lambda self: not self.over and len(self.wanted) - self.answered < 8)
    @rule(kind=st.sampled_from(sorted(MESSAGES)))
    def write(self, kind: str) -> None:
        message, body = MESSAGES[kind]
        self.unsent += message
        self.wanted.append(body)
        self.ends.append(self.sent + len(self.unsent))

    @precondition(lambda self: self.unsent and not self.over)
    @rule(count=st.one_of(st.integers(1, 40), st.just(10_000)))
    def send(self, count: int) -> None:
        piece, self.unsent = self.unsent[:count], self.unsent[count:]
        self.sent += len(piece)
        self.peer.send(piece)

    @precondition(lambda self: not self.over and len(self.server.asked) > self.answered)
    @rule(streams=st.booleans())
    def answer(self, streams: bool) -> None:
        _, response = self.server.asked[self.answered]
        body = b"answer %d" % self.answered
        if streams:
            response.start(200, [], b"")
            response.drop_request()
            response.write(body)
            response.end()
        else:
            response.answer(200, [], body)
        self.answered += 1
        self.peer.later()

    @precondition(lambda self: not self.over)
    @rule()
    def stall_or_go_on_reading(self) -> None:
        if self.unread:
            self.peer.connection.resume_writing()
        else:
            self.peer.connection.pause_writing()
        self.unread = not self.unread
        self.peer.later()

    @precondition(lambda self: not self.over)
    @rule()
    def leave(self) -> None:
        self._end()

    @precondition(lambda self: not self.over)
    @rule()
    def the_server_stops(self) -> None:
        under_way = len(self.server.asked) > self.answered
        self.peer.connection.shutdown()
        assert under_way or self.peer.wire.closing or self.peer.wire.half_closed
        self._end()

    def _end(self) -> None:
        gone: list[int] = []
        if len(self.server.asked) > self.answered:
            self.server.asked[self.answered][1].attach(lambda: gone.append(1))
        self.peer.wire.closing = True
        self.peer.connection.connection_lost(None)
        assert len(gone) == (len(self.server.asked) > self.answered), "who serves it is told, once"
        self.over = True

    @precondition(lambda self: self.over)
    @rule()
    def connect_anew(self) -> None:
        self._connect()

    @invariant()
    def requests_come_whole_in_order_and_one_at_a_time(self) -> None:
        taken = self.server.bodies
        assert taken == self.wanted[: len(taken)]
        assert len(taken) <= self.answered + 1
        if not self.over and not self.unread:
            self.peer.later()
            assert len(self.server.bodies) == min(self.whole, self.answered + 1), "nobody waits whose turn it is"

    @invariant()
    def answers_go_out_in_order(self) -> None:
        heard = self.peer.wire.data
        places = [heard.find(b"answer %d" % number) for number in range(self.answered)]
        assert -1 not in places
        assert places == sorted(places)
        assert self.server.failures == []
        assert self.over or not self.server.refused

    @invariant()
    def the_budget_counts_what_is_held(self) -> None:
        if self.over:
            assert self.server.budget.used == self.server.budget.large == 0
            assert not self.server.connections
        else:
            come = sum(len(body) for body in self.wanted[: self.whole + 1])
            done = sum(len(body) for body in self.wanted[: self.answered])
            heads = 100 * (self.whole + 1 - self.answered)  # of those that wait for their turn
            assert self.server.budget.used <= come - done + heads


TestServedMachine = ServedMachine.TestCase
TestServedMachine.settings = far_enough()
