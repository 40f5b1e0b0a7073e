"""The client's protocol fed with bytes, without a socket: whatever comes, in whatever pieces."""

import itertools
import logging
import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hearth.http1.limits import Limits
from tests.fuzz.targets import heard


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    bounds = [0, *places, len(data)]
    return [data[a:b] for a, b in itertools.pairwise(bounds) if a < b]


@pytest.fixture(autouse=True)
def no_mistake_of_ours(caplog: pytest.LogCaptureFixture) -> Any:
    yield
    assert [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR] == []


HEADS = st.sampled_from(
    [
        b"GET /healthz HTTP/1.1\r\n",
        b"GET /v1/models HTTP/1.1\r\n",
        b"GET /v1/models/nobody HTTP/1.0\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\n",
        b"POST /v1/messages HTTP/1.1\r\n",
        b"OPTIONS /ai/qwen/v1/chat/completions HTTP/1.1\r\n",
        b"HEAD /ai/qwen/health HTTP/1.1\r\n",
        b"GET /ai/%71wen/../x HTTP/1.1\r\n",
    ]
)
FIELDS = st.lists(
    st.sampled_from(
        [
            b"host: x\r\n",
            b"connection: close\r\n",
            b"expect: 100-continue\r\n",
            b"upgrade: websocket\r\nconnection: upgrade\r\n",
            b"origin: https://a\r\naccess-control-request-method: POST\r\n",
            b"x-long: " + b"x" * 300 + b"\r\n",
            b"content-length: 999999\r\n",
        ]
    ),
    max_size=3,
)
BODIES = st.sampled_from([b"", b'{"model": "nobody"}', b"not json", b"\xff" * 40, b"x" * 600])


DATE = re.compile(rb"(?:date: [^\r]*|x-request-id: [0-9a-f]{32})\r\n")


@st.composite
def request(draw: st.DrawFn) -> bytes:
    """A request that is right, or nearly."""
    body = draw(BODIES)
    framed = b"content-length: %d\r\n\r\n%b" % (len(body), body)
    if body and draw(st.booleans()):
        framed = b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    return draw(HEADS) + b"host: x\r\nx-request-id: r\r\n" + b"".join(draw(FIELDS)) + framed


@settings(max_examples=150, deadline=None)
@given(st.lists(request(), min_size=1, max_size=3), st.lists(st.integers(0, 5000), max_size=6))
def test_pieces_make_no_difference(requests: list[bytes], cuts: list[int]) -> None:
    data = b"".join(requests)
    # How many answers fit before a cut is a matter of what has been read by then; the first is not.
    whole, pieces = (DATE.sub(b"", heard(read)[0]) for read in ([data], split(data, cuts)))
    first = whole.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"").partition(b"HTTP/1.1 ")[2].split(b"HTTP/1.1 ")[0]
    assert pieces.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"").startswith(b"HTTP/1.1 " + first if first else b"")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=4))
@example(b"\x00", [])
def test_no_bytes_break_it(data: bytes, cuts: list[int]) -> None:
    heard(split(data, cuts))


@settings(max_examples=200, deadline=None)
@given(request(), st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=3)), max_size=4))
def test_no_damage_to_a_request_breaks_it(data: bytes, damage: list[tuple[int, bytes]]) -> None:
    for place, patch in damage:
        at = place % (len(data) + 1)
        data = data[:at] + patch + data[at + len(patch) :]
    heard([data])


def test_a_head_that_does_not_end_is_cut_off() -> None:
    answer, closed = heard([b"GET / HTTP/1.1\r\nx: "] + [b"x" * 1024] * (Limits().head_bytes // 1024 + 2))
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert closed
