"""How long to wait after failures in a row. Pure, but for the jitter."""

import random

_MOST_DOUBLINGS = 62  # 2.0**1024 is no number any more: a failure that goes on for hours must not become another one


def backoff(failures: int, first: float, last: float) -> float:
    """Seconds after so many failures: `first`, doubled by each, `last` at the most; jittered down by up to a half."""
    doubled = first * 2.0 ** min(max(failures - 1, 0), _MOST_DOUBLINGS)
    return min(doubled, last) * random.uniform(0.5, 1.0)
