"""Whether a chat or text completion ended because the engine gave it up. Pure.

vLLM that is stopped answers so, with 200 and nothing in its choices. What an engine says counts by its place, not by
its name: a tool's arguments, a message, an answer of another shape may have the same words in them.
"""

from typing import Final

PATHS: Final = frozenset(("/v1/chat/completions", "/v1/completions"))
"""Whose answers have choices."""

LAST: Final = 16 * 1024
"""Bytes of an answer's end that are looked into: behind the last choice's end there may be tokens' ids, log
probabilities, the usage."""

_CHOICE: Final = 3  # brackets that are open there: the document's, the choices', a choice's


def ends_aborted(last: bytes) -> bool:
    """Whether a choice in the end of a JSON document has `"finish_reason": "abort"`.

    Read from its end: there it is known that nothing is open, wherever the beginning was cut off.
    """
    if b'"abort"' not in last:
        return False
    depth = 0
    at = len(last) - 1
    while at >= 0:
        byte = last[at]
        if byte in b"}]":
            depth += 1
        elif byte in b"{[":
            depth -= 1
        elif byte == 0x22:
            begin = _begin_of_string(last, at)
            if begin < 0:
                return False
            if depth == _CHOICE and last[begin : at + 1] == b'"abort"' and _is_value_of_reason(last[:begin]):
                return True
            at = begin
        at -= 1
    return False


def _begin_of_string(text: bytes, end: int) -> int:
    """Where the string begins that ends with this quote; -1 where its beginning was cut off."""
    begin = text.rfind(b'"', 0, end)
    while begin >= 0 and _slashes_before(text, begin) % 2:
        begin = text.rfind(b'"', 0, begin)
    return begin


def _slashes_before(text: bytes, at: int) -> int:
    slash = at
    while slash > 0 and text[slash - 1] == 0x5C:
        slash -= 1
    return at - slash


def _is_value_of_reason(before: bytes) -> bool:
    before = before.rstrip()
    return before.endswith(b":") and before[:-1].rstrip().endswith(b'"finish_reason"')
