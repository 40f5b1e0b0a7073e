"""The relay between an engine's answer and a client's response, without sockets: the per-token path and every end."""

import pytest

from hearth.activator.lane.relay import Relay
from hearth.activator.lane.tokens import TokenUsage
from hearth.http1.chunked import chunk
from hearth.http1.headers import Headers
from hearth.http1.upstream import UpstreamError
from tests.unit.activator.lane import E1, Client, Lane

EVENTS: Headers = [(b"content-type", b"text/event-stream"), (b"transfer-encoding", b"chunked")]
JSON: Headers = [(b"content-type", b"application/json"), (b"content-length", b"13")]
DIED = UpstreamError("closed", "closed")


class Answer:
    """One request that a replica has, and its relay. `over`: what the relay said at the end."""

    def __init__(self, *, stream: bool = True, opened: bool = False, prefix: str = "", given_id: bytes = b"") -> None:
        self.lane = Lane(ready=(E1,))
        self.client: Client = self.lane.admit(stream=stream)
        self.client.asked.prefix, self.client.asked.given_id = prefix, given_id
        self.client.deliver()
        if opened:
            self.client.opened = True
            self.client.response.start(200, [])
        self.over: list[UpstreamError | None] = []
        self.relay = Relay(self.client, self.lane.gate, E1, None, self.over.append)

    @property
    def fields(self) -> dict[bytes, bytes]:
        return dict(self.client.written.headers)


class TestTokens:
    async def test_whole_chunks_pass_as_they_are_and_are_counted(self) -> None:
        answer = Answer()
        answer.relay.head(200, EVENTS)
        answer.relay.body(b"data: 1\n\n")
        raw = chunk(b"data: 2\n\n") + chunk(b"data: 3\n\n")
        answer.relay.chunks(raw, 18)
        assert answer.client.written.chunks == [raw]
        assert answer.client.written.data == b"data: 1\n\n"
        assert (answer.lane.tally.bytes, answer.lane.tally.events) == (27, 3)

    async def test_the_first_are_unpacked_for_they_begin_the_answer(self) -> None:
        answer = Answer()
        answer.relay.head(200, EVENTS)
        answer.relay.chunks(chunk(b"data: 1\n\n") + chunk(b"data: 2\n\n"), 18)
        assert (answer.client.written.status, answer.client.written.data) == (200, b"data: 1\n\ndata: 2\n\n")
        assert answer.client.written.chunks == []

    async def test_where_the_client_takes_no_chunks_they_are_unpacked(self) -> None:
        answer = Answer()
        answer.client.written.chunked = False
        answer.relay.head(200, EVENTS)
        answer.relay.body(b"data: 1\n\n")
        answer.relay.chunks(chunk(b"data: 2\n\n"), 9)
        assert answer.client.written.data == b"data: 1\n\ndata: 2\n\n"

    async def test_what_is_no_event_stream_is_never_passed_in_chunks(self) -> None:
        answer = Answer(stream=False)
        answer.relay.head(200, JSON)
        answer.relay.body(b'{"a": ')
        answer.relay.chunks(chunk(b'"\n\n"}'), 5)
        assert answer.client.written.data == b'{"a": "\n\n"}'
        assert answer.lane.tally.events == 0

    @pytest.mark.parametrize(
        ("last", "between"),
        [
            (b"data: 1\n\n", True),
            (b"data: 1\r\n\r\n", True),
            (b"data: 1\n", False),
            (b"data: 1\r\n", False),
            (b"data: 1", False),
            (b"data: 1\n\r\n", False),
            (b"a\n\nb", False),
        ],
    )
    @pytest.mark.parametrize("whole", [True, False])
    async def test_a_break_is_told_in_words_between_two_events_alone(
        self, last: bytes, between: bool, whole: bool
    ) -> None:
        answer = Answer()
        answer.relay.head(200, EVENTS)
        answer.relay.body(b"data: 0\n\n")
        if whole:
            answer.relay.chunks(chunk(last), len(last))
        else:
            answer.relay.body(last)
        answer.relay.failed(DIED)
        written = answer.client.written
        assert written.complete
        assert written.aborted is not between
        assert (b'"error"' in written.data) is between
        assert (answer.relay.broken, answer.lane.tally.broken, answer.over) == (True, 1, [None])


class TestHead:
    async def test_a_status_and_a_length_are_the_engines(self) -> None:
        answer = Answer(stream=False)
        answer.relay.head(422, JSON)
        assert not answer.client.written.started, "the head comes with the first bytes"
        assert answer.relay.headed
        answer.relay.body(b'{"error": {}}')
        assert (answer.client.written.status, answer.client.written.length) == (422, 13)
        assert answer.lane.tally.responses[422] == 1
        assert answer.client.state == "answering"
        answer.relay.end()
        assert (answer.client.written.complete, answer.over) == (True, [None])

    async def test_what_is_the_doors_to_say_is_not_passed_on(self) -> None:
        answer = Answer()
        answer.relay.head(
            200, [*EVENTS, (b"access-control-allow-origin", b"*"), (b"server", b"x"), (b"x-request-id", b"e")]
        )
        answer.relay.body(b"data: 1\n\n")
        names = [name for name, _ in answer.client.written.headers]
        assert b"access-control-allow-origin" not in names
        assert answer.fields[b"server"] == b"x"
        assert names.count(b"x-request-id") == 1
        assert answer.fields[b"x-request-id"] == b"e", "nobody named the request: the engine's name stays"

    async def test_who_named_the_request_gets_the_name_back(self) -> None:
        answer = Answer(given_id=b"mine")
        answer.client.asked.request_id = "mine"
        answer.relay.head(200, [*EVENTS, (b"x-request-id", b"e")])
        answer.relay.body(b"x")
        assert [value for name, value in answer.client.written.headers if name == b"x-request-id"] == [b"mine"]

    @pytest.mark.parametrize(
        ("said", "told"),
        [
            (b"http://10.0.0.1:8000/v1/x", b"/ai/qwen/v1/x"),
            (b"HTTPS://10.0.0.1:8000/v1/x", b"/ai/qwen/v1/x"),
            (b"/v1/x", b"/ai/qwen/v1/x"),
            (b"http://10.0.0.2:8000/v1/x", b"http://10.0.0.2:8000/v1/x"),
            (b"//elsewhere/x", b"//elsewhere/x"),
            (b"ftp://10.0.0.1:8000/x", b"ftp://10.0.0.1:8000/x"),
            (b"x", b"x"),
        ],
    )
    async def test_a_redirect_to_the_engine_leads_here(self, said: bytes, told: bytes) -> None:
        answer = Answer(stream=False, prefix="/ai/qwen")
        answer.relay.head(307, [(b"location", said)])
        answer.relay.body(b"")
        assert answer.fields[b"location"] == told


class TestBehindHeartbeats:
    async def test_an_event_stream_goes_on_in_the_one_that_was_opened(self) -> None:
        answer = Answer(opened=True)
        answer.relay.head(200, EVENTS)
        assert answer.relay.takes_events
        answer.relay.body(b"data: 1\n\n")
        assert not answer.relay.takes_events
        answer.relay.end()
        assert answer.client.written.data == b"data: 1\n\n"
        assert answer.client.spoken
        assert answer.lane.tally.responses[200] == 1

    @pytest.mark.parametrize(
        ("status", "headers", "body", "words", "counted"),
        [
            (429, JSON, b'{"error": {"message": "engine is full"}}', b"engine is full", 429),
            (404, JSON, b"no such thing", b"status 404", 404),
            (500, JSON, b'[{"error": "a list"}]', b"status 500", 500),
            (200, JSON, b'{"choices": []}', b"status 200, application/json", 502),
            (500, EVENTS, b"oops", b"status 500", 500),
        ],
    )
    async def test_another_answer_becomes_an_event(
        self, status: int, headers: Headers, body: bytes, words: bytes, counted: int
    ) -> None:
        answer = Answer(opened=True)
        answer.relay.head(status, headers)
        assert not answer.relay.takes_events
        answer.relay.body(body)
        assert answer.client.written.data == b""
        answer.relay.end()
        data = answer.client.written.data
        assert data.startswith(b"data: ")
        assert b'"error"' in data
        assert words in data
        assert answer.client.written.complete
        assert answer.lane.tally.responses[counted] == 1

    async def test_an_endless_error_is_cut_short(self) -> None:
        answer = Answer(opened=True)
        answer.relay.head(500, JSON)
        for _ in range(100):
            answer.relay.body(b"x" * 10_000)
        assert sum(map(len, answer.relay._error_body or [])) <= 70_000

    @pytest.mark.parametrize(("status", "aborted"), [(200, False), (299, False), (300, True), (400, True), (199, True)])
    async def test_after_white_space_anything_but_success_is_cut(self, status: int, aborted: bool) -> None:
        answer = Answer(stream=False, opened=True)
        answer.relay.head(status, JSON)
        answer.relay.body(b"{}")
        answer.relay.end()
        assert answer.client.written.aborted is aborted
        assert answer.client.written.data == b"{}"
        assert answer.over == [None]

    async def test_after_white_space_nothing_is_no_answer(self) -> None:
        answer = Answer(stream=False, opened=True)
        answer.relay.head(204, [])
        answer.relay.end()
        assert answer.client.written.aborted
        assert answer.lane.tally.responses[204] == 1


class TestFailures:
    async def test_before_the_first_byte_another_replica_may_be_asked(self) -> None:
        answer = Answer()
        answer.relay.head(200, EVENTS)
        answer.relay.failed(DIED)
        assert answer.over == [DIED]
        assert not answer.client.written.started
        assert (answer.relay.broken, answer.lane.tally.broken) == (False, 0)

    async def test_a_whole_answer_that_breaks_is_cut(self) -> None:
        answer = Answer(stream=False)
        answer.relay.head(200, JSON)
        answer.relay.body(b"{")
        answer.relay.failed(DIED)
        assert answer.client.written.aborted
        assert answer.over == [None]

    async def test_the_first_byte_says_that_the_replica_works_and_frees_the_request(self) -> None:
        answer = Answer()
        answer.client.asked.request.body += b"x" * 100
        assert answer.client.response.hold(100)
        endpoint = answer.lane.gate.hold._endpoints[E1]
        endpoint.failures = 3
        answer.relay.head(200, EVENTS)
        answer.relay.body(b"data: 1\n\n")
        assert endpoint.failures == 0
        assert (answer.client.response.held, bytes(answer.client.asked.request.body)) == (0, b"")
        assert answer.relay.answered
        assert answer.lane.tally.first_byte.total != 0.0


def document(*ends: str) -> bytes:
    choices = ", ".join(f'{{"index": 0, "message": {{"content": ""}}, "finish_reason": "{end}"}}' for end in ends)
    return f'{{"choices": [{choices}], "usage": {{"completion_tokens": 0}}}}'.encode()


class TestAborted:
    """vLLM that is stopped: several choices of one request are a 200 with nothing in them."""

    @staticmethod
    def headed(answer: Answer, body: bytes) -> Answer:
        answer.relay.head(200, [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))])
        return answer

    @pytest.mark.parametrize("opened", [False, True])
    async def test_an_answer_that_was_aborted_is_none_and_another_replica_may_be_asked(self, opened: bool) -> None:
        body = document("abort", "abort")
        answer = self.headed(Answer(stream=False, opened=opened), body)
        answer.relay.body(body)
        answer.relay.end()
        (error,) = answer.over
        assert error is not None
        assert (error.why, answer.relay.answered) == ("broken", False)
        assert answer.client.written.data == b""

    async def test_what_stands_behind_the_word_hides_it_not(self) -> None:
        body = document("abort")[:-1] + b', "prompt_logprobs": [' + b"0," * 4000 + b"0]}"
        answer = self.headed(Answer(stream=False), body)
        answer.relay.body(body)
        answer.relay.end()
        assert answer.over != [None]

    async def test_what_has_begun_is_counted_as_broken(self) -> None:
        body = document("stop", "abort")
        answer = self.headed(Answer(stream=False), body)
        answer.relay.body(body[:20])
        answer.relay.body(body[20:-30])
        answer.relay.body(body[-30:])
        answer.relay.end()
        assert answer.over == [None]
        assert (answer.relay.broken, answer.lane.tally.broken, answer.client.written.aborted) == (True, 1, False)

    async def test_what_has_begun_without_a_length_is_cut(self) -> None:
        answer = Answer(stream=False)
        answer.relay.head(200, [(b"content-type", b"application/json"), (b"transfer-encoding", b"chunked")])
        answer.relay.body(document("abort"))
        answer.relay.end()
        assert (answer.relay.broken, answer.client.written.aborted) == (True, True)

    @pytest.mark.parametrize("ends", [("stop",), ("length", "stop")])
    async def test_a_whole_answer_is_one(self, ends: tuple[str, ...]) -> None:
        body = document(*ends)
        answer = self.headed(Answer(stream=False), body)
        answer.relay.body(body)
        answer.relay.end()
        assert (answer.over, answer.relay.broken, answer.client.written.data) == ([None], False, body)

    async def test_an_answer_of_another_shape_is_not_looked_into(self) -> None:
        answer = Answer(stream=False)
        answer.client.asked.path = "/v1/messages"
        body = document("abort")
        self.headed(answer, body)
        answer.relay.body(body)
        answer.relay.end()
        assert (answer.over, answer.client.written.data) == ([None], body)

    async def test_a_stream_is_not_looked_into(self) -> None:
        answer = Answer()
        answer.relay.head(200, EVENTS)
        answer.relay.body(b"data: " + document("abort") + b"\n\n")
        answer.relay.end()
        assert (answer.over, answer.relay.broken) == ([None], False)


class TestTokensAreCounted:
    """Where the request has a key. The numbers are those of test_tokens; here is what reaches the count."""

    @staticmethod
    def counted(answer: Answer) -> TokenUsage:
        usage = answer.client.asked.usage = TokenUsage(100, 400)
        answer.relay = Relay(answer.client, answer.lane.gate, E1, None, answer.over.append)
        return usage

    async def test_of_chunks_that_cut_an_event(self) -> None:
        answer = Answer()
        usage = self.counted(answer)
        answer.relay.head(200, EVENTS)
        answer.relay.body(b"data: 1\n\n")
        event = b'data: {"usage": {"prompt_tokens": 7, "completion_tokens": 12}}\n\n'
        for part in (event[:33], event[33:]):  # within a name, and a chunk's size is none of its letters
            answer.relay.chunks(chunk(part), len(part))
        answer.relay.end()
        assert usage.total == 19

    async def test_of_a_document_in_parts(self) -> None:
        answer = Answer(stream=False)
        usage = self.counted(answer)
        answer.relay.head(200, [(b"content-type", b"application/json")])
        for part in (b'{"usage": {"total_to', b'kens": 30}, "x": "', b"x" * 50_000, b'"}'):
            answer.relay.body(part)
        answer.relay.end()
        assert usage.total == 30

    async def test_until_the_head_the_guess_counts_and_a_refusal_is_free(self) -> None:
        answer = Answer(stream=False)
        usage = self.counted(answer)
        assert usage.total == 100
        answer.relay.head(500, JSON)
        assert answer.client.asked.usage is None


async def test_what_frames_an_answer_is_no_part_of_it() -> None:
    """Trailers, a chunk's extension, half of its size: read, and nothing of them is the client's."""
    answer = Answer()
    answer.relay.head(200, EVENTS)
    answer.relay.body(b"data: 1\n\n")
    assert answer.relay.fresh
    answer.relay.fresh = False
    answer.relay.body(b"")
    assert not answer.relay.fresh


@pytest.mark.parametrize(
    ("headers", "body", "said"),
    [
        (EVENTS, b"", "status 200, text/event-stream, empty"),
        ([*EVENTS, (b"content-encoding", b"gzip")], b"\x1f\x8b", "text/event-stream, in a content coding"),
        ([], b"", "status 200, without a content type, empty"),
        ([(b"content-type", b"text/html")], b"<p>", "status 200, text/html."),
    ],
)
async def test_after_signs_of_life_what_is_no_event_stream_is_told(headers: Headers, body: bytes, said: str) -> None:
    answer = Answer(opened=True)
    answer.relay.head(200, headers)
    answer.relay.body(body)
    answer.relay.end()
    written = answer.client.written.data
    assert said.encode() in written
    assert written.startswith((b"data: {", b"event: error"))
    assert answer.lane.tally.responses[502] == 1


async def test_an_engine_says_nothing_for_the_whole_origin() -> None:
    """Cookies, HSTS and scripts of one tenant's engine would be those of all that the activator serves."""
    strange: Headers = [
        (b"set-cookie", b"a=b; Path=/"),
        (b"clear-site-data", b'"*"'),
        (b"strict-transport-security", b"max-age=31536000"),
        (b"service-worker-allowed", b"/"),
        (b"refresh", b"0; url=http://evil.example"),
        (b"x-hearth-cold-start", b"true"),
        (b"x-engines-own", b"1"),
    ]
    answer = Answer(stream=False)
    answer.relay.head(200, [(b"content-type", b"text/html"), *strange, (b"content-length", b"2")])
    answer.relay.body(b"hi")
    fields = answer.fields
    assert fields.keys() & {name for name, _ in strange} == {b"x-engines-own"}
    assert b"content-security-policy" not in fields, "what is posted is no page"


async def test_what_a_link_leads_to_is_no_page_of_this_origin() -> None:
    lane = Lane(ready=(E1,))
    client = lane.client(method="GET", path="/version")
    lane.gate.admit(client)
    client.deliver()
    relay = Relay(client, lane.gate, E1, None, lambda error: None)
    own = [(b"content-security-policy", b"default-src *"), (b"content-length", b"2")]
    relay.head(200, [(b"content-type", b"text/html"), *own])
    relay.body(b"hi")
    fields = [field for field in client.written.headers if field[0] != b"x-request-id"]
    assert (b"content-security-policy", b"sandbox") in fields
    assert (b"x-content-type-options", b"nosniff") in fields
    assert (b"content-security-policy", b"default-src *") not in fields


@pytest.mark.parametrize(
    ("headers", "opened", "open_to_us"),
    [
        (EVENTS, False, True),
        ([(b"content-type", b"text/event-stream"), (b"content-length", b"530")], False, False),
        ([(b"content-type", b"text/event-stream"), (b"content-length", b"530")], True, True),
        ([*EVENTS, (b"content-encoding", b"gzip")], False, False),
        ([*EVENTS, (b"content-encoding", b"identity")], False, True),
    ],
)
async def test_signs_of_life_stand_in_no_stream_that_has_a_length_or_a_coding(
    headers: Headers, opened: bool, open_to_us: bool
) -> None:
    answer = Answer(opened=opened)
    answer.relay.head(200, headers)
    assert answer.relay.takes_events is open_to_us
