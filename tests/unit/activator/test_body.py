import contextlib
import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from hearth.activator.body import PREFIX_BYTES, decoding, in_utf8, read_words, with_model
from hearth.activator.body import prompt_prefix as prompt_prefix_of
from hearth.activator.errors import ApiError
from hearth.activator.multipart import MAX_PARTS

FORM = b"multipart/form-data; boundary=b"


@given(st.binary(max_size=60), st.booleans(), st.sampled_from([b"", FORM]))
def test_no_body_breaks_the_reading(body: bytes, form: bool, content_type: bytes) -> None:
    for begin in (b"", b"{", b"--b\r\n"):
        with contextlib.suppress(ApiError):  # and no other exception
            in_utf8(begin + body)
            read_words(begin + body, content_type, form=form)


def test_json_that_is_broken_behind_the_model_is_refused_before_it_is_renamed() -> None:
    body = b'{"model": "ai/qwen", "messages": [\xff]}'
    with pytest.raises(ApiError, match="not a JSON object"):
        with_model(body, b"", "qwen", form=False)


def test_a_form_of_many_parts_is_refused() -> None:
    part = b'--b\r\ncontent-disposition: form-data; name="x"\r\n\r\n\r\n'
    with pytest.raises(ApiError, match=f"more than {MAX_PARTS} parts"):
        read_words(part * (MAX_PARTS + 1) + b"--b--\r\n", FORM, form=True)


def test_a_form_of_endless_fields_is_refused() -> None:
    long = b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\n' + b"x" * 10_000 + b"\r\n--b--\r\n"
    with pytest.raises(ApiError, match="over 4096 bytes"):
        read_words(long, FORM, form=True)


TEXT = b'{"model": "qwen", "messages": [{"role": "user", "content": "' + b"again and " * 1000 + b'"}]}'
CODED = {
    b"gzip": gzip.compress(TEXT),
    b"X-GZIP": gzip.compress(TEXT),
    b"deflate": zlib.compress(TEXT),
    b" zstd ": zstandard.compress(TEXT),
}


def decoded(body: bytes, coding: bytes) -> bytes:
    """What all steps give, none of which may give much."""
    step, whole = decoding(body, coding), b""
    while piece := step():
        assert len(piece) <= 256 * 1024
        whole += piece
    return whole


@pytest.mark.parametrize("coding", CODED)
def test_a_coded_body_is_decoded(coding: bytes) -> None:
    assert decoded(CODED[coding], coding) == TEXT


@pytest.mark.parametrize("code", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_a_body_that_unfolds_a_thousandfold_comes_in_steps(code: Callable[[bytes], bytes]) -> None:
    bomb = code(b"x" * 10_000_000)
    assert len(bomb) < 12_000
    assert len(decoded(bomb, b"gzip" if code is gzip.compress else b"zstd")) == 10_000_000


@pytest.mark.parametrize("coding", [b"gzip", b"deflate"])
@pytest.mark.parametrize("broken", [lambda body: body[:40], lambda body: b"junk", lambda body: body + b"more"])
def test_a_body_that_is_not_in_its_coding_is_refused(coding: bytes, broken: Callable[[bytes], bytes]) -> None:
    whole = {b"gzip": gzip.compress(TEXT), b"deflate": zlib.compress(TEXT)}[coding]
    with pytest.raises(ApiError) as refused:
        decoded(broken(whole), coding)
    assert refused.value.status == 400


def test_a_frame_that_is_none_is_refused_and_half_a_one_is_half_a_document() -> None:
    with pytest.raises(ApiError) as refused:
        decoded(b"junk", b"zstd")
    assert refused.value.status == 400
    with pytest.raises(ApiError, match="not a JSON object"):
        read_words(decoded(zstandard.compress(TEXT)[:60], b"zstd"), b"")


@pytest.mark.parametrize("coding", [b"br", b"gzip, gzip", b"compress", b"\xff"])
def test_another_coding_is_refused_as_that(coding: bytes) -> None:
    with pytest.raises(ApiError) as refused:
        decoding(b"x", coding)
    assert refused.value.status == 415


def prompt_prefix(body: bytes) -> bytes | None:
    return prompt_prefix_of(read_words(body, b""))


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


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": [' + b"[]," * 300_000 + b"[]]}",
        b'{"model": "qwen", "messages": [' + b"1," * 500_000 + b"1]}",
        b'{"stream": [' + b"[]," * 300_000 + b'[]], "model": "qwen"}',
    ],
    ids=["model", "messages", "stream"],
)
def test_a_body_of_small_things_makes_no_large_ones(body: bytes) -> None:
    tracemalloc.start()
    try:
        prompt_prefix_of(read_words(body, b""))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(body)


def test_a_body_of_endless_fields_is_not_taken_apart() -> None:
    body = b'{"model": "ai/qwen"' + b"".join(b', "k%d": 1' % n for n in range(60_000)) + b"}"
    with pytest.raises(ApiError) as refused:
        with_model(body, b"", "qwen", form=False)
    assert refused.value.status == 413
