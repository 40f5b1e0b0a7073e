"""Tokens of a request: as answers say them, or nearly."""

import json
from base64 import b64encode

import pytest

from hearth.activator.lane.tokens import MAX_GUESS, UNSEEN, TokenUsage, guessed

ENDS = [b"\n", b"\r\n", b"\r"]
STREAMS = [
    # chat completions, with include_usage
    ([b'data: {"choices": [{"delta": {}}]}', b'data: {"usage": {"prompt_tokens": 7, "total_tokens": 19}}'], 19),
    # a count with every chunk: the last one is the sum
    ([b'data: {"usage":{"total_tokens":8}}', b'data: {"usage":{"total_tokens":9}}', b"data: [DONE]"], 9),
    # messages
    (
        [
            b'event: message_start\ndata: {"message": {"usage": {"input_tokens": 25, "output_tokens": 1}}}',
            b'event: content_block_delta\ndata: {"delta": {"usage": {"output_tokens": 0}}}',
            b'event: message_delta\ndata: {"usage": {"output_tokens": 15}}',
        ],
        40,
    ),
    # responses
    ([b'data: {"response":{"usage":{"input_tokens":3,"output_tokens":4,"total_tokens":7}}}'], 7),
    # a document in several lines
    ([b'data: {"usage":\ndata: {"prompt_tokens": 3,\ndata:  "completion_tokens": 4}}'], 7),
    # llama.cpp's own, of two prompts
    (
        [
            b'data: {"index":0,"tokens_predicted":1,"tokens_evaluated":5}',
            b'data: {"index":1,"tokens_predicted":1,"tokens_evaluated":6}',
            b'data: {"index":0,"tokens_predicted":2,"tokens_evaluated":5}',
        ],
        7 + 7,
    ),
    # nothing said: events, and what was asked
    ([b"data: {}", b"data: {}", b"data: {}", b"data: [DONE]"], 10 + 4),
    # what a model writes is no usage
    ([b'data: {"choices":[{"delta":{"content":"\\"total_tokens\\": 0"}}]}'], 10 + 1),
    ([b'data: {"choices":[{"delta":{"usage":{"total_tokens": 0}}}]}'], 10 + 1),
    ([b'data: {"usage": {"total_tokens": null}}'], 10 + 1),
    ([b'id: {"usage": {"total_tokens": 1}}', b'dat: {"usage": {"total_tokens": 1}}'], 10 + 2),
]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(("events", "total"), STREAMS)
def test_of_streams(events: list[bytes], total: int, end: bytes) -> None:
    parts = [event.replace(b"\n", end) + end + end for event in events]
    whole = b"".join(parts)
    for piece in (1, 2, 3, 50, len(whole)):
        usage = TokenUsage(10, 40)
        for at in range(0, len(whole), piece):
            usage.saw(whole[at : at + piece], stream=True)
        assert usage.total == total, piece
    usage = TokenUsage(10, 40)
    for part in parts:
        usage.saw(part, stream=True)
    assert usage.total == total


def test_a_stream_that_breaks_off_has_said_what_it_said() -> None:
    usage = TokenUsage(10, 40)
    usage.saw(b'data: {}\n\ndata: {"usage": {"prompt_tokens": 7, "completion_tokens": 3', stream=True)
    assert usage.total == 7 + 1
    usage.saw(b"1}}\n", stream=True)
    assert usage.total == 7 + 31


@pytest.mark.parametrize(
    ("document", "total"),
    [
        (b'{"usage": {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}}', 21),
        (b'{"usage":{"input_tokens":9,"output_tokens":12}}', 21),
        (b'{"usage":{"input_tokens":9,"output_tokens":12, "total_tokens": 3}}', 21),
        (b'{"usage": {"total_tokens": 30}}', 30),
        (b'{"usage": {"input_tokens": 1, "cache_read_input_tokens": 632, "output_tokens": 4}}', 637),
        (b'{"usage": {"cache_creation_input_tokens": 5, "cache_read_input_tokens": 6, "output_tokens": 4}}', 15),
        (b'{"usage": {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 8}, "completion_tokens": 1}}', 10),
        (b'{"usage": {"prompt_tokens": 9, "total_tokens": 5}}', 9),
        (b'{"usage": {"prompt_tokens": 9}}', 9),
        (b'{"usage": {"completion_tokens": 9}}', 10 + 9),
        (b'{"tokens_predicted": 9, "tokens_evaluated": 7}', 16),
        (b'[{"tokens_predicted": 9, "tokens_evaluated": 7}, {"tokens_predicted": 1, "tokens_evaluated": 2}]', 19),
        (b"{}", 10),
        (b"\xff\xfbsound", 10),
        (b"", 10),
    ],
)
def test_of_documents(document: bytes, total: int) -> None:
    usage = TokenUsage(10, 40)
    usage.saw(document[:9], stream=False)
    usage.saw(document[9:], stream=False)
    assert usage.total == total


def test_nothing_counts_that_the_bytes_can_not_have_been() -> None:
    """An engine says it, and its key would be shut for years."""
    usage = TokenUsage(10, 40)
    document = b'{"usage": {"prompt_tokens": 999999999999, "completion_tokens": 999999999999}}'
    usage.saw(document, stream=False)
    assert usage.total == 40 + len(document) + UNSEEN


def test_what_another_replica_said_does_not_count() -> None:
    usage = TokenUsage(10, 40)
    usage.saw(b'{"usage": {"total_tokens": 900}, "choices": ["', stream=False)
    usage.again()
    usage.saw(b'{"usage": {"total_tokens": 30}}', stream=False)
    assert usage.total == 30


class TestGuess:
    PICTURE = b64encode(bytes(range(256)) * 6000).decode()

    def test_a_token_for_four_bytes_of_text(self) -> None:
        body = json.dumps({"prompt": "words and " * 4000}).encode()
        assert guessed(body) == len(body) // 4
        assert guessed(b"") == 0

    def test_no_more_than_the_largest_guess(self) -> None:
        for text in ("words and " * 100_000, '"' * 1_000_000):
            assert guessed(json.dumps({"prompt": text}).encode()) == MAX_GUESS

    @pytest.mark.parametrize(
        "value",
        [
            {"image_url": {"url": f"data:image/png;base64,{PICTURE}"}},
            {"input_audio": {"data": PICTURE}},
            {"source": {"type": "base64", "data": PICTURE.replace("+", "-").replace("/", "_")}},
        ],
    )
    @pytest.mark.parametrize("slash", ["/", "\\/"])
    def test_pictures_and_sounds_are_no_text(self, value: object, slash: str) -> None:
        body = json.dumps({"text": "What is it? " * 100, "x": value}).replace("/", slash).encode()
        assert 300 <= guessed(body) < 400

    def test_long_text_is_text(self) -> None:
        for text in ("words " * 2000, self.PICTURE[:200] + " and " * 2000, "data:image/png," + "%20" * 2000):
            body = json.dumps([text]).encode()
            assert guessed(body) == len(body) // 4
