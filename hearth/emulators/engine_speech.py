"""What the simulated engine says, and how it counts: words of its own, stop sequences, a tokenizer that can go back.

Pure. A word that it says is a token; what it is given is cut into tokens of four bytes each.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

_SPEECH = (
    "Nobody asked for a while, so the accelerator was off and cost nothing. You asked, a replica came up, "
    "and these words are streamed to you as it makes them. When it gets quiet again it will go back to zero."
)
WORDS = tuple(f"{word} " for word in _SPEECH.split())
_TOKEN_BYTES = 4
_EMBEDDING_SIZE = 64

Finish = Literal["stop", "length", "abort"]


@dataclass(frozen=True, slots=True)
class Speech:
    """What one choice says: its tokens, why it ends, and the stop sequence that ended it."""

    tokens: tuple[str, ...]
    finish: Finish
    stopped_by: str | None = None

    @property
    def text(self) -> str:
        return "".join(self.tokens)


def speech(limit: int | None, stops: Sequence[str] = ()) -> Speech:
    """With a limit it goes on until there; without one it ends when all is said. A stop sequence is not said itself."""
    if limit is None:
        tokens, finish = WORDS, "stop"
    else:
        tokens, finish = tuple(WORDS[index % len(WORDS)] for index in range(limit)), "length"
    text = "".join(tokens)
    found = [(at, stop) for stop in stops if stop and (at := text.find(stop)) >= 0]
    if not found:
        return Speech(tokens, "stop" if finish == "stop" else "length")
    end, stop = min(found)
    return Speech(_cut(tokens, end), "stop", stop)


def _cut(tokens: Sequence[str], end: int) -> tuple[str, ...]:
    made: list[str] = []
    for token in tokens:
        if end <= 0:
            break
        made.append(token[:end])
        end -= len(token)
    return tuple(made)


def tokenize(text: str) -> list[int]:
    """Numbers from which `detokenize` makes the text again. A leading one keeps zero bytes."""
    data = text.encode()
    return [int.from_bytes(b"\x01" + data[at : at + _TOKEN_BYTES], "big") for at in range(0, len(data), _TOKEN_BYTES)]


def detokenize(tokens: Sequence[int]) -> str:
    """The text of tokens; what is none of this tokenizer's becomes a replacement character."""
    return b"".join(_bytes_of(token) for token in tokens).decode(errors="replace")


def _bytes_of(token: int) -> bytes:
    data = token.to_bytes((token.bit_length() + 7) // 8, "big")
    return data[1:] if data[:1] == b"\x01" and len(data) <= _TOKEN_BYTES + 1 else b"\xff"


def embedding(text: str) -> list[float]:
    """A vector of unit length that depends on the text alone."""
    digest = hashlib.shake_256(text.encode()).digest(_EMBEDDING_SIZE)
    vector = [byte - 127.5 for byte in digest]
    length = sum(value * value for value in vector) ** 0.5
    return [value / length for value in vector]
