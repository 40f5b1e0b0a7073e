"""An engine that gave a completion up, told from words that look like it."""

import json

import pytest

from hearth.activator.lane.aborted import ends_aborted


def completion(*choices: object, **more: object) -> bytes:
    return json.dumps({"id": "x", "choices": choices, **more}).encode()


def choice(reason: str, **more: object) -> dict[str, object]:
    return {"index": 0, "message": {"content": 'a "word"\\', **more}, "finish_reason": reason}


ARGUMENTS = json.dumps({"finish_reason": "abort"})


@pytest.mark.parametrize(
    "whole",
    [
        completion(choice("abort")),
        completion(choice("stop"), choice("abort"), choice("stop")),
        completion({"finish_reason": "abort", "text": ""}),
        completion(choice("abort"), usage={"details": {"a": [1, {"b": 2}]}}, prompt_logprobs=[0] * 2000),
        b'{"choices":[{"text":"","finish_reason" :\n"abort"}]}\n',
    ],
)
def test_it_is_seen_whatever_stands_around_it(whole: bytes) -> None:
    assert ends_aborted(whole)
    assert ends_aborted(whole[5:]), "its beginning is not needed"


@pytest.mark.parametrize(
    "whole",
    [
        completion(choice("stop")),
        completion(choice("stop", tool_calls=[{"function": {"arguments": ARGUMENTS}}])),
        completion(choice("stop", content=ARGUMENTS)),
        completion(choice("stop", content=f"{ARGUMENTS}\\")),
        completion(choice("stop", custom={"finish_reason": "abort"})),
        b'{"type": "tool_use", "input": {"finish_reason": "abort"}}',
        b'{"finish_reason": "abort"}',
        completion({"other": "abort"}),
        b'"abort"',
        b'abort"',
        b'}}}"abort"',
        b"",
    ],
)
def test_the_same_words_elsewhere_are_a_models_a_tools_or_a_users(whole: bytes) -> None:
    assert not ends_aborted(whole)
