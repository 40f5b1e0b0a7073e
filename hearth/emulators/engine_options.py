"""What the values of the simulated engine's options may be. Pure: no server is imported to look at a command line.

Each function reads one value from its text and raises ValueError with what was expected; argparse and `hearth up` ask
the same ones.
"""

import math
from argparse import ArgumentTypeError
from collections.abc import Callable


class NotAnOption(ArgumentTypeError, ValueError):
    """A value that an option can't have; the text says what was expected."""


def seconds(text: str) -> float:
    """A time from now."""
    return _number(text, "a number of seconds, 0 or more", lambda value: value >= 0)


def rate(text: str) -> float:
    """How often in a second."""
    return _number(text, "a number over 0", lambda value: value > 0)


def slots(text: str) -> int:
    """How many at a time."""
    return _count(text, 1)


def prompts(text: str) -> int:
    """How many are kept."""
    return _count(text, 0)


READERS: dict[str, Callable[[str], float]] = {
    "start-seconds": seconds,
    "load-seconds": seconds,
    "tokens-per-second": rate,
    "slots": slots,
    "cached-prompts": prompts,
    "prefill-seconds": seconds,
}
"""The options that are numbers, by their names."""

_LONGEST = 18  # digits: more than anybody counts, and a machine's integer still


def _number(text: str, expected: str, may_be: Callable[[float], bool]) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and may_be(value)):
        raise NotAnOption(f"found {text!r}; expected {expected}")
    return value


def _count(text: str, least: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= _LONGEST and int(text) >= least):
        raise NotAnOption(f"found {text!r}; expected a whole number, {least} or more")
    return int(text)
