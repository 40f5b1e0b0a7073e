"""What documents say of tokens: only at its own places, however the document is cut."""

import json
import random
from typing import Any

import pytest

from hearth.activator.lane.usage import Said, UsageScanner

CHAT = {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}
LIE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 1, "tokens_evaluated": 1, "tokens_predicted": 1}


def said(*documents: bytes, piece: int = 2**20) -> list[Said]:
    scanner = UsageScanner()
    for document in documents:
        for at in range(0, len(document), piece):
            scanner.feed(document[at : at + piece])
        scanner.reset()
    return scanner.said()


def of(document: Any) -> list[Said]:
    return said(json.dumps(document).encode())


class TestWhere:
    @pytest.mark.parametrize(
        "document",
        [
            {"usage": CHAT},
            {"usage": {**CHAT, "prompt_tokens_details": {"prompt_tokens": 3, "cached_tokens": 3}}},
            {"choices": [{"message": {"content": "x" * 99, "usage": LIE}}], "usage": CHAT},
            # vLLM, which says it in front of what is long
            {"usage": CHAT, "prompt_logprobs": [{"7": {"logprob": -0.1, "usage": LIE}}] * 9, "prompt_token_ids": [1]},
            # llama.cpp with "verbose": true, in the middle of what is long
            {"choices": [], "usage": CHAT, "__verbose": {"prompt": "x" * 99, **LIE, "usage": LIE}, "timings": LIE},
            {"usage": CHAT, "total_tokens": 1, "prompt_tokens": 1},
            {"message": {"usage": {"input_tokens": 9, "output_tokens": 12, "total_tokens": 21}}},
            {"response": {"output": [{"usage": LIE}], "usage": CHAT, "metadata": {"usage": LIE}}},
        ],
    )
    def test_usage_is_an_object_of_the_document_or_of_its_event(self, document: Any) -> None:
        assert of(document) == [(9, 12, 21)]

    @pytest.mark.parametrize(
        "document",
        [
            {},
            {"content": [{"type": "tool_use", "input": {"usage": LIE, **LIE}}]},
            {"input": LIE, "usage": None},
            {"delta": {"usage": LIE}},
            {"message": {"message": {"usage": LIE}, "response": {"usage": LIE}, "tokens_predicted": 1}},
            {"message": [{"usage": LIE}], "response": [[LIE]]},
            {"usage": [LIE]},
            {"usage": {"details": LIE}},
            {"usage": {"total_tokens": "5", "prompt_tokens": None, "input_tokens": True}},
            {"content": '"usage": {"total_tokens": 5}, \\'},
            {'"usage"': LIE, "us\\age": LIE},
            {"model": "usage", "x": LIE},
            [[LIE], {"x": {"usage": LIE}}],
            "usage",
            5,
        ],
    )
    def test_anywhere_else_it_is_somebody_elses_word(self, document: Any) -> None:
        assert of(document) == []

    @pytest.mark.parametrize("number", [b"1e9", b"-5", b"7.0", b"null", b"1234567890123", b"[5]", b'"5"', b""])
    def test_what_is_no_count_says_nothing(self, number: bytes) -> None:
        assert said(b'{"usage": {"total_tokens": %b}}' % number) == []

    def test_llamacpps_own_names(self) -> None:
        assert of({"index": 0, "content": "x", "tokens_predicted": 3, "tokens_evaluated": 4}) == [(4, 3, -1)]

    def test_the_last_of_two_counts(self) -> None:
        assert said(b'{"usage": {"total_tokens": 5}, "usage": {"total_tokens": 6}}') == [(-1, -1, 6)]


class TestSeveralDocuments:
    def test_a_later_event_adds_to_what_is_known(self) -> None:
        begin = b'{"type": "message_start", "message": {"usage": {"input_tokens": 25, "output_tokens": 1}}}'
        assert said(begin, b'{"type": "message_delta", "usage": {"output_tokens": 15}}') == [(25, 15, -1)]

    def test_prompts_of_one_request_are_added_up(self) -> None:
        each = [{"index": index, "tokens_predicted": 3, "tokens_evaluated": 4} for index in range(3)]
        assert of(each) == [(-1, -1, 21)]
        assert of([{"usage": CHAT}, {"usage": CHAT}]) == [(-1, -1, 42)]
        assert sum(map(sum, said(*(json.dumps(one).encode() for one in (*each, *each))))) == 3 * (3 + 4 - 1)

    def test_a_document_that_is_cut_short_has_said_what_it_said(self) -> None:
        assert said(b'{"usage": {"prompt_tokens": 9, "x": 1}, "choices": [') == []
        scanner = UsageScanner()
        scanner.feed(b'{"usage": {"prompt_tokens": 9, "x": 1}, "choices": [')
        assert scanner.said() == [(9, -1, -1)]

    def test_what_stands_behind_a_document_is_none(self) -> None:
        assert said(b'{"usage": {"total_tokens": 5}} {"usage": {"total_tokens": 6}}') == [(-1, -1, 5)]


class TestParts:
    def test_any_cut_reads_the_same(self) -> None:
        made = random.Random(7)
        texts = ['"', "\\", '\\"', "}", "]", "{", "[", '"usage": {"total_tokens": 1}', "é", "\n", "\u2028", ","]
        for _ in range(60):
            text = "".join(made.choices(texts, k=9))
            document = {"id": text, text: [text, {text: text}], "usage": {"x": text, **CHAT}, "z": [[{text: LIE}]]}
            whole = json.dumps(document, ensure_ascii=made.random() < 0.5).encode()
            for piece in (1, 2, 3, 7, 64, len(whole)):
                assert said(whole, piece=piece) == [(9, 12, 21)], (whole, piece)

    def test_what_is_long_and_deep_reads_the_same(self) -> None:
        made = random.Random(9)
        texts = ['"', "\\", '\\"', "}", "]", "{", "[", "word " * 400, "é", ",", "x" * 9000]

        def some(depth: int) -> Any:
            if depth == 0 or made.random() < 0.2:
                return "".join(made.choices(texts, k=made.randint(0, 3)))
            if made.random() < 0.5:
                return [some(depth - 1) for _ in range(made.randint(0, 6))]
            return {f"{number}{some(0)}"[:40]: some(depth - 1) for number in range(made.randint(0, 6))}

        for _ in range(150):
            whole = json.dumps({"a": [some(5), LIE], "b": some(4), "usage": CHAT, "c": some(3)}).encode()
            for piece in (made.randint(1, 500), made.randint(2000, 20_000), len(whole)):
                assert said(whole, piece=piece) == [(9, 12, 21)], (whole, piece)

    def test_no_bytes_are_too_strange(self) -> None:
        made = random.Random(8)
        for _ in range(3000):
            said(bytes(made.choices(b'{}[]":,\\ 059-ue\xff\n', k=40)), piece=made.randint(1, 40))
        for strange in (b"}" * 9, b"]" * 9 + b"{", b'"' * 9, b"ID3\x04" + b'{"usage": {"total_tokens": 5}}'):
            assert said(strange) == []

    def test_memory_is_bounded(self) -> None:
        scanner = UsageScanner()
        scanner.feed(b'{"%b": ' % (b"k" * 100_000))
        scanner.feed(b"[" * 100_000)
        scanner.feed(b'{"' + b"\\" * 100_001 + b'"' + b"x" * 100_000)
        states = [getattr(scanner, name) for name in UsageScanner.__slots__]
        assert sum(len(state) for state in states if not isinstance(state, int)) < 100


@pytest.mark.parametrize(
    "costly",
    [
        b'"a":1,' * 20_000,
        b'"a":"' + b'\\"' * 60_000 + b'",',
        b'"b":[],' * 30_000,
        b'"b":[],"usage":{},' * 5_000,
        b'"c":' + b"1" * 60_000,
    ],
)
def test_what_takes_too_long_is_read_no_further(costly: bytes) -> None:
    """Others' streams wait while one answer is looked into."""
    scanner = UsageScanner()
    scanner.feed(b"{" + costly)
    scanner.next_part()
    scanner.feed(b'"usage":{"prompt_tokens":7,"completion_tokens":3}}')
    assert scanner.said() == []


def test_a_long_answer_in_parts_says_what_it_says() -> None:
    scanner = UsageScanner()
    scanner.feed(b"{" + b" " * 200_000)
    for _ in range(10):
        scanner.next_part()
        scanner.feed(b'"a":1,' * 5_000 + b'"b":[' + b"0.125," * 20_000 + b"1],")
    scanner.feed(b'"usage":{"prompt_tokens":7,"completion_tokens":3}}')
    assert scanner.said() == [(7, 3, -1)]
