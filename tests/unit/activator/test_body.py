import contextlib
import gzip
import json
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from hearth.activator.body import PREFIX_BYTES, decoded, in_utf8, read_words, with_model
from hearth.activator.errors import ApiError
from hearth.activator.multipart import MAX_PARTS

FORM = b"multipart/form-data; boundary=b"


@given(st.binary(max_size=60), st.booleans(), st.sampled_from([b"", FORM]))
def test_no_body_breaks_the_reading(body: bytes, form: bool, content_type: bytes) -> None:
    for begin in (b"", b"{", b"--b\r\n"):
        with contextlib.suppress(ApiError):  # and no other exception
            in_utf8(bytearray(begin + body))
            read_words(bytearray(begin + body), content_type, form=form, prefix=True)


def test_json_that_is_broken_behind_the_model_is_refused_before_it_is_renamed() -> None:
    body = bytearray(b'{"model": "ai/qwen", "messages": [\xff]}')
    with pytest.raises(ApiError, match="not a JSON object"):
        with_model(body, b"", "qwen", form=False)


def test_a_form_of_many_parts_is_refused() -> None:
    part = b'--b\r\ncontent-disposition: form-data; name="x"\r\n\r\n\r\n'
    with pytest.raises(ApiError, match=f"more than {MAX_PARTS} parts"):
        read_words(bytearray(part * (MAX_PARTS + 1) + b"--b--\r\n"), FORM, form=True, prefix=False)


def test_a_form_of_endless_fields_is_refused() -> None:
    long = b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\n' + b"x" * 10_000 + b"\r\n--b--\r\n"
    with pytest.raises(ApiError, match="over 4096 bytes"):
        read_words(bytearray(long), FORM, form=True, prefix=False)


TEXT = b'{"model": "qwen", "messages": [{"role": "user", "content": "' + b"again and " * 1000 + b'"}]}'
CODED = {
    b"gzip": gzip.compress(TEXT),
    b"X-GZIP": gzip.compress(TEXT),
    b"deflate": zlib.compress(TEXT),
    b" zstd ": zstandard.compress(TEXT),
}


@pytest.mark.parametrize("coding", CODED)
def test_a_coded_body_is_decoded(coding: bytes) -> None:
    assert decoded(bytearray(CODED[coding]), coding, 2**20) == TEXT


@pytest.mark.parametrize("coding", CODED)
def test_a_body_that_unfolds_over_the_limit_is_refused(coding: bytes) -> None:
    with pytest.raises(ApiError) as refused:
        decoded(bytearray(CODED[coding]), coding, len(TEXT) - 1)
    assert refused.value.status == 413


@pytest.mark.parametrize("coding", CODED)
@pytest.mark.parametrize("damage", [b"", b"junk"], ids=["cut", "junk"])
def test_a_body_that_is_not_in_its_coding_is_refused(coding: bytes, damage: bytes) -> None:
    broken = damage or CODED[coding][:40]
    with pytest.raises(ApiError) as refused:
        decoded(bytearray(broken), coding, 2**20)
    assert refused.value.status == 400


@pytest.mark.parametrize("coding", [b"br", b"gzip, gzip", b"compress", b"\xff"])
def test_another_coding_is_refused_as_that(coding: bytes) -> None:
    with pytest.raises(ApiError) as refused:
        decoded(bytearray(b"x"), coding, 2**20)
    assert refused.value.status == 415


def prompt_prefix(body: bytes) -> bytes | None:
    return read_words(bytearray(body), b"", form=False, prefix=True).prefix


def prefix(**body: object) -> bytes | None:
    return prompt_prefix(json.dumps(body).encode())


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
    assert len(prefix(prompt="x" * 10_000) or b"") == PREFIX_BYTES
