import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.kube.decode import MAX_DEPTH, decode, shallow
from hearth.kube.errors import Unavailable


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


def depth_of(part: Any) -> int:
    depth = 0
    while isinstance(part, dict):
        part, depth = part["a"], depth + 1
    return depth


def test_one_that_is_nested_too_deep_does_not_hide_the_others() -> None:
    body = b'{"items":[{"metadata":{"name":"deep"},"spec":' + nested(5000) + b'},{"metadata":{"name":"qwen"}}]}'
    deep, qwen = decode(body)["items"]
    assert (deep["metadata"]["name"], qwen["metadata"]["name"]) == ("deep", "qwen")
    assert depth_of(deep["spec"]) == MAX_DEPTH - 3, "deep enough to be refused, not so deep that nobody can"


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda part: st.lists(part) | st.dictionaries(st.text(), part))
)
def test_what_is_not_too_deep_stays_as_it_is(part: object) -> None:
    body = json.dumps(part).encode()
    assert shallow(body) == body


def test_brackets_and_quotes_in_texts_do_not_count() -> None:
    body = json.dumps({"a": '[[[{{{"\\"]', 'b"[': ["\\", "]]"]}).encode()
    assert shallow(body, 2) == body
    assert shallow(b'{"a":"]","b":[[1],"[",{"c":[2]}],"d":3}', 2) == b'{"a":"]","b":[null,"[",null],"d":3}'


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'"\xff"', b"404 page not found", b"[1e999]", b"[" * 5000])
def test_what_is_no_json_is_an_answer_that_may_be_better_next_time(body: bytes) -> None:
    with pytest.raises(Unavailable, match="no JSON"):
        decode(body)
