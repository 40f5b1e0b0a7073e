"""What one API key may still do, and what it has done. Pure: it is told the time.

Each limit is a bucket of its own that fills evenly and holds a minute's worth (an hour's, of cold starts), so that a
key which stays below its limit never meets it, and one that met it goes on as soon as there is room. Tokens are known
once an answer is over, so that they are taken then, and a bucket may owe: the next request waits until it does not.
"""

import hashlib
import math
from collections import Counter
from typing import Final

from hearth.activator.errors import limited
from hearth.api.keys import KeyLimits
from hearth.http1.headers import Headers

MINUTE, HOUR = 60.0, 3600.0
REASONS = ("rpm", "tpm", "max_parallel_requests", "cold_starts")
"""What a key's request may be refused for; the words of its line in the Secret."""

_OWES: Final = 10
"""How many times its limit a bucket owes at most: one answer keeps nobody out for longer than ten minutes."""

_NAMED: Final = 12  # hex digits of a name's digest


class Bucket:
    """`limit` of something in `seconds`."""

    __slots__ = ("_at", "_level", "_seconds", "limit")

    def __init__(self, limit: int, seconds: float, now: float) -> None:
        self.limit = limit
        self._seconds = seconds
        self._level = float(limit)
        self._at = now

    def level(self, now: float) -> float:
        """How much there is; below zero where it owes."""
        self._level = min(self.limit, self._level + (now - self._at) * self.limit / self._seconds)
        self._at = now
        return self._level

    def take(self, amount: float, now: float) -> None:
        """Take so much, be it there or not, as far as a bucket may owe it."""
        self._level = max(self.level(now) - amount, -_OWES * self.limit)

    def wait(self, amount: float, now: float) -> float:
        """Seconds until so much is there; 0 where it is."""
        return max(0.0, (amount - self.level(now)) * self._seconds / self.limit)

    def relimited(self, limit: int, now: float) -> "Bucket":
        """The same with another limit. What was taken is taken of a larger one; a smaller one is as full as this: of it
        all would be gone, for hours."""
        level = self.level(now)
        made = Bucket(limit, self._seconds, now)
        made.take(min(self.limit - level, limit * (1 - level / self.limit)), now)
        return made


class KeyCounts:
    """What the requests of a key, or of several that are not told apart, came to."""

    __slots__ = ("limited", "requests", "tokens")

    def __init__(self) -> None:
        self.requests = 0
        self.tokens = 0
        self.limited: Counter[str] = Counter(dict.fromkeys(REASONS, 0))


class Allowance:
    """Of one key in one source."""

    __slots__ = ("_cold_starts", "_limits", "_requests", "_tokens", "at_a_time", "counts")

    def __init__(self, limits: KeyLimits, counts: KeyCounts, now: float) -> None:
        self.counts = counts
        self.at_a_time = 0
        self._limits = limits
        self._requests = _bucket(None, limits.rpm, MINUTE, now)
        self._tokens = _bucket(None, limits.tpm, MINUTE, now)
        self._cold_starts = _bucket(None, limits.cold_starts, HOUR, now)

    def relimit(self, limits: KeyLimits, now: float) -> None:
        """Take other limits; what was used stays used."""
        if limits != self._limits:
            self._limits = limits
            self._requests = _bucket(self._requests, limits.rpm, MINUTE, now)
            self._tokens = _bucket(self._tokens, limits.tpm, MINUTE, now)
            self._cold_starts = _bucket(self._cold_starts, limits.cold_starts, HOUR, now)

    def enter(self, now: float) -> None:
        """Let a request in, for which `leave` will be called. Raises ApiError 429."""
        most = self._limits.max_parallel_requests
        if most is not None and self.at_a_time >= most:
            self._refuse("max_parallel_requests", f"{most} requests at a time", 1.0, now)
        if self._requests is not None and (wait := self._requests.wait(1.0, now)):
            self._refuse("rpm", f"{self._requests.limit} requests a minute", wait, now)
        if self._tokens is not None and (wait := self._tokens.wait(min(1.0, self._tokens.limit), now)):
            self._refuse("tpm", f"{self._tokens.limit} tokens a minute", wait, now)
        if self._requests is not None:
            self._requests.take(1.0, now)
        self.at_a_time += 1
        self.counts.requests += 1

    def refund(self, now: float) -> None:
        """A request that was let in here was refused elsewhere, and counts for nothing. `leave` is called too."""
        if self._requests is not None:
            self._requests.take(-1.0, now)

    def leave(self, tokens: int, now: float) -> None:
        """A request is over, for which so many tokens were read and written."""
        self.at_a_time -= 1
        self.counts.tokens += tokens
        if self._tokens is not None:
            self._tokens.take(tokens, now)

    def start(self, now: float) -> None:
        """Count a cold start that this key asks for. Raises ApiError 429."""
        if self._cold_starts is None:
            return
        if wait := self._cold_starts.wait(1.0, now):
            self._refuse("cold_starts", f"{self._cold_starts.limit} cold starts an hour", wait, now)
        self._cold_starts.take(1.0, now)

    def headers(self, now: float) -> Headers:
        """What is left, as OpenAI's API says it: https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers"""
        made: Headers = []
        for name, bucket in ((b"requests", self._requests), (b"tokens", self._tokens)):
            if bucket is not None:
                made += [
                    (b"x-ratelimit-limit-" + name, b"%d" % bucket.limit),
                    (b"x-ratelimit-remaining-" + name, b"%d" % max(0, math.floor(bucket.level(now)))),
                    (b"x-ratelimit-reset-" + name, _duration(bucket.wait(bucket.limit, now))),
                ]
        return made

    def _refuse(self, reason: str, limit: str, wait: float, now: float) -> None:
        self.counts.limited[reason] += 1
        raise limited(limit, wait, tuple(self.headers(now)))


def key_label(name: str) -> str:
    """What a key is called in metrics, which more people read than Secrets."""
    return hashlib.sha256(name.encode()).hexdigest()[:_NAMED] if name else "unnamed"


def _bucket(before: Bucket | None, limit: int | None, seconds: float, now: float) -> Bucket | None:
    if limit is None:
        return None
    return Bucket(limit, seconds, now) if before is None else before.relimited(limit, now)


def _duration(seconds: float) -> bytes:
    """As Go writes one, whole seconds: 6m0s, 1s."""
    whole = math.ceil(seconds)
    return b"%dm%ds" % divmod(whole, 60) if whole >= 60 else b"%ds" % whole
