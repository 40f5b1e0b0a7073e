import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.activator.request import Request


def request(body: bytes, method: str = "POST", path: str = "/v1/chat/completions") -> Request:
    made = Request(method, path, b"", [], [body] if body else [], len(body), "10.0.0.9", "http", "id-1")
    made.read_words()
    return made


def test_model_and_stream_are_read_from_the_body() -> None:
    made = request(b'{"messages": [{"content": "\\"model\\": \\"no\\""}], "model": "qwen", "stream": true}')
    assert (made.model, made.stream) == ("qwen", True)


@pytest.mark.parametrize(
    "body", [b"", b"not json", b"[1]", b'{"model": 3}', b'{"model"', b"\xff\xfe", b'{"model": null, "stream": "yes"}']
)
def test_a_body_that_names_no_model_has_none(body: bytes) -> None:
    made = request(body)
    assert (made.model, made.stream) == (None, False)


@given(st.binary(max_size=200))
def test_no_body_breaks_the_reading(body: bytes) -> None:
    request(b"{" + body)


def test_renaming_the_model_leaves_every_other_byte_of_meaning() -> None:
    made = request(b'{"model": "ai/qwen", "temperature": 0.10000000000000001, "big": 123456789012345678901234567890}')
    made.rename_model("qwen")
    text = b"".join(made.body)
    assert made.length == len(text)
    assert json.loads(text)["model"] == "qwen"
    assert b"0.10000000000000001" in text
    assert b"123456789012345678901234567890" in text


@pytest.mark.parametrize(
    ("path", "stream", "expected"),
    [
        ("/v1/chat/completions", False, True),
        ("/v1/chat/completions", True, False),
        ("/v1/embeddings", False, True),
        ("/rerank", False, True),
        ("/v1/audio/speech", False, False),
    ],
)
def test_white_space_goes_only_before_answers_that_are_json(path: str, stream: bool, expected: bool) -> None:
    body = json.dumps({"model": "m", "stream": stream}).encode()
    assert request(body, path=path).answers_json is expected
