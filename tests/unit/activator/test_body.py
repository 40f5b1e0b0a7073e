import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.activator.body import PREFIX_BYTES, Words, prompt_prefix, read_words, with_model
from hearth.activator.errors import ApiError


@given(st.lists(st.binary(max_size=10), min_size=1), st.sampled_from([b"", b"multipart/form-data; boundary=b"]))
def test_no_body_breaks_the_reading(pieces: list[bytes], content_type: bytes) -> None:
    read_words(pieces, content_type)
    read_words([b"{", *pieces], content_type)
    prompt_prefix(pieces)


def test_it_does_not_matter_how_a_body_is_cut() -> None:
    body = b'  {"stream": true, "model": "qwen"}'
    assert {read_words([body[:cut], body[cut:]], b"") for cut in range(len(body))} == {Words("qwen", stream=True)}


def test_json_that_is_broken_behind_the_model_is_refused_before_it_is_renamed() -> None:
    body = [b'{"model": "ai/qwen", "messages": [\xff]}']
    with pytest.raises(ApiError, match="not valid JSON"):
        with_model(body, b"", "qwen", form=False)


def prefix(**body: object) -> bytes | None:
    return prompt_prefix([json.dumps(body).encode()])


def test_a_conversation_keeps_its_prefix_as_it_grows() -> None:
    system, question = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who?"}
    first = prefix(model="qwen", messages=[system, question])
    later = prefix(model="qwen", temperature=1, messages=[system, question, {"role": "assistant", "content": "Me."}])
    other = prefix(model="qwen", messages=[system, {"role": "user", "content": "Where?"}])
    assert first == later != other


def test_every_api_has_its_prompt_somewhere() -> None:
    assert prefix(prompt="Once") == b'"Once"'
    assert prefix(instructions="Be brief.", input="Hi") == b'"Be brief.""Hi"'
    assert prefix(system="Be brief.", messages=[]) == b'"Be brief."'
    assert prefix(model="qwen") is None
    assert prefix(messages="no list") is None
    assert prompt_prefix([b""]) is None
    assert len(prefix(prompt="x" * 10_000) or b"") == PREFIX_BYTES
