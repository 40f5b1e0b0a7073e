import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.emulators.engine_speech import WORDS, detokenize, speech, tokenize


def test_a_limit_is_kept_and_repeats_what_there_is_to_say() -> None:
    made = speech(len(WORDS) + 2)
    assert made.finish == "length"
    assert made.tokens[-2:] == WORDS[:2]


def test_without_a_limit_all_is_said() -> None:
    made = speech(None)
    assert (made.tokens, made.finish) == (WORDS, "stop")


@pytest.mark.parametrize(
    ("stops", "text", "stopped_by"),
    [
        (["asked"], "Nobody ", "asked"),
        (["ked f"], "Nobody as", "ked f"),
        (["while", "asked"], "Nobody ", "asked"),
        (["Nobody"], "", "Nobody"),
        (["", "absent"], "Nobody asked for ", None),
    ],
)
def test_the_first_stop_sequence_ends_it_unsaid(stops: list[str], text: str, stopped_by: str | None) -> None:
    made = speech(3 if stopped_by is None else 20, stops)
    assert (made.text, made.stopped_by) == (text, stopped_by)
    assert made.finish == ("length" if stopped_by is None else "stop")


@given(st.text())
def test_tokens_are_the_text(text: str) -> None:
    assert detokenize(tokenize(text)) == text


def test_foreign_tokens_are_no_text() -> None:
    assert detokenize([7, 2**62, 0]) == "\ufffd\ufffd\ufffd"
