import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.activator.lane.skim import KEPT, LONG, skim

BEGIN = b'{"model": "qwen", "messages": [{"role": "user", "content": "'
END = b'"}], "stream": true}'


def of(content: bytes) -> bytes:
    return BEGIN + content + END


def test_a_long_string_keeps_its_beginning_and_what_is_around_it() -> None:
    skimmed = skim(of(b"x" * LONG))
    assert skimmed == of(b"x" * KEPT)


def test_a_short_text_is_itself() -> None:
    text = of(b"x" * (LONG - len(BEGIN) - len(END) - 1))
    assert skim(text) is text


@pytest.mark.parametrize("text", [of(b"x" * LONG)[: -len(END)], b'{"a": "' + b'\\"' * LONG], ids=["cut", "quotes"])
def test_a_text_that_ends_within_a_string_is_itself(text: bytes) -> None:
    assert skim(text) is text


def test_a_text_of_many_short_strings_is_itself() -> None:
    text = json.dumps({"input": ["word"] * LONG, "prompt": "x" * LONG}).encode()
    assert skim(text) is text


def test_a_string_of_many_quotes_is_itself() -> None:
    text = of(rb"\"" * LONG)
    assert skim(text) is text


@pytest.mark.parametrize("escape", [rb"\"", rb"\\", rb"\u00e9", rb"\\\"", "é".encode(), rb"\\\\\\"])
@pytest.mark.parametrize("before", range(14))
def test_a_string_is_not_cut_within_a_character(escape: bytes, before: int) -> None:
    content = b"x" * (KEPT - before) + escape * 3 + b"x" * LONG + escape
    read = json.loads(skim(of(content)))["messages"][0]["content"]
    assert json.loads(b'"' + content + b'"').startswith(read)
    assert read.startswith("x" * (KEPT - before))


def test_a_string_of_nothing_but_escapes_is_read_to_its_end() -> None:
    text = of(rb"\\" * LONG)
    assert json.loads(skim(text))["stream"] is True


@given(
    st.lists(
        st.tuples(st.text(alphabet='ab\\"\né{}[]:,', max_size=12), st.integers(0, 3 * LONG)), min_size=1, max_size=4
    )
)
def test_what_stands_around_strings_is_what_it_was(parts: list[tuple[str, int]]) -> None:
    document = {f"key {number}{word}": word + "y" * size for number, (word, size) in enumerate(parts)}
    read = json.loads(skim(json.dumps(document).encode()))
    assert list(read) == list(document)
    assert all(value[:KEPT].startswith(read[key][:KEPT]) for key, value in document.items())
