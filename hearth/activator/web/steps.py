"""Long lists, made in short steps: while a thousand LLMServices are told of, others' tokens go on."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

T = TypeVar("T")

STEP = 200
"""Items that are made at a time: about a millisecond."""


async def json_array(items: Sequence[T], made: Callable[[T], object]) -> bytes:
    """What is `made` of each item, as a JSON array. Between two steps whoever else has something to do does it, so that
    `items` is a copy of what may change."""
    parts = []
    for begin in range(0, len(items), STEP):
        if begin:
            await asyncio.sleep(0)
        parts.append(msgspec.json.encode([made(item) for item in items[begin : begin + STEP]])[1:-1])
    return b"[%b]" % b",".join(parts)
