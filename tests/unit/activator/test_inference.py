import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.activator.errors import ApiError
from hearth.activator.lane.inference import Inference
from hearth.activator.paths import PATHS
from hearth.http1.message import Request


def asked(body: bytes, path: str = "/v1/chat/completions", *, content_type: bytes = b"application/json") -> Inference:
    request = Request("POST", path, b"", [(b"content-type", content_type)])
    request.body = body
    made = Inference(request, path, "", PATHS[path])
    made.read_words()
    return made


def test_model_and_stream_are_read_from_the_body() -> None:
    made = asked(b'{"messages": [{"content": "\\"model\\": \\"no\\""}], "model": "qwen", "stream": true}')
    assert (made.model, made.stream) == ("qwen", True)


@pytest.mark.parametrize("body", [b"", b'{"model": 3}', b'{"model": null}', b"{}"])
def test_a_body_that_names_no_model_has_none(body: bytes) -> None:
    assert asked(body).model is None


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        b"[1]",
        b'"text"',
        b'{"model"',
        b'{"model": "qwen", "temperature": NaN}',
        b'{"model": "\xff"}',
        b'{"model": "qwen", "deep": ' + b"[" * 2000 + b"]" * 2000 + b"}",
        b'{"model": "qwen"} {"model": "other"}',
    ],
    ids=["text", "list", "string", "cut", "NaN", "not UTF-8", "nested", "two documents"],
)
def test_a_body_that_is_no_json_object_is_refused_as_that(body: bytes) -> None:
    with pytest.raises(ApiError, match="not a JSON object|nested too deeply") as refused:
        asked(body)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
)
def test_a_body_in_another_encoding_is_made_utf_8(encoding: str) -> None:
    made = asked('{"model": "qwen", "user": "Zoë"}'.encode(encoding))
    assert made.model == "qwen"
    assert json.loads(bytes(made.request.body).decode("utf-8")) == {"model": "qwen", "user": "Zoë"}


# pydantic's rule, which vLLM and its like read bodies by.
@pytest.mark.parametrize(("said", "means"), [("true", True), ("1", True), ("1.0", True), ('"true"', True), ('"TRUE"', True),
    ('"yes"', True), ('"on"', True), ("false", False), ("0", False), ('"false"', False), ("null", False), ("2", False), ("[1]", False)])  # fmt: skip
def test_stream_is_read_as_engines_read_it(said: str, means: bool) -> None:
    assert asked(f'{{"model": "qwen", "stream": {said}}}'.encode()).stream is means


@given(st.binary(max_size=200))
def test_no_body_breaks_the_reading(body: bytes) -> None:
    with contextlib.suppress(ApiError):  # and no other exception
        asked(b"{" + body)


def test_renaming_the_model_leaves_every_other_byte_of_meaning() -> None:
    made = asked(b'{"model": "ai/qwen", "temperature": 0.10000000000000001, "big": 123456789012345678901234567890}')
    made.rename_model("qwen")
    text = bytes(made.request.body)
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
    assert asked(body, path=path).answers_json is expected


@pytest.mark.parametrize(
    ("path", "body", "asks"),
    [
        ("/v1/chat/completions", {}, False),
        ("/v1/chat/completions", {"messages": []}, False),
        ("/v1/chat/completions", {"prompt": "Hi"}, False),
        ("/v1/chat/completions", {"messages": [{}]}, True),
        ("/v1/completions", {"messages": [1]}, False),
        ("/v1/completions", {"prompt": [1, 2]}, True),
        ("/v1/embeddings", {"input": None}, False),
        ("/v1/embeddings", {"input": 0}, True),
        ("/v1/embeddings", {"input": False}, False),
        ("/v1/messages", {"messages": ""}, False),
    ],
)
def test_whether_a_body_asks_something(path: str, body: dict[str, object], asks: bool) -> None:
    made = asked(json.dumps({"model": "qwen", **body}).encode(), path)
    assert (made.model, made.asks) == ("qwen", asks)


def test_an_empty_body_asks_nothing() -> None:
    assert not asked(b"").asks
