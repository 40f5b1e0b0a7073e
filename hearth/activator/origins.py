"""Which web pages may read the activator's answers: CORS, https://fetch.spec.whatwg.org/#http-cors-protocol.

Off unless origins are given. Starlette's middleware answers preflights; here is what the lane's answers say.
"""

from collections.abc import Sequence

from hearth.http1.headers import Headers


class Origins:
    """`allowed` are origins such as https://chat.example, or `*` for every page."""

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        self.allowed = tuple(allowed)
        self._all = "*" in self.allowed
        self._known = frozenset(origin.encode() for origin in self.allowed)

    def headers(self, fields: dict[bytes, bytes]) -> Headers:
        """What lets the page that asks read the answer to a request with these fields."""
        if not self._known or (origin := fields.get(b"origin")) is None:
            return []
        if self._all:
            return [(b"access-control-allow-origin", b"*")]
        if origin not in self._known:
            return [(b"vary", b"Origin")]
        return [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
