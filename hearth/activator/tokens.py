"""How many tokens a request took, as its answer says. Pure.

OpenAI's APIs say `usage` with prompt_tokens or input_tokens, completion_tokens or output_tokens, and total_tokens;
Anthropic's say input_tokens at a stream's beginning and output_tokens at its end. Where a stream says nothing (OpenAI's
does only if the client asks, by stream_options.include_usage), its events are counted, and a token is taken for four
bytes of the request: what the answer says is exact, this is near.
"""

import re
from typing import Final

_MARK: Final = b'_tokens"'  # within a text of the model's it is written with a backslash before the quote
_SAID: Final = re.compile(rb'"(prompt|input|completion|output|total)_tokens"\s*:\s*([0-9]{1,12})(?![0-9.eE])')
_BYTES_PER_TOKEN: Final = 4


class TokenUsage:
    """Of one request with so many bytes of a body."""

    __slots__ = ("_asked", "_events", "_said")

    def __init__(self, body_bytes: int) -> None:
        self._asked = body_bytes // _BYTES_PER_TOKEN
        self._events = 0
        self._said: dict[bytes, int] = {}

    def saw(self, data: bytes) -> None:
        """A part of an event stream; each event is in one part, as engines write them."""
        self._events += data.count(b"\n\n")
        if _MARK in data:
            self.ended(data)

    def ended(self, data: bytes) -> None:
        """The end of a document, or a part that says something of tokens. What comes later counts."""
        for name, number in _SAID.findall(data):
            self._said[name] = int(number)

    @property
    def total(self) -> int:
        """Tokens read and written."""
        said = self._said
        if b"total" in said:
            return said[b"total"]
        read = said.get(b"prompt", said.get(b"input"))
        written = said.get(b"completion", said.get(b"output"))
        return (self._asked if read is None else read) + (self._events if written is None else written)
