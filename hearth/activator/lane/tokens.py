"""How many tokens a request took: as its answer says, or nearly. Pure.

OpenAI's APIs say `usage` with prompt_tokens or input_tokens, completion_tokens or output_tokens, and total_tokens;
Anthropic's say input_tokens at a stream's beginning and output_tokens at its end. Where a stream says nothing (OpenAI's
does only if the client asks, by stream_options.include_usage), its events are counted, and what was read is guessed:
what the answer says is exact, this is near. It is an engine that says it, though: no figure counts for more than the
bytes that went there and came back can have been.
"""

import re
from typing import Final

from hearth.activator.lane.usage import UsageScanner, added

_ENDS: Final = (b"\n\n", b"\r\n\r\n", b"\r\r")
_EMPTY: Final = re.compile(rb"(?>\r\n|\n|\r){2}")
_DATA: Final = b"data:"
_LINE_FEED: Final = 0x0A
_RETURN: Final = 0x0D

_BYTES_PER_TOKEN: Final = 4
MAX_GUESS: Final = 32 * 1024
"""Tokens of a prompt that nothing is said of: a guess is no reason to keep somebody out for minutes."""
UNSEEN: Final = 128 * 1024
"""Tokens of a request beyond one for each byte of it and of its answer: of pictures that it names by their address, of
a template, of thoughts that are not shown."""
_BASE64_FROM: Final = 4096  # bytes of a string from which on it is looked at whether it is text
_SAMPLE: Final = 256
_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=\\"  # JSON may write \/ and \n


class TokenUsage:
    """Of one request; `asked` is what its prompt is guessed to have, `sent` the bytes of its body."""

    __slots__ = (
        *("_asked", "_began", "_events", "_heard", "_matched", "_other", "_returned", "_scanner", "_sent"),
        "_written_line",
    )

    def __init__(self, asked: int, sent: int) -> None:
        self._asked = asked
        self._sent = sent
        self.again()

    def again(self) -> None:
        """Another replica is asked: what was heard so far does not count."""
        self._scanner = UsageScanner()
        self._heard = 0  # bytes
        self._events = 0
        self._began = False  # whether the event has a line
        self._written_line = False  # whether the line has a byte
        self._matched = 0  # bytes of its beginning that are those of `data:`
        self._other = False  # whether it is another field
        self._returned = False  # whether the last byte was a carriage return, which a line feed may belong to

    def saw(self, data: bytes, *, stream: bool) -> None:
        """A part of an event stream (https://html.spec.whatwg.org/multipage/server-sent-events.html), or of an answer
        that is one document."""
        self._heard += len(data)
        self._scanner.next_part()
        if not stream:
            self._scanner.feed(data)
            return
        if not self._began and not self._written_line and b"tokens" not in data and data.endswith(_ENDS):
            # In front of nearly every token: whole events that say nothing of them.
            self._events += data.count(b"\n\n") if b"\r" not in data else len(_EMPTY.findall(data))
            return
        at, length = 0, len(data)
        while at < length:
            if self._returned:
                self._returned = False
                if data[at] == _LINE_FEED:
                    at += 1
                    continue
            end = data.find(b"\n", at)
            if end < 0:
                end = length
            sooner = data.find(b"\r", at, end)
            if sooner >= 0:
                end = sooner
            if end > at:
                self._line(data, at, end)
            if end < length:
                self._returned = data[end] == _RETURN
                self._line_ends()
            at = end + 1

    def _line(self, data: bytes, at: int, end: int) -> None:
        self._written_line = True
        while at < end and self._matched < len(_DATA) and not self._other:
            if data[at] == _DATA[self._matched]:
                self._matched += 1
                at += 1
            else:
                self._other = True
        if at < end and not self._other:
            self._scanner.feed(data[at:end])

    def _line_ends(self) -> None:
        if self._written_line:
            self._began = True
        elif self._began:
            self._events += 1
            self._began = False
            self._scanner.reset()
        self._written_line = self._other = False
        self._matched = 0

    @property
    def total(self) -> int:
        """Tokens read and written."""
        said = self._scanner.said()
        if not said:
            return self._asked + self._events
        told = sum([added(read, written, total, self._asked, self._events) for read, written, total in said])
        return min(told, self._sent + self._heard + UNSEEN)


def guessed(body: bytes) -> int:
    """How many tokens the text of a JSON body may be: one for four bytes, and MAX_GUESS at most. What is written in
    base64 is a picture or a sound, whose bytes tell nothing of tokens."""
    most = MAX_GUESS * _BYTES_PER_TOKEN
    if len(body) < _BASE64_FROM:
        return len(body) // _BYTES_PER_TOKEN
    text, at, length = 0, 0, len(body)
    while at < length and text < most:  # `at` is behind a quote
        end = body.rfind(b'"', at, at + _BASE64_FROM) + 1
        if not end:
            end = body.find(b'"', at + _BASE64_FROM) + 1 or length + 1
            if _is_base64(body, at, end - 1):
                at = end
                continue
        text += min(end, length) - at
        at = end
    return min(text, most) // _BYTES_PER_TOKEN


def _is_base64(body: bytes, begin: int, end: int) -> bool:
    """Whether a long string is base64 or a data URL (RFC 2397) of it: by its beginning and its end."""
    head = body[begin : begin + _SAMPLE]
    if head.startswith(_DATA):
        _, marked, head = head.partition(b";base64,")
        if not marked:
            return False
    return not head.translate(None, _BASE64) and not body[end - _SAMPLE : end].translate(None, _BASE64)
