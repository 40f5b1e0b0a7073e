"""What a JSON document says of tokens, read as it passes: where it stands decides, never its name alone. Pure.

`usage` is an object of the document itself, or of its `message` or `response` (Anthropic's and OpenAI's events);
llama.cpp's own API says tokens_evaluated and tokens_predicted beside what it has written. The same words deeper within
a document are a tool's, a user's or a model's. Memory is a few words, however long or deep the document is. Time is
bounded, too: an answer of which one part has more than `MAX_STEPS` marks to be looked at one by one is read no further,
and has said nothing.
"""

import re
from typing import Final

_NOWHERE: Final = 0  # before the document
_DOCUMENTS: Final = 1  # several prompts have a list of documents as their answer (llama.cpp)
_DOCUMENT: Final = 2
_EVENT: Final = 3  # its `message` or `response`
_USAGE: Final = 4
_BEHIND: Final = 5  # it is over, or no document

_QUOTE: Final = 0x22
_COMMA: Final = 0x2C
_COLON: Final = 0x3A
_BACKSLASH: Final = 0x5C
_SPACES: Final = b" \t\r\n"
_MARKS: Final = b'"{}[]'
_MARK: Final = re.compile(rb'["{}\[\]]')
_BRACKET: Final = re.compile(rb"[{}\[\]]")
_SPACE: Final = re.compile(rb"[ \t\r\n]+")
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NO_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b'"{}[]')
_BLOCK: Final = 8192  # bytes that are skipped at once, or walked through
_PAIRS: Final = 64  # depth of brackets within one, up to which it is

_READ: Final = frozenset((b"prompt_tokens", b"input_tokens"))
_WRITTEN: Final = frozenset((b"completion_tokens", b"output_tokens"))
_EVENTS: Final = frozenset((b"message", b"response"))
# Anthropic's input_tokens are without these: https://docs.anthropic.com/en/api/messages#response-usage
_CACHED: Final = (b"cache_read_input_tokens", b"cache_creation_input_tokens")
_WORD: Final = 27  # bytes; a longer name is none of these
_DIGITS: Final = 12
_MOST: Final = 4096  # prompts of one request that are told apart

MAX_STEPS: Final = 50_000
"""About what fits into 5 ms, for which others' streams may wait: letters of numbers and names, brackets."""
_OF_STRING: Final = 10  # steps that one costs

Said = tuple[int, int, int]
"""Tokens read, written, and in total; -1 where nothing is said."""


class UsageScanner:
    """Of the documents of one answer. `feed` a document's bytes in parts of any size, `reset` in front of the next."""

    __slots__ = (
        *("_counting", "_deeper", "_digits", "_escaped", "_index", "_places", "_quoted", "_read", "_said", "_sum"),
        *(
            "_cache_made",
            "_cache_read",
            "_lost",
            "_steps",
            "_total",
            "_walks",
            "_value",
            "_wanted",
            "_word",
            "_written",
        ),
    )

    def __init__(self) -> None:
        self._steps = 0  # of the part that is being read
        self._lost = False  # whether it had too many
        self._walks = False  # whether a block is walked through
        self._said: dict[int, Said] = {}  # by the prompt's index; later documents of one answer add to the earlier
        self._sum = -1  # of a list's documents
        self._begin()

    def _begin(self) -> None:
        self._places: list[int] = [_NOWHERE]  # what is open of what is looked into
        self._deeper = 0  # what is open within, and not looked into
        self._quoted = False  # whether a string is open
        self._escaped = False  # whether the string's next byte is
        self._wanted = False  # whether the string is a name
        self._value = False  # whether a value follows, or has followed
        self._word = b""  # the name of that
        self._counting = False  # whether that is one that counts
        self._digits = b""
        self._forget()

    def _forget(self) -> None:
        self._read = self._written = self._total = self._index = -1
        self._cache_read = self._cache_made = 0

    def reset(self) -> None:
        """Another document begins."""
        if self._places[-1] != _NOWHERE:
            self._begin()

    def said(self) -> list[Said]:
        """What each document said that is over, and the one that is not; nothing where it was too much to read."""
        if self._lost:
            return []
        said = dict(self._said)
        if self._sum >= 0:
            said[-1] = (-1, -1, self._sum)
        if _DOCUMENT in self._places:
            self._put(said)
        return list(said.values())

    def next_part(self) -> None:
        """Another part of the answer comes, after others had their turn."""
        self._steps = 0

    def _step(self, steps: int = 1) -> None:
        self._steps += steps
        if self._steps > MAX_STEPS:
            self._lost = True

    def feed(self, data: bytes) -> None:
        """The document's next bytes."""
        for begin in range(0, len(data), _BLOCK):
            self._feed(data[begin : begin + _BLOCK])

    def _feed(self, data: bytes) -> None:
        self._walks = False
        at, length = 0, len(data)
        while at < length and self._places[-1] != _BEHIND and not self._lost:
            if self._quoted:
                at = self._string(data, at)
            elif self._deeper:
                at = self._skip(data, at)
            elif self._places[-1] == _DOCUMENTS and data[at] not in _MARKS:
                found = _MARK.search(data, at)  # a list of numbers may be long
                at = found.start() if found is not None else length
            elif data[at] in _SPACES:
                found = _SPACE.match(data, at)
                at = found.end() if found is not None else at + 1
            else:
                self._step()
                self._look(data[at])
                at += 1

    def _string(self, data: bytes, begin: int) -> int:
        """Go to behind the string's end."""
        at = begin
        if self._escaped:
            self._escaped = False
            at += 1
        start = at
        while True:
            quote = data.find(b'"', at)
            stop = quote if quote >= 0 else len(data)
            slash = stop
            while slash > start and data[slash - 1] == _BACKSLASH:
                slash -= 1
            escaped = (stop - slash) % 2 == 1
            if quote < 0 or not escaped:
                break
            self._step()
            if self._lost:
                return len(data)
            at = start = quote + 1
        if self._wanted and len(self._word) <= _WORD:
            self._word += data[begin : min(stop, begin + _WORD + 1)]
        if quote < 0:
            self._escaped = escaped
            return stop
        self._quoted = False
        return stop + 1

    def _skip(self, data: bytes, at: int) -> int:
        """Go to behind the end of what is not looked into, or to a string's beginning."""
        if not self._walks and len(data) - at > _BLOCK // 4:
            if self._is_within(data[at:]):
                return len(data)
            self._walks = True  # its end is in this block
        while not self._lost:
            self._step(_OF_STRING)
            quote = data.find(b'"', at)
            stop = quote if quote >= 0 else len(data)
            closed = data.count(b"}", at, stop) + data.count(b"]", at, stop)
            if closed < self._deeper:  # whatever their order is
                self._deeper += data.count(b"{", at, stop) + data.count(b"[", at, stop) - closed
            elif closed:
                for found in _BRACKET.finditer(data, at, stop):
                    self._step()
                    self._deeper += 1 if found[0] in b"{[" else -1
                    if not self._deeper or self._lost:
                        return found.end()
            if quote < 0:
                return stop
            at = data.find(b'"', quote + 1) + 1
            if not at or data[at - 2] == _BACKSLASH:  # cut, or with a quote in it
                self._quoted, self._wanted = True, False
                return quote + 1
        return len(data)

    def _is_within(self, data: bytes) -> bool:
        """Whether all of these bytes are within what is not looked into; they are skipped then."""
        rest = _STRING.sub(b"", data)
        before, cut, string = rest.partition(b'"')
        brackets = before.translate(None, _NO_BRACKETS)
        for _ in range(_PAIRS):
            paired = brackets.replace(b"{}", b"").replace(b"[]", b"")
            if len(paired) == len(brackets):
                break
            brackets = paired
        closed = brackets.count(b"}") + brackets.count(b"]")
        if closed >= self._deeper:
            return False
        self._deeper += len(brackets) - 2 * closed
        if cut:
            self._quoted, self._wanted = True, False
            self._escaped = (len(string) - len(string.rstrip(b"\\"))) % 2 == 1
        return True

    def _look(self, byte: int) -> None:
        place = self._places[-1]
        if byte == _QUOTE:
            if place == _NOWHERE:
                self._places.append(_BEHIND)
            self._quoted = True
            self._wanted = place >= _DOCUMENT and not self._value
            if self._wanted:
                self._word = b""
            self._counting = False
        elif byte in b"{[":
            self._open(place, byte == 0x7B)
        elif byte in b"}]":
            self._count()
            self._close(place)
        elif byte == _COLON:
            self._value = True
            self._counting = _counts(place, self._word)
            self._digits = b""
        elif byte == _COMMA:
            self._count()
            self._value = False
        elif byte not in _SPACES:
            if self._counting:
                self._digits += bytes((byte,))
                self._counting = len(self._digits) <= _DIGITS and 0x30 <= byte <= 0x39
            elif place == _NOWHERE:
                self._places.append(_BEHIND)

    def _open(self, place: int, is_object: bool) -> None:
        self._counting = False
        opened = _BEHIND
        if place == _NOWHERE:
            opened = _DOCUMENT if is_object else _DOCUMENTS
        elif is_object:
            if place == _DOCUMENTS:
                opened = _DOCUMENT
            elif self._word == b"usage" and place in (_DOCUMENT, _EVENT):
                opened = _USAGE
            elif place == _DOCUMENT and self._word in _EVENTS:
                opened = _EVENT
        if opened == _BEHIND:
            self._deeper = 1
        else:
            self._places.append(opened)
            self._value = False
            self._word = b""

    def _close(self, place: int) -> None:
        self._places.pop()
        self._value = True
        self._word = b""
        if place == _DOCUMENT:
            if self._places[-1] == _DOCUMENTS:
                read, written, total = self._read, self._written, self._total
                if max(read, written, total) >= 0:
                    self._sum = max(0, self._sum) + added(read, written, total, 0, 0)
            else:
                self._put(self._said)
            self._forget()
        if len(self._places) <= 1:
            self._places.append(_BEHIND)

    def _put(self, said: dict[int, Said]) -> None:
        cached = self._cache_read + self._cache_made
        if cached:
            self._read = max(0, self._read) + cached
            self._cache_read = self._cache_made = 0
        if max(self._read, self._written, self._total) < 0:
            return
        index = min(max(0, self._index), _MOST - 1)
        read, written, total = said.get(index, (-1, -1, -1))
        said[index] = (
            self._read if self._read >= 0 else read,
            self._written if self._written >= 0 else written,
            self._total if self._total >= 0 else total,
        )

    def _count(self) -> None:
        """The value of a name that counts is over."""
        if not self._counting or not self._digits:
            return
        self._counting = False
        number, word = int(self._digits), self._word
        if word in _READ or word == b"tokens_evaluated":
            self._read = number
        elif word in _WRITTEN or word == b"tokens_predicted":
            self._written = number
        elif word == b"total_tokens":
            self._total = number
        elif word == _CACHED[0]:
            self._cache_read = number
        elif word == _CACHED[1]:
            self._cache_made = number
        else:
            self._index = number


def _counts(place: int, word: bytes) -> bool:
    if place == _USAGE:
        return word in _READ or word in _WRITTEN or word in _CACHED or word == b"total_tokens"
    return place == _DOCUMENT and word in (b"tokens_evaluated", b"tokens_predicted", b"index")


def added(read: int, written: int, total: int, asked: int, events: int) -> int:
    """Tokens read and written, each -1 where it is not said; `asked` and `events` stand for what nothing is said of."""
    if (read < 0 or written < 0) and total >= 0:
        return max(total, read, written)
    return (asked if read < 0 else read) + (events if written < 0 else written)
