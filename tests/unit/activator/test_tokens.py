"""Tokens as answers say them."""

import pytest

from hearth.activator.tokens import TokenUsage


@pytest.mark.parametrize(
    ("parts", "total"),
    [
        # chat completions, with include_usage
        (
            [
                b'data: {"choices": [{"delta": {}}]}\n\n',
                b'data: {"usage": {"prompt_tokens": 7, "total_tokens": 19}}\n\n',
            ],
            19,
        ),
        # a count with every chunk: the last one is the sum
        ([b'data: {"usage":{"total_tokens":8}}\n\n', b'data: {"usage":{"total_tokens":9}}\n\ndata: [DONE]\n\n'], 9),
        # messages
        (
            [
                b'event: message_start\ndata: {"message": {"usage": {"input_tokens": 25, "output_tokens": 1}}}\n\n',
                b'event: message_delta\ndata: {"usage": {"output_tokens": 15}}\n\n',
            ],
            40,
        ),
        # responses
        ([b'data: {"response":{"usage":{"input_tokens":3,"output_tokens":4,"total_tokens":7}}}\n\n'], 7),
        # nothing said: events, and a token for four bytes of the request
        ([b"data: {}\n\n", b"data: {}\n\n" * 2, b"data: [DONE]\n\n"], 10 + 4),
        # what a model writes is no usage
        ([b'data: {"choices":[{"delta":{"content":"\\"total_tokens\\": 0"}}]}\n\n'], 10 + 1),
        ([b'data: {"usage": {"total_tokens": null}}\n\n'], 10 + 1),
        ([b'data: {"usage": {"total_tokens": 1e9}}\n\n'], 10 + 1),
        ([b'data: {"usage": {"total_tokens": -5}}\n\n'], 10 + 1),
    ],
)
def test_of_streams(parts: list[bytes], total: int) -> None:
    usage = TokenUsage(40)
    for part in parts:
        usage.saw(part)
    assert usage.total == total


@pytest.mark.parametrize(
    ("end", "total"),
    [
        (b'"usage": {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}}', 21),
        (b'"usage":{"input_tokens":9,"output_tokens":12}}', 21),
        (b'"usage": {"prompt_tokens": 9}}', 9),
        (b"{}", 10),
    ],
)
def test_of_documents(end: bytes, total: int) -> None:
    usage = TokenUsage(40)
    usage.ended(end)
    assert usage.total == total
