"""A JSON text without the inside of its long strings, for a reader who looks at what stands around them. Pure.

A prompt is mostly one long string, and a search for its end takes a tenth of what a parser takes to walk to it.
"""

from typing import Final

LONG: Final = 64 * 1024
"""Bytes of a text from which on it is skimmed."""

KEPT: Final = 4 * 1024
"""Bytes that stay of a long string's beginning: more than anybody looks at."""

_APART: Final = 512  # bytes from quote to quote, on average, from which on searching is faster than walking
_ESCAPE: Final = 6  # bytes of the longest one, \u0000 (RFC 8259, 7)
_BACKSLASH: Final = 0x5C


def skim(text: bytes) -> bytes:
    """The text itself where it is short, has many quotes, or ends within a string."""
    if len(text) < LONG:
        return text
    parts: list[bytes] = []
    taken = 0  # up to where the text is in `parts`, or left out
    start = -1  # where the string begins that a quote would end; -1 between strings
    quotes = 0
    at = text.find(b'"')
    while at >= 0:
        quotes += 1
        if quotes * _APART > LONG + at:
            return text  # what was searched for in vain is little
        if start < 0:
            start = at
        elif not _is_escaped(text, at):
            if at - start > 2 * KEPT:
                parts.append(text[taken : _between_characters(text, start + 1, start + 1 + KEPT)])
                taken = at
            start = -1
        at = text.find(b'"', at + 1)
    if start >= 0 or not parts:
        return text
    parts.append(text[taken:])
    return b"".join(parts)


def _is_escaped(text: bytes, quote: int) -> bool:
    """Whether a quote within a string is one of its characters."""
    slash = quote
    while text[slash - 1] == _BACKSLASH:  # the quote that begins the string ends this
        slash -= 1
    return (quote - slash) % 2 == 1


def _between_characters(text: bytes, begin: int, at: int) -> int:
    """A place at or before `at` that is not within a character of the string whose inside begins at `begin`."""
    slash = text.rfind(b"\\", max(begin, at - _ESCAPE), at)
    while slash >= 0:
        at = slash
        slash = text.rfind(b"\\", max(begin, at - _ESCAPE), at)
    while text[at] & 0xC0 == 0x80:  # UTF-8's later bytes
        at -= 1
    return at
